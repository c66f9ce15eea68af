"""Networks of own classes in HDF5, from tf_keras to the classes in Keras 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import regraft
from peer import Peer
from peer.functions import weight_files
from promises.checks import assert_same_losses, assert_same_outputs

pytestmark = pytest.mark.peer


def _saved(peer: Peer, case: str, path: Path, **keywords: Any) -> dict[str, Any]:
    return peer.call("own_hdf5.save", case, str(path), save_format="h5", **keywords)


def _assert_same(model: keras.Model, theirs: dict[str, Any]) -> None:
    """Outputs and steps tell weights apart, which Keras 3 lists in another order."""
    assert not regraft.load_report(model).notes
    ours, expected = (
        sorted(values, key=lambda value: (value.shape, value.tobytes()))
        for values in (
            [np.asarray(variable) for variable in model.weights],
            [value for _, _, value in theirs["weights"]],
        )
    )
    for value, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(value, other)
    assert_same_outputs(model, theirs, training=False)
    assert_same_losses(model, theirs)
    x, y = theirs["batch"]
    model.reset_metrics()
    loss = np.ravel(model.train_on_batch(x, y))[0]
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    ours = sorted(float(np.sum(np.square(v))) for v in model.weights)
    expected = sorted(float(np.sum(np.square(v))) for v in theirs["after"])
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def _dense() -> layers.Dense:
    return layers.Dense(3, "tanh")


def _variable(trainable: bool = True) -> keras.Variable:
    return keras.Variable(np.zeros((3, 3), "float32"), trainable=trainable)


def _fill(target: Any) -> None:
    target.late = None
    target.weights_by_name = {"w": _variable(), "u": _variable()}
    target.first = _variable()
    target.by_name = {
        "z": _dense(),
        "b": [_dense(), _variable()],
        "a": {"y": layers.BatchNormalization(), "x": _dense()},
        "c": _variable(),
    }
    target.listed = [_variable(), (_variable(trainable=False), _variable())]
    target.mixed = (_dense(), _variable(), {"q": _dense(), "p": _dense()})
    target.grown = [_dense()]
    target.late = _dense()
    target.grown.append(_dense())
    target.last = _variable()
    target.kept = target.add_weight((3, 3), name="kept", trainable=False)


def _run(target: Any, inputs: Any, training: Any) -> Any:
    by_name, mixed = target.by_name, target.mixed
    found = by_name["a"]["x"](by_name["b"][0](by_name["z"](inputs)))
    found = by_name["a"]["y"](found, training=training)
    for layer in (target.late, mixed[0], mixed[2]["q"], mixed[2]["p"], *target.grown):
        found = layer(found)
    weights = [
        *(target.weights_by_name["w"], target.weights_by_name["u"], target.first),
        *(by_name["b"][1], by_name["c"], target.listed[0], *target.listed[1]),
        *(mixed[1], target.last, target.kept),
    ]
    for place, weight in enumerate(weights):
        found = found + ops.tanh(ops.matmul(inputs, weight)) * (place + 1) / 10
    return found


class Filled(layers.Layer):
    """Weights and layers of one shape in all kinds of places."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        _fill(self)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return _run(self, inputs, training)


class FilledModel(keras.Model):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        _fill(self)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return _run(self, inputs, training)


class Late(layers.Layer):
    """Names what `build` makes in its constructor, in another order."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.bias = self.kernel = self.second = self.first = None

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight((3, 3), name="kernel")
        self.first = _dense()
        self.scale = self.add_weight((3, 3), name="scale")
        self.bias = self.add_weight((3, 3), name="bias")
        self.second = _dense()

    def call(self, inputs: Any) -> Any:
        found = self.second(self.first(inputs @ self.kernel) * 2.0)
        return found @ self.scale + ops.tanh(inputs @ self.bias)


FILLED = {cls.__name__: cls for cls in (Filled, FilledModel, Late)}


@pytest.mark.parametrize("frozen", [False, True])
def test_weights_of_a_class_are_placed_in_the_order_of_keras_2(
    frozen: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "weights_in_order", tmp_path / "m.h5", frozen=frozen)
    _assert_same(regraft.load_model(tmp_path / "m.h5", FILLED), theirs)


def test_weights_of_a_class_are_written_in_the_order_of_keras_2(
    tmp_path: Path, peer: Peer
) -> None:
    _saved(peer, "weights_in_order", tmp_path / "m.h5")
    model = regraft.load_model(tmp_path / "m.h5", FILLED)
    x = np.linspace(-1, 1, 15, dtype="float32").reshape(5, 3)
    y = np.linspace(0, 1, 10, dtype="float32").reshape(5, 2)
    regraft.save_model(model, tmp_path / "again.h5")
    theirs = peer.call("own_hdf5.read", str(tmp_path / "again.h5"), x, y)
    np.testing.assert_allclose(model(x), theirs["outputs"], rtol=1e-5, atol=1e-6)
    loss = np.ravel(model.train_on_batch(x, y))[0]
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    np.testing.assert_allclose(model(x), theirs["after"], rtol=1e-5, atol=1e-5)


def bent(values: Any) -> Any:
    return ops.tanh(values) * 0.5 + values * 0.1


class Doubled(keras.regularizers.Regularizer):
    def __init__(self, inner: Any) -> None:
        self.inner = keras.regularizers.get(inner)

    def __call__(self, weight: Any) -> Any:
        return 2.0 * self.inner(weight)

    def get_config(self) -> dict[str, Any]:
        return {"inner": keras.regularizers.serialize(self.inner)}


class Gated(layers.Layer):
    def __init__(
        self,
        activation: Any = None,
        regularizer: Any = None,
        initializer: Any = "ones",
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.activation = keras.activations.get(activation)
        self.regularizer = keras.regularizers.get(regularizer)
        self.initializer = keras.initializers.get(initializer)

    def build(self, shape: Any) -> None:
        self.gate = self.add_weight(
            (shape[-1],), self.initializer, regularizer=self.regularizer
        )

    def call(self, inputs: Any) -> Any:
        return self.activation(inputs * self.gate)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "initializer": keras.initializers.serialize(self.initializer),
        }


class Scaled(layers.Wrapper):
    def __init__(self, layer: Any, factor: float = 2.0, **keywords: Any) -> None:
        super().__init__(layer, **keywords)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return self.layer(inputs) * self.factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class Summed(layers.Layer):
    def __init__(self, parts: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.parts = [
            layers.deserialize(part) if isinstance(part, dict) else part
            for part in parts
        ]

    def call(self, inputs: Any) -> Any:
        return ops.sum(ops.stack([part(inputs) for part in self.parts]), axis=0)

    def get_config(self) -> dict[str, Any]:
        parts = [layers.serialize(part) for part in self.parts]
        return {**super().get_config(), "parts": parts}


class OwnLSTM(layers.LSTM):
    pass


class OwnGRU(layers.GRU):
    pass


class OwnNormalization(layers.BatchNormalization):
    pass


class OwnAttention(layers.MultiHeadAttention):
    pass


COMPOSED: dict[str, Any] = {
    item.__name__: item
    for item in (
        *(bent, Doubled, Gated, Scaled, Summed),
        *(OwnLSTM, OwnGRU, OwnNormalization, OwnAttention),
    )
}
KINDS = """
regularizer objects objects_of_old wrapper layers networks recurrent hard_sigmoid
attention normalization
"""


@pytest.mark.parametrize("kind", KINDS.split())
def test_classes_and_what_their_configs_hold_are_found_by_plain_names(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "composed", tmp_path / "m.h5", kind=kind)
    model = regraft.load_model(tmp_path / "m.h5", COMPOSED)
    regraft.save_model(model, tmp_path / "again.h5")
    _assert_same(model, theirs)
    with keras.saving.custom_object_scope(COMPOSED):
        _assert_same(regraft.load_model(tmp_path / "again.h5"), theirs)


class OwnEmbedding(layers.Embedding):
    pass


def _written(kind: str, inputs: Any) -> Any:
    if kind == "embedding":
        return OwnEmbedding(5, 3)(ops.cast(inputs > 0, "int32")[:, :, 0])
    if kind == "layers":
        inner = Scaled(Gated(bent, Doubled("l2")), name="inner")
        parts = [layers.Dense(3, bent), OwnGRU(3, return_sequences=True), inner]
        return Summed(parts)(inputs)
    if kind == "wrapper":
        return Scaled(layers.LSTM(3, return_sequences=True))(inputs)
    if kind == "recurrent":
        return layers.Bidirectional(OwnLSTM(3, return_sequences=True))(inputs)
    if kind == "attention":
        return OwnAttention(2, 3)(inputs, inputs)
    return OwnNormalization()(inputs)


@pytest.mark.parametrize(
    "kind",
    ["layers", "wrapper", "recurrent", "attention", "normalization", "embedding"],
)
def test_keras_2_takes_the_words_that_a_class_has_of_keras_and_of_its_layers(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    inputs = keras.Input((4, 3))
    with keras.saving.custom_object_scope(COMPOSED):  # Bidirectional asks for it.
        model = keras.Model(inputs, layers.Dense(2)(_written(kind, inputs)))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x = np.linspace(-1, 1, 60, dtype="float32").reshape(5, 4, 3)
    y = np.linspace(0, 1, 40, dtype="float32").reshape(5, 4, 2)
    model.train_on_batch(x, y)
    regraft.save_model(model, tmp_path / "m.h5")
    theirs = peer.call("own_hdf5.read", str(tmp_path / "m.h5"), x, y)
    np.testing.assert_allclose(model(x), theirs["outputs"], rtol=1e-5, atol=1e-6)
    model.reset_metrics()
    loss = np.ravel(model.train_on_batch(x, y))[0]
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    np.testing.assert_allclose(model(x), theirs["after"], rtol=1e-4, atol=1e-5)


def _assert_same_counts(ours: keras.Model, theirs: list[Any]) -> None:
    for value, other in zip(weight_files.counted(ours), theirs, strict=True):
        np.testing.assert_array_equal(value, other)


def _assert_same_steps(model: keras.Model, theirs: list[Any]) -> None:
    for expected in theirs:
        predicted = model.predict(weight_files.INPUTS, verbose=0)
        np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)
        model.train_on_batch(weight_files.INPUTS, weight_files.TARGETS)


def test_metrics_of_own_models_are_found_among_the_weights(
    peer: Peer, tmp_path: Path
) -> None:
    """Also in layers whose own metrics aren't listed."""
    counts, steps = peer.call("weight_files.save_holders", str(tmp_path / "m.h5"))
    _, classes = weight_files.network_of_holders(keras)
    model = regraft.load_model(tmp_path / "m.h5", custom_objects=classes)
    _assert_same_counts(model, counts)
    _assert_same_steps(model, steps)


def test_metrics_of_own_models_are_written_among_the_weights(
    peer: Peer, tmp_path: Path
) -> None:
    model, classes = weight_files.network_of_holders(keras)
    model.train_on_batch(weight_files.INPUTS, weight_files.TARGETS)
    regraft.save_model(model, tmp_path / "m.h5")
    options = regraft.SaveOptions(dialect="keras3")
    regraft.save_model(model, tmp_path / "keras3.h5", options=options)
    counts, steps = peer.call("weight_files.load_holders", str(tmp_path / "m.h5"))
    _assert_same_counts(model, counts)
    again = regraft.load_model(tmp_path / "m.h5", custom_objects=classes)
    _assert_same_counts(again, counts)
    theirs = keras.models.load_model(tmp_path / "keras3.h5", custom_objects=classes)
    for loaded in (model, again):
        _assert_same_steps(loaded, steps)
    np.testing.assert_allclose(
        theirs.predict(weight_files.INPUTS, verbose=0), steps[0], rtol=1e-5, atol=1e-6
    )
