"""Recurrent layers as cuDNN computes them: all weights in one vector.

The vector holds the weights of every layer and direction, then all biases. Per layer
and direction there is a matrix per gate for the input, then one per gate for the
state; each stands transposed to Keras' kernels. Gates come in the order i, f, c, o of
an LSTM and r, z, h of a GRU.

Source: NVIDIA's cuDNN documentation, `cudnnRNNMode_t` and `cudnnGetRNNWeightParams`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.registry import kernel, register

_GATES = {"lstm": 4, "gru": 3, "rnn_relu": 1, "rnn_tanh": 1}
Shapes = list[tuple[int, ...]]


def _shapes(
    mode: str, layers: int, directions: int, units: int, width: int
) -> tuple[Shapes, Shapes]:
    """Returns the shapes of all weights and of all biases, in order."""
    weights: Shapes = []
    gates = _GATES[mode]
    for layer in range(layers):
        depth = width if layer == 0 else units * directions
        for _ in range(directions):
            weights += [(units, depth)] * gates + [(units, units)] * gates
    return weights, [(units,)] * len(weights)


def _split(params: Any, shapes: Shapes) -> list[Any]:
    sizes = [int(np.prod(shape)) for shape in shapes]
    if values.shape_of(params) != (sum(sizes),):
        raise MismatchError(
            f"The weights of a cuDNN layer are {sum(sizes)} numbers, received "
            f"{values.shape_of(params)[0]}."
        )
    at, found = 0, []
    for shape, size in zip(shapes, sizes, strict=True):
        found.append(xp.reshape(params[at : at + size], shape))
        at += size
    return found


def _step(mode: str, x: Any, held: Any, parts: tuple[list[Any], ...]) -> Any:
    """One step; returns the new hidden and cell state."""
    w, r, bw, br = parts
    hidden, cell = held
    a = [ops.matmul(x, ops.transpose(m)) + b for m, b in zip(w, bw, strict=True)]
    b = [ops.matmul(hidden, ops.transpose(m)) + c for m, c in zip(r, br, strict=True)]
    if mode == "lstm":
        i, f, c, o = (p + q for p, q in zip(a, b, strict=True))
        cell = ops.sigmoid(f) * cell + ops.sigmoid(i) * ops.tanh(c)
        return ops.sigmoid(o) * ops.tanh(cell), cell
    if mode == "gru":
        reset, update = ops.sigmoid(a[0] + b[0]), ops.sigmoid(a[1] + b[1])
        candidate = ops.tanh(a[2] + reset * b[2])
        return (1 - update) * candidate + update * hidden, cell
    total = a[0] + b[0]
    return (ops.relu(total) if mode == "rnn_relu" else ops.tanh(total)), cell


def _reversed(x: Any, lengths: Any) -> Any:
    """Returns time-major `x` with the valid part of each sequence turned around."""
    if lengths is None:
        return ops.flip(x, axis=0)
    steps = ops.expand_dims(ops.arange(values.shape_of(x)[0], dtype="int32"), 1)
    places = ops.where(steps < lengths, lengths - 1 - steps, steps)
    return ops.take_along_axis(x, ops.expand_dims(places, -1), axis=0)


def _layer(
    mode: str, x: Any, state: Any, parts: tuple[list[Any], ...], lengths: Any
) -> tuple[Any, Any, Any]:
    """One layer in one direction; sequences stand still where they have ended."""
    steps = ops.arange(values.shape_of(x)[0], dtype="int32")

    def step(held: Any, given: Any) -> Any:
        item, at = given
        hidden, cell = _step(mode, item, held, parts)
        if lengths is None:
            return (hidden, cell), hidden
        goes_on = ops.expand_dims(at < lengths, -1)
        kept = (
            ops.where(goes_on, hidden, held[0]),
            ops.where(goes_on, cell, held[1]),
        )
        return kept, ops.where(goes_on, hidden, ops.zeros_like(hidden))

    (hidden, cell), out = ops.scan(step, state, (x, steps))
    return out, hidden, cell


def _run(
    x: Any, h: Any, c: Any, params: Any, lengths: Any, mode: str, direction: str
) -> tuple[Any, Any, Any]:
    directions = 2 if direction == "bidirectional" else 1
    total, _, units = values.shape_of(h)
    width = values.shape_of(x)[-1]
    layers = total // directions
    weights, biases = _shapes(mode, layers, directions, units, width)
    found = _split(params, [*weights, *biases])
    gates = _GATES[mode]
    groups: list[tuple[list[Any], ...]] = []
    for place in range(0, len(weights), 2 * gates):
        both = found[place : place + 2 * gates]
        offset = len(weights) + place
        added = found[offset : offset + 2 * gates]
        groups.append((both[:gates], both[gates:], added[:gates], added[gates:]))
    hs, cs = [], []
    for layer in range(layers):
        outs = []
        for turn in range(directions):
            place = layer * directions + turn
            cell = c[place] if mode == "lstm" else ops.zeros_like(h[place])
            given = _reversed(x, lengths) if turn else x
            out, hidden, cell = _layer(
                mode, given, (h[place], cell), groups[place], lengths
            )
            outs.append(_reversed(out, lengths) if turn else out)
            hs.append(hidden)
            cs.append(cell)
        x = ops.concatenate(outs, axis=-1) if directions == 2 else outs[0]
    last = ops.stack(cs) if mode == "lstm" else ops.zeros((0,), values.dtype_of(h))
    return x, ops.stack(hs), last


def _checked(rnn_mode: str, input_mode: str, dropout: float, is_training: bool) -> None:
    if rnn_mode not in _GATES:
        raise UnsupportedError(f"A cuDNN layer of the mode '{rnn_mode}'.")
    if input_mode not in ("linear_input", "auto_select"):
        raise UnsupportedError(f"A cuDNN layer with the input mode '{input_mode}'.")
    if dropout and is_training:
        raise UnsupportedError("Dropout between the layers of a cuDNN layer.")


_IGNORED = ("seed", "seed2")
_NO_DROPOUT = "no dropout in training"


@kernel("CudnnRNN", ignored=_IGNORED, limits=_NO_DROPOUT)
def cudnn_rnn(
    input: Any,
    input_h: Any,
    input_c: Any,
    params: Any,
    *,
    rnn_mode: str,
    input_mode: str,
    direction: str,
    dropout: float,
    is_training: bool,
) -> tuple[Any, Any, Any, Any]:
    """Layers over time; time is the first axis."""
    _checked(rnn_mode, input_mode, dropout, is_training)
    x, h, c, p = (values.to_tensor(v) for v in (input, input_h, input_c, params))
    return (*_run(x, h, c, p, None, rnn_mode, direction), np.zeros(0, np.float32))


@kernel("CudnnRNNV2", ignored=_IGNORED, limits=_NO_DROPOUT)
def cudnn_rnn_v2(
    input: Any,
    input_h: Any,
    input_c: Any,
    params: Any,
    *,
    rnn_mode: str,
    input_mode: str,
    direction: str,
    dropout: float,
    is_training: bool,
) -> tuple[Any, ...]:
    """As `CudnnRNN`, with one more value for a gradient."""
    out = cudnn_rnn(
        input,
        input_h,
        input_c,
        params,
        rnn_mode=rnn_mode,
        input_mode=input_mode,
        direction=direction,
        dropout=dropout,
        is_training=is_training,
    )
    return (*out, np.zeros(0, np.int8))


@kernel("CudnnRNNV3", ignored=_IGNORED, limits=_NO_DROPOUT + ", no projection")
def cudnn_rnn_v3(
    input: Any,
    input_h: Any,
    input_c: Any,
    params: Any,
    sequence_lengths: Any,
    *,
    rnn_mode: str,
    input_mode: str,
    direction: str,
    dropout: float,
    num_proj: int,
    is_training: bool,
    time_major: bool,
) -> tuple[Any, ...]:
    """Layers over sequences of their own lengths; the rest of the output is zero."""
    _checked(rnn_mode, input_mode, dropout, is_training)
    if num_proj:
        raise UnsupportedError("A cuDNN layer with a projection.")
    x, h, c, p = (values.to_tensor(v) for v in (input, input_h, input_c, params))
    lengths = values.to_tensor(sequence_lengths)
    lstm = rnn_mode == "lstm"
    if not time_major:
        x, h = ops.swapaxes(x, 0, 1), ops.swapaxes(h, 0, 1)
        c = ops.swapaxes(c, 0, 1) if lstm else c
    out, h, c = _run(x, h, c, p, lengths, rnn_mode, direction)
    if not time_major:
        out, h = ops.swapaxes(out, 0, 1), ops.swapaxes(h, 0, 1)
        c = ops.swapaxes(c, 0, 1) if lstm else c
    return out, h, c, np.zeros(0, np.float32), np.zeros(0, np.int8)


# The vector and its parts


def _canonical_shapes(
    mode: str, direction: str, num_layers: Any, num_units: Any, input_size: Any
) -> tuple[Shapes, Shapes]:
    directions = 2 if direction == "bidirectional" else 1
    sizes = [int(np.asarray(size)) for size in (num_layers, num_units, input_size)]
    if mode not in _GATES:
        raise UnsupportedError(f"A cuDNN layer of the mode '{mode}'.")
    values.checked((sizes[0], sizes[1], max(sizes[1], sizes[2])))
    return _shapes(mode, sizes[0], directions, sizes[1], sizes[2])


_SIZES = ("num_layers", "num_units", "input_size")
_NO_MATTER = ("input_mode", "dropout", *_IGNORED)


@kernel(
    "CudnnRNNCanonicalToParams",
    static=_SIZES,
    ignored=("input_mode", "dropout", "rnn_mode", "direction", *_IGNORED),
)
def cudnn_rnn_canonical_to_params(
    num_layers: Any, num_units: Any, input_size: Any, weights: Any, biases: Any
) -> Any:
    """The vector of all weights and biases."""
    del num_layers, num_units, input_size
    return xp.concatenate([xp.reshape(part, (-1,)) for part in (*weights, *biases)])


@kernel(
    "CudnnRNNCanonicalToParamsV2",
    static=_SIZES,
    ignored=("input_mode", "dropout", "rnn_mode", "direction", "num_proj", *_IGNORED),
)
def cudnn_rnn_canonical_to_params_v2(
    num_layers: Any, num_units: Any, input_size: Any, weights: Any, biases: Any
) -> Any:
    """The vector of all weights and biases."""
    del num_layers, num_units, input_size
    return xp.concatenate([xp.reshape(part, (-1,)) for part in (*weights, *biases)])


def _to_canonical(
    num_layers: Any,
    num_units: Any,
    input_size: Any,
    params: Any,
    *,
    rnn_mode: str,
    direction: str,
) -> tuple[list[Any], list[Any]]:
    """Weights and biases, each by layer, direction and gate."""
    weights, biases = _canonical_shapes(
        rnn_mode, direction, num_layers, num_units, input_size
    )
    found = _split(params, [*weights, *biases])
    return found[: len(weights)], found[len(weights) :]


register("CudnnRNNParamsToCanonical", _to_canonical, static=_SIZES, ignored=_NO_MATTER)
register(
    "CudnnRNNParamsToCanonicalV2",
    _to_canonical,
    static=_SIZES,
    ignored=("num_proj", *_NO_MATTER),
)


@kernel(
    "CudnnRNNParamsSize",
    static=_SIZES,
    ignored=("S", "num_proj", *_NO_MATTER),
)
def cudnn_rnn_params_size(
    num_layers: Any,
    num_units: Any,
    input_size: Any,
    *,
    rnn_mode: str,
    direction: str,
) -> Any:
    """How many numbers all weights and biases are."""
    weights, biases = _canonical_shapes(
        rnn_mode, direction, num_layers, num_units, input_size
    )
    total = sum(int(np.prod(shape)) for shape in (*weights, *biases))
    return np.array([total], np.int32)
