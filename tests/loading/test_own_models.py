"""Models of own classes and at kinks, where libraries choose a gradient."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from promises.checks import again, assert_same, file_of
from regraft.storage.saved_model_directory import read_saved_model_directory

pytestmark = pytest.mark.peer


def _saved(peer: Peer, case: str, path: Path, **keywords: Any) -> dict[str, Any]:
    return peer.call("own_models.save", case, str(path), **keywords)


@pytest.mark.parametrize(
    ("case", "save_format"),
    [
        ("kinks_in_a_layer", "tf"),
        ("kinks_in_operations", "tf"),
        ("kinks_in_operations", "h5"),
        ("rounding_to_a_grid", "tf"),
        ("kink_of_leaky_units", "tf"),
        ("kink_of_leaky_units", "h5"),
        ("kinks_of_stock_layers", "tf"),
        ("kinks_of_stock_layers", "h5"),
        ("own_model_at_the_end", "tf"),
        ("more_losses_than_outputs", "tf"),
        ("more_losses_than_outputs", "h5"),
        ("outputs_within_outputs", "tf"),
        ("special_functions", "tf"),
    ],
)
def test_model_computes_and_steps_as_it_did(
    case: str, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, case, path, save_format=save_format)
    assert_same(regraft.load_model(path), theirs)


def test_weights_keep_the_order_that_they_had(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "weights_in_an_order_of_their_own", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(again(model, tmp_path / "again"), theirs)
    assert_same(model, theirs)


class Normed(keras.layers.Layer):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = keras.layers.Dense(4)
        self.norm = keras.layers.BatchNormalization()

    def build(self, shape: Any) -> None:
        self.dense.build(shape)
        self.norm.build((*shape[:-1], 4))

    def call(self, inputs: Any) -> Any:
        return self.norm(self.dense(inputs))


class Untold(keras.Model):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.frozen = keras.layers.BatchNormalization()
        self.normed = Normed()
        self.last = keras.layers.BatchNormalization()

    def call(self, inputs: Any) -> Any:
        return self.last(self.normed(self.frozen(inputs, training=False)))


def test_layers_that_are_not_told_so_train_in_a_step(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "own_model_that_hands_no_training_on", tmp_path / "m")
    classes = {"Untold": Untold, "Normed": Normed}
    for found in (classes, {}):
        model = regraft.load_model(tmp_path / "m", custom_objects=found)
        assert isinstance(model, Untold) is bool(found)
        assert_same(model, theirs)


def test_leaky_units_are_one_op_where_they_are_saved_again(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "kink_of_leaky_units", tmp_path / "m")
    assert_same(again(regraft.load_model(tmp_path / "m"), tmp_path / "again"), theirs)
    saved = read_saved_model_directory(tmp_path / "again").saved_model
    functions = saved.meta_graphs[0].graph_def.library.function
    found = {node.op for function in functions for node in function.node_def}
    assert "LeakyRelu" in found
    assert not found & {"Select", "SelectV2"}


def test_stock_layers_with_kinks_are_saved_again(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "kinks_of_stock_layers", tmp_path / "m")
    assert_same(again(regraft.load_model(tmp_path / "m"), tmp_path / "again"), theirs)
    outputs, _ = peer.call(
        "saved_functions.call", str(tmp_path / "again"), theirs["inputs"]
    )
    np.testing.assert_allclose(
        outputs[0], keras.tree.flatten(theirs["outputs"])[0], atol=1e-6
    )


@pytest.mark.parametrize(
    "loss", ["mae", "MAPE", "cosine_similarity", "mean_absolute_error", "hinge"]
)
def test_loss_where_an_output_is_right_has_tensorflows_gradient(
    loss: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "outputs_that_are_right", tmp_path / "m", loss=loss)
    assert_same(regraft.load_model(tmp_path / "m"), theirs)


@pytest.mark.parametrize(
    "loss", ["hinge", "Hinge", "categorical_hinge", "CategoricalHinge", "squared_hinge"]
)
def test_hinge_has_tensorflows_gradient_where_a_margin_is_just_kept(
    loss: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "margins_that_are_just_kept", tmp_path / "m", loss=loss)
    model = regraft.load_model(tmp_path / "m")
    assert_same(again(model, tmp_path / "again"), theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("loss", ["MeanSquaredError", "BinaryCrossentropy", "Hinge"])
@pytest.mark.parametrize("name", ["again", "again.h5"])
def test_steps_take_the_sum_of_losses_that_nothing_reduces_and_show_their_mean(
    loss: str, name: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "losses_per_example", tmp_path / "m", loss=loss)
    model = regraft.load_model(tmp_path / "m")
    assert_same(again(model, tmp_path / name), theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("name", ["again", "again.h5"])
@pytest.mark.parametrize(
    "case",
    [
        "network_of_steps_in_a_time_distributed",
        "network_of_rows_called_with_steps",
        "inputs_of_another_rank",
    ],
)
def test_networks_take_inputs_of_ranks_that_their_layers_take(
    case: str, name: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, case, tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(again(model, tmp_path / name), theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("implementation", [1, 2, 3])
@pytest.mark.parametrize("name", ["again", "again.h5"])
def test_tf_keras_opens_locally_connected_layers_that_are_saved_again(
    name: str, implementation: int, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(
        peer, "locally_connected", tmp_path / "m", implementation=implementation
    )
    model = regraft.load_model(tmp_path / "m")
    regraft.save_model(model, tmp_path / name)
    assert_same(regraft.load_model(tmp_path / name), theirs)
    x, y = theirs["batch"]
    path = str(tmp_path / name)
    answer = peer.call("keras_models.load_predict_train", path, x, [(x, y)])
    np.testing.assert_allclose(answer["losses"], [theirs["loss"]], rtol=1e-5)
    (predictions,) = answer["predictions"]
    np.testing.assert_allclose(predictions, theirs["outputs"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["words", "inverse", "integers", "text"])
def test_vocabulary_files_are_numbered_after_the_special_tokens(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(
        peer, "vocabulary_files", tmp_path / "m", kind=kind, folder=str(tmp_path)
    )
    (tmp_path / "vocabulary.txt").unlink()
    model = regraft.load_model(tmp_path / "m")
    for name in (None, "again"):
        if name is not None:
            regraft.save_model(model, tmp_path / name)
            model = regraft.load_model(tmp_path / name)
        found = np.asarray(model(theirs["inputs"]))
        assert found.tolist() == theirs["outputs"].tolist()
    signature = regraft.load(tmp_path / "m").signatures["serving_default"]
    (found,) = signature(theirs["inputs"]).values()
    assert np.asarray(found).tolist() == theirs["outputs"].tolist()


def test_weights_of_one_name_are_all_weights(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "own_weights_of_one_name", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(again(model, tmp_path / "again"), theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_layers_cast_their_first_argument_alone(
    policy: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "arguments_of_two_dtypes", tmp_path / "m", policy=policy)
    model = regraft.load_model(tmp_path / "m")
    assert not regraft.load_report(model).notes
    regraft.save_model(model, tmp_path / "again")
    served = peer.call(
        "keras_models.predict", str(tmp_path / "again"), theirs["inputs"]
    )
    for ours in (model(theirs["inputs"]), served):
        ours = keras.tree.flatten(ours)[0]
        np.testing.assert_allclose(ours, theirs["outputs"], rtol=1e-2, atol=1e-2)


def test_functions_of_mixed_precision_read_weights_as_they_are(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "mixed_precision_of_words", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    model = again(model, tmp_path / "again")
    model.train_on_batch(*theirs["batch"])
    named = {v.path: np.asarray(v) for v in model.weights}
    for (name, *_), value in zip(theirs["weights"], theirs["after"], strict=True):
        if "moving" in name:
            np.testing.assert_allclose(named[name.partition(":")[0]], value, rtol=1e-4)


def test_functions_beside_call_are_attributes(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "functions_beside_call", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert np.asarray(model.lengths(np.array([b"a", b"ccc"]))).tolist() == [1, 3]
    inputs, _ = theirs["batch"]
    for calls in (2, 3):
        found = model.encode(inputs)
        assert float(found["calls"]) == float(np.asarray(model.calls)) == calls
        np.testing.assert_allclose(
            found["code"], model.get_layer("dense")(inputs), rtol=1e-5
        )
        model.train_on_batch(*theirs["batch"])
    encode = regraft.export_signature(
        model.encode, [keras.InputSpec("float32", (None, 3), name="x")]
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        regraft.save_model(model, tmp_path / "again", signatures={"encode": encode})
    (text,) = (str(one.message) for one in said if one.category is UserWarning)
    assert "'encode', 'finalize_state', 'lengths' are left out" in text
    served = regraft.load(tmp_path / "again").signatures["encode"](x=inputs)
    np.testing.assert_allclose(
        served["code"], model.get_layer("dense")(inputs), rtol=1e-5
    )
