"""Weights of other layouts: cuDNN's layers, and layers that read each other's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from peer import Peer
from regraft.errors import MismatchError
from regraft.model.keras2.layers_local import LocallyConnected2D
from regraft.model.keras2.layers_recurrent import CuDNNGRU, CuDNNLSTM
from regraft.storage.hdf5_file import Hdf5Layer, Hdf5ModelFile, write_hdf5
from regraft.storage.tensor import ArrayTensor
from regraft.weights import load_weights

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(2, 5, 3)).astype("float32")
LAYERS = {"LSTM": (CuDNNLSTM, 4, 8), "GRU": (CuDNNGRU, 3, 6)}


def _weights(kind: str) -> list[np.ndarray]:
    _, gates, biases = LAYERS[kind]
    shapes = [(3, 4 * gates), (4, 4 * gates), (4 * biases,)]
    return [RNG.normal(size=shape).astype("float32") for shape in shapes]


def _model(layer: Any) -> keras.Model:
    return keras.Sequential([keras.Input((5, 3)), layer])


def _write(path: Path, weights: list[np.ndarray]) -> None:
    names = ("kernel", "recurrent_kernel", "bias")
    stored = tuple(
        (f"rnn/{name}:0", ArrayTensor(value))
        for name, value in zip(names, weights, strict=True)
    )
    file = Hdf5ModelFile(
        "2.2.4", "tensorflow", layers=(Hdf5Layer("rnn", stored),), weights_only=True
    )
    write_hdf5(path, file)


@pytest.mark.parametrize("kind", LAYERS)
def test_cudnn_layer_computes_what_its_weights_mean(kind: str, peer: Peer) -> None:
    weights = _weights(kind)
    expected, _ = peer.call("dialects.cudnn", kind, weights, INPUTS)
    layer = LAYERS[kind][0](4, name="rnn")
    model = _model(layer)
    model.set_weights(weights)
    np.testing.assert_allclose(model(INPUTS), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_plain_layer_reads_the_weights_of_a_cudnn_layer(
    kind: str, peer: Peer, tmp_path: Path
) -> None:
    weights = _weights(kind)
    expected, converted = peer.call("dialects.cudnn", kind, weights, INPUTS)
    _write(tmp_path / "w.h5", weights)
    model = _model(getattr(keras.layers, kind)(4, name="rnn"))
    load_weights(model, tmp_path / "w.h5")
    for actual, wanted in zip(model.get_weights(), converted, strict=True):
        np.testing.assert_array_equal(actual, wanted)
    np.testing.assert_allclose(model(INPUTS), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_cudnn_layer_reads_the_weights_of_a_plain_layer(
    kind: str, tmp_path: Path
) -> None:
    plain = _model(getattr(keras.layers, kind)(4, name="rnn"))
    plain.set_weights([RNG.normal(size=w.shape) for w in plain.get_weights()])
    _write(tmp_path / "w.h5", plain.get_weights())
    cudnn = _model(LAYERS[kind][0](4, name="rnn"))
    load_weights(cudnn, tmp_path / "w.h5")
    np.testing.assert_allclose(cudnn(INPUTS), plain(INPUTS), rtol=1e-5, atol=1e-6)


def test_weights_of_another_count_are_refused_by_name(tmp_path: Path) -> None:
    _write(tmp_path / "w.h5", _weights("LSTM"))
    model = _model(keras.layers.LSTM(4, name="rnn", use_bias=False))
    with pytest.raises(MismatchError, match="rnn"):
        load_weights(model, tmp_path / "w.h5")


@pytest.mark.parametrize("units", [3, 4, 8])
@pytest.mark.parametrize(
    "other",
    [
        keras.layers.GRU(6, name="rnn"),
        keras.layers.LSTM(6, name="rnn"),
        LAYERS["GRU"][0](6, name="rnn"),
        LAYERS["LSTM"][0](6, name="rnn"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_weights_of_another_kind_of_layer_are_refused_by_name(
    other: keras.Layer, units: int, tmp_path: Path
) -> None:
    shapes = [(1, 3, 4 * units), (1, units, 4 * units), (4 * units,)]  # ConvLSTM1D's.
    _write(tmp_path / "w.h5", [np.zeros(shape, "float32") for shape in shapes])
    model = _model(type(other).from_config(other.get_config()))
    with pytest.raises(MismatchError, match="rnn"):
        load_weights(model, tmp_path / "w.h5")


def test_local_bias_lies_as_keras_2_read_it(peer: Peer) -> None:
    shapes = [(12, 8, 3), (3, 4, 3)]
    weights = [RNG.normal(size=shape).astype("float32") for shape in shapes]
    inputs = RNG.normal(size=(2, 2, 4, 5)).astype("float32")
    layer = LocallyConnected2D(3, 2, data_format="channels_first")
    layer.build(inputs.shape)
    layer.set_weights(weights)
    (expected,) = peer.call("dialects.local_channels_first", weights, inputs)
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-5, atol=1e-5)
