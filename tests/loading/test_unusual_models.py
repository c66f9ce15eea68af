"""Calls of layers that configs and traces only just hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from promises.checks import (
    again,
    assert_same,
    assert_same_outputs,
    assert_same_step,
    assert_same_weights,
    file_of,
)
from regraft import _compat
from regraft.errors import UnsupportedError

pytestmark = pytest.mark.peer


# These are saved again with a warning that says what their functions lack.
WARNED_OF = {"numbers_beside_tensors", "adapted_first_on_images"}


def _saved(peer: Peer, case: str, path: Path, **keywords: Any) -> dict[str, Any]:
    return peer.call("unusual_models.save", case, str(path), **keywords)


@pytest.mark.parametrize(
    ("case", "save_format"),
    [
        ("constant_among_inputs", "tf"),
        ("constant_among_inputs", "h5"),
        ("chain_of_nothing", "tf"),
        ("chain_of_nothing", "h5"),
        ("lookup_into_a_network", "tf"),
        ("lookup_into_a_network", "h5"),
        ("plain_wrapper", "tf"),
        ("plain_wrapper", "h5"),
        ("keys_that_are_no_names", "tf"),
        ("keys_that_are_no_names", "h5"),
        ("list_of_one", "tf"),
        ("ragged_between_layers_of_a_chain", "tf"),
        ("dtype_as_argument", "tf"),
        ("numbers_beside_tensors", "tf"),
        ("activity_regularizer_of_its_own", "tf"),
        ("mask_for_its_own_layer", "tf"),
        ("loss_in_training", "tf"),
        ("module_among_layers", "tf"),
        ("layer_in_a_module", "tf"),
        ("classes_out_of_a_loop", "tf"),
        ("classes_out_of_a_loop", "h5"),
        ("lists_of_one_cell", "tf"),
        ("lists_of_one_cell", "h5"),
        ("element_at_an_input", "tf"),
        ("element_at_an_input", "h5"),
        ("slash_in_the_name_of_a_weight", "tf"),
        ("model_made_not_to_be_trained", "tf"),
        ("model_made_not_to_be_trained", "h5"),
        ("adapted_first", "tf"),
        ("adapted_first", "h5"),
        ("adapted_first_on_images", "tf"),
        ("adapted_first_on_images", "h5"),
        ("frozen_backward_layer", "tf"),
        ("layer_without_functions", "tf"),
        ("rows_that_a_config_leaves_open", "tf"),
        ("rows_that_a_config_leaves_open", "h5"),
        ("resizing_as_only_tensorflow_does", "tf"),
        ("resizing_as_only_tensorflow_does", "h5"),
        ("input_of_a_type_spec", "tf"),
        ("input_of_a_type_spec", "h5"),
        ("moments_along_several_axes", "tf"),
        ("moments_along_several_axes", "h5"),
        ("dtype_before_a_cast", "tf"),
        ("statistics_over_replicas", "tf"),
        ("statistics_over_replicas", "h5"),
        ("layers_as_activations", "tf"),
        ("layers_as_activations", "h5"),
        ("identity_beside_its_initializer", "tf"),
        ("identity_beside_its_initializer", "h5"),
        ("masks_of_softmaxes", "tf"),
        ("masks_of_softmaxes", "h5"),
        ("indices_of_outputs_that_may_be_zero", "tf"),
        ("indices_of_outputs_that_may_be_zero", "h5"),
        ("base_that_stays_in_inference", "tf"),
        ("base_that_stays_in_inference", "h5"),
        ("rows_in_their_place_behind_a_mask", "tf"),
        ("rows_in_their_place_behind_a_mask", "h5"),
        ("loss_per_example", "tf"),
        ("losses_of_layers_called_twice", "tf"),
        ("losses_of_layers_called_twice", "h5"),
        ("masked_queries", "tf"),
        ("masked_queries", "h5"),
        ("masked_steps_of_a_cell_of_ones_own", "tf"),
        ("directions_of_two_layers", "tf"),
        ("directions_of_two_layers", "h5"),
        ("forward_layer_that_goes_backwards", "tf"),
        ("forward_layer_that_goes_backwards", "h5"),
        ("masks_out_of_networks_and_into_them", "tf"),
        ("masks_out_of_networks_and_into_them", "h5"),
        ("slots_of_some_weights", "tf"),
        ("slots_of_some_weights", "h5"),
        ("windows_and_heads", "tf"),
        ("windows_and_heads", "h5"),
        ("few_places", "tf"),
        ("regularizers_of_frozen_weights", "tf"),
        ("regularizers_of_frozen_weights", "h5"),
        ("regularizers_of_frozen_weights_of_ones_own", "tf"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_model_computes_and_steps_as_it_did(
    case: str, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, case, path, save_format=save_format)
    model = regraft.load_model(path)
    if case not in WARNED_OF:
        assert_same(again(model, tmp_path / "again"), theirs)
    assert_same(model, theirs)


def test_shapes_in_configs_are_saved_again(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "shape_in_a_config", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(again(model, tmp_path / "again"), theirs)
    wanted = {"query": [{"class_name": "TensorShape", "items": [None, 3]}]}
    for name in ("m", "again"):
        found = regraft.load_model(tmp_path / name).get_layer("shaped").get_config()
        assert found["shape"] == wanted


@pytest.mark.parametrize("save_format", ["tf", "h5"])
def test_images_are_cut_in_windows_whatever_their_size(
    save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, "windows_of_any_image", path, save_format=save_format)
    model = regraft.load_model(path)
    assert not regraft.load_report(model).notes
    assert_same(model, theirs)


@pytest.mark.parametrize("case", ["steps_counted", "sizes_counted"])
@pytest.mark.parametrize("save_format", ["tf", "h5"])
def test_sizes_that_a_network_counts_stay_open(
    case: str, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, case, path, save_format=save_format)
    model = regraft.load_model(path)
    assert_same(again(model, tmp_path / "again"), theirs)
    found, _ = peer.call(
        "saved_functions.call", str(tmp_path / "again"), theirs["longer"]
    )
    np.testing.assert_allclose(found[0], theirs["their"], atol=1e-5)
    assert_same(model, theirs)


def test_network_with_a_layer_without_functions_says_that_it_runs_as_a_whole(
    tmp_path: Path, peer: Peer
) -> None:
    _saved(peer, "layer_without_functions", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "runs as a whole" in note
    assert "Scaled" in note


@pytest.mark.parametrize("save_format", ["tf", "h5"])
def test_random_images_make_no_other_layer_train(
    save_format: str, tmp_path: Path, peer: Peer
) -> None:
    case = "images_made_random_in_the_model"
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, case, path, save_format=save_format)
    model = regraft.load_model(path)
    for each in (model, again(model, tmp_path / "again"), model):
        assert_same_outputs(each, theirs)
        assert_same_weights(each, theirs)


@pytest.mark.parametrize("save_format", ["tf", "h5"])
def test_each_output_of_one_layer_has_its_own_loss(
    save_format: str, tmp_path: Path, peer: Peer
) -> None:
    case = "layer_that_makes_two_outputs"
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, case, path, save_format=save_format)
    model = regraft.load_model(path)
    for each in (again(model, tmp_path / "again"), model):
        x, y = theirs["batch"]
        logs = each.test_on_batch(x, y, return_dict=True)
        assert logs == pytest.approx(theirs["logs"], rel=1e-5)
        assert_same(each, theirs)


@pytest.mark.parametrize("named", [False, True])
def test_examples_are_weighed_for_the_outputs_that_are_named(
    named: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "weights_for_some_outputs", tmp_path / "m", named=named)
    x, y = theirs["given"]
    for weights, logs in zip(theirs["weighed"], theirs["logs"], strict=True):
        model = regraft.load_model(tmp_path / "m")
        found = model.test_on_batch(x, y, weights, return_dict=True)
        assert found == pytest.approx(logs, rel=1e-5)
        batches = (batch for batch in [(x, y, weights)])
        found = model.evaluate(batches, steps=1, return_dict=True, verbose=0)
        assert found == pytest.approx(logs, rel=1e-5)


@pytest.mark.parametrize("save_format", ["tf", "h5"])
def test_directions_stay_frozen_and_get_their_own_weights(
    save_format: str, tmp_path: Path, peer: Peer
) -> None:
    """An HDF5 file lists what is trained first; no config says what is frozen."""
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, "frozen_directions", path, save_format=save_format)
    model = regraft.load_model(path)
    assert_same_outputs(model, theirs)
    model.train_on_batch(*theirs["batch"])
    both = model.layers[0].layers
    listed = [d for b in both for d in (b.backward_layer, b.forward_layer)]
    ours = [v for layer in [*listed, model.layers[1]] for v in layer.weights]
    for variable, expected in zip(ours, theirs["after"], strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-6)


class Adding(keras.layers.Layer):
    """A recurrent cell."""

    def __init__(self, units: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.units = self.state_size = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, inputs: Any, states: Any) -> Any:
        state = keras.ops.tanh(inputs @ self.kernel) + 0.5 * states[0]
        return state, [state]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("save_traces", [False, True])
def test_cell_of_a_class_that_is_given_runs_both_ways(
    stacked: bool, save_traces: bool, tmp_path: Path, peer: Peer
) -> None:
    keywords = {"stacked": stacked, "both_ways": True, "save_traces": save_traces}
    theirs = _saved(peer, "cell_of_its_own", tmp_path / "m", **keywords)
    model = regraft.load_model(tmp_path / "m", custom_objects={"Adding": Adding})
    assert not regraft.load_report(model).notes
    assert_same(model, theirs)


class Doubling(keras.layers.Layer):
    state_size = output_size = 4

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")

    def call(self, inputs: Any, states: Any) -> Any:
        state = keras.ops.tanh(inputs @ self.kernel + states[0])
        return 2.0 * state, [state]


@pytest.mark.parametrize("save_format", ["tf", "h5"])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("stacked", [False, True])
def test_masked_steps_repeat_the_output_of_a_cell_of_a_given_class(
    stacked: bool, sequences: bool, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    keywords = {"stacked": stacked, "sequences": sequences, "save_format": save_format}
    theirs = _saved(peer, "masked_steps_of_cells_of_ones_own", path, **keywords)
    known = {"Doubling": Doubling}
    model = regraft.load_model(path, custom_objects=known)
    second = tmp_path / f"again{path.suffix}"
    regraft.save_model(model, second)
    assert_same(regraft.load_model(second, custom_objects=known), theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("stacked", [False, True])
def test_recurrent_layer_with_a_cell_that_nobody_has_runs_from_its_own_traces(
    stacked: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "cell_of_its_own", tmp_path / "m", stacked=stacked)
    model = regraft.load_model(tmp_path / "m")
    assert_same(model, theirs)
    report = {entry.name: entry for entry in regraft.load_report(model).layers}
    assert report["rnn"].class_name == "RNN"
    assert "traces" in report["rnn"].source


@pytest.mark.parametrize("save_format", ["tf", "h5"])
def test_added_loss_is_shown_as_its_mean_and_stepped_by_its_sum(
    save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, "loss_per_example", path, save_format=save_format)
    model = regraft.load_model(path)
    assert_same_outputs(model, theirs, training=False)
    assert_same_step(model, theirs)


@pytest.mark.parametrize("nested", [False, True])
def test_mask_that_only_code_makes_is_in_the_traces_of_the_whole(
    nested: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "mask_of_its_own", tmp_path / "m", nested=nested)
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "runs as a whole from its traced functions" in note
    last = model.get_layer("last")
    assert (last.get_layer("last") if nested else last).units == 2
    assert_same_outputs(model, theirs, training=False)
    found = model.predict(theirs["inputs"], verbose=0)
    np.testing.assert_allclose(found, theirs["outputs"], rtol=1e-5, atol=1e-6)
    regraft.save_model(model, tmp_path / "again")
    again = regraft.load_model(tmp_path / "again")
    assert_same_outputs(again, theirs, training=False)
    assert_same_step(model, theirs)


def test_chain_whose_mask_only_code_makes_runs_as_a_whole(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "mask_that_a_chain_needs", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "runs as a whole from its traced functions" in note
    for one in (again(model, tmp_path / "again"), model):
        assert_same_outputs(one, theirs, training=False)
        assert_same_step(one, theirs)


@pytest.mark.parametrize("pools", [False, True])
def test_mask_that_a_missing_class_makes_within_is_said_to_be_lost(
    pools: bool, tmp_path: Path, peer: Peer
) -> None:
    """Keras 2 loses it as well: its functions of layers and of the whole have none."""
    theirs = _saved(peer, "mask_of_a_table_within", tmp_path / "m", pools=pools)
    model = regraft.load_model(tmp_path / "m")
    notes = regraft.load_report(model).notes
    if pools:
        assert not notes
        assert_same_outputs(model, theirs, training=False)
    else:
        (note,) = notes
        assert "'within'" in note
        assert "layers after it see none" in note


def test_masks_that_a_missing_class_of_a_model_makes_are_said_to_be_lost(
    tmp_path: Path, peer: Peer
) -> None:
    """Keras 2 loses them in the functions of the model, and has them in signatures."""
    theirs = _saved(peer, "masks_within_a_model", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "makes masks, which TensorFlow leaves out" in note
    assert np.max(np.abs(np.asarray(model(theirs["inputs"])) - theirs["outputs"])) > 0.1
    serve = regraft.load(tmp_path / "m").signatures["serving_default"]
    (found,) = serve(theirs["inputs"]).values()
    np.testing.assert_allclose(found, theirs["outputs"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("adds", [False, True])
def test_model_whose_steps_had_a_loss_of_their_own_is_said_to_train_nothing(
    adds: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "steps_without_a_loss", tmp_path / "m", adds=adds)
    model = regraft.load_model(tmp_path / "m")
    assert model.compiled
    assert_same_outputs(model, theirs, training=False)
    notes = [str(note) for note in regraft.load_report(model).notes]
    assert any("Steps here train nothing" in note for note in notes) is not adds
    before = [np.array(value) for value in model.get_weights()]
    model.fit(theirs["inputs"], verbose=0)
    moved = [
        bool(np.any(np.asarray(now) != old))
        for now, old in zip(model.get_weights(), before, strict=True)
    ]
    assert any(moved) is adds


def test_constant_that_no_tensor_can_be_is_refused(tmp_path: Path, peer: Peer) -> None:
    _saved(peer, "ragged_constant", tmp_path / "m.h5", save_format="h5")
    with pytest.raises(UnsupportedError, match="'add' is called with a constant"):
        regraft.load_model(tmp_path / "m.h5")


def test_whole_numbers_in_ragged_rows_are_cast_as_in_tensors(
    tmp_path: Path, peer: Peer
) -> None:
    """Keras 2 casts what a model is called with to the dtype of its inputs."""
    _saved(peer, "ragged_numbers", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    rows = np.array([1, 2, 3], "int32"), np.array([0, 2, 3])
    for found in (model(rows), model.predict(rows, verbose=0)):
        np.testing.assert_array_equal(found.flat_values, [2.0, 4.0, 6.0])
        assert str(found.flat_values.dtype) == "float32"


def test_rows_of_a_ragged_input_are_counted_when_it_is_saved_again(
    tmp_path: Path, peer: Peer
) -> None:
    """There are as many values as there are, and one more split than rows."""
    theirs = _saved(peer, "where_ragged_rows_start", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    regraft.save_model(model, tmp_path / "again")
    for one in (model, regraft.load_model(tmp_path / "again")):
        found = one(theirs["inputs"])
        for ours, expected in zip(found, theirs["outputs"], strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_sparse_output_of_a_network_is_whole(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "sparse_output", tmp_path / "m")
    found = regraft.load_model(tmp_path / "m")(theirs["inputs"])
    for ours, expected in zip(found, theirs["parts"], strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_slice_that_an_input_bounds_is_predicted_step_by_step(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "slice_that_an_input_bounds", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    found = model.predict(theirs["inputs"], verbose=0)
    np.testing.assert_array_equal(found, theirs["outputs"])


def test_class_that_reads_features_is_saved_again(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "features_of_a_class", tmp_path / "m")
    regraft.save_model(regraft.load_model(tmp_path / "m"), tmp_path / "again")
    assert_same(regraft.load_model(tmp_path / "again"), theirs)


def test_counter_of_64_bits_is_loaded_without_a_warning(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "wide_counter", tmp_path / "m")
    assert_same(regraft.load_model(tmp_path / "m"), theirs)


@pytest.mark.parametrize(
    ("case", "save_format"),
    [
        ("steps_of_regularized_outputs", "tf"),
        ("steps_of_regularized_outputs", "h5"),
        ("steps_of_a_normalized_batch", "h5"),
        ("steps_of_a_network", "tf"),
        ("steps_of_a_network", "h5"),
        ("steps_of_masked_sequences", "h5"),
        ("steps_of_tokens", "tf"),
        ("steps_of_tokens", "h5"),
        ("steps_of_several_inputs", "h5"),
    ],
)
def test_time_distributed_layer_computes_and_steps_as_keras_2(
    case: str, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(peer, case, path, save_format=save_format)
    model = regraft.load_model(path)
    assert_same(model, theirs)
    # The calls that make masks are no layers of the file that is written.
    before = keras.ops.convert_to_numpy(model(theirs["inputs"], training=False))
    again = tmp_path / ("again.h5" if save_format == "h5" else "again")
    regraft.save_model(model, again)
    after = regraft.load_model(again)(theirs["inputs"], training=False)
    np.testing.assert_allclose(np.asarray(after), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("save_format", ["h5", "tf"])
def test_stateful_layer_in_time_distributed_goes_on_from_step_to_step(
    save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    theirs = _saved(
        peer, "steps_that_go_on", path, save_format=save_format, save_traces=False
    )
    assert_same_outputs(regraft.load_model(path), theirs)


@pytest.mark.parametrize(
    ("case", "keywords"),
    [
        ("text_for_its_own_layer", {}),
        ("text_for_its_own_layer", {"sequential": True}),
        ("text_columns_without_inputs", {}),
    ],
)
def test_network_reads_text_also_where_no_layer_can_take_it(
    case: str, keywords: dict[str, Any], tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, case, tmp_path / "m", **keywords)
    model = regraft.load_model(tmp_path / "m")
    if case == "text_for_its_own_layer":
        notes = regraft.load_report(model).notes
        assert any("so that it runs step by step" in note for note in notes)
    found = model.predict(theirs["inputs"], verbose=0)
    np.testing.assert_allclose(found, theirs["outputs"], rtol=1e-5, atol=1e-6)
    assert_same_step(model, theirs)


def _assert_same_step_in_any_order(model: keras.Model, theirs: dict[str, Any]) -> None:
    """Keras 3 lists what a model owns before the weights of its layers."""
    loss = np.ravel(model.train_on_batch(*theirs["batch"]))[0]
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    ours, after = (
        sorted((np.asarray(v) for v in found), key=lambda v: (v.shape, float(v.sum())))
        for found in (model.weights, theirs["after"])
    )
    for value, expected in zip(ours, after, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("case", "keywords"),
    [
        ("linear_model", {"save_traces": False}),
        ("wide_and_deep", {"save_traces": False}),
        ("wide_and_deep", {}),
        ("wide_and_deep_inside", {}),
        ("wide_and_deep_inside", {"save_traces": False}),
        ("wide_and_deep_inside", {"save_format": "h5"}),
    ],
)
def test_models_that_keras_2_has_ready_made_come_back_and_are_saved_again(
    case: str, keywords: dict[str, Any], tmp_path: Path, peer: Peer
) -> None:
    path = tmp_path / ("m.h5" if "save_format" in keywords else "m")
    theirs = _saved(peer, case, path, **keywords)
    model = regraft.load_model(path)
    assert_same_outputs(model, theirs, training=False)
    regraft.save_model(model, tmp_path / "again")
    _assert_same_step_in_any_order(model, theirs)
    again = regraft.load_model(tmp_path / "again")
    assert_same_outputs(again, theirs, training=False)
    _assert_same_step_in_any_order(again, theirs)


@pytest.mark.parametrize("examples", [5, 3])
def test_metrics_see_targets_of_one_dimension_as_a_column(
    examples: int, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(
        *(peer, "elementwise_metrics_of_classes", tmp_path / "m.h5"),
        save_format="h5",
        examples=examples,
    )
    model = regraft.load_model(tmp_path / "m.h5")
    found = model.evaluate(*theirs["batch"], verbose=0, return_dict=True)
    assert found == pytest.approx(theirs["logs"], rel=1e-5)
    again = model.test_on_batch(*theirs["batch"], return_dict=True)
    assert {k: float(v) for k, v in again.items()} == pytest.approx(found, rel=1e-5)
    assert_same_step(model, theirs)


def test_kernel_that_training_divides_stays_divided(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "kernel_that_training_divides", tmp_path / "m")
    regraft.save_model(regraft.load_model(tmp_path / "m"), tmp_path / "again.h5")
    expected = {value.shape: value for value in theirs["after"]}
    for name in ("m", "again.h5"):
        model = regraft.load_model(tmp_path / name)
        assert not regraft.load_report(model).notes
        model.train_on_batch(*theirs["batch"])
        for variable in model.weights:
            np.testing.assert_allclose(
                np.asarray(variable), expected[tuple(variable.shape)], rtol=1e-5
            )


@pytest.mark.parametrize("scaled", [False, True])
def test_kernel_that_training_divides_keeps_its_dtype(
    scaled: bool, tmp_path: Path, peer: Peer
) -> None:
    """While its layer computes in another, also where a step may be left out."""
    keywords = {"policy": "mixed_bfloat16", "scaled": scaled}
    theirs = _saved(peer, "kernel_that_training_divides", tmp_path / "m", **keywords)
    expected = {value.shape: value for value in theirs["after"]}
    model = regraft.load_model(tmp_path / "m")
    model.train_on_batch(*theirs["batch"])
    for variable in model.weights:
        value = np.asarray(variable.value)
        assert value.dtype == variable.dtype
        after = expected[value.shape]
        np.testing.assert_allclose(value, after, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "clips",
    [
        {"clipnorm": 0.5},
        {"clipvalue": 0.01},
        {"global_clipnorm": 0.5},
        {"clipnorm": 0.5, "regularizer": "l2"},
    ],
    ids=" ".join,
)
def test_rows_that_are_used_twice_are_clipped_apart(
    clips: dict[str, Any], legacy: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "clipped_rows", tmp_path / "m", legacy=legacy, **clips)
    regraft.save_model(regraft.load_model(tmp_path / "m"), tmp_path / "again.h5")
    for name in ("m", "again.h5"):
        model = regraft.load_model(tmp_path / name)
        assert not regraft.load_report(model).notes
        assert_same_step(model, theirs)


def test_rows_that_are_looked_up_in_a_loop_are_said_to_be_clipped_together(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "clipped_rows_elsewhere", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "TensorFlow clips the gradient of an Embedding before it adds up" in note
    model.train_on_batch(*theirs["batch"])


@pytest.mark.parametrize("examples", [3, 5])
@pytest.mark.parametrize(
    "loss", ["mse", "mae", "huber", "log_cosh", "hinge", "poisson"]
)
def test_losses_see_targets_of_one_dimension_as_a_column(
    loss: str, examples: int, tmp_path: Path, peer: Peer
) -> None:
    keywords = {"loss": loss, "examples": examples}
    theirs = _saved(peer, "elementwise_losses_of_classes", tmp_path / "m", **keywords)
    model = regraft.load_model(tmp_path / "m")
    assert_same_step(again(model, tmp_path / "again"), theirs)
    assert_same_step(model, theirs)


@pytest.mark.parametrize("save_format", ["tf", "h5"])
@pytest.mark.parametrize("examples", [3, 5])
def test_targets_by_name_are_columns_beside_a_list_of_outputs(
    examples: int, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = file_of(tmp_path, save_format)
    keywords = {"examples": examples, "save_format": save_format}
    theirs = _saved(peer, "losses_of_named_targets", path, **keywords)
    assert_same_step(regraft.load_model(path), theirs)


def test_model_whose_class_has_training_steps_of_its_own_says_so(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "sharpness_aware", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "takes training steps of its own" in note
    assert_same_outputs(model, theirs, training=False)


@pytest.mark.parametrize("kind", ["chain", "network"])
def test_mask_that_is_in_no_function_is_told_of(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "mask_in_no_function", tmp_path / "m", kind=kind)
    (note,) = regraft.load_report(regraft.load_model(tmp_path / "m")).notes
    assert note.startswith("layer 'sum'")
    assert "run the signature `serving_default`" in note
    signature = regraft.load(tmp_path / "m").signatures["serving_default"]
    (found,) = signature(theirs["inputs"]).values()
    np.testing.assert_allclose(found, theirs["outputs"], rtol=1e-5, atol=1e-6)


def test_mask_that_ended_before_is_not_told_of(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "mask_in_no_function", tmp_path / "m", kind="ended")
    model = regraft.load_model(tmp_path / "m")
    assert not regraft.load_report(model).notes
    assert_same_outputs(model, theirs)


@pytest.mark.parametrize("case", ["wide_and_deep_inside", "regularizers_in_a_class"])
def test_tf_keras_opens_classes_that_are_saved_again_with_their_losses(
    case: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, case, tmp_path / "m")
    regraft.save_model(regraft.load_model(tmp_path / "m"), tmp_path / "again")
    for name in ("m", "again"):
        path = str(tmp_path / name)
        loss = peer.call("unusual_models.step_of", path, *theirs["batch"])
        np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)


@pytest.mark.parametrize("case", ["settings_beside_tensors", "settings_in_a_class"])
def test_layers_are_called_with_settings_beside_tensors(
    case: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, case, tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert not regraft.load_report(model).notes
    saved = again(model, tmp_path / "again")
    loss = peer.call(
        "unusual_models.step_of", str(tmp_path / "again"), *theirs["batch"]
    )
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    assert_same_step(saved, theirs)
    if case == "settings_beside_tensors":
        (call,) = _compat.recorded_calls(model)[id(model.get_layer("mixed"))]
        settings = {key: call.arguments.kwargs[key] for key in ("scale", "flip")}
        assert settings == {"scale": 3.0, "flip": True}
    else:
        rows = {row.name: row.source for row in regraft.load_report(model).layers}
        assert rows["multi_head_attention"] == "config"
    assert_same_step(model, theirs)
