"""What only the code of a class says comes back from traces, or is named."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import regraft
from peer import Peer
from promises.checks import (
    again,
    assert_same,
    assert_same_outputs,
    assert_same_step,
    assert_same_weights,
)
from regraft.loading import namesakes
from regraft.model.dialects.keras2_words import missing_words
from sweep.values import BASES

pytestmark = pytest.mark.peer

# Classes of Keras' whose configs others may have, whole or in part.
SAYING_LITTLE = """
Reshape Lambda Discretization Flatten Dropout Identity Layer Softmax Rescaling
UnitNormalization
"""


def _saved(peer: Peer, case: str, path: Path, **keywords: Any) -> dict[str, Any]:
    return peer.call("own_layers.save", case, str(path), **keywords)


def _predicts(model: keras.Model, theirs: dict[str, Any]) -> None:
    found = model.predict(theirs["inputs"], verbose=0)
    np.testing.assert_allclose(found, theirs["outputs"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [0, 1, 4])
def test_array_that_grows_in_a_compiled_loop(
    size: int, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "array_that_grows", tmp_path / "m", size=size)
    model = regraft.load_model(tmp_path / "m")
    _predicts(model, theirs)
    assert_same(model, theirs)


def test_list_that_a_compiled_loop_pushes_to(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "list_that_is_pushed_to", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    _predicts(model, theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("added", [False, True])
def test_metric_that_a_call_updates_is_state_and_shown(
    added: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "metric_of_a_layer", tmp_path / "m", added=added)
    model = regraft.load_model(tmp_path / "m")
    _predicts(model, theirs)
    assert not regraft.load_report(model).notes
    assert float(np.asarray(model.layers[1].seen.count)) > 1
    model.reset_metrics()
    loss = np.ravel(model.train_on_batch(*theirs["batch"]))[0]
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    assert float(np.asarray(model.layers[1].seen.count)) == 1
    ours = {v.path: np.asarray(v) for v in model.trainable_weights}
    after = [v for v in theirs["after"] if v.shape]
    for value, expected in zip(ours.values(), after, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "case",
    [
        "mask_for_a_recurrent_layer",
        "mask_that_is_passed_on",
        "network_with_a_call_of_its_own",
    ],
)
def test_network_that_is_more_than_its_layers_runs_as_a_whole(
    case: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, case, tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    note = "\n".join(regraft.load_report(model).notes)
    assert "runs as a whole from its traced functions" in note
    assert "inference: output differs by" in note
    assert model.get_layer("last").built
    _predicts(model, theirs)
    assert_same_outputs(model, theirs, training=False)
    assert_same_step(model, theirs)


@pytest.mark.parametrize("name", ["m.h5", "plain"])
def test_file_without_functions_says_what_it_does_not_tell_of_a_network(
    name: str, tmp_path: Path, peer: Peer
) -> None:
    """Its class may have a `call` of its own, or a `train_step` alone."""
    options = {"save_format": "h5"} if name == "m.h5" else {"save_traces": False}
    _saved(peer, "network_with_a_call_of_its_own", tmp_path / name, **options)
    model = regraft.load_model(tmp_path / name)
    own, otherwise = regraft.load_report(model).notes
    assert "its class 'Shifted' is unknown" in own
    assert "predicts otherwise if 'Shifted' has a `call` of its own" in otherwise


def test_network_that_skips_its_layers(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "network_that_skips_its_layers", tmp_path / "m")
    _saved(peer, "network_that_skips_its_layers", tmp_path / "m.h5", save_format="h5")
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "runs as a whole from its traced functions" in note
    assert_same_outputs(model, theirs)
    with pytest.raises(regraft.MismatchError, match="Pass 'Skipping', its class"):
        regraft.load_model(tmp_path / "m.h5")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "adagrad"])
def test_nothing_is_missed_of_an_optimizer_that_took_no_step(
    optimizer: str, tmp_path: Path, peer: Peer
) -> None:
    for name in ("m.h5", "m"):
        peer.call("own_layers.save_untrained", str(tmp_path / name), optimizer)
        assert regraft.load_report(regraft.load_model(tmp_path / name)).complete


def test_mean_of_tensors_is_shown(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "mean_of_tensors_in_a_model", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert not regraft.load_report(model).notes
    kernel = np.asarray(model.dense.kernel)
    shown = model.test_on_batch(*theirs["batch"], return_dict=True)
    np.testing.assert_allclose(shown["mean_tensor"], kernel, rtol=1e-6)
    found = model.train_on_batch(*theirs["batch"], return_dict=True)
    np.testing.assert_allclose(found["loss"], theirs["loss"], rtol=1e-5)


class Scored(keras.layers.Layer):
    """A layer of the peer's, whose metrics wait for their first values."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = keras.layers.Dense(3, activation="sigmoid")
        self.level = keras.metrics.Mean(name="level")
        self.means = [keras.metrics.Mean(name="first"), self.level]
        self.others = {"b": [keras.metrics.Sum(name="sum")]}
        self.f1 = keras.metrics.F1Score(threshold=0.5, name="f1")
        self.r2 = keras.metrics.R2Score(name="r2")
        self.area = keras.metrics.AUC(5, multi_label=True, name="area")

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


def test_metrics_that_the_first_values_size_are_shown(
    tmp_path: Path, peer: Peer
) -> None:
    name = str(tmp_path / "m")
    theirs = peer.call("own_layers.save_scored", {name: {}})
    model = regraft.load_model(name)
    assert not regraft.load_report(model).notes
    for _ in range(2):
        shown = model.test_on_batch(*theirs["batch"], return_dict=True)
        assert shown.keys() == theirs["logs"].keys()
        for key, value in theirs["logs"].items():
            np.testing.assert_allclose(shown[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("traces", [True, False])
def test_metrics_of_a_given_class_go_on(
    traces: bool, tmp_path: Path, peer: Peer
) -> None:
    first, second = (str(tmp_path / name) for name in ("m", "again"))
    theirs = peer.call("own_layers.save_scored", {first: {"save_traces": traces}})
    for name in (first, second):
        model = regraft.load_model(name, {"Scored": Scored})
        assert not regraft.load_report(model).notes
        _assert_counted(model, theirs["saved"])
        if name == first:
            regraft.save_model(model, second)
    found = peer.call("own_layers.counted_by_scored", second)
    assert found.keys() == theirs["saved"].keys()
    for key, values in theirs["saved"].items():
        np.testing.assert_equal(found[key], values)


def _assert_counted(model: keras.Model, expected: dict[str, dict[str, Any]]) -> None:
    layer = model.get_layer("scored")
    metrics = [layer.level, layer.f1, layer.r2, layer.area]
    metrics += [layer.means[0], *layer.others["b"]]
    assert [metric.name for metric in metrics] == list(expected)
    for metric, values in zip(metrics, expected.values(), strict=True):
        found = {v.name: np.asarray(v) for v in metric.variables}
        assert found.keys() == values.keys()
        for name, value in values.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-6)


def test_metric_of_other_variables_starts_from_zero(tmp_path: Path, peer: Peer) -> None:
    class Other(Scored):
        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.level = keras.metrics.MeanIoU(num_classes=2, name="level")

    name = str(tmp_path / "m")
    peer.call("own_layers.save_scored", {name: {}})
    model = regraft.load_model(name, {"Scored": Other})
    (note,) = regraft.load_report(model).notes
    assert "scored.level" in note
    assert "the metric starts from zero" in note


def test_metric_of_a_network_that_the_first_values_size(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = peer.call("own_layers.save_metric_of_a_network", str(tmp_path / "m"))
    model = regraft.load_model(tmp_path / "m")
    for ours, value in zip(model.score.variables, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(ours), value, rtol=1e-6)


def test_layer_draws_random_numbers_anew_in_every_compiled_step(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "random_numbers_in_inference", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    first, second = (model.predict(theirs["inputs"], verbose=0) for _ in range(2))
    assert not np.array_equal(first, second)
    for found in (first, second):
        np.testing.assert_allclose(found, theirs["outputs"], atol=0.2)
    inputs, target = theirs["batch"]
    assert model.evaluate(inputs, target, verbose=0) == pytest.approx(
        theirs["loss"], rel=0.1
    )
    options = regraft.LoadOptions(verify=True)
    (check,) = regraft.load_report(
        regraft.load_model(tmp_path / "m", options=options)
    ).checks[:1]
    assert str(check) == "inference: not checked, it draws random numbers"
    history = model.fit(inputs, target, epochs=2, verbose=0).history["loss"]
    assert history[0] == pytest.approx(theirs["loss"], rel=0.1)


def test_mask_that_a_layer_uses_reaches_it_after_a_second_save(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "mask_that_a_layer_uses", tmp_path / "m")
    model = again(regraft.load_model(tmp_path / "m"), tmp_path / "again")
    user = model.get_layer("user")
    assert list(user.traced_signature.parameters) == ["inputs", "mask"]
    assert_same(model, theirs)


def test_trace_that_is_not_traced_anew_is_saved_as_it_is(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "loop_over_any_length", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    for round in range(3):
        model = again(model, tmp_path / f"again{round}")
    second, third = (
        (tmp_path / f"again{round}" / "saved_model.pb").read_bytes() for round in (1, 2)
    )
    assert second == third
    _opens_in_tf_keras(peer, tmp_path / "again2", theirs)
    assert float(np.asarray(model.get_layer("following").calls)) == 1.0
    longer = np.concatenate([theirs["inputs"], theirs["inputs"]], axis=1)
    assert model.predict(longer, verbose=0).shape == (5, 2)
    assert_same(model, theirs)


def test_trace_whose_shapes_follow_from_values_is_saved_as_it_is(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "places_that_values_choose", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    for round in range(2):
        model = again(model, tmp_path / f"again{round}")
    _opens_in_tf_keras(peer, tmp_path / "again1", theirs)
    assert_same_weights(model, theirs)
    assert_same_outputs(model, theirs, training=False)


def test_chain_that_keras_2_could_not_draw_is_saved_again(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "chain_without_a_graph", tmp_path / "m")
    model = again(regraft.load_model(tmp_path / "m"), tmp_path / "again")
    _opens_in_tf_keras(peer, tmp_path / "again", theirs)
    assert_same(model, theirs)
    served = regraft.load(tmp_path / "again").signatures["serving_default"]
    (spec,) = served.inputs.values()
    assert list(served.inputs) == ["input_1"]
    assert spec.shape.dims == (None, 3)


def test_variable_of_a_frozen_layer_is_trained_by_another(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "frozen_layer_that_shares_a_variable", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    second = again(model, tmp_path / "again")
    _opens_in_tf_keras(peer, tmp_path / "again", theirs)
    assert_same(model, theirs)
    assert len(second.trainable_variables) == 7
    second.train_on_batch(*theirs["batch"])
    first = regraft.load_model(tmp_path / "m")
    first.train_on_batch(*theirs["batch"])
    stepped = {v.path: np.asarray(v) for v in first.weights}
    for variable in second.weights:
        np.testing.assert_allclose(variable, stepped[variable.path], rtol=1e-5)


def test_text_that_training_writes_is_written_in_each_step_alone(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "text_that_training_writes", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "its functions write text" in note.replace("the 'diary' layer's", "its")
    _predicts(model, theirs)
    loss = np.ravel(model.train_on_batch(*theirs["batch"]))[0]
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    days = [
        np.mean(model.layers[1](np.zeros((1, 3), "float32")))
        for _ in range(2)
        if model.train_on_batch(*theirs["batch"]) is not None
    ]
    assert days[1] - days[0] == pytest.approx(1)
    regraft.save_model(model, tmp_path / "again")
    assert np.mean(model.layers[1](np.zeros((1, 3), "float32"))) == days[1]


def test_layer_that_only_another_one_calls_keeps_its_functions(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "chain_inside_a_layer", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    for round in range(2):
        model = again(model, tmp_path / f"again{round}")
    _opens_in_tf_keras(peer, tmp_path / "again1", theirs)
    assert_same(model, theirs)


@pytest.mark.parametrize("name", ["m.h5", "plain"])
def test_file_without_functions_says_whose_class_it_needs(
    name: str, tmp_path: Path, peer: Peer
) -> None:
    _saved(peer, "mask_that_a_layer_uses", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    options: dict[str, Any] = {} if name == "m.h5" else {"save_traces": False}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        regraft.save_model(model, tmp_path / name, **options)
    (text,) = (str(w.message) for w in said if w.category is UserWarning)
    assert re.search(r"layer 'user': .* needs the class 'UsesMask'", text)
    with pytest.raises(
        regraft.UnknownNameError, match="Unknown layer class 'UsesMask'"
    ):
        regraft.load_model(tmp_path / name)
    loaded = regraft.load_model(tmp_path / name, custom_objects={"UsesMask": Passing})
    assert isinstance(loaded.get_layer("user"), Passing)


@pytest.mark.parametrize("name", ["m.h5", "plain"])
@pytest.mark.parametrize(
    ("key", "function"),
    [
        ("kernel_regularizer", "summed_squares"),
        ("activity_regularizer", "summed_squares"),
        ("activation", "squares"),
    ],
)
def test_file_without_functions_says_what_a_stock_layer_needs(
    key: str, function: str, name: str, tmp_path: Path, peer: Peer
) -> None:
    """Its class is Keras', and is told in Keras 2's words."""
    words = {"key": key, "summed": function == "summed_squares"}
    theirs = _saved(peer, "stock_layer_of_own_functions", tmp_path / "m", **words)
    model = regraft.load_model(tmp_path / "m")
    (said,) = [x for x in regraft.load_report(model).layers if x.source == "traces"]
    what = f"{key.rpartition('_')[2]} {function!r}"
    assert (said.name, said.reason) == ("dense", f"nobody knows its {what}")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        regraft.save_model(model, tmp_path / name, save_traces=False)
    (text,) = (str(w.message) for w in warned if w.category is UserWarning)
    assert re.search(f"layer 'dense': .* needs the {what}", text)
    with pytest.raises(regraft.UnknownNameError, match=f"Unknown {what}"):
        regraft.load_model(tmp_path / name)
    given = {
        "squares": ops.square,
        "summed_squares": lambda x: 0.1 * ops.sum(ops.square(x)),
    }
    loaded = regraft.load_model(tmp_path / name, custom_objects=given)
    assert type(loaded.get_layer("dense")) is keras.layers.Dense
    batch = theirs["batch"]
    opened = peer.call(
        "own_layers.evaluate_with_functions", str(tmp_path / name), batch
    )
    expected = model.evaluate(*batch, verbose=0)
    np.testing.assert_allclose(loaded.evaluate(*batch, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(opened, expected, rtol=1e-5)
    assert_same(model, theirs)


class Passing(keras.layers.Layer):
    """Stands for the class that the file needs."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs


def test_keras_file_of_a_layer_without_its_class_is_warned_of(
    tmp_path: Path, peer: Peer
) -> None:
    _saved(peer, "mask_that_a_layer_uses", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        regraft.save_model(model, tmp_path / "m.keras")
    assert "no `.keras` file is loaded without them" in str(said[-1].message)


def _opens_in_tf_keras(peer: Peer, path: Path, theirs: dict[str, Any]) -> None:
    x, y = theirs["batch"]
    found = peer.call("keras_models.load_predict_train", str(path), x, [(x, y)])
    np.testing.assert_allclose(
        found["predictions"][0], theirs["outputs"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(np.ravel(found["losses"])[0], theirs["loss"], rtol=1e-5)


def test_layer_inside_another_stays_one_layer(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "layer_inside_another", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert model.get_layer("tied").dense is model.get_layer("shared")
    assert regraft.load_report(model).complete
    assert_same(model, theirs)
    loaded = regraft.load_model(tmp_path / "m", custom_objects={"Tied": Passing})
    assert isinstance(loaded.get_layer("tied"), Passing)


def test_constraint_in_the_config_of_a_class_that_nobody_has(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "constraint_of_a_layer", tmp_path / "m", known=True)
    model = regraft.load_model(tmp_path / "m")
    assert isinstance(
        model.get_layer("own").kernel.constraint, keras.constraints.MaxNorm
    )
    assert_same(model, theirs)


def test_constraint_that_nobody_knows_is_named(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "constraint_of_a_layer", tmp_path / "m", known=False)
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "'kernel_constraint' is unknown: nothing applies it" in note
    assert_same_weights(model, theirs)
    assert_same_outputs(model, theirs)


@pytest.mark.parametrize(
    ("kind", "subclassed"), [("sparse", False), ("masked", True), ("ragged", False)]
)
def test_layers_whose_shapes_follow_from_values_run_step_by_step(
    kind: str, subclassed: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(
        peer, "shapes_of_values", tmp_path / "m", kind=kind, subclassed=subclassed
    )
    model = regraft.load_model(tmp_path / "m")
    (note,) = regraft.load_report(model).notes
    assert "functions make shapes of values, so that it runs step by step" in note
    _predicts(model, theirs)
    _predicts(again(model, tmp_path / "again"), theirs)
    assert_same(model, theirs)
    model.compile("sgd", "mse", jit_compile=True)
    history = model.fit(*theirs["batch"], epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    ("kind", "functional"),
    [
        ("Attention", False),
        ("Attention", True),
        ("SayingNothing", True),
        ("PReLU", True),
        ("LayerNormalization", False),
        ("Mine>Identity", True),
        *((kind, index % 2 == 0) for index, kind in enumerate(SAYING_LITTLE.split())),
    ],
)
def test_classes_of_a_name_that_keras_has_too(
    kind: str, functional: bool, tmp_path: Path, peer: Peer
) -> None:
    path = tmp_path / "m"
    theirs = _saved(peer, "namesake", path, kind=kind, functional=functional)
    model = regraft.load_model(path)
    sources = [layer.source for layer in regraft.load_report(model).layers]
    assert sources.count("traces") == 1
    second = again(model, tmp_path / "again")
    _predicts(second, theirs)
    assert_same(model, theirs)
    (opened,) = peer.call(
        "keras_models.predict", str(tmp_path / "again"), theirs["inputs"]
    )
    np.testing.assert_allclose(opened, theirs["outputs"], rtol=1e-5, atol=1e-6)


def test_classes_that_say_little_are_told_by_their_ops(
    tmp_path: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = _saved(peer, "classes_that_say_little", tmp_path / "m")
    # None is run to be compared, which takes longer than all else.
    monkeypatch.delattr(namesakes, "check_layer")
    model = regraft.load_model(tmp_path / "m")
    report = regraft.load_report(model)
    assert {layer.source for layer in report.layers} == {"config"}
    assert_same(model, theirs)


def test_every_class_of_tf_keras_is_known_by_the_words_of_its_config(
    peer: Peer,
) -> None:
    needs = {name: base.needs for name, base in BASES.items()}
    written = peer.call("own_layers.config_words", needs)
    assert len(written) > 90
    missed = {
        name: missing_words(name, dict.fromkeys(w)) for name, w in written.items()
    }
    assert not {name: words for name, words in missed.items() if words}


def test_weights_that_a_wrapper_lists_beside_its_layer_are_one(
    tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "weights_listed_beside_their_layer", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert regraft.load_report(model).notes == []
    assert len(model.trainable_variables) == 4
    _predicts(again(model, tmp_path / "again"), theirs)


class Shifted(keras.layers.Layer):
    """Makes a variable from a value, and before it is built."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.shift = keras.Variable(1.5, name="shift")

    def call(self, inputs: Any) -> Any:
        return inputs + self.shift


@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_constructor_of_a_given_class_makes_a_variable_from_a_value(
    name: str, tmp_path: Path
) -> None:
    model = keras.Sequential([keras.Input((3,)), Shifted(), keras.layers.Dense(2)])
    model.layers[0].shift.assign(2.5)
    regraft.save_model(model, tmp_path / name)
    again = regraft.load_model(tmp_path / name, custom_objects={"Shifted": Shifted})
    assert float(np.asarray(again.layers[0].shift)) == 2.5
    x = np.ones((2, 3), "float32")
    np.testing.assert_allclose(again(x), model(x), rtol=1e-6)
