"""What TensorFlow 1.15 exported besides Keras' own SavedModels."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import numpy as np
import pytest

import regraft
from data import archive

ARCHIVE = Path(archive.__file__).parent / "tensorflow1" / "files.tar.xz"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive.unpack(ARCHIVE, tmp_path_factory.mktemp("tensorflow1"))


def _arrays(files: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(files / f"{name}.npz") as found:
        return dict(found)


def test_export_of_keras_is_a_model(files: Path) -> None:
    """`tf.keras.experimental.export_saved_model`: a config, and a checkpoint."""
    arrays = _arrays(files, "keras_export")
    path = files / "keras_export"
    model = regraft.load_model(path)
    np.testing.assert_allclose(
        model.predict(arrays["x"], verbose=0), arrays["y"], rtol=1e-5, atol=1e-6
    )
    assert not model.get_layer("frozen").trainable
    # Two of each of the others; BatchNormalization's statistics are not trained.
    assert len(model.trainable_weights) == 6
    report = regraft.load_report(model)
    assert report.written_by == "Written by Keras 2.2.4-tf, TensorFlow 1.15.0"
    # Neither the optimizer's class nor the loss is in the file, its slots are.
    assert not report.compiled
    assert ["an optimizer's state" in note for note in report.notes] == [True]


def test_export_of_keras_gives_its_weights_alone(files: Path) -> None:
    model = regraft.load_model(files / "keras_export")
    expected = model.get_weights()
    model.set_weights([weight * 0 for weight in expected])
    regraft.load_weights(model, files / "keras_export")
    for one, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_export_of_keras_runs_its_graphs(files: Path) -> None:
    arrays = _arrays(files, "keras_export")
    loaded = regraft.load(files / "keras_export")
    (found,) = loaded.signatures["serving_default"](arrays["x"]).values()
    np.testing.assert_allclose(found, arrays["y"], rtol=1e-5, atol=1e-6)


def test_broken_config_is_a_format_error(files: Path, tmp_path: Path) -> None:
    path = shutil.copytree(files / "keras_export", tmp_path / "copy")
    for text in ("[1, 2]", '{"class_name": "Model"', '{"class_name": "Model"}', "7"):
        (path / "assets" / "saved_model.json").write_text(text)
        with pytest.raises(regraft.FormatError):
            regraft.load_model(path)


def test_graph_of_a_session_gives_what_the_session_gave(files: Path) -> None:
    arrays = _arrays(files, "session")
    loaded = regraft.load(files / "session")
    found = loaded.signatures["serving_default"](arrays["a"])["z"]
    np.testing.assert_allclose(found, arrays["z"], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="no object graph"):
        regraft.load_model(files / "session")


@pytest.mark.parametrize("name", ["dnn", "linear", "wide_deep"])
def test_estimator_reads_examples(files: Path, name: str) -> None:
    """Feature columns of all kinds, computed from serialized `tf.train.Example`s."""
    arrays = _arrays(files, name)
    examples = [base64.b64decode(row) for row in arrays.pop("examples")]
    loaded = regraft.load(files / name)
    assert {key.split("/")[0] for key in arrays} == set(loaded.signatures)
    for key, signature in loaded.signatures.items():
        found = signature(np.array(examples, object))
        for output, value in found.items():
            expected = arrays[f"{key}/{output}"]
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
            else:
                assert np.asarray(value).tolist() == expected.tolist()


def test_export_of_a_sequential_counts_its_input_among_the_layers(files: Path) -> None:
    arrays = _arrays(files, "recurrent_export")
    model = regraft.load_model(files / "recurrent_export")
    np.testing.assert_allclose(
        model.predict(arrays["x"], verbose=0), arrays["y"], rtol=1e-5, atol=1e-6
    )


def test_signature_of_a_trained_recurrent_model_runs(files: Path) -> None:
    """The loops of its training are in the graph, too, and have no kernels."""
    arrays = _arrays(files, "recurrent_session")
    loaded = regraft.load(files / "recurrent_session")
    for _ in range(2):
        found = loaded.signatures["serving_default"](arrays["x"])["y"]
        np.testing.assert_allclose(found, arrays["y"], rtol=1e-5, atol=1e-6)
