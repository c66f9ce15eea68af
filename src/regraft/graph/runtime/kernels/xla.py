"""XLA's own operations as ops of a graph, as JAX models were saved before StableHLO.

They are what JAX's operations of the same names compute, so that they need Keras to
run on JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from regraft.errors import FormatError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.control_flow import if_, while_
from regraft.graph.runtime.kernels.native import lax, raw_native
from regraft.graph.runtime.registry import kernel, register
from regraft.storage.proto.wire import read_integers

# Each is compared with each.
_MOST_SORTED = 2048
_CONFIG = ("precision_config",)
_SORTED = ("indices_are_sorted",)

# Source: field numbers of xla_data.proto.
_DOT = {"lhs_contract": 1, "rhs_contract": 2, "lhs_batch": 3, "rhs_batch": 4}
_GATHER = {"window": 1, "collapsed": 2, "map": 3, "vector": 4}
_BATCHING = {"operand_batch": 5, "indices_batch": 6}
_CONVOLUTION = {
    **{"rhs_in": 3, "rhs_out": 4, "rhs_space": 6, "lhs_batch": 7, "lhs_feature": 8},
    **{"out_batch": 9, "out_feature": 10, "lhs_space": 11, "out_space": 12},
}


def _dims(
    message: Any, fields: Mapping[str, int], *ranks: int
) -> dict[str, tuple[int, ...]]:
    """Returns the axes that a serialized message names, by our names for its fields.

    Raises:
        FormatError: It is none, or an axis is none of the tensors.
    """
    raw = message.encode() if isinstance(message, str) else message
    found = read_integers(raw)
    if any(not 0 <= axis <= max(ranks) for axes in found.values() for axis in axes):
        raise FormatError("Invalid dimension numbers", received=dict(found))
    return {name: tuple(found.get(number, ())) for name, number in fields.items()}


def _one(axes: Sequence[int]) -> int:
    # A field that is 0 is not written.
    return axes[0] if axes else 0


def _dot(lhs: Any, rhs: Any, dimension_numbers: Any, dtype: str | None) -> Any:
    lhs, rhs = values.to_tensor(lhs), values.to_tensor(rhs)
    dims = _dims(dimension_numbers, _DOT, lhs.ndim, rhs.ndim)
    contracting = dims["lhs_contract"], dims["rhs_contract"]
    batch = dims["lhs_batch"], dims["rhs_batch"]
    return lax().dot_general(
        lhs, rhs, (contracting, batch), preferred_element_type=dtype
    )


@kernel("XlaDot", ignored=_CONFIG, limits="JAX only")
def xla_dot(lhs: Any, rhs: Any, *, dimension_numbers: Any) -> Any:
    """Products of tensors, summed over some axes."""
    return _dot(lhs, rhs, dimension_numbers, None)


@kernel("XlaDotV2", ignored=_CONFIG, limits="JAX only")
def xla_dot_v2(
    lhs: Any, rhs: Any, *, dimension_numbers: Any, preferred_element_type: str
) -> Any:
    """The same, in a type of its own."""
    dtype = values.device_dtype(preferred_element_type)
    return _dot(lhs, rhs, dimension_numbers, dtype)


def _conv(
    lhs: Any,
    rhs: Any,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    feature_group_count: Any,
    dimension_numbers: Any,
    dtype: str | None,
    batch_groups: int,
) -> Any:
    lhs, rhs = values.to_tensor(lhs), values.to_tensor(rhs)
    dims = _dims(dimension_numbers, _CONVOLUTION, lhs.ndim)
    numbers = lax().ConvDimensionNumbers(
        (_one(dims["lhs_batch"]), _one(dims["lhs_feature"]), *dims["lhs_space"]),
        (_one(dims["rhs_out"]), _one(dims["rhs_in"]), *dims["rhs_space"]),
        (_one(dims["out_batch"]), _one(dims["out_feature"]), *dims["out_space"]),
    )
    return lax().conv_general_dilated(
        lhs,
        rhs,
        _ints(window_strides),
        [tuple(pair) for pair in np.asarray(padding).tolist()],
        _ints(lhs_dilation),
        _ints(rhs_dilation),
        numbers,
        int(feature_group_count),
        batch_groups,
        preferred_element_type=dtype,
    )


_CONV_STATIC = (
    *("window_strides", "padding", "lhs_dilation", "rhs_dilation"),
    "feature_group_count",
)


@kernel("XlaConv", static=_CONV_STATIC, ignored=_CONFIG, limits="JAX only")
def xla_conv(
    lhs: Any,
    rhs: Any,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    feature_group_count: Any,
    *,
    dimension_numbers: Any,
) -> Any:
    """A convolution of any layout."""
    return _conv(
        *(lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation),
        *(feature_group_count, dimension_numbers, None, 1),
    )


@kernel("XlaConvV2", static=_CONV_STATIC, ignored=_CONFIG, limits="JAX only")
def xla_conv_v2(
    lhs: Any,
    rhs: Any,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    feature_group_count: Any,
    *,
    dimension_numbers: Any,
    preferred_element_type: str,
    batch_group_count: int,
) -> Any:
    """The same, in a type of its own."""
    return _conv(
        *(lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation),
        *(feature_group_count, dimension_numbers),
        values.device_dtype(preferred_element_type),
        batch_group_count,
    )


def _ints(vector: Any) -> tuple[int, ...]:
    return tuple(int(item) for item in np.asarray(vector).reshape(-1))


def _vector_last(indices: Any, axis: int) -> Any:
    """Returns indices whose last axis is that of their parts."""
    indices = values.to_tensor(indices)
    return (
        ops.expand_dims(indices, -1)
        if axis == indices.ndim
        else ops.moveaxis(indices, axis, -1)
    )


@kernel("XlaGather", static=("slice_sizes",), ignored=_SORTED, limits="JAX only")
def xla_gather(
    operand: Any, start_indices: Any, slice_sizes: Any, *, dimension_numbers: Any
) -> Any:
    """Slices of a tensor that begin where indices say."""
    operand, indices = values.to_tensor(operand), values.to_tensor(start_indices)
    fields = {**_GATHER, **_BATCHING}
    dims = _dims(dimension_numbers, fields, operand.ndim, 2 * indices.ndim + 1)
    numbers = lax().GatherDimensionNumbers(
        offset_dims=dims["window"],
        collapsed_slice_dims=dims["collapsed"],
        start_index_map=dims["map"],
        operand_batching_dims=dims["operand_batch"],
        start_indices_batching_dims=dims["indices_batch"],
    )
    return lax().gather(
        operand,
        _vector_last(indices, _one(dims["vector"])),
        numbers,
        _ints(slice_sizes),
        mode="clip",
    )


_SCATTERS = {
    "add": "scatter_add",
    "mul": "scatter_mul",
    "min": "scatter_min",
    "max": "scatter_max",
    "second": "scatter",
}


@kernel("XlaScatter", ignored=_SORTED, limits="JAX only; sum, product, bounds, value")
def xla_scatter(
    ctx: Context,
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    *,
    update_computation: ir.FunctionRef,
    dimension_numbers: Any,
) -> Any:
    """A tensor with slices that are updated where indices say."""
    operand, indices = values.to_tensor(operand), values.to_tensor(scatter_indices)
    updates = values.to_tensor(updates)
    fields = {**_GATHER, **_BATCHING}
    dims = _dims(dimension_numbers, fields, operand.ndim, 2 * indices.ndim + 1)
    numbers = lax().ScatterDimensionNumbers(
        update_window_dims=dims["window"],
        inserted_window_dims=dims["collapsed"],
        scatter_dims_to_operand_dims=dims["map"],
        operand_batching_dims=dims["operand_batch"],
        scatter_indices_batching_dims=dims["indices_batch"],
    )
    name = _SCATTERS.get(_kind(ctx, update_computation))
    if name is None:
        raise UnsupportedError(
            f"XlaScatter updates by function '{update_computation.name}'."
        )
    return getattr(lax(), name)(
        operand,
        _vector_last(indices, _one(dims["vector"])),
        updates,
        numbers,
        mode="drop",
    )


# Functions of two numbers

_BINARY = {
    **{"Add": "add", "AddV2": "add", "Mul": "mul", "Minimum": "min", "Maximum": "max"},
    **{"LogicalAnd": "and", "LogicalOr": "or"},
}
_SAME = ("Identity", "StopGradient", "PreventGradient", "EnsureShape")


def _kind(ctx: Context, ref: ir.FunctionRef) -> str:
    """Returns what a function of two numbers computes; `""` if it is none we know."""
    return _kind_of(ctx.library.functions, ref.name, 8)


def _kind_of(functions: Mapping[str, ir.Function], name: str, depth: int) -> str:
    function = functions.get(name)
    if function is None or not depth or len(function.signature.outputs) != 1:
        return ""
    nodes = {node.name: node for node in function.nodes}
    arguments = [argument.name for argument in function.signature.inputs]

    def source(tensor: str) -> str:
        for _ in nodes:
            node = nodes.get(tensor.partition(":")[0])
            if node is None or node.op not in _SAME:
                break
            tensor = node.inputs[0]
        return tensor.partition(":")[0]

    end = source(next(iter(function.ret.values()), ""))
    if len(arguments) != 2 or end == arguments[0]:
        return ""
    if end == arguments[1]:
        return "second"
    node = nodes.get(end)
    if node is None:
        return ""
    given = [source(tensor) for tensor in node.inputs if not tensor.startswith("^")]
    called = node.attrs.get("f")
    if isinstance(called, ir.FunctionRef) and given == arguments:
        return _kind_of(functions, called.name, depth - 1)
    return _BINARY.get(node.op, "") if sorted(given) == sorted(arguments) else ""


def _combined(ctx: Context, ref: ir.FunctionRef) -> Callable[..., Any]:
    """Returns a function of two numbers; one that JAX knows has a gradient."""
    known = {
        **{"add": lax().add, "mul": lax().mul, "min": lax().min, "max": lax().max},
        **{"and": lax().bitwise_and, "or": lax().bitwise_or},
    }.get(_kind(ctx, ref))
    if known is not None:
        return known
    plan = ctx.plan(ref)
    return lambda x, y: ctx.call(plan, [x, y])[0]


def _reduced(
    ctx: Context,
    inputs: Sequence[Any],
    init_values: Sequence[Any],
    axes: tuple[int, ...],
    reducer: ir.FunctionRef,
) -> list[Any]:
    plan = ctx.plan(reducer)

    def combine(left: Any, right: Any) -> Any:
        return tuple(ctx.call(plan, [*left, *right]))

    tensors = tuple(values.to_tensor(item) for item in inputs)
    begin = tuple(
        lax().convert_element_type(values.to_tensor(item), tensor.dtype)
        for item, tensor in zip(init_values, tensors, strict=True)
    )
    return list(lax().reduce(tensors, begin, combine, axes))


@kernel("XlaReduce", limits="JAX only")
def xla_reduce(
    ctx: Context,
    input: Any,
    init_value: Any,
    *,
    dimensions_to_reduce: tuple[int, ...],
    reducer: ir.FunctionRef,
) -> Any:
    """A tensor whose axes a function of two numbers folds."""
    input = values.to_tensor(input)
    begin = lax().convert_element_type(values.to_tensor(init_value), input.dtype)
    return lax().reduce(input, begin, _combined(ctx, reducer), dimensions_to_reduce)


@kernel("XlaVariadicReduce", ignored=("N",), limits="JAX only")
def xla_variadic_reduce(
    ctx: Context,
    input: list[Any],
    init_value: list[Any],
    *,
    dimensions_to_reduce: tuple[int, ...],
    reducer: ir.FunctionRef,
) -> list[Any]:
    """Tensors whose axes one function folds together."""
    return _reduced(ctx, input, init_value, dimensions_to_reduce, reducer)


@kernel("XlaVariadicReduceV2", limits="JAX only")
def xla_variadic_reduce_v2(
    ctx: Context,
    inputs: list[Any],
    init_values: list[Any],
    *,
    dimensions_to_reduce: tuple[int, ...],
    reducer: ir.FunctionRef,
) -> list[Any]:
    """The same, of several types."""
    return _reduced(ctx, inputs, init_values, dimensions_to_reduce, reducer)


@kernel(
    "XlaReduceWindow",
    static=(
        *("window_dimensions", "window_strides", "base_dilations"),
        *("window_dilations", "padding"),
    ),
    limits="JAX only",
)
def xla_reduce_window(
    ctx: Context,
    input: Any,
    init_value: Any,
    window_dimensions: Any,
    window_strides: Any,
    base_dilations: Any,
    window_dilations: Any,
    padding: Any,
    *,
    computation: ir.FunctionRef,
) -> Any:
    """A tensor whose windows a function of two numbers folds."""
    input = values.to_tensor(input)
    begin: Any = init_value
    if values.is_host(begin):
        # JAX tells sums and bounds, which have gradients, by a known value.
        begin = np.asarray(values.static(begin)).astype(input.dtype)[()]
    return lax().reduce_window(
        input,
        begin,
        _combined(ctx, computation),
        _ints(window_dimensions),
        _ints(window_strides),
        [tuple(pair) for pair in np.asarray(padding).tolist()],
        _ints(base_dilations),
        _ints(window_dilations),
    )


# Slices


@kernel(
    "XlaPad",
    static=("padding_low", "padding_high", "padding_interior"),
    limits="JAX only",
)
def xla_pad(
    input: Any,
    padding_value: Any,
    padding_low: Any,
    padding_high: Any,
    padding_interior: Any,
) -> Any:
    """A tensor with values around and between; what is negative is cut off."""
    parts = map(_ints, (padding_low, padding_high, padding_interior))
    input = values.to_tensor(input)
    value = lax().convert_element_type(values.to_tensor(padding_value), input.dtype)
    return lax().pad(input, value, list(zip(*parts, strict=True)))


def _starts(indices: Any, rank: int) -> list[Any]:
    tensor = values.to_tensor(indices)
    return [tensor[axis] for axis in range(rank)]


@kernel("XlaDynamicSlice", static=("size_indices",), limits="JAX only")
def xla_dynamic_slice(input: Any, start_indices: Any, size_indices: Any) -> Any:
    """A slice of a size, moved so that it is inside."""
    input = values.to_tensor(input)
    begin = _starts(start_indices, input.ndim)
    return lax().dynamic_slice(input, begin, _ints(size_indices))


@kernel("XlaDynamicUpdateSlice", limits="JAX only")
def xla_dynamic_update_slice(input: Any, update: Any, indices: Any) -> Any:
    """A tensor with a slice that is replaced."""
    input = values.to_tensor(input)
    begin = _starts(indices, input.ndim)
    return lax().dynamic_update_slice(input, values.to_tensor(update), begin)


@kernel("XlaBroadcastHelper", static=("broadcast_dims",))
def xla_broadcast_helper(lhs: Any, rhs: Any, broadcast_dims: Any) -> tuple[Any, Any]:
    """Two tensors of one rank: axes of length 1 are put into the smaller one."""
    dims = _ints(broadcast_dims)
    ranks = values.rank_of(lhs), values.rank_of(rhs)
    if ranks[0] == ranks[1] or not dims:
        return lhs, rhs
    small, rank = (lhs, ranks[1]) if ranks[0] < ranks[1] else (rhs, ranks[0])
    small = values.to_tensor(small)
    if len(dims) != small.ndim or any(not 0 <= dim < rank for dim in dims):
        raise FormatError("Invalid axes to broadcast along", received=dims)
    shape = [1] * rank
    for dim, length in zip(dims, small.shape, strict=True):
        shape[dim] = length
    wide = ops.reshape(small, shape)
    return (wide, rhs) if ranks[0] < ranks[1] else (lhs, wide)


# Sorting, and others


@kernel("XlaSort")
def xla_sort(input: Any) -> Any:
    """A tensor whose last axis is in order."""
    return ops.sort(values.to_tensor(input), axis=-1)


@kernel("XlaKeyValueSort", limits="JAX only")
def xla_key_value_sort(keys: Any, values_: Any) -> tuple[Any, Any]:
    """Keys in order, and values in the order of their keys."""
    pair = values.to_tensor(keys), values.to_tensor(values_)
    found: tuple[Any, Any] = lax().sort(pair, dimension=-1, num_keys=1)
    return found


@kernel(
    "XlaVariadicSort",
    static=("dimension",),
    ignored=("is_stable",),
    limits=f"JAX only; at most {_MOST_SORTED} along the axis",
)
def xla_variadic_sort(
    ctx: Context, inputs: list[Any], dimension: Any, *, comparator: ir.FunctionRef
) -> list[Any]:
    """Tensors in the order that a function says; equal ones stay as they were."""
    tensors = [ops.moveaxis(values.to_tensor(x), int(dimension), -1) for x in inputs]
    length = tensors[0].shape[-1]
    if not isinstance(length, int) or length > _MOST_SORTED:
        raise UnsupportedError(
            f"XlaVariadicSort along an axis of {length}: each is compared with each, "
            f"at most {_MOST_SORTED}."
        )
    plan = ctx.plan(comparator)

    def before(*pairs: Any) -> Any:
        return ctx.call(plan, pairs)[0]

    pairs: list[Any] = []
    for x in tensors:
        wide = (*x.shape, length)
        left = ops.broadcast_to(ops.expand_dims(x, -1), wide)
        right = ops.broadcast_to(ops.expand_dims(x, -2), wide)
        pairs += [left.reshape(-1), right.reshape(-1)]
    vmap = raw_native("vmap")
    # Whether the first of a pair comes before the second; then the other way.
    first = vmap(before)(*pairs).reshape(wide)
    other = ops.swapaxes(first, -1, -2)
    places = np.arange(length)
    earlier = places[:, None] < places[None, :]
    ahead = ops.logical_or(
        first, ops.logical_and(ops.logical_not(other), ops.convert_to_tensor(earlier))
    )
    # As many as come before one: the place of that one.
    order = ops.argsort(ops.sum(ops.cast(ahead, "int32"), axis=-2), axis=-1)
    return [
        ops.moveaxis(ops.take_along_axis(x, order, axis=-1), -1, int(dimension))
        for x in tensors
    ]


@kernel("XlaEinsum", limits="JAX only")
def xla_einsum(a: Any, b: Any, *, equation: str) -> Any:
    """Products of two tensors, summed as an equation says."""
    return ops.einsum(equation, values.to_tensor(a), values.to_tensor(b))


@kernel("XlaReducePrecision", limits="JAX only")
def xla_reduce_precision(
    operand: Any, *, exponent_bits: int, mantissa_bits: int
) -> Any:
    """Numbers rounded to fewer bits."""
    tensor = values.to_tensor(operand)
    return lax().reduce_precision(tensor, exponent_bits, mantissa_bits)


@kernel("XlaOptimizationBarrier", passthrough=True)
def xla_optimization_barrier(input: list[Any]) -> list[Any]:
    """The same tensors."""
    return input


register("XlaIf", if_, ignored=("Tin", "Tout"))
register("XlaWhile", while_, ignored=("T",))
