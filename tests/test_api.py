"""Every argument of `save_model` and `load_model`, and the errors that Keras names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import regraft
from peer import Peer
from regraft.errors import FormatError, MismatchError

INPUTS = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
TARGETS = np.ones((4, 2), "float32")
FORMATS = ("model", "model.h5", "model.hdf5")


def _model(*, steps: int = 2) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, "tanh"),
            layers.Dropout(0.3),
            layers.Dense(2),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    for _ in range(steps):
        model.train_on_batch(INPUTS, TARGETS)
    return model


def _steps(model: keras.Model) -> list[float]:
    """Losses of three steps; older versions of Keras return running means."""
    # PyTorch's dropout draws from the one generator of the process.
    keras.utils.set_random_seed(5)
    losses = []
    for _ in range(3):
        model.reset_metrics()
        losses.append(float(model.train_on_batch(INPUTS, TARGETS)[0]))
    return losses


class Doubled(keras.Model):
    """A subclassed model with a config."""

    def __init__(self, units: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.units = units
        self.dense = layers.Dense(units)

    def call(self, inputs: Any) -> Any:
        return 2.0 * self.dense(inputs)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "units": self.units}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("as_path", [str, Path])
def test_model_comes_back_in_the_same_state(
    tmp_path: Path, name: str, as_path: type
) -> None:
    model = _model()
    target = tmp_path / "new" / "directories" / name
    regraft.save_model(model, as_path(target))
    loaded = regraft.load_model(as_path(target))

    np.testing.assert_array_equal(
        loaded.predict(INPUTS, verbose=0), model.predict(INPUTS, verbose=0)
    )
    assert target.is_dir() == (name == "model")
    # Dropout draws the same numbers, Adam takes the same steps: the same losses.
    assert _steps(loaded) == _steps(model)


@pytest.mark.parametrize("save_format", ["h5", "tf"])
def test_save_format_counts_more_than_the_ending(
    tmp_path: Path, save_format: str
) -> None:
    target = tmp_path / "model"
    regraft.save_model(_model(), target, save_format=save_format)
    assert target.is_dir() == (save_format == "tf")
    assert isinstance(regraft.load_model(target), keras.Sequential)


def test_tf_format_with_an_hdf5_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends as an HDF5 file"):
        regraft.save_model(_model(), tmp_path / "m.h5", save_format="tf")


@pytest.mark.parametrize("save_format", ["onnx", ""])
def test_unknown_format_is_refused(tmp_path: Path, save_format: str) -> None:
    with pytest.raises(ValueError, match="Invalid `save_format`"):
        regraft.save_model(_model(), tmp_path / "m", save_format=save_format)


def test_keras_archive_goes_to_keras(tmp_path: Path) -> None:
    model = _model()
    regraft.save_model(model, tmp_path / "m.keras")
    loaded = regraft.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        loaded.predict(INPUTS, verbose=0), model.predict(INPUTS, verbose=0)
    )


def test_open_file_and_file_in_memory(tmp_path: Path) -> None:
    model = _model()
    expected = model.predict(INPUTS, verbose=0)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        regraft.save_model(model, file)
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        regraft.save_model(model, file)
        loaded = regraft.load_model(file)
    for found in (loaded, regraft.load_model(tmp_path / "m.h5")):
        np.testing.assert_array_equal(found.predict(INPUTS, verbose=0), expected)


@pytest.mark.parametrize("name", FORMATS)
def test_overwrite_asks_before_it_replaces(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / name
    first, second = _model(), _model(steps=5)
    regraft.save_model(first, target, overwrite=False)  # nothing there: nobody asks
    asked: list[str] = []
    answers = iter(["maybe", "n", "y"])

    def answer(question: str) -> str:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr("builtins.input", answer)
    regraft.save_model(second, target, overwrite=False)
    assert "already exists - overwrite? [y/n]" in asked[0]
    assert len(asked) == 2
    kept = regraft.load_model(target).predict(INPUTS, verbose=0)
    np.testing.assert_array_equal(kept, first.predict(INPUTS, verbose=0))
    regraft.save_model(second, target, overwrite=False)
    replaced = regraft.load_model(target).predict(INPUTS, verbose=0)
    np.testing.assert_array_equal(replaced, second.predict(INPUTS, verbose=0))


@pytest.mark.parametrize("name", FORMATS)
def test_without_optimizer_the_model_comes_back_uncompiled(
    tmp_path: Path, name: str
) -> None:
    regraft.save_model(_model(), tmp_path / name, include_optimizer=False)
    assert not regraft.load_model(tmp_path / name).compiled
    contents = regraft.inspect(tmp_path / name)
    assert contents.optimizer is None
    assert contents.optimizer_variables == ()


@pytest.mark.parametrize("name", FORMATS)
def test_compile_false_leaves_the_model_uncompiled(tmp_path: Path, name: str) -> None:
    regraft.save_model(_model(), tmp_path / name)
    assert not regraft.load_model(tmp_path / name, compile=False).compiled


@pytest.mark.parametrize(
    "keywords",
    [
        {"signatures": {"serve": None}},
        {"options": regraft.SaveOptions(alignment_bytes=1)},
        {"options": regraft.SaveOptions(dialect="both", alignment_bytes=1)},
    ],
)
def test_hdf5_takes_no_signatures_and_no_saved_model_options(
    tmp_path: Path, keywords: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="SavedModel"):
        regraft.save_model(_model(), tmp_path / "m.h5", **keywords)
    assert not (tmp_path / "m.h5").exists()


def test_hdf5_takes_the_default_dialect_by_name(tmp_path: Path) -> None:
    options = regraft.SaveOptions(dialect="keras2")
    regraft.save_model(_model(), tmp_path / "m.h5", options=options)
    with h5py.File(tmp_path / "m.h5") as file:
        assert str(file.attrs["keras_version"]).startswith("2.")


def test_config_that_a_tool_changed_in_our_hdf5_holds(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    regraft.save_model(_model(), path)
    with h5py.File(path, "r+") as file:
        for name, old, new in (
            ("model_config", '"tanh"', '"relu"'),
            ("training_config", '"mae"', '"mape"'),
        ):
            text = str(file.attrs[name])
            assert old in text
            # Spelled otherwise, too: that is no change.
            file.attrs[name] = json.dumps(json.loads(text.replace(old, new)), indent=1)
    again = regraft.load_model(path)
    assert again.layers[0].activation is keras.activations.relu
    assert set(again.evaluate(INPUTS, TARGETS, verbose=0, return_dict=True)) == {
        *("loss", "mape")
    }
    assert type(again.layers[1]) is layers.Dropout


def test_missing_path_is_an_os_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No file or directory found at .*nothing"):
        regraft.load_model(tmp_path / "nothing")


def test_directory_without_saved_model_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(
        OSError, match=r"SavedModel file does not exist.*saved_model.pb"
    ):
        regraft.load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + b"\0" * 90])
def test_foreign_file_is_a_format_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.h5").write_bytes(content)
    with pytest.raises(FormatError, match=r"m\.h5"):
        regraft.load_model(tmp_path / "m.h5")


@pytest.mark.parametrize("filepath", [3, None, b"bytes"])
def test_path_of_another_type_is_a_type_error(filepath: Any) -> None:
    with pytest.raises(TypeError, match="Invalid `filepath`"):
        regraft.load_model(filepath)
    with pytest.raises(TypeError, match="Invalid `filepath`"):
        regraft.save_model(_model(), filepath)


@pytest.mark.parametrize("name", FORMATS)
def test_unbuilt_model_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    unbuilt = keras.Sequential([layers.Dense(2)])
    with pytest.raises(ValueError, match=r"cannot be saved.*model\.build"):
        regraft.save_model(unbuilt, tmp_path / name)
    with pytest.raises(ValueError, match=r"as opposed to `model\.call"):
        regraft.save_model(Doubled(2), tmp_path / name)


def test_subclassed_model_as_hdf5_is_not_implemented(tmp_path: Path) -> None:
    model = Doubled(2)
    model(INPUTS)
    with pytest.raises(NotImplementedError, match=r"save_format='tf'"):
        regraft.save_model(model, tmp_path / "m.h5")


def test_subclassed_model_comes_back_with_its_class(tmp_path: Path) -> None:
    model = Doubled(2)
    expected = model.predict(INPUTS, verbose=0)
    regraft.save_model(model, tmp_path / "m")
    loaded = regraft.load_model(tmp_path / "m", custom_objects={"Doubled": Doubled})
    assert type(loaded) is Doubled
    np.testing.assert_array_equal(loaded.predict(INPUTS, verbose=0), expected)


def test_subclassed_model_that_was_loaded_is_saved_with_its_functions(
    tmp_path: Path,
) -> None:
    model = Doubled(2)
    expected = model.predict(INPUTS, verbose=0)
    regraft.save_model(model, tmp_path / "once")
    loaded = regraft.load_model(tmp_path / "once", custom_objects={"Doubled": Doubled})
    regraft.save_model(loaded, tmp_path / "twice")
    signature = regraft.load(tmp_path / "twice").signatures["serving_default"]
    # The batch of the first call is one of many.
    assert signature.inputs["input_1"].shape.dims == (None, 3)
    outputs = keras.ops.convert_to_numpy(signature(INPUTS)["output_1"])
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)


def test_saved_model_that_keras_did_not_write_points_to_load(
    tmp_path: Path, peer: Peer
) -> None:
    peer.call("modules.save_module", tmp_path / "module")
    with pytest.raises(
        ValueError, match=r"Unable to create a Keras model.*regraft\.load"
    ):
        regraft.load_model(tmp_path / "module")


@pytest.mark.parametrize("name", FORMATS)
def test_report_names_layers_and_optimizer(tmp_path: Path, name: str) -> None:
    regraft.save_model(_model(), tmp_path / name)
    report = regraft.load_report(regraft.load_model(tmp_path / name))
    assert [layer.class_name for layer in report.layers] == [
        "InputLayer",
        "Dense",
        "Dropout",
        "Dense",
    ] or [layer.class_name for layer in report.layers] == ["Dense", "Dropout", "Dense"]
    assert "Adam" in report.optimizer
    assert report.complete
    assert "dense_1" in str(report)
    assert "<pre" in report._repr_html_()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [True, False])
def test_report_counts_what_each_layer_got(
    tmp_path: Path, name: str, kept: bool
) -> None:
    model = _model()
    model.layers[-1].trainable = False
    model.compile(keras.optimizers.Adam(0.01, use_ema=True), "mse")
    model.train_on_batch(INPUTS, TARGETS)
    regraft.save_model(model, tmp_path / name, include_optimizer=kept)
    report = regraft.load_report(regraft.load_model(tmp_path / name))
    counts = {entry.name: (entry.weights, entry.slots) for entry in report.layers}
    # Adam's two moments and the average, of the kernel and the bias.
    assert counts[model.layers[0].name] == (2, 6 if kept else 0)
    assert counts[model.layers[-1].name] == (2, 0)
    assert "Slots" in str(report)


def test_model_of_another_origin_has_no_report() -> None:
    with pytest.raises(ValueError, match="no load report"):
        regraft.load_report(_model())


@pytest.mark.parametrize("name", FORMATS)
def test_weights_load_into_a_built_model(tmp_path: Path, name: str) -> None:
    saved, other = _model(), _model(steps=9)
    regraft.save_model(saved, tmp_path / name)
    regraft.load_weights(other, tmp_path / name)
    np.testing.assert_array_equal(
        other.predict(INPUTS, verbose=0), saved.predict(INPUTS, verbose=0)
    )


@pytest.mark.parametrize("name", FORMATS)
def test_weights_of_another_shape_are_named(tmp_path: Path, name: str) -> None:
    regraft.save_model(_model(), tmp_path / name)
    other = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4), layers.Dropout(0.1), layers.Dense(5)]
    )
    before = other.layers[-1].get_weights()
    with pytest.raises(MismatchError, match=r"\(4, 5\).*\(4, 2\)"):
        regraft.load_weights(other, tmp_path / name)
    with pytest.warns(UserWarning, match="Skipped"):
        regraft.load_weights(other, tmp_path / name, skip_mismatch=True)
    np.testing.assert_array_equal(other.layers[-1].get_weights()[0], before[0])


class _OwnWeight(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2)

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.own = self.add_weight(shape=(2,), name="own", initializer="ones")
        self.dense.build(shape)

    def call(self, x: Any) -> Any:
        return self.dense(x) + self.own


def test_weights_that_tensorflow_2_5_left_out_are_named(tmp_path: Path) -> None:
    """Its HDF5 files have no `top_level_model_weights`."""
    kernel, bias = np.full((3, 2), 5.0, "float32"), np.full(2, 7.0, "float32")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "2.5.0"
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"m/dense/kernel:0", b"m/dense/bias:0"]
        group["m/dense/kernel:0"], group["m/dense/bias:0"] = kernel, bias
    model = _OwnWeight()
    model.build((None, 3))
    with pytest.raises(MismatchError, match="top_level_model_weights/own"):
        regraft.load_weights(model, tmp_path / "w.h5")
    with pytest.warns(UserWarning, match="own': the file has no value"):
        regraft.load_weights(model, tmp_path / "w.h5", skip_mismatch=True)
    np.testing.assert_array_equal(model.dense.kernel, kernel)
    np.testing.assert_array_equal(model.own, [1, 1])


def test_a_save_that_fails_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _model()
    regraft.save_model(model, tmp_path / "m")
    names = sorted(os.listdir(tmp_path))
    from regraft.model.values import KerasVariableTensor

    def fail(self: KerasVariableTensor) -> np.ndarray:
        raise OSError("disk full")

    monkeypatch.setattr(KerasVariableTensor, "read", fail)
    with pytest.raises(OSError, match="disk full"):
        regraft.save_model(_model(steps=7), tmp_path / "m")
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path)) == names
    np.testing.assert_array_equal(
        regraft.load_model(tmp_path / "m").predict(INPUTS, verbose=0),
        model.predict(INPUTS, verbose=0),
    )


def test_identical_models_give_identical_bytes(tmp_path: Path) -> None:
    regraft.save_model(_model(), tmp_path / "a")
    keras.utils.clear_session()
    regraft.save_model(_model(), tmp_path / "b")
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert other.read_bytes() == path.read_bytes(), path.name


def test_loaded_model_saves_to_the_same_bytes(tmp_path: Path) -> None:
    regraft.save_model(_model(), tmp_path / "a")
    regraft.save_model(regraft.load_model(tmp_path / "a"), tmp_path / "b")
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert other.read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("compile", [True, False])
def test_loading_runs_no_initializer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compile: bool
) -> None:
    regraft.save_model(_model(), tmp_path / "m")

    def fail(self: Any, shape: Any, dtype: Any = None) -> None:
        raise AssertionError("an initializer ran")

    names = ["GlorotUniform", "VarianceScaling", "Ones"]
    # Keras' metrics, which count from zero, are made with the model's compilation.
    names += [] if compile else ["Zeros"]
    for name in names:
        monkeypatch.setattr(getattr(keras.initializers, name), "__call__", fail)
    assert regraft.load_model(tmp_path / "m", compile=compile).built


def test_loading_a_stateful_layer_runs_no_initializer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = keras.layers.Bidirectional(keras.layers.GRU(3, stateful=True))
    model = keras.Sequential([keras.Input((4, 2), batch_size=2), layer])
    regraft.save_model(model, tmp_path / "m")
    initializer = keras.initializers.GlorotUniform
    monkeypatch.setattr(initializer, "__call__", lambda *_, **__: 1 / 0)
    loaded = regraft.load_model(tmp_path / "m")
    x = np.ones((2, 4, 2), "float32")
    for _ in range(2):  # From the states that the first call left.
        found, expected = map(keras.ops.convert_to_numpy, (loaded(x), model(x)))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["model", "model.h5"])
@pytest.mark.parametrize("whole", [True, False])
def test_frozen_layers_and_weights_stay_frozen(
    name: str, whole: bool, tmp_path: Path
) -> None:
    """A weight that is frozen by itself too, which comes after the others in HDF5."""
    model = _model()
    model.layers[0].trainable = not whole
    model.layers[-1].kernel.trainable = False
    model.compile("sgd", "mse")
    regraft.save_model(model, tmp_path / name)
    loaded = regraft.load_model(tmp_path / name)
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    assert loaded.layers[0].trainable is not whole
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["model", "model.h5"])
@pytest.mark.parametrize("late", [False, True])
def test_frozen_layer_trains_as_before_what_it_holds_inside(
    name: str, late: bool, tmp_path: Path
) -> None:
    """Keras 3 trains the cell of a layer that was made with `trainable=False`."""
    wrapped = keras.layers.Bidirectional(keras.layers.LSTM(2), trainable=late)
    inputs = keras.Input((3, 4))
    attended = keras.layers.MultiHeadAttention(2, 2, trainable=False)(inputs, inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(wrapped(attended)))
    if late:
        wrapped.trainable = False
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    x, y = np.ones((2, 3, 4), "float32"), np.ones((2, 1), "float32")
    model.train_on_batch(x, y)
    regraft.save_model(model, tmp_path / name)
    again = regraft.load_model(tmp_path / name)
    paths = [variable.path for variable in model.trainable_variables]
    assert [variable.path for variable in again.trainable_variables] == paths
    model.train_on_batch(x, y)
    again.train_on_batch(x, y)
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_weights_of_keras_3_and_of_keras_2_are_told_apart_by_what_they_hold(
    tmp_path: Path,
) -> None:
    model = _model()
    model.save_weights(tmp_path / "three.weights.h5")
    regraft.save_model(model, tmp_path / "m.h5")
    # Keras 2 gave its own files whatever name it was told.
    two = (tmp_path / "m.h5").rename(tmp_path / "two.weights.h5")
    regraft.install()
    try:
        for path in (tmp_path / "three.weights.h5", two):
            fresh = _model(steps=1)
            fresh.set_weights([np.zeros_like(array) for array in fresh.get_weights()])
            fresh.load_weights(path, False)
            for ours, theirs in zip(
                fresh.get_weights(), model.get_weights(), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)
    finally:
        regraft.uninstall()


def test_inspect_says_that_a_keras_file_is_no_file_for_it(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    _model().save(path)
    with pytest.raises(FormatError, match=r"zip archive, as `\.keras` files are"):
        regraft.inspect(path)


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m/saved_model.pb"])
def test_pointer_of_git_lfs_is_called_that(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{'0a' * 32}\nsize 98765\n"
    )
    path = tmp_path / name.partition("/")[0]
    for verb in (regraft.inspect, regraft.load_model):
        with pytest.raises(FormatError, match=r"pointer of Git LFS.*git lfs pull"):
            verb(path)


@pytest.mark.parametrize("shard", ["index", "data-00000-of-00001"])
def test_pointer_in_place_of_a_models_variables(tmp_path: Path, shard: str) -> None:
    regraft.save_model(_model(), tmp_path / "m")
    (tmp_path / "m" / "variables" / f"variables.{shard}").write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{'0a' * 32}\nsize 98765\n"
    )
    with pytest.raises(FormatError, match="pointer of Git LFS"):
        regraft.load_model(tmp_path / "m")
