"""Signatures, compile arguments, pickles and cycles (promises 122 to 139)."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import regraft
from peer import Peer
from promises.checks import again, assert_same_outputs, saved

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(4, 2)).astype("float32")


def _two_outputs() -> keras.Model:
    inputs = keras.Input((3,), name="numbers")
    x = layers.Dense(4, "relu")(inputs)
    outputs = [layers.Dense(2, name="first")(x), layers.Dense(1, name="second")(x)]
    return keras.Model(inputs, outputs)


class Pair(keras.Model):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.first, self.second = layers.Dense(2), layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        return [self.first(inputs), self.second(inputs)]


def test_outputs_of_a_signature_have_names(tmp_path: Path) -> None:
    """Promises 122 and 128: layers' names, or `output_1`, … of a subclass."""
    model = _two_outputs()
    regraft.save_model(model, tmp_path / "m")
    found = regraft.load(tmp_path / "m").signatures["serving_default"](numbers=X)
    assert sorted(found) == ["first", "second"]
    for name, value in zip(("first", "second"), model(X), strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-6)
    pair = Pair()
    outputs = pair(X)
    regraft.save_model(pair, tmp_path / "p")
    signature = regraft.load(tmp_path / "p").signatures["serving_default"]
    found = signature(X)
    assert sorted(found) == ["output_1", "output_2"]
    for name, value in zip(sorted(found), outputs, strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-6)
    with pytest.raises(ValueError, match="input shape is not"):
        regraft.save_model(Pair(), tmp_path / "q")


def test_fixed_shapes_stay_in_the_signature(tmp_path: Path) -> None:
    """Promise 126: a fixed batch and fixed lengths."""
    inputs = keras.Input(batch_shape=(2, 5, 3), name="fixed")
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    regraft.save_model(model, tmp_path / "m")
    contents = regraft.inspect(tmp_path / "m")
    assert "(2, 5, 3)" in str(contents.signatures) or "2, 5, 3" in str(
        contents.signatures
    )
    with pytest.raises((ValueError, regraft.errors.MismatchError)):
        regraft.load(tmp_path / "m").signatures["serving_default"](
            np.ones((3, 5, 3), "float32")
        )


class Branching(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return keras.ops.cond(
            keras.ops.sum(inputs) > 0, lambda: inputs * 2.0, lambda: inputs - 1.0
        )


def test_branches_are_kept_for_both_loaders(tmp_path: Path, peer: Peer) -> None:
    """Promise 127: TensorFlow 1's session and TensorFlow 2 give the same."""
    model = keras.Sequential([keras.Input((3,), name="x"), Branching()])
    regraft.save_model(model, tmp_path / "m")
    for x in (np.ones((2, 3), "float32"), -np.ones((2, 3), "float32")):
        new, old = peer.call("saved_functions.serve", str(tmp_path / "m"), {"x": x})
        for found in (new, old):
            (values,) = found.values()
            np.testing.assert_allclose(values, model(x), rtol=1e-6)


def mean_cubed(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)


class MeanCubed(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_cubed(y_true, y_pred)


class Largest(keras.metrics.Metric):
    def __init__(self, name: str = "largest", **keywords: Any) -> None:
        super().__init__(name=name, **keywords)
        self.value = self.add_variable((), "zeros", name="value")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        found = keras.ops.max(keras.ops.abs(y_pred))
        self.value.assign(keras.ops.maximum(self.value, found))

    def result(self) -> Any:
        return self.value + 0.0


OBJECTS = {"mean_cubed": mean_cubed, "MeanCubed": MeanCubed, "Largest": Largest}
LOSSES = {
    "name": "mse",
    "function": keras.losses.mean_squared_error,
    "object": keras.losses.Huber(0.5),
    "own function": mean_cubed,
    "own class": MeanCubed(),
    "list": ["mse", mean_cubed],
    "dict": {"first": MeanCubed(), "second": "mae"},
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scope", [False, True])
@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_losses_in_every_form(
    loss: str, scope: bool, name: str, tmp_path: Path
) -> None:
    """Promise 131: losses by name, function, class, list and dict."""
    many = loss in ("list", "dict")
    model = (
        _two_outputs()
        if many
        else keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    )
    y = [Y, Y[:, :1]] if many else Y
    if loss == "dict":
        y = {"first": Y, "second": Y[:, :1]}
    model.compile("sgd", LOSSES[loss])
    model.train_on_batch(X, y)
    regraft.save_model(model, tmp_path / name)
    if scope:
        with keras.saving.custom_object_scope(OBJECTS):
            loaded = regraft.load_model(tmp_path / name)
    else:
        loaded = regraft.load_model(tmp_path / name, custom_objects=OBJECTS)
    np.testing.assert_allclose(
        np.ravel(loaded.evaluate(X, y, verbose=0)),
        np.ravel(model.evaluate(X, y, verbose=0)),
        rtol=1e-5,
    )


METRICS = {
    "name": ["mae"],
    "function": [keras.metrics.mean_absolute_error],
    "object": [keras.metrics.RootMeanSquaredError("root")],
    "own function": [mean_cubed],
    "own class": [Largest()],
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_metrics_in_every_form(metric: str, name: str, tmp_path: Path) -> None:
    """Promises 129 and 132: metrics likewise, under the same names."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    model.compile("sgd", "mse", metrics=METRICS[metric])
    model.train_on_batch(X, Y)
    regraft.save_model(model, tmp_path / name)
    loaded = regraft.load_model(tmp_path / name, custom_objects=OBJECTS)
    expected = model.evaluate(X, Y, verbose=0, return_dict=True)
    found = loaded.evaluate(X, Y, verbose=0, return_dict=True)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5)


@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_pickles_and_copies_of_loaded_models(name: str, tmp_path: Path) -> None:
    """Promise 133: `pickle` and `deepcopy` keep outputs and optimizer."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    model.compile("adam", "mse")
    model.train_on_batch(X, Y)
    regraft.save_model(model, tmp_path / name)
    loaded = regraft.load_model(tmp_path / name)
    for other in (pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded)):
        np.testing.assert_array_equal(
            other.predict(X, verbose=0), model.predict(X, verbose=0)
        )
        assert int(other.optimizer.iterations) == 1


def test_cycles_keep_everything(tmp_path: Path) -> None:
    """Promise 134: after 1, 2 and 3 cycles rate, outputs and next step are equal."""
    inputs = keras.Input((8, 3))
    x = layers.Conv1D(4, 2, dilation_rate=2)(inputs)
    x = layers.Dense(2)(layers.Flatten()(x))
    model = keras.Model(inputs, x)
    model.compile(keras.optimizers.SGD(0.0375, 0.9), "mse")
    x = np.random.default_rng(3).normal(size=(4, 8, 3)).astype("float32")
    model.train_on_batch(x, Y)
    loaded = model
    for number in range(3):
        loaded = again(loaded, tmp_path / str(number))
        assert float(loaded.optimizer.learning_rate) == pytest.approx(0.0375)
        np.testing.assert_array_equal(
            loaded.predict(x, verbose=0), model.predict(x, verbose=0)
        )
    # Keras before 3.14 reports the mean since the last reset.
    model.reset_metrics()
    np.testing.assert_allclose(
        loaded.train_on_batch(x, Y), model.train_on_batch(x, Y), rtol=1e-6
    )
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5
    )


@keras.saving.register_keras_serializable("Promises135")
class OwnModel(keras.Model):
    def __init__(self, units: int = 2, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.units = units
        self.dense = layers.Dense(units, kernel_regularizer=OwnRegularizer())

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)

    def train_step(self, *arguments: Any) -> Any:
        self.steps = getattr(self, "steps", 0) + 1
        return super().train_step(*arguments)

    def one(self) -> int:
        return 1

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units, "name": self.name}


@keras.saving.register_keras_serializable("Promises135")
class OwnRegularizer(keras.regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        return keras.ops.sum(x * x) * 0.25

    def get_config(self) -> dict[str, Any]:
        return {}


@keras.saving.register_keras_serializable("Promises135")
class OwnOptimizer(keras.optimizers.Adam):
    pass


@keras.saving.register_keras_serializable("Promises135")
class OwnLoss(keras.losses.MeanSquaredError):
    pass


@keras.saving.register_keras_serializable("Promises135")
class OwnMetric(keras.metrics.MeanSquaredError):
    pass


@keras.saving.register_keras_serializable("Promises135")
def own_function(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


def test_registered_objects_come_back_as_their_classes(tmp_path: Path) -> None:
    """Promise 135: model, layer, optimizer, loss, metrics, regularizer; methods run."""
    model = OwnModel()
    model.compile(OwnOptimizer(0.01), OwnLoss(), metrics=[OwnMetric(), own_function])
    model.train_on_batch(X, Y)
    loaded = again(model, tmp_path / "m")
    assert type(loaded) is OwnModel
    assert loaded.one() == 1
    assert type(loaded.optimizer) is OwnOptimizer
    assert type(loaded.loss) is OwnLoss
    assert type(loaded.dense.kernel_regularizer) is OwnRegularizer
    found = loaded.train_on_batch(X, Y, return_dict=True)
    assert loaded.steps >= 1
    assert sorted(found) == sorted(model.train_on_batch(X, Y, return_dict=True))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_mixed_precision_comes_back(
    policy: str, name: str, tmp_path: Path, peer: Peer
) -> None:
    """Promise 137: the policy, the loss scale and its state, from tf_keras."""
    theirs = saved(
        peer,
        "mixed_precision",
        tmp_path / name,
        policy=policy,
        **({"save_format": "h5"} if name.endswith(".h5") else {}),
    )
    model = regraft.load_model(tmp_path / name)
    assert_same_outputs(model, theirs, atol=2e-2, training=False)
    assert model.layers[-1].dtype_policy.name == policy
    if policy == "mixed_float16":
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert float(model.optimizer.dynamic_scale) == theirs["scale"]
