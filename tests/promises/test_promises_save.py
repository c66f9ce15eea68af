"""Paths, formats, compile arguments, names and identity (promises 64 to 106)."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import regraft
from peer import Peer
from promises.checks import again, assert_same, assert_same_outputs, saved

# Name of the target, and further arguments of the save.
FORMATS = {
    "tf": ("m", {}),
    "tf_without_traces": ("m", {"save_traces": False}),
    "h5": ("m.h5", {}),
}
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")


@pytest.fixture(params=FORMATS)
def cycle(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Saves in a format and loads again."""
    name, keywords = FORMATS[request.param]
    counter = iter(range(9))

    def run(model: keras.Model, **load: Any) -> keras.Model:
        path = tmp_path / str(next(counter)) / name
        regraft.save_model(model, path, **keywords)
        return regraft.load_model(path, **load)

    return run


@pytest.fixture(params=FORMATS)
def peer_saved(request: pytest.FixtureRequest, tmp_path: Path, peer: Peer) -> Any:
    """Lets tf_keras save a case in a format: the path, and what it says of it."""
    name, keywords = FORMATS[request.param]
    if name.endswith(".h5"):
        keywords = {"save_format": "h5"}

    def run(case: str, **more: Any) -> tuple[Path, dict[str, Any]]:
        return tmp_path / name, saved(peer, case, tmp_path / name, **keywords, **more)

    return run


def _sequential() -> keras.Sequential:
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(2, "tanh"), layers.Dense(3)]
    )


def _assert_equal_models(model: keras.Model, loaded: keras.Model, x: Any = X) -> None:
    ours = keras.tree.flatten(model.predict(x, verbose=0))
    theirs = keras.tree.flatten(loaded.predict(x, verbose=0))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


_TWO_PROCESSES = """
import sys, keras, regraft
keras.utils.set_random_seed(1)
inputs = keras.Input((3,))
x = keras.layers.Dense(4, "relu")(inputs)
outputs = [keras.layers.Dense(2)(x), keras.layers.BatchNormalization()(x)]
model = keras.Model(inputs, outputs)
model.compile("adam", ["mse", "mae"], metrics=[["mae"], ["mse"]])
regraft.save_model(model, sys.argv[1])
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """Promise 64: the same model, saved in two processes."""
    for name, seed in (("a", "1"), ("b", "2")):
        subprocess.run(
            [sys.executable, "-c", _TWO_PROCESSES, str(tmp_path / name)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
    files = [p for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(files) >= 4
    for path in files:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes(), path.name


# ------------------------------------------------------------- paths and formats


def test_missing_path_is_named(tmp_path: Path) -> None:
    """Promise 66: an `OSError` in Keras' words."""
    with pytest.raises(OSError, match="No file or directory found at"):
        regraft.load_model(tmp_path / "nothing")


@pytest.mark.parametrize("kind", [str, Path])
def test_saved_model_is_the_default_format(kind: type, tmp_path: Path) -> None:
    """Promises 67 and 71: for strings and for `Path`s, saved and loaded."""
    model = _sequential()
    regraft.save_model(model, kind(tmp_path / "m"))
    assert (tmp_path / "m" / "saved_model.pb").is_file()
    _assert_equal_models(model, regraft.load_model(kind(tmp_path / "m")))


def test_hdf5_without_an_ending_and_without_a_config(tmp_path: Path) -> None:
    """Promises 68 and 69: `save_format="h5"` decides; subclasses are refused."""
    regraft.save_model(_sequential(), tmp_path / "m", save_format="h5")
    assert h5py.is_hdf5(tmp_path / "m")
    regraft.load_model(tmp_path / "m")
    regraft.save_model(_sequential(), Path(tmp_path) / "m.h5")
    assert h5py.is_hdf5(tmp_path / "m.h5")
    model = Pair()
    model(X)
    with pytest.raises(
        NotImplementedError, match=r"Sequential.*Functional|Functional.*Sequential"
    ):
        regraft.save_model(model, tmp_path / "n", save_format="h5")


class Pair(keras.Model):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


def test_unbuilt_subclass_is_refused_until_it_was_called(tmp_path: Path) -> None:
    """Promises 70 and 130: the error says what to call; then it works."""
    model = Pair()
    with pytest.raises(ValueError, match=r"cannot be saved.*as opposed to `model.call"):
        regraft.save_model(model, tmp_path / "m", save_format="tf")
    with pytest.raises(ValueError, match=r"cannot be saved"):
        regraft.save_model(keras.Sequential([layers.Dense(2)]), tmp_path / "m")
    model.call(X)  # builds the layer, and not the model
    with pytest.raises(ValueError, match=r"as opposed to `model.call"):
        regraft.save_model(model, tmp_path / "m", save_format="tf")
    expected = model.predict(X, verbose=0)
    regraft.save_model(model, tmp_path / "m", save_format="tf")
    found = regraft.load_model(tmp_path / "m").predict(X, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_cells_of_a_stack_have_names_of_their_own(tmp_path: Path) -> None:
    """Promise 73: HDF5 names each cell's weights after the cell."""
    cells = [layers.LSTMCell(3, name=f"cell{index}") for index in range(2)]
    inputs = keras.Input((5, 4))
    x = layers.RNN(cells, return_sequences=True, name="rnn")(inputs)
    model = keras.Model(inputs, [layers.Softmax()(x), layers.Dense(2)(x)])
    regraft.save_model(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        names = [str(n) for n in file["model_weights/rnn"].attrs["weight_names"]]
    assert len(set(names)) == 6
    assert sum("cell1" in name for name in names) == 3
    _assert_equal_models(
        model, regraft.load_model(tmp_path / "m.h5"), np.ones((2, 5, 4), "float32")
    )


def test_nothing_of_the_optimizer_is_kept_if_not_wanted(
    tmp_path: Path, peer: Peer
) -> None:
    """Promise 75: `include_optimizer=False`."""
    model = _sequential()
    model.compile("adam", "mse")
    model.train_on_batch(X, Y)
    regraft.save_model(model, tmp_path / "m", include_optimizer=False)
    keys = peer.call(
        "keras_models.checkpoint_variables", str(tmp_path / "m/variables/variables")
    )
    assert keys
    assert not [key for key in keys if "optimizer" in key]


@keras.saving.register_keras_serializable("Promises")
class RegisteredLoss(keras.losses.MeanSquaredError):
    pass


def test_registered_loss_compiles_again(cycle: Any) -> None:
    """Promise 76: a loss class of the user's that is registered."""
    model = _sequential()
    model.compile("sgd", RegisteredLoss())
    model.fit(X, Y, verbose=0)
    assert type(cycle(model).loss) is RegisteredLoss


def test_class_with_the_name_of_a_built_in_is_told(tmp_path: Path) -> None:
    """Promise 77: a warning where a class has Keras' name, else none."""

    class Sequential(keras.Model):
        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.dense = layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    model = Sequential()
    model(X)
    with pytest.warns(UserWarning, match="same name 'Sequential' as a built-in"):
        regraft.save_model(model, tmp_path / "m")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regraft.save_model(_sequential(), tmp_path / "n")


def test_layers_of_one_such_class_are_told_together(tmp_path: Path) -> None:
    class Dropout(keras.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    model = keras.Sequential([keras.Input((3,)), Dropout(), Dropout(), Dropout()])
    with pytest.warns(UserWarning, match="same name 'Dropout'") as told:
        regraft.save_model(model, tmp_path / "m")
    (text,) = [str(w.message) for w in told if "same name" in str(w.message)]
    assert f"layer '{model.layers[0].name}' and 2 more: " in text


# --------------------------------------------------- whole models, three formats


def _two_outputs() -> keras.Model:
    first, second = keras.Input((3,), name="first"), keras.Input((3,), name="second")
    dense = layers.Dense(4, name="shared")
    a, b = dense(first), dense(second)
    x = layers.Concatenate()([a, b])
    return keras.Model(
        [first, second],
        [layers.Dense(1, name="head_a")(x), layers.Dense(3, name="head_b")(x)],
    )


def test_metrics_and_weights_of_samples(cycle: Any) -> None:
    """Promise 80: metrics, weighted metrics, sample weights; evaluate is equal."""
    model = _two_outputs()
    model.compile(
        keras.optimizers.RMSprop(0.01),
        ["mse", "mae"],
        metrics=[["mae"], ["cosine_similarity"]],
        weighted_metrics=[["mse"], ["mae"]],
    )
    x, y = [X, X[::-1].copy()], [Y[:, :1], Y]
    weights = [np.linspace(0, 1, 4), np.linspace(1, 0.5, 4)]
    model.train_on_batch(x, y, weights)
    loaded = cycle(model)
    _assert_equal_models(model, loaded, x)
    for sample_weight in (None, weights):
        ours = model.evaluate(x, y, sample_weight=sample_weight, verbose=0)
        theirs = loaded.evaluate(x, y, sample_weight=sample_weight, verbose=0)
        np.testing.assert_allclose(theirs, ours, rtol=1e-5)
    np.testing.assert_allclose(
        loaded.train_on_batch(x, y, weights)[0],
        model.train_on_batch(x, y, weights)[0],
        rtol=1e-5,
    )


def test_weights_per_time_step(cycle: Any) -> None:
    """Promise 80: temporal sample weights."""
    model = keras.Sequential(
        [keras.Input((None, 3)), layers.LSTM(2, return_sequences=True)]
    )
    model.compile("adam", "mse", weighted_metrics=["mae"])
    x, y = np.ones((2, 4, 3), "float32"), np.zeros((2, 4, 2), "float32")
    weight = np.linspace(0, 1, 8).reshape(2, 4)
    model.train_on_batch(x, y, weight)
    loaded = cycle(model)
    np.testing.assert_allclose(
        loaded.evaluate(x, y, sample_weight=weight, verbose=0),
        model.evaluate(x, y, sample_weight=weight, verbose=0),
        rtol=1e-5,
    )


@pytest.mark.parametrize("state", ["built by training", "uncompiled", "never fitted"])
def test_sequential_in_every_state(state: str, cycle: Any) -> None:
    """Promises 81, 82, 84 and 86: however it was built, and compiled or not."""
    if state == "built by training":
        model = keras.Sequential([layers.Dense(2), layers.Dense(3)])
        model.compile("rmsprop", "mse", metrics=["mae"])
        model.train_on_batch(X, Y)
    else:
        model = _sequential()
        if state == "never fitted":
            model.compile("rmsprop", "mse", metrics=["mae"])
    loaded = cycle(model)
    assert loaded.compiled == (state != "uncompiled")
    assert isinstance(loaded, keras.Sequential)
    _assert_equal_models(model, loaded)
    if loaded.compiled:
        np.testing.assert_allclose(
            loaded.evaluate(X, Y, verbose=0), model.evaluate(X, Y, verbose=0), rtol=1e-6
        )


class Nesterov(keras.optimizers.SGD):
    pass


def mean_cubed(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)


def test_optimizer_and_loss_of_the_user(cycle: Any) -> None:
    """Promise 83: found through `custom_objects`."""
    model = _sequential()
    model.compile(Nesterov(0.03, 0.9), mean_cubed)
    model.train_on_batch(X, Y)
    loaded = cycle(
        model, custom_objects={"Nesterov": Nesterov, "mean_cubed": mean_cubed}
    )
    assert type(loaded.optimizer) is Nesterov
    # Keras before 3.14 reports the mean since the last reset.
    model.reset_metrics()
    np.testing.assert_allclose(
        loaded.train_on_batch(X, Y), model.train_on_batch(X, Y), rtol=1e-6
    )


@pytest.mark.peer
def test_optimizer_of_tensorflow_1(peer_saved: Any) -> None:
    """Promise 85: a `tf.compat.v1` optimizer doesn't keep the file from loading."""
    path, theirs = peer_saved("version_1_optimizer")
    model = regraft.load_model(path)
    assert_same_outputs(model, theirs, training=False)


@pytest.mark.peer
def test_lambda_with_arguments(peer_saved: Any) -> None:
    """Promise 87: NumPy arrays among the arguments of a `Lambda`.

    Without traces a file holds its bytecode alone, which runs only if it is trusted.
    """
    path, theirs = peer_saved("lambda_arguments")
    if str(path).endswith(".h5") or not theirs["traced"]:
        with pytest.raises(regraft.errors.UnsafeFileError, match="safe_mode"):
            regraft.load_model(path)
        model = regraft.load_model(
            path, custom_objects={"lambda": lambda x, factor: x * np.asarray(factor)}
        )
    else:
        model = regraft.load_model(path)
    assert_same_outputs(model, theirs, training=False)


def test_names_longer_than_hdf5_takes(tmp_path: Path) -> None:
    """Promises 88 and 89: long lists of names are split over attributes."""
    inputs = x = keras.Input((2,))
    for index in range(3):
        x = layers.Dense(2, name=f"{'n' * 30_000}{index}")(x)
    model = keras.Model(inputs, x)
    regraft.save_model(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert "layer_names" not in file["model_weights"].attrs
        assert "layer_names1" in file["model_weights"].attrs
    _assert_equal_models(model, regraft.load_model(tmp_path / "m.h5"), X[:, :2])

    inner_in = x = keras.Input((2,))
    for index in range(3):
        x = layers.Dense(2, name=f"{'w' * 30_000}{index}")(x)
    outer_in = keras.Input((2,))
    model = keras.Model(outer_in, keras.Model(inner_in, x, name="inner")(outer_in))
    regraft.save_model(model, tmp_path / "n.h5")
    with h5py.File(tmp_path / "n.h5") as file:
        assert "weight_names1" in file["model_weights/inner"].attrs
    _assert_equal_models(model, regraft.load_model(tmp_path / "n.h5"), X[:, :2])


def test_open_hdf5_files(tmp_path: Path) -> None:
    """Promise 90: an open `h5py.File`, on disk and in memory."""
    model = _sequential()
    with h5py.File(tmp_path / "m.h5", "w") as file:
        regraft.save_model(model, file)
        _assert_equal_models(model, regraft.load_model(file))
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        regraft.save_model(model, file)
        _assert_equal_models(model, regraft.load_model(file))


@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_directories_are_made(name: str, tmp_path: Path) -> None:
    """Promise 91: parents that are not there."""
    regraft.save_model(_sequential(), tmp_path / "a" / "b" / name)
    regraft.load_model(tmp_path / "a" / "b" / name)


def test_model_with_a_constant_array(cycle: Any) -> None:
    """Promise 93: an initializer that holds an array."""
    values = np.random.default_rng(0).uniform(size=(3, 2))
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(2, kernel_initializer=keras.initializers.Constant(values)),
        ]
    )
    loaded = cycle(model)
    _assert_equal_models(model, loaded)
    held = loaded.layers[-1].kernel_initializer.value
    np.testing.assert_allclose(np.asarray(held), values, rtol=1e-6)


@pytest.mark.peer
def test_names_that_are_paths_of_one_another(peer_saved: Any, tmp_path: Path) -> None:
    """Promise 94: `conv1` and `conv1/conv` in one model, found by these names."""
    path, theirs = peer_saved("slashed_names")
    model = regraft.load_model(path)
    second = [again(model, tmp_path / name) for name in ("again", "again.h5")]
    for loaded in (model, *second):
        assert_same(loaded, theirs)
        names = [entry.name for entry in regraft.load_report(loaded).layers]
        assert {"conv1", "conv1/conv"} <= set(names)
        assert loaded.get_layer("conv1") is not loaded.get_layer("conv1/conv")
        found = loaded.get_layer("conv1/conv")
        assert found is loaded.get_layer("conv1__conv")
        assert found.kernel.shape[-1] == 4
        assert found.kernel.path == "conv1__conv/kernel"
        assert loaded.get_layer("conv1").bias.path == "conv1/bias"
        assert loaded.output_names == ["head__a", "head_a"]


def test_version_of_keras_is_a_plain_string(tmp_path: Path) -> None:
    """Promise 95: in HDF5's attributes."""
    regraft.save_model(_sequential(), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert isinstance(file.attrs["keras_version"], str)
        assert isinstance(file["model_weights"].attrs["keras_version"], str)


@pytest.mark.peer
def test_added_losses_and_metrics(peer_saved: Any, peer: Peer, tmp_path: Path) -> None:
    """Promise 96: `add_loss` and `add_metric` on tensors of a Functional model."""
    path, theirs = peer_saved("added_loss_and_metric")
    model = regraft.load_model(path)
    x, y = theirs["batch"]
    found = np.ravel(model.evaluate(x, y, verbose=0))
    np.testing.assert_allclose(found[0], theirs["evaluated"][0], rtol=1e-5)
    # The mean of the targets' errors, and what was added, make up the loss.
    model(x)
    added = sum(float(loss) for loss in model.losses)
    errors = float(np.mean((np.asarray(model(x)) - y) ** 2))
    np.testing.assert_allclose(added + errors, found[0], rtol=1e-5)
    for name in ("again", "again.h5"):
        regraft.save_model(model, tmp_path / name)
        step = (str(tmp_path / name), x, [(x, y)])
        reopened = peer.call("keras_models.load_predict_train", *step)
        np.testing.assert_allclose(reopened["losses"], found[:1], rtol=1e-5)


@pytest.mark.peer
def test_slices_of_tensors(peer_saved: Any, tmp_path: Path) -> None:
    """Promise 98: `x[:, 1]` in a Functional model."""
    path, theirs = peer_saved("getitem")
    model = regraft.load_model(path)
    assert_same(model, theirs)
    for name in ("again", "again.h5"):
        assert_same(again(model, tmp_path / name), theirs)


class OwnFunctional(keras.Model):
    pass


def test_functional_class_of_the_user(cycle: Any) -> None:
    """Promise 99: by the class that was saved, and by a new one of its name."""
    inputs = keras.Input((3,))
    model = OwnFunctional(inputs, layers.Dense(2)(inputs))

    class Other(keras.Model):
        pass

    for cls in (OwnFunctional, Other):
        loaded = cycle(model, custom_objects={"OwnFunctional": cls})
        assert isinstance(loaded, cls)
        _assert_equal_models(model, loaded)


@keras.saving.register_keras_serializable("Promises")
class RegisteredDense(layers.Dense):
    pass


def test_registered_subclass_of_dense(cycle: Any) -> None:
    """Promises 79 and 100: registered classes need no scope."""
    inputs = keras.Input((3,))
    for model in (
        keras.Sequential([inputs, RegisteredDense(2)]),
        keras.Model(inputs, RegisteredDense(2)(inputs)),
    ):
        loaded = cycle(model)
        assert type(loaded.layers[-1]) is RegisteredDense
        _assert_equal_models(model, loaded)


@keras.saving.register_keras_serializable("Promises")
class Doubling(layers.Layer):
    """Calls a layer that may also be used elsewhere."""

    def __init__(self, inner: layers.Layer, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.inner = inner

    def call(self, inputs: Any) -> Any:
        return 2.0 * self.inner(inputs)

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Doubling:
        inner = config.pop("inner")
        if isinstance(inner, dict):
            inner = keras.saving.deserialize_keras_object(inner)
        return cls(inner, **config)


def test_layer_in_a_wrapper_and_alone_is_one(cycle: Any) -> None:
    """Promises 101 and 102: what was one object is one again."""
    inputs = keras.Input((3,))
    dense = layers.Dense(3, name="dense")
    x = dense(inputs)
    model = keras.Model(inputs, Doubling(dense, name="doubling")(x))
    assert len(model.weights) == 2
    loaded = cycle(model)
    assert loaded.get_layer("doubling").inner is loaded.get_layer("dense")
    assert len(loaded.weights) == 2
    loaded.get_layer("dense").kernel.assign(np.zeros((3, 3)))
    assert not np.asarray(loaded.get_layer("doubling").inner.kernel).any()


@pytest.mark.parametrize("fitted", [False, True])
def test_names_of_metrics_do_not_grow(fitted: bool, cycle: Any) -> None:
    """Promise 103: over three cycles of a model with two outputs."""
    model = _two_outputs()
    model.compile("adam", ["mse", "mse"], metrics=[["mae"], ["mae"]])
    x, y = [X, X], [Y[:, :1], Y]
    if fitted:
        model.fit(x, y, verbose=0)
    names = sorted(model.evaluate(x, y, verbose=0, return_dict=True))
    for _ in range(3):
        model = cycle(model)
        if fitted:
            model.fit(x, y, verbose=0)
        assert sorted(model.evaluate(x, y, verbose=0, return_dict=True)) == names


def _nested(kind: str) -> keras.Model:
    inner_in = keras.Input((3,))
    block = keras.Model(inner_in, layers.Dense(3)(inner_in), name="block")
    if kind == "graph":
        inputs = keras.Input((3,))
        return keras.Model(inputs, block(block(inputs)))
    if kind == "sequential":
        return keras.Sequential([keras.Input((3,)), block, layers.Dense(2)])
    model = keras.Sequential(
        [keras.Sequential([layers.Dense(4)]), keras.Sequential([layers.Dense(2)])]
    )
    model.build((None, 3))
    return model


@pytest.mark.parametrize("kind", ["graph", "sequential", "deferred"])
def test_nested_and_shared_models(kind: str, cycle: Any) -> None:
    """Promise 106: models in models, called more than once."""
    model = _nested(kind)
    model.compile("adam", "mse")
    loaded = cycle(model, compile=False)
    assert not loaded.compiled
    _assert_equal_models(model, loaded)
    assert len(loaded.weights) == len(model.weights)
