"""SavedModels: state, arguments, traces, states and metrics (promises 1 to 50)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import regraft
from peer import Peer
from promises.checks import (
    again,
    assert_same,
    assert_same_losses,
    assert_same_outputs,
    saved,
)

SLOW = pytest.mark.slow
KINDS = (
    "functional",
    pytest.param("sequential", marks=SLOW),
    pytest.param("subclass", marks=SLOW),
)
pytestmark = pytest.mark.peer


# ------------------------------------------------------------- weights and losses


@pytest.mark.parametrize("kind", KINDS)
def test_regularizers_and_callable_losses_come_back(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    """Promise 1: activity regularizers and a callable loss of a trained model."""
    theirs = saved(peer, "regularized", tmp_path / "m", kind=kind)
    model = regraft.load_model(tmp_path / "m")
    assert len(theirs["losses"]) == 3
    assert_same(model, theirs)


def test_model_trained_on_a_dataset_comes_back(tmp_path: Path, peer: Peer) -> None:
    """Promise 2: the same after `fit` on a dataset."""
    theirs = saved(peer, "regularized", tmp_path / "m", dataset=True)
    assert_same(regraft.load_model(tmp_path / "m"), theirs)


def test_each_weight_keeps_its_place_and_whether_it_trains(
    tmp_path: Path, peer: Peer
) -> None:
    """Promise 3: order and `trainable` of single weights, also of added ones."""
    theirs = saved(peer, "extra_weights", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(model, theirs)
    layer = model.get_layer("with_more")
    assert layer.trainable
    trainable = [np.asarray(w).ravel()[-1] for w in layer.trainable_weights]
    assert trainable[-1] == 11.0
    assert [float(w.value) for w in layer.non_trainable_weights] == [12.0]
    assert_same(again(model, tmp_path / "again"), theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_layer_stays_frozen(kind: str, tmp_path: Path, peer: Peer) -> None:
    """Promise 4: `trainable=False` of a layer."""
    theirs = saved(peer, "frozen_layer", tmp_path / "m", kind=kind)
    model = regraft.load_model(tmp_path / "m")
    names = [name for name, _, _ in theirs["weights"]]
    assert not model.get_layer(names[-1].split("/")[-2]).trainable
    assert_same(model, theirs)


def test_frozen_subclassed_model_stays_frozen(tmp_path: Path, peer: Peer) -> None:
    """Promise 5: `trainable=False` of a whole subclassed model."""
    theirs = saved(peer, "frozen_subclass", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert not model.trainable_variables
    assert not model.trainable
    assert_same(model, theirs)


class SumLoss(layers.Layer):
    def call(self, inputs: Any) -> Any:
        self.add_loss(keras.ops.sum(inputs))
        return inputs * 2.0


def test_saving_leaves_the_models_losses_alone(tmp_path: Path) -> None:
    """Promises 6 and 44: losses of the last call are the same after a save."""
    model = keras.Sequential([keras.Input((3,)), SumLoss()])
    x = np.ones((2, 3), "float32")
    model(x)
    before = [float(loss) for loss in model.losses]
    assert before == [6.0]
    regraft.save_model(model, tmp_path / "m")
    assert [float(loss) for loss in model.losses] == before


def test_training_argument_decides(tmp_path: Path, peer: Peer) -> None:
    """Promise 7: inference by default, and `training=` wins over it."""
    theirs = saved(peer, "learning_phase", tmp_path / "m")
    layer = regraft.load_model(tmp_path / "m").get_layer("switch")
    x = theirs["inputs"]
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=False), x)
    np.testing.assert_array_equal(layer(x, training=True), np.zeros_like(x))


class Chain(keras.Model):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.first = layers.Dense(2, kernel_regularizer="l2")
        self.second = layers.Dense(4)

    def call(self, inputs: Any) -> Any:
        return self.second(self.first(inputs))


def _chain(kind: str) -> keras.Model:
    stack = [layers.Dense(2, kernel_regularizer="l2"), layers.Dense(4)]
    if kind == "sequential":
        return keras.Sequential([keras.Input((3,)), *stack])
    if kind == "functional":
        inputs = keras.Input((3,))
        return keras.Model(inputs, stack[1](stack[0](inputs)))
    return Chain()


@pytest.mark.parametrize("kind", KINDS)
def test_tensorflows_loader_finds_what_keras_promises(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    """Promise 8: `keras_api`, `regularization_losses` and a call, in TensorFlow."""
    model = _chain(kind)
    x = np.ones((4, 3), "float32")
    expected = model.predict(x, verbose=0)
    regraft.save_model(model, tmp_path / "m")
    found = peer.call("promises_core.core_view", str(tmp_path / "m"), x)
    for name in ("variables", "trainable_variables", "non_trainable_variables"):
        ours = [np.asarray(v) for v in getattr(model, name)]
        assert len(found[name]) == len(ours)
        for one, other in zip(found[name], ours, strict=True):
            np.testing.assert_array_equal(one, other)
    assert found["regularization_losses"] == 1
    # Keras 2 counts a Functional model's input layer, and a Sequential's not.
    assert found["layers"] == len(model.layers)
    np.testing.assert_allclose(found["outputs"], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_model_that_never_trained_trains_on(kind: str, tmp_path: Path) -> None:
    """Promise 9: equal predictions, a falling loss, weights that go back."""
    model = _chain(kind)
    x, y = np.random.default_rng(0).uniform(size=(2, 8, 3)).astype("float32")
    y = y[:, :1] @ np.ones((1, 4), "float32")
    expected = model.predict(x, verbose=0)
    model.compile("rmsprop", "mse")
    regraft.save_model(model, tmp_path / "m")
    loaded = regraft.load_model(tmp_path / "m")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=1e-6)
    before = loaded.evaluate(x, y, verbose=0)
    loaded.fit(x, y, verbose=0)
    assert loaded.evaluate(x, y, verbose=0) < before
    regraft.save_model(loaded, tmp_path / "trained")
    regraft.load_weights(model, tmp_path / "trained")
    np.testing.assert_allclose(
        model.predict(x, verbose=0), loaded.predict(x, verbose=0), rtol=1e-6
    )


def test_nested_input_spec_comes_back(tmp_path: Path, peer: Peer) -> None:
    """Promise 10: a dict of input specs."""
    theirs = saved(peer, "nested_input_spec", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same_outputs(model, theirs)
    for loaded in (model, again(model, tmp_path / "again")):
        spec = loaded.get_layer("nested").input_spec
        assert spec["a"].max_ndim == 3
        assert spec["a"].axes == {-1: 2}
        assert spec["b"].shape == (None, 2, 3)
        assert spec["b"].dtype == "int32"


class FromConfigOnly(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs * 2.0


def test_layer_that_must_come_from_its_config_is_named_without_its_class(
    tmp_path: Path, peer: Peer
) -> None:
    """Promises 12 and 13: in a scope, registered; without it the report says so."""
    theirs = saved(peer, "from_config_only", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    said = r"runs as a whole.*no functions of its own.*FromConfigOnly.*only be rebuilt"
    assert re.search(said, regraft.load_report(model).notes[0])
    assert_same(model, theirs)
    saved(peer, "from_config_only", tmp_path / "m.h5", save_format="h5")
    with pytest.raises(ValueError, match="Unknown layer class 'FromConfigOnly'"):
        regraft.load_model(tmp_path / "m.h5")
    serve = regraft.load(tmp_path / "m").signatures["serving_default"]
    (served,) = serve(theirs["inputs"]).values()
    np.testing.assert_allclose(served, theirs["outputs"])
    with keras.saving.custom_object_scope({"FromConfigOnly": FromConfigOnly}):
        assert_same(regraft.load_model(tmp_path / "m"), theirs)
    keras.saving.get_custom_objects()["FromConfigOnly"] = FromConfigOnly
    try:
        assert_same(regraft.load_model(tmp_path / "m"), theirs)
    finally:
        del keras.saving.get_custom_objects()["FromConfigOnly"]


def test_model_that_returns_its_inputs(tmp_path: Path, peer: Peer) -> None:
    """Promise 14: two inputs, the same two outputs."""
    theirs = saved(peer, "identity_of_two", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(model, theirs)
    assert_same(again(model, tmp_path / "again"), theirs)


def test_loaded_sequential_can_be_changed(tmp_path: Path, peer: Peer) -> None:
    """Promise 15: `pop` and `add`; layers and losses follow."""
    theirs = saved(peer, "two_regularized", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(model, theirs)
    assert (len(model.layers), len(model.losses)) == (2, 2)
    model.pop()
    assert (len(model.layers), len(model.losses)) == (1, 1)
    model.add(layers.Dense(2, kernel_regularizer="l2"))
    model(theirs["inputs"])
    assert (len(model.layers), len(model.losses)) == (2, 2)


def test_batch_normalization_updates_only_in_training(
    tmp_path: Path, peer: Peer
) -> None:
    """Promise 16: the moving mean moves in training alone; nothing is logged."""
    saved(peer, "batch_normalization", tmp_path / "m")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = regraft.load_model(tmp_path / "m")
        model = again(model, tmp_path / "again")
    layer = model.layers[-1]
    np.testing.assert_array_equal(layer.moving_mean, [0])
    model(np.float32([[11], [12], [13]]), training=True)
    np.testing.assert_allclose(layer.moving_mean, [0.12], rtol=1e-6)
    model(np.float32([[14], [15], [16]]), training=False)
    np.testing.assert_allclose(layer.moving_mean, [0.12], rtol=1e-6)


def test_frozen_batch_normalization_stays_frozen(tmp_path: Path, peer: Peer) -> None:
    """Promise 17: it stays still in training until it is made trainable."""
    saved(peer, "batch_normalization", tmp_path / "m", trainable=False)
    model = regraft.load_model(tmp_path / "m")
    x = np.float32([[11], [12], [13]])
    model(x, training=True)
    np.testing.assert_array_equal(model.layers[-1].moving_mean, [0])
    model.trainable = True
    model(x, training=True)
    np.testing.assert_allclose(model.layers[-1].moving_mean, [0.12], rtol=1e-6)


def test_signatures_of_the_user_are_served(tmp_path: Path, peer: Peer) -> None:
    """Promise 18: several signatures with several outputs, from floats and examples."""
    theirs = peer.call("promises_core.save_with_signatures", str(tmp_path / "m"))
    served = regraft.load(tmp_path / "m").signatures
    x = theirs["inputs"]
    np.testing.assert_allclose(
        served["predict"](inputs=x)["predictions"], theirs["outputs"], rtol=1e-5
    )
    found = served["parse_and_predict"](examples=theirs["examples"])
    assert sorted(found) == ["first_layer", "predictions"]
    np.testing.assert_allclose(found["predictions"], theirs["outputs"], rtol=1e-5)
    np.testing.assert_allclose(found["first_layer"], theirs["first"], rtol=1e-5)
    assert_same_outputs(regraft.load_model(tmp_path / "m"), theirs)


# ------------------------------------------------------------------- arguments


def test_defaults_of_training_survive(tmp_path: Path, peer: Peer) -> None:
    """Promise 19: no default is inference, `True` stays, required stays required."""
    theirs = saved(peer, "training_defaults", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    x = theirs["inputs"]
    np.testing.assert_array_equal(model.unsaid(x), x)
    np.testing.assert_array_equal(model.always(x), np.zeros_like(x))
    np.testing.assert_array_equal(model.always(x, training=False), x)
    np.testing.assert_array_equal(model.required(x, training=False), x)
    np.testing.assert_array_equal(model.required(x, training=True), np.zeros_like(x))


class WithKeyword(keras.Model):
    def call(self, inputs: Any, keyword: Any = None) -> Any:
        return inputs * 3.0


def test_model_whose_call_has_another_keyword(tmp_path: Path, peer: Peer) -> None:
    """Promise 20: with its class it predicts.

    Without it tf_keras gives up; here the trace for the default is found.
    """
    theirs = saved(peer, "extra_keyword", tmp_path / "m")
    for objects in ({"WithKeyword": WithKeyword}, None):
        model = regraft.load_model(tmp_path / "m", custom_objects=objects)
        found = model.predict(theirs["inputs"], verbose=0)
        np.testing.assert_allclose(found, theirs["outputs"], rtol=1e-6)


def test_constant_tensor_as_a_keyword(tmp_path: Path, peer: Peer) -> None:
    """Promise 22: a functional layer called with a constant."""
    theirs = saved(peer, "constant_keyword", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same(model, theirs)
    assert_same(again(model, tmp_path / "again"), theirs)


def test_call_that_is_a_function_knows_both_values(tmp_path: Path, peer: Peer) -> None:
    """Promise 23: a `tf.function` with `training`."""
    saved(peer, "function_call", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    x = np.float32([[1, 5]])
    np.testing.assert_array_equal(model(x, training=True), x)
    np.testing.assert_array_equal(model(x, training=False), np.zeros_like(x))


def test_functional_model_with_a_layer_of_the_user(tmp_path: Path, peer: Peer) -> None:
    """Promise 24: names, calls of a shared layer, the class' name, its weight."""
    theirs = saved(peer, "shared_dense", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    for _ in range(2):
        assert model.name == "named_model"
        assert len(model.get_layer("called_twice")._inbound_nodes) == 2
        custom = model.get_layer("custom")
        assert len(custom.weights) == 1
        assert "ScaledAdd" in {
            entry.class_name for entry in regraft.load_report(model).layers
        }
        assert_same(model, theirs)
        model = again(model, tmp_path / "again")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mirrored", [False, pytest.param(True, marks=SLOW)])
def test_update_of_a_layer_runs_in_training(
    kind: str, mirrored: bool, tmp_path: Path, peer: Peer
) -> None:
    """Promises 25 and 26: `add_update`, also saved in a strategy's scope."""
    theirs = saved(peer, "counting", tmp_path / "m", kind=kind, mirrored=mirrored)
    model = regraft.load_model(tmp_path / "m")
    layer = model.get_layer("counting")
    assert float(layer.steps.value) == 0.0
    model.compile("sgd", "mse")
    x = theirs["inputs"]
    model.fit(x, x, batch_size=10, verbose=0)
    assert float(layer.steps.value) == 1.0


def test_time_distributed_with_a_regularizer(tmp_path: Path, peer: Peer) -> None:
    """Promise 27: `TimeDistributed` around a regularized layer."""
    theirs = saved(peer, "time_distributed", tmp_path / "m")
    assert_same(regraft.load_model(tmp_path / "m"), theirs)


@pytest.mark.parametrize("unroll", [True, pytest.param(False, marks=SLOW)])
def test_states_of_stateful_cells_are_kept(
    unroll: bool, tmp_path: Path, peer: Peer
) -> None:
    """Promise 28: stacked cells of a stateful RNN."""
    theirs = saved(peer, "stateful_cells", tmp_path / "m", unroll=unroll)
    x = theirs["inputs"]
    states, expected = peer.call("promises.states_and_next", str(tmp_path / "m"), x)
    assert max(np.abs(state).max() for state in states) > 0
    for round_number in range(2):
        model = regraft.load_model(tmp_path / "m")
        if round_number:
            model = again(model, tmp_path / "again")
        ours = keras.tree.flatten(model.get_layer("rnn").states)
        for one, other in zip(ours, states, strict=True):
            np.testing.assert_array_equal(np.asarray(one), other)
        np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)


@SLOW
def test_unrolled_input_spec_does_not_leak(tmp_path: Path, peer: Peer) -> None:
    """Promise 29: an unrolled LSTM in `Bidirectional`."""
    theirs = saved(peer, "bidirectional_unrolled", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same_outputs(model, theirs, training=False)
    assert not model.trainable_weights


@pytest.mark.parametrize("stateful", [True, pytest.param(False, marks=SLOW)])
@pytest.mark.parametrize(
    "data_format", ["channels_last", pytest.param("channels_first", marks=SLOW)]
)
def test_convolutional_lstm(
    stateful: bool, data_format: str, tmp_path: Path, peer: Peer
) -> None:
    """Promise 30: `ConvLSTM2D`, stateful and not, after its states are reset."""
    theirs = saved(
        peer, "conv_lstm", tmp_path / "m", stateful=stateful, data_format=data_format
    )
    model = regraft.load_model(tmp_path / "m")
    if stateful:
        model.get_layer("rnn").reset_states()
    assert_same_outputs(model, theirs, training=False)


def test_states_that_a_file_without_functions_lacks_begin_at_zero(
    tmp_path: Path, peer: Peer
) -> None:
    path = tmp_path / "m"
    theirs = saved(peer, "conv_lstm", path, stateful=True, save_traces=False)
    model = regraft.load_model(path)
    for state in keras.tree.flatten(model.get_layer("rnn").states):
        assert not np.any(np.asarray(state))
    assert_same_outputs(model, theirs, training=False)


def test_model_called_with_several_arguments(tmp_path: Path, peer: Peer) -> None:
    """Promise 32: `*inputs`, an argument that is no tensor, a loss."""
    theirs = saved(peer, "several_inputs", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    assert_same_outputs(model, theirs)
    assert_same_losses(model, theirs)


def test_training_between_two_inputs(tmp_path: Path, peer: Peer) -> None:
    """Promise 33: `training` in the middle, both values, by position."""
    theirs = saved(peer, "training_in_the_middle", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    first, _, second = theirs["inputs"]
    assert float(model(first, True, second)[0]) == 1.0
    assert float(model(first, False, second)[0]) == 2.0


def test_wrapped_layer_is_told_of_training(tmp_path: Path, peer: Peer) -> None:
    """Promise 34: the default and both values, in `load_model` and in `load`."""
    theirs = saved(peer, "wrapped_switch", tmp_path / "m")
    x = theirs["inputs"]
    for loaded in (regraft.load_model(tmp_path / "m"), regraft.load(tmp_path / "m")):
        np.testing.assert_array_equal(loaded(x), theirs["outputs"])
        np.testing.assert_array_equal(loaded(x, training=True), np.zeros_like(x))
        np.testing.assert_array_equal(loaded(x, training=False), x)


@pytest.mark.parametrize("flag", [True, False])
def test_autocast_is_kept(flag: bool, tmp_path: Path, peer: Peer) -> None:
    """Promise 35: of layers and of models."""
    theirs = saved(peer, "autocast", tmp_path / "m", flag=flag)
    model = regraft.load_model(tmp_path / "m")
    assert_same_outputs(model, theirs)
    for _ in range(2):
        assert model.get_layer("layer").autocast is flag
        assert model.get_layer("model").autocast is flag
        model = again(model, tmp_path / "again")


class Plain(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs


class Outer(keras.Model):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.inner = Plain()

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


def test_inner_layer_comes_from_the_models_class(tmp_path: Path, peer: Peer) -> None:
    """Promise 36: the model's class is known, its layer's need not be."""
    theirs = saved(peer, "outer_known", tmp_path / "m")
    for objects in ({"Outer": Outer}, {"Outer": Outer, "Plain": Plain}):
        model = regraft.load_model(tmp_path / "m", custom_objects=objects)
        assert type(model) is Outer
        assert type(model.inner) is Plain
        assert_same_outputs(model, theirs)
        np.testing.assert_array_equal(model.inner(theirs["inputs"]), theirs["outputs"])


# --------------------------------------------------------------------- traces


class Untraceable(layers.Layer):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.built = True

    def call(self, inputs: Any) -> Any:
        raise ValueError("not to be traced")


def test_model_saved_without_traces_does_not_run_call(
    tmp_path: Path, peer: Peer
) -> None:
    """Promise 37: `save_traces=False`, and an attached layer that can't be called."""
    theirs = saved(peer, "attached_untraceable", tmp_path / "m", save_traces=False)
    core = regraft.load(tmp_path / "m")
    assert hasattr(core, "attached")
    model = regraft.load_model(tmp_path / "m")
    assert_same(model, theirs)
    with pytest.raises((ValueError, NotImplementedError), match="can't be called"):
        model.attached(np.float32([1.0]))
    model = regraft.load_model(
        tmp_path / "m", custom_objects={"Untraceable": Untraceable}
    )
    with pytest.raises(ValueError, match="not to be traced"):
        model.attached(np.float32([1.0]))

    ours = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    ours.attached = Untraceable()
    regraft.save_model(ours, tmp_path / "ours", save_traces=False)
    assert hasattr(regraft.load(tmp_path / "ours"), "attached")


class Raises(layers.Layer):
    def call(self, inputs: Any, training: bool = False) -> Any:
        if not isinstance(inputs, keras.KerasTensor) and self.armed:
            raise ValueError("not to be traced")
        return inputs

    armed = False


def test_a_call_that_raises_is_told(tmp_path: Path) -> None:
    """A save traces; where that fails the model goes without functions, with a note."""
    model = keras.Sequential([keras.Input((3,)), Raises()])
    model.layers[0].armed = True
    with pytest.warns(UserWarning, match="not to be traced"):
        regraft.save_model(model, tmp_path / "m")
    assert regraft.load(tmp_path / "m").signatures == {}
    regraft.save_model(model, tmp_path / "n", save_traces=False)


def test_model_saved_by_tensorflows_own_saver_is_no_keras_file(
    tmp_path: Path, peer: Peer
) -> None:
    """Promise 39: a SavedModel that Keras didn't write."""
    x = np.ones((2, 3), "float32")
    expected = peer.call("promises_core.save_by_core", str(tmp_path / "m"), x)
    with pytest.raises(ValueError, match="Unable to create a Keras model"):
        regraft.load_model(tmp_path / "m")
    found = regraft.load(tmp_path / "m").signatures["serving_default"](x)
    (values,) = found.values()
    np.testing.assert_allclose(values, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "rng_type",
    [
        None,
        pytest.param(
            "stateful",
            marks=pytest.mark.xfail(
                strict=True,
                reason="JAX warns that it cuts the generator's 64-bit state",
            ),
        ),
    ],
)
def test_dropout_inside_a_layer_of_the_user(
    rng_type: str | None, tmp_path: Path, peer: Peer
) -> None:
    """Promises 40 and 41: its random numbers are drawn anew in each call."""
    saved(peer, "own_dropout", tmp_path / "m", rng_type=rng_type)
    model = regraft.load_model(tmp_path / "m")
    x = np.ones((40, 3), "float32")
    np.testing.assert_array_equal(model(x, training=False), x)
    drawn = [np.asarray(model(x, training=True)) for _ in range(2)]
    assert set(np.unique(drawn)) <= {0.0, 2.0}
    assert (drawn[0] != drawn[1]).any()


class Counted(layers.Layer):
    def call(self, inputs: Any, training: bool = False) -> Any:
        return inputs * (2.0 if training else 1.0)


class CountedInside(layers.Layer):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.inside = Counted()

    def call(self, inputs: Any) -> Any:
        return self.inside(inputs)


@pytest.mark.parametrize("cls", [Counted, CountedInside])
def test_each_function_has_the_same_traces(
    cls: type, tmp_path: Path, peer: Peer
) -> None:
    """Promises 42 and 43: `training` on and off, in each function of a layer."""
    layer = cls(name="counted")
    model = keras.Sequential([keras.Input((3,)), layer])
    regraft.save_model(model, tmp_path / "m")
    traces = peer.call("promises_core.traces", str(tmp_path / "m"), "counted")
    assert len({tuple(sorted(map(str, shapes))) for shapes in traces.values()}) == 1
    assert all(len(shapes) == 2 for shapes in traces.values()), traces


# --------------------------------------------------------------------- metrics


@pytest.mark.parametrize(
    "kind",
    [
        "mean",
        "false_positives",
        "precision",
        "precision_at_recall",
        "auc",
        "cosine_similarity",
        "mean_tensor",
    ],
)
def test_metric_as_an_attribute_goes_on(kind: str, tmp_path: Path, peer: Peer) -> None:
    """Promise 45: name, dtype, type and variables; next results with weights."""
    theirs = peer.call("promises.save_metric", kind, str(tmp_path / "m"))
    metric = regraft.load_model(tmp_path / "m").saved_metric
    assert type(metric).__name__ == theirs["class"]
    assert isinstance(metric, keras.metrics.Metric)
    assert (metric.name, metric.dtype) == (theirs["name"], theirs["dtype"])
    for ours, value in zip(metric.variables, theirs["saved"], strict=True):
        np.testing.assert_allclose(np.asarray(ours), value, rtol=1e-6)
    for given, weight, expected in theirs["steps"]:
        metric.update_state(*given, sample_weight=weight)
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-5)
    for ours, value in zip(metric.variables, theirs["variables"], strict=True):
        np.testing.assert_allclose(np.asarray(ours), value, rtol=1e-5)
