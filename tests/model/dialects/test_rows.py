"""No class of either Keras is forgotten; Keras 1's words; weights' edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regraft.errors import UnsupportedError
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.dialect import KERAS_2, Dialect
from regraft.model.dialects.keras2_arguments import KERAS_2_ARGUMENTS
from regraft.model.dialects.layers import accepted_keywords, find_layer_class
from regraft.model.dialects.registry import builtin_layers
from regraft.model.dialects.rows import ALIASES, ANYTHING, REGISTERED, ROWS, WITHOUT_ROW
from regraft.model.dialects.topology import build_layer

# Classes of tf_keras that are no layers of a file's own: networks.
NETWORKS = {"Model", "Functional", "Sequential"}


@pytest.mark.parametrize("name", sorted({*KERAS_2_ARGUMENTS, *ALIASES}))
def test_class_of_keras_2_is_known_or_has_a_reason(name):
    found = find_layer_class({"class_name": name, "config": {}}, BuildContext(KERAS_2))
    assert (found is not None) or name in WITHOUT_ROW


def test_no_layer_class_of_tf_keras_is_forgotten(peer: Any) -> None:
    names = peer.call("objects.layers")
    assert len(names) > 100
    unknown = [
        name
        for name in names
        if find_layer_class({"class_name": name, "config": {}}, BuildContext(KERAS_2))
        is None
        and name not in WITHOUT_ROW
    ]
    assert not unknown


@pytest.mark.parametrize("name", sorted(WITHOUT_ROW))
def test_class_with_a_reason_has_no_row(name):
    assert name not in ROWS


def test_rows_name_classes():
    known = {*KERAS_2_ARGUMENTS, *builtin_layers()}
    applications = {"CustomScaleLayer", "LayerScale", "StochasticDepth"}
    old = {"AddLoss", "AddMetric", "CategoryCrossing", "PeepholeLSTMCell"}
    experimental = {"RandomFourierFeatures"}
    cells = {"DeviceWrapper", "DropoutWrapper", "ResidualWrapper"}
    ready_made = {"LinearModel", "WideDeepModel"}
    addons = {name for name in REGISTERED if name.startswith("Addons")}
    others = applications | addons | cells | ready_made | experimental
    assert set(ROWS) <= known | old | others | ONLY_KERAS_1


# Of Keras 1's own words, and two that stand for an argument of it.
ONLY_KERAS_1 = {
    "CosineMerge",
    "DroppedEmbedding",
    "Highway",
    "MaxoutDense",
    "ModalBatchNormalization",
    "ParametricSoftplus",
    "SReLU",
}
KERAS_1 = Dialect.from_keras_version("1.2.2")


@pytest.mark.parametrize(
    ("class_name", "config", "expected"),
    [
        (
            "Dense",
            {"output_dim": 3, "init": "glorot_uniform", "W_regularizer": None,
             "bias": False, "input_dim": 4, "activation": "hard_sigmoid"},
            {"units": 3, "use_bias": False},
        ),
        (
            "Convolution2D",
            {"nb_filter": 2, "nb_row": 3, "nb_col": 2, "border_mode": "same",
             "subsample": [1, 2], "dim_ordering": "th", "init": "zero"},
            {"filters": 2, "kernel_size": (3, 2), "padding": "same",
             "strides": (1, 2), "data_format": "channels_first"},
        ),
        (
            "LSTM",
            {"output_dim": 3, "inner_activation": "hard_sigmoid", "dropout_W": 0.1,
             "dropout_U": 0.2, "forget_bias_init": "one", "consume_less": "cpu",
             "inner_init": "orthogonal", "U_regularizer": None, "input_dim": 4},
            {"units": 3, "dropout": 0.1, "recurrent_dropout": 0.2,
             "unit_forget_bias": True},
        ),
        ("GRU", {"output_dim": 3}, {"units": 3, "reset_after": False}),
        ("Dropout", {"p": 0.25}, {"rate": 0.25}),
        (
            "MaxPooling1D",
            {"pool_length": 2, "stride": 1, "border_mode": "valid"},
            {"pool_size": (2,), "strides": (1,), "padding": "valid"},
        ),
        (
            "Embedding",
            {"input_dim": 5, "output_dim": 2, "init": "uniform", "dropout": 0.0,
             "W_regularizer": None, "input_length": 3},
            {"input_dim": 5, "output_dim": 2},
        ),
        ("Merge", {"mode": "concat", "concat_axis": 1}, {"axis": 1}),
        ("BatchNormalization", {"mode": 0, "axis": 1}, {"axis": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_words_of_keras_1(class_name, config, expected):
    entry = {"class_name": class_name, "config": {"name": "n", **config}}
    made = build_layer(entry, BuildContext(KERAS_1)).get_config()
    for key, value in expected.items():
        assert made[key] == value


def test_hard_sigmoid_is_the_one_the_file_meant():
    entry = {
        "class_name": "Activation",
        "config": {"name": "a", "activation": "hard_sigmoid"},
    }
    layer = build_layer(entry, BuildContext(KERAS_2))
    np.testing.assert_allclose(
        layer(np.array([-2.8, -1.0, 0.5, 2.6])), [0, 0.3, 0.6, 1], atol=1e-6
    )


# What constructors demand, by name.
_REQUIRED: dict[str, Any] = {
    **{"units": 2, "filters": 2, "kernel_size": 2, "rate": 0.5},
    **{"num_heads": 2, "key_dim": 2, "input_dim": 3, "output_dim": 2},
    "cell": {"class_name": "LSTMCell", "config": {"units": 2}},
    "cells": [{"class_name": "LSTMCell", "config": {"units": 2}}],
}
# A value that says something, where text would not be understood at all.
_TELLING = {"time_major": True, "causal": True, "groups": 2, "rms_scaling": True}

_DROPPED = [
    (name, key)
    for name, row in ROWS.items()
    for key, allowed in row.dropped.items()
    if allowed is not ANYTHING
]


@pytest.mark.parametrize(("name", "key"), _DROPPED)
def test_dropped_key_that_says_something_is_refused_or_kept(name, key):
    context = BuildContext(Dialect.from_keras_version("2.6.0"))
    cls = find_layer_class({"class_name": name, "config": {}}, context)
    known = accepted_keywords(cls)
    inner = {"RNN": "cell", "StackedRNNCells": "cells"}
    known -= {"cell", "cells"} - {inner.get(name)}
    config = {k: v for k, v in _REQUIRED.items() if k in known}
    value = _TELLING.get(key, "l2" if "regularizer" in key else "non_neg")
    entry = {"class_name": name, "config": {**config, key: value}}
    try:
        layer = build_layer(entry, context)
    except UnsupportedError as error:
        assert key in str(error)  # noqa: PT017
    else:
        assert layer.get_config()[key] == value


# Keys that are dropped whatever they say, and why that changes nothing.
_SAYS_NOTHING = {
    "implementation": "another way to the same result",
    "input_length": "a shape, which the graph has",
    "input_size": "a shape, which the graph has",
    "sparse": "how a gradient is kept",
    "kernel_initializer": "a layer without this weight inherited the word",
    "kernel_regularizer": "a layer without this weight inherited the word",
    "kernel_constraint": "a layer without this weight inherited the word",
    "noise_shape": "what the layer sets itself",
    "query_shape": "a shape, which the graph has",
    "key_shape": "a shape, which the graph has",
    "value_shape": "a shape, which the graph has",
    "transform_bias": "what a bias began with",
    "output_rank": "what Keras 2 refuses for; the shapes have it",
}


def test_keys_that_never_say_anything_have_a_reason():
    found = {
        key
        for row in ROWS.values()
        for key, allowed in row.dropped.items()
        if allowed is ANYTHING
    }
    assert found == set(_SAYS_NOTHING)
