"""Where the weights of a layer lie in an HDF5 file, whichever Keras wrote it.

Keras 2 and 3 keep the same arrays in the same order, with these exceptions, each a
row of `_RULES`:

* Keras 1 had a weight per gate (12 in LSTM, 9 in GRU) unless `consume_less="gpu"`,
  kernels as `[filters, channels, rows, columns]` under `dim_ordering="th"`, and a
  dimension more in one-dimensional convolutions;
* Theano convolves where other backends correlate: its kernels are mirrored;
* cuDNN's layers keep each gate's kernel as a matrix of the other order, and a bias
  for the input and one for the state, so that LSTM and CuDNNLSTM read each other.

What a rule does to a weight is linear and moves no value between weights, except for
cuDNN's biases; so it holds for what an optimizer keeps for that weight, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from regraft.model.dialects.dialect import Dialect
from regraft.model.ordering import (
    Owned,
    is_overwritten,
    ordered_by_keras_3,
    ordered_variables,
    owned_in_order,
)
from regraft.model.state_tree import StateNode, state_tree_with_metrics
from regraft.storage.tensor import StoredTensor

Array = np.ndarray[Any, Any]
Convert = Callable[[Sequence[Array]], Array]
# Which of a layer's stored weights make one variable, and how; `None`: as it is.
Part = tuple[tuple[int, ...], Convert | None]


@dataclass(frozen=True)
class RawWeight:
    """A weight as the file has it.

    Attributes:
        position: Its place among all weights of the file.
        path: Its name there.
        tensor: Its value.
    """

    position: int
    path: str
    tensor: StoredTensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)


def writer_of(
    keras_version: str | None, backend: str | None, names: Sequence[str]
) -> Dialect:
    """Finds out of a file's version, backend and weights' names who wrote it.

    Keras 1 didn't say the backend; TensorFlow's variables have names that end in
    `:0` and Theano's have not.
    """
    found = Dialect.from_keras_version(keras_version, backend)
    if found.generation > 1 or backend is not None or not names:
        return found
    theano = not any(name.endswith(":0") for name in names)
    return replace(found, theano=theano)


class LaidOutTensor:
    """A tensor that is made of others in another layout."""

    def __init__(self, parts: Sequence[StoredTensor], convert: Convert) -> None:
        self._parts = tuple(parts)
        self._convert = convert
        # Views of single zeros have the shapes without the memory.
        zeros = [np.broadcast_to(np.int8(0), tuple(part.shape)) for part in parts]
        self._shape = tuple(convert(zeros).shape)

    @property
    def dtype(self) -> str:
        return self._parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def read(self) -> Array:
        return self._convert([part.read() for part in self._parts])


@dataclass(frozen=True)
class Placed:
    """A variable of the live model and what of the file makes its value."""

    variable: keras.Variable
    parts: tuple[RawWeight, ...]
    convert: Convert | None

    def lay_out(self, tensors: Sequence[StoredTensor]) -> StoredTensor:
        """Puts the parts, or what an optimizer keeps for them, together."""
        if self.convert is None:
            return tensors[0]
        return LaidOutTensor(tensors, self.convert)


def place(
    tree: StateNode, weights: Sequence[RawWeight], writer: Dialect
) -> list[Placed] | None:
    """Finds each variable of a top-level layer in its list of weights.

    Returns:
        One per variable, in Keras 2's order, and then those of the layer's metrics,
        where they are listed; `None` if the numbers don't agree.
    """
    placed = _place_all(tree, weights, writer)
    if placed is not None or tree.owner is None or writer.generation == 3:
        return placed
    split = _split_metrics(tree.owner, weights)
    if split is None:
        return None
    others, counted = split
    placed = _place_all(tree, others, writer)
    return None if placed is None else [*placed, *counted]


def _place_all(
    tree: StateNode, weights: Sequence[RawWeight], writer: Dialect
) -> list[Placed] | None:
    owned = owned_in_order(tree)
    if any(is_overwritten(item.variable) for item in owned):
        named = _by_name(tree, weights)
        if named is not None:
            return named
    if writer.generation == 3:
        variables = ordered_by_keras_3(tree)
        moved = any(
            a is not b for a, b in zip(variables, ordered_variables(tree), strict=True)
        )
        if moved and len(variables) == len(weights):
            pairs = zip(variables, weights, strict=True)
            return [Placed(variable, (weight,), None) for variable, weight in pairs]
    waiting = list(weights)
    placed = []
    for trainable in (True, False):
        for owner, variables in _groups(owned, trainable):
            if len(waiting) < len(variables):
                return None
            for variable, (indices, convert) in zip(
                variables, _parts(owner, variables, waiting, writer), strict=True
            ):
                parts = tuple(waiting[index] for index in indices)
                placed.append(Placed(variable, parts, convert))
            used = {part.position for item in placed for part in item.parts}
            waiting = [weight for weight in waiting if weight.position not in used]
    return None if waiting else placed


def counts(layer: keras.Layer) -> bool:
    """Whether a layer, or one below it, holds metrics."""
    return bool(_metric_variables(state_tree_with_metrics(layer, keras.Layer)))


def _split_metrics(
    layer: keras.Layer, weights: Sequence[RawWeight]
) -> tuple[list[RawWeight], list[Placed]] | None:
    """Splits a layer's list of weights that has its metrics' variables, too.

    Source: metrics are layers for Keras 2. Those that a model of an own class holds are
    listed among its layers, and until TensorFlow 2.4 those of a layer, too.

    Returns:
        The weights of its layers, and those of its metrics with their variables;
        `None` if the list has no such variables.
    """
    for holders in (keras.Model, keras.Layer):
        found = _split_listed(state_tree_with_metrics(layer, holders), weights)
        if found is not None:
            return found
    return None


def _split_listed(
    tree: StateNode, weights: Sequence[RawWeight]
) -> tuple[list[RawWeight], list[Placed]] | None:
    counted = {id(v) for v in _metric_variables(tree)}
    listed = ordered_variables(tree)
    if not counted or len(listed) != len(weights):
        return None
    others, found = [], []
    for variable, weight in zip(listed, weights, strict=True):
        if id(variable) not in counted:
            others.append(weight)
            continue
        if not _is_of_metric(variable, weight):
            return None
        found.append(Placed(variable, (weight,), None))
    return others, found


def _metric_variables(tree: StateNode) -> list[keras.Variable]:
    own = [v for _, v in tree.variables] if tree.kind == "metric" else []
    return own + [v for _, child in tree.children for v in _metric_variables(child)]


def _is_of_metric(variable: keras.Variable, weight: RawWeight) -> bool:
    """Whether shape and name agree; names are numbered where one comes again."""
    name = weight.path.rpartition("/")[2].partition(":")[0]
    same = re.sub(r"_\d+$", "", name) == re.sub(r"_\d+$", "", variable.name)
    return same and tuple(weight.tensor.shape) == tuple(variable.shape)


def _by_name(tree: StateNode, weights: Sequence[RawWeight]) -> list[Placed] | None:
    """Places weights by the names of variable and layer.

    Scales of float8 come first in a layer that was made with them, and last in one that
    was quantized later.
    """
    named = {_last_names(weight.path): weight for weight in weights}
    ordered = ordered_variables(tree)
    variables = {_last_names(v.path): v for v in ordered}
    same = named.keys() == variables.keys()
    if not same or not len(ordered) == len(named) == len(weights):
        return None
    return [Placed(v, (named[name],), None) for name, v in variables.items()]


def _last_names(path: str) -> tuple[str, ...]:
    return tuple(path.removesuffix(":0").split("/")[-2:])


def _groups(
    owned: Sequence[Owned], trainable: bool
) -> list[tuple[keras.Layer | None, list[keras.Variable]]]:
    """Variables of one kind by the layer that owns them, in order."""
    found: list[tuple[keras.Layer | None, list[keras.Variable]]] = []
    for item in owned:
        if item.trained != trainable:
            continue
        if found and found[-1][0] is item.owner:
            found[-1][1].append(item.variable)
        else:
            found.append((item.owner, [item.variable]))
    return found


def _parts(
    owner: keras.Layer | None,
    variables: Sequence[keras.Variable],
    weights: Sequence[RawWeight],
    writer: Dialect,
) -> list[Part]:
    """What makes each of a layer's variables; by default a weight each."""
    shapes = [weight.shape for weight in weights]
    for base in type(owner).__mro__:
        rule = _RULES.get(base.__name__)
        if rule is not None:
            found = rule(owner, variables, shapes, writer)
            if found is not None:
                return found
    if isinstance(owner, keras.layers.BatchNormalization):
        return [((index,), None) for index in _named_places(variables, weights)]
    return [((index,), None) for index in range(len(variables))]


def _named_places(
    variables: Sequence[keras.Variable], weights: Sequence[RawWeight]
) -> Sequence[int]:
    """Indices of the weights by name: TensorFlow 1.2 made beta before gamma."""
    names = [w.path.rsplit("/", 1)[-1].partition(":")[0] for w in weights]
    names = names[: len(variables)]
    wanted = [variable.name for variable in variables]
    if sorted(names) != sorted(wanted) or len(set(names)) < len(names):
        return range(len(variables))
    return [names.index(name) for name in wanted]


# ---------------------------------------------------------------- gates


def _joined(weights: Sequence[Array]) -> Array:
    return np.concatenate(weights, axis=-1)


def _gates(
    order: tuple[int, ...], variables: Sequence[keras.Variable], shapes: Any
) -> list[tuple[int, ...]] | None:
    """Indices of the gates' weights, if there is one for each gate."""
    kinds = len(variables)
    if len(shapes) < kinds * len(order):
        return None
    wide = variables[0].shape[-1] // len(order)
    narrow = (*variables[0].shape[:-1], wide)
    if sorted(shapes[0]) != sorted(narrow):
        return None
    # Keras 1 always has a bias, and lists kernel, state's kernel and bias by gate.
    return [tuple(kinds * gate + kind for gate in order) for kind in range(kinds)]


# Keras 1 lists the gates of LSTM as i, c, f, o and Keras 2 as i, f, c, o.
_LSTM_GATES = (0, 2, 1, 3)
_GRU_GATES = (0, 1, 2)


def _lstm(
    layer: Any, variables: Sequence[keras.Variable], shapes: Any, writer: Dialect
) -> list[Part] | None:
    if writer.generation == 1:
        gates = _gates(_LSTM_GATES, variables, shapes)
        return None if gates is None else [(indices, _joined) for indices in gates]
    if _fits(variables, shapes, times=2) and len(shapes[2]) == 1:
        return _between_cudnn(4, from_cudnn=True, bias=_sum_of_halves)
    return None


def _gru(
    layer: Any, variables: Sequence[keras.Variable], shapes: Any, writer: Dialect
) -> list[Part] | None:
    if writer.generation == 1:
        gates = _gates(_GRU_GATES, variables, shapes)
        return None if gates is None else [(indices, _joined) for indices in gates]
    if (
        _fits(variables, shapes)
        and len(shapes[2]) == 1
        and len(variables[2].shape) == 2
    ):
        shape = tuple(variables[2].shape)
        return _between_cudnn(
            3, from_cudnn=True, bias=lambda parts: parts[0].reshape(shape)
        )
    return None


def _conv_lstm(
    layer: Any, variables: Sequence[keras.Variable], shapes: Any, writer: Dialect
) -> list[Part] | None:
    kernel = _kernel(layer, writer)
    if writer.generation == 1:
        gates = _gates(_LSTM_GATES, variables, shapes)
        if gates is None:
            return None

        def join(parts: Sequence[Array]) -> Array:
            return _joined([kernel([part]) for part in parts])

        return [
            (indices, join if len(variable.shape) > 1 else _joined)
            for indices, variable in zip(gates, variables, strict=True)
        ]
    return _kernels(variables, kernel)


# ---------------------------------------------------------------- cuDNN


def _fits(
    variables: Sequence[keras.Variable], shapes: Any, *, times: float = 1
) -> bool:
    """Whether weights are those of a layer of the other kind.

    Args:
        variables: Of the layer.
        shapes: Of the weights.
        times: How many numbers their bias has for each of the layer's.
    """
    if len(variables) != 3 or len(shapes) != 3:
        return False
    kernels = [tuple(variable.shape) for variable in variables[:2]]
    numbers = times * math.prod(variables[2].shape)
    return list(map(tuple, shapes[:2])) == kernels and math.prod(shapes[2]) == numbers


def _between_cudnn(gates: int, *, from_cudnn: bool, bias: Convert) -> list[Part]:
    def kernel(parts: Sequence[Array]) -> Array:
        return _joined(
            [
                gate.reshape(gate.shape[::-1]).T
                if from_cudnn
                else np.ascontiguousarray(gate.T).reshape(gate.shape)
                for gate in np.split(parts[0], gates, axis=-1)
            ]
        )

    return [((0,), kernel), ((1,), kernel), ((2,), bias)]


def _sum_of_halves(parts: Sequence[Array]) -> Array:
    first, second = np.split(parts[0], 2)
    return np.asarray(first + second)


def _two_halves(parts: Sequence[Array]) -> Array:
    half = parts[0] / 2
    return np.concatenate([half, half])


def _cudnn_lstm(
    layer: Any, variables: Sequence[keras.Variable], shapes: Any, writer: Dialect
) -> list[Part] | None:
    if _fits(variables, shapes, times=0.5) and len(shapes[2]) == 1:
        return _between_cudnn(4, from_cudnn=False, bias=_two_halves)
    return None


def _cudnn_gru(
    layer: Any, variables: Sequence[keras.Variable], shapes: Any, writer: Dialect
) -> list[Part] | None:
    if _fits(variables, shapes) and len(shapes[2]) == 2:
        return _between_cudnn(
            3, from_cudnn=False, bias=lambda parts: parts[0].reshape(-1)
        )
    return None


# ---------------------------------------------------------------- convolutions


def _kernel(layer: Any, writer: Dialect, *, transposed: bool = False) -> Convert:
    """The kernel of a convolution in Keras 3's layout."""
    rank = len(layer.kernel_size)
    first = layer.data_format == "channels_first"

    def convert(parts: Sequence[Array]) -> Array:
        value = parts[0]
        if writer.generation == 1:
            value = _modern(value, layer.kernel_size, first, transposed)
        if writer.theano:
            value = value[(slice(None, None, -1),) * rank]
        return value

    return convert


def _modern(value: Array, size: Any, first: bool, transposed: bool) -> Array:
    """Keras 1's kernel as Keras 2's, `[…, channels, filters]`."""
    rank = len(size)
    if rank == 1 and value.ndim == 4:
        if value.shape[:2] != (size[0], 1):  # Keras 1.1 and older
            value = value.transpose(2, 3, 1, 0)
        return value[:, 0]
    if first:
        spatial = tuple(range(2, rank + 2))
        return value.transpose(*spatial, *((0, 1) if transposed else (1, 0)))
    if transposed:
        return value.swapaxes(-1, -2)
    return value


def _kernels(variables: Sequence[keras.Variable], kernel: Convert) -> list[Part]:
    return [
        ((index,), kernel if len(variable.shape) > 1 else None)
        for index, variable in enumerate(variables)
    ]


def _convolution(
    layer: Any, variables: Sequence[keras.Variable], shapes: Any, writer: Dialect
) -> list[Part] | None:
    if writer.generation > 1 and not writer.theano:
        return None
    return _kernels(variables, _kernel(layer, writer))


def _transposed(
    layer: Any, variables: Sequence[keras.Variable], shapes: Any, writer: Dialect
) -> list[Part] | None:
    if writer.generation > 1 and not writer.theano:
        return None
    return _kernels(variables, _kernel(layer, writer, transposed=True))


def _highway(
    layer: Any, variables: Sequence[keras.Variable], shapes: Any, writer: Dialect
) -> list[Part] | None:
    """Keras 1.0 listed each bias after its kernel."""
    if len(variables) != 4 or len(shapes[1]) != 1:
        return None
    return [((index,), None) for index in (0, 2, 1, 3)]


_RULES: dict[str, Callable[..., list[Part] | None]] = {
    "Highway": _highway,
    "LSTMCell": _lstm,
    "GRUCell": _gru,
    "ConvLSTMCell": _conv_lstm,
    "CuDNNLSTM": _cudnn_lstm,
    "CuDNNGRU": _cudnn_gru,
    "Conv1D": _convolution,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "SeparableConv1D": _convolution,
    "SeparableConv2D": _convolution,
    "DepthwiseConv1D": _convolution,
    "DepthwiseConv2D": _convolution,
    "Conv1DTranspose": _transposed,
    "Conv2DTranspose": _transposed,
    "Conv3DTranspose": _transposed,
}
