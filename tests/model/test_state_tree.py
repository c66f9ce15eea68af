"""Variables of live layers under the names that Keras 2's object graphs use."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from regraft.model.attribute_order import among
from regraft.model.ordering import ordered_variables
from regraft.model.state_tree import call_signature, nearest_layers, state_tree

LSTM = ("cell.kernel", "cell.recurrent_kernel", "cell.bias")

# Paths as in SavedModels that tf_keras 2.21 wrote of the same layers.
ROWS = [
    (layers.Dense(3), [(None, 4)], ("kernel", "bias")),
    (layers.LSTM(3), [(None, 4, 5)], LSTM),
    (
        layers.Bidirectional(layers.LSTM(3)),
        [(None, 4, 5)],
        tuple(
            f"{side}_layer.{edge}" for side in ("forward", "backward") for edge in LSTM
        ),
    ),
    (
        layers.TimeDistributed(layers.Dense(2)),
        [(None, 4, 5)],
        ("layer.kernel", "layer.bias"),
    ),
    (
        layers.MultiHeadAttention(2, 3),
        [(None, 4, 5), (None, 4, 5)],
        tuple(
            f"_{part}_dense.{weight}"
            for part in ("query", "key", "value", "output")
            for weight in ("kernel", "bias")
        ),
    ),
    (
        layers.BatchNormalization(),
        [(None, 4)],
        ("gamma", "beta", "moving_mean", "moving_variance"),
    ),
    (layers.DepthwiseConv2D(3), [(None, 8, 8, 3)], ("depthwise_kernel", "bias")),
    (
        layers.SeparableConv2D(3, 3),
        [(None, 8, 8, 3)],
        ("depthwise_kernel", "pointwise_kernel", "bias"),
    ),
    (layers.Embedding(4, 3), [(None, 2)], ("embeddings",)),
    (layers.PReLU(), [(None, 3)], ("alpha",)),
    (
        layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]),
        [(None, 4, 5)],
        tuple(
            f"cell.cells.{i}.{w}"
            for i in (0, 1)
            for w in ("kernel", "recurrent_kernel", "bias")
        ),
    ),
    (layers.Dropout(0.5), [(None, 3)], ()),
]


@pytest.mark.parametrize(
    ("layer", "shapes", "paths"), ROWS, ids=[type(row[0]).__name__ for row in ROWS]
)
def test_paths_of_a_layer(layer: keras.Layer, shapes: list, paths: tuple) -> None:
    layer.build(*shapes)
    assert tuple(path for path, _ in state_tree(layer).edges()) == paths


def test_network_names_layers_by_number() -> None:
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(2),
            keras.Sequential([layers.Dropout(0.1), layers.Dense(1)]),
        ]
    )
    assert [path for path, _ in state_tree(model).edges()] == [
        "layer-0.kernel",
        "layer-0.bias",
        "layer-1.layer-1.kernel",
        "layer-1.layer-1.bias",
    ]


class Towers(keras.Model):
    """Layers as attributes, in a list and in a dict, and a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = layers.Dense(2)
        self.blocks = [layers.Dense(3), layers.Dense(4)]
        self.heads = {"a": layers.Dense(1), "again": self.stem}
        self.scale = self.add_weight(shape=(1,), name="scale")

    def call(self, x: object) -> object:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](x) * self.scale


def test_subclassed_model_names_attributes_lists_and_dicts() -> None:
    model = Towers()
    model(keras.ops.ones((1, 2)))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(keras.ops.ones((1, 2)), keras.ops.ones((1, 1)), verbose=0)
    assert [path for path, _ in state_tree(model).edges()] == [
        "scale",
        "stem.kernel",
        "stem.bias",
        "blocks.0.kernel",
        "blocks.0.bias",
        "blocks.1.kernel",
        "blocks.1.bias",
        "heads.a.kernel",
        "heads.a.bias",
    ]


def test_hdf5_order_puts_trainable_weights_first() -> None:
    inner = keras.Sequential(
        [keras.Input((2,)), layers.BatchNormalization(), layers.Dense(1)]
    )
    names = [variable.name for variable in ordered_variables(state_tree(inner))]
    assert names == [
        "gamma",
        "beta",
        "kernel",
        "bias",
        "moving_mean",
        "moving_variance",
    ]


def test_nearest_layers_end_at_the_wanted_ones_and_in_circles() -> None:
    inner = keras.Sequential([layers.Dense(1, name="in")], name="inner")
    outer = layers.TimeDistributed(inner, name="outer")
    inner.parent = outer
    model = keras.Sequential([outer, layers.Dense(1, name="end")])

    def names(wanted: set[str]) -> set[str]:
        found = nearest_layers(model, lambda layer: layer.name in wanted)
        return {layer.name for layer in found}

    assert names({"outer", "in", "end"}) == {"outer", "end"}
    assert names({"in"}) == {"in"}
    assert names(set()) == set()


def test_layers_that_share_a_call_share_its_signature():
    one, other, own = layers.Dense(1), layers.Dense(2), layers.Dense(3)
    own.call = lambda inputs, flag=True: inputs
    assert call_signature(one) is call_signature(other)
    assert list(call_signature(one).parameters) == ["inputs", "training"]
    assert list(call_signature(own).parameters) == ["inputs", "flag"]


def test_layers_that_pytorch_keeps_apart_come_where_they_were_set() -> None:
    class Parts(keras.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first = keras.layers.Dense(1)
            self.listed = [keras.layers.Dense(1), [keras.layers.Dense(1)]]
            self.second = keras.layers.Dense(1)
            self.number = 3
            self.table = {"key": keras.layers.Dense(1)}
            self.last = keras.layers.Dense(1)

    parts = Parts()
    names = ("first", "listed", "second", "number", "table", "last")
    given = [(name, getattr(parts, name)) for name in names]
    kept_apart = [given[place] for place in (0, 2, 5)]
    others = [given[place] for place in (1, 3, 4)]
    found = among(parts, others, kept_apart)
    order = [name for name, _ in found if name != "number"]
    assert order == ["first", "listed", "second", "table", "last"]
    assert len(found) == len(given)
