"""Shapes, slices, joins, pads, and other ops that move values without changing them."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.registry import kernel, register, register_table


@kernel("Const", constant=True, ignored=("dtype",))
def const(*, value: ir.TensorValue) -> Any:
    """A value that stands in the graph."""
    return value.numpy()


def same(input: Any) -> Any:
    """The input itself."""
    return input


for _op in (
    "Identity",
    "RefIdentity",
    "Snapshot",
    "DeepCopy",
    "GuaranteeConst",
    "PreventGradient",
):
    register(_op, same, passthrough=True, ignored=("message",))
register(
    "DebugIdentity",
    same,
    passthrough=True,
    ignored=("device_name", "tensor_name", "debug_urls", "gated_grpc"),
)
register("Copy", same, passthrough=True, ignored=("tensor_name", "debug_ops_spec"))
for _op in ("CheckNumerics", "CheckNumericsV2"):
    register(_op, same, passthrough=True, ignored=("message",), limits="does not check")


@kernel("IdentityN", passthrough=True)
def identity_n(input: list[Any]) -> list[Any]:
    """The inputs themselves."""
    return input


@kernel("PlaceholderWithDefault", ignored=("shape",))
def placeholder_with_default(input: Any) -> Any:
    """The default, where nothing was fed."""
    return input


@kernel("Placeholder", "PlaceholderV2", ignored=("dtype", "shape"))
def placeholder(*, node_name: str) -> Any:
    """A value that must be fed."""
    raise MismatchError(f"Placeholder '{node_name}' was not fed.")


@kernel("StopGradient")
def stop_gradient(input: Any) -> Any:
    """The input, through which no gradient flows."""
    return input if values.is_host(input) else ops.stop_gradient(input)


@kernel("EnsureShape")
def ensure_shape(input: Any, *, shape: ir.TensorShape) -> Any:
    """The input, whose shape must be compatible with `shape`."""
    if not shape.is_compatible_with(values.shape_of(input)):
        raise MismatchError(
            f"Expected shape {shape}, received {tuple(values.shape_of(input))}."
        )
    return input


# Shapes


@kernel("Shape")
def shape(input: Any, *, out_type: str) -> Any:
    """Lengths of the dimensions."""
    return values.integers(values.shape_of(input), out_type)


@kernel("ShapeN")
def shape_n(input: list[Any], *, out_type: str) -> list[Any]:
    """Shape of each input."""
    return [shape(item, out_type=out_type) for item in input]


@kernel("Size")
def size(input: Any, *, out_type: str) -> Any:
    """Number of elements."""
    count: Any = 1
    for length in values.shape_of(input):
        count = count * length
    return values.integers([count], out_type).reshape(())


@kernel("Rank")
def rank(input: Any) -> Any:
    """Number of dimensions."""
    return np.int32(values.rank_of(input))


@kernel("Reshape", static=("shape",), ignored=("Tshape",))
def reshape(tensor: Any, shape: Any) -> Any:
    """The same values in another shape; one length may be -1."""
    return xp.reshape(tensor, values.dims(shape))


@kernel("ExpandDims", static=("dim",), ignored=("Tdim",))
def expand_dims(input: Any, dim: Any) -> Any:
    """A dimension of length 1 more, at `dim`."""
    return xp.expand_dims(input, values.scalar(dim))


@kernel("Squeeze")
def squeeze(input: Any, *, squeeze_dims: tuple[int, ...]) -> Any:
    """Without dimensions of length 1: all, or those given."""
    if not squeeze_dims:
        return xp.squeeze(input)
    count = values.rank_of(input)
    axes = {axis % count for axis in squeeze_dims}
    lengths = values.shape_of(input)
    return xp.reshape(input, [n for i, n in enumerate(lengths) if i not in axes])


@kernel("BroadcastTo", static=("shape",))
def broadcast_to(input: Any, shape: Any) -> Any:
    """The values repeated to fill `shape`."""
    return xp.broadcast_to(input, values.checked(values.dims(shape)))


@kernel("BroadcastArgs", static=("s0", "s1"))
def broadcast_args(s0: Any, s1: Any) -> Any:
    """The shape that two shapes broadcast to."""
    return np.array(np.broadcast_shapes(tuple(s0), tuple(s1)), s0.dtype)


@kernel("BroadcastGradientArgs", static=("s0", "s1"))
def broadcast_gradient_args(s0: Any, s1: Any) -> tuple[Any, Any]:
    """Axes over which each side's gradient must be summed."""
    count = max(len(s0), len(s1))
    left = [1] * (count - len(s0)) + s0.tolist()
    right = [1] * (count - len(s1)) + s1.tolist()
    pairs = list(enumerate(zip(left, right, strict=True)))
    r0 = [i for i, (a, b) in pairs if a == 1 and (b != 1 or i < count - len(s0))]
    r1 = [i for i, (a, b) in pairs if b == 1 and (a != 1 or i < count - len(s1))]
    both = [i for i, (a, b) in pairs if a == 1 and b == 1]
    return (
        np.array(sorted({*r0, *both}), s0.dtype),
        np.array(sorted({*r1, *both}), s0.dtype),
    )


@kernel("Fill", static=("dims",), ignored=("index_type",))
def fill(dims: Any, value: Any) -> Any:
    """One value in every place."""
    lengths = values.checked(values.dims(dims))
    if values.is_host(value) and values.is_host(list(lengths)):
        return np.full(lengths, value, value.dtype)
    return ops.broadcast_to(values.to_tensor(value), lengths)


@kernel("Empty", static=("shape",), ignored=("init",))
def empty(shape: Any, *, dtype: str) -> Any:
    """Zeros: what `Empty` leaves undefined."""
    return np.zeros(values.checked(values.dims(shape)), values.numpy_dtype(dtype))


def _like(number: int) -> Any:
    def kernel_function(x: Any) -> Any:
        if values.is_host(x):
            return np.full(x.shape, number, x.dtype)
        return ops.full_like(x, number)

    return kernel_function


register_table({"ZerosLike": _like(0), "OnesLike": _like(1)})


@kernel("Range", static=("start", "limit", "delta"), ignored=("Tidx",))
def range_(start: Any, limit: Any, delta: Any) -> Any:
    """Numbers from `start` to below `limit` in steps of `delta`."""
    if isinstance(limit, values.SymbolicArray):
        count = values.scalar(limit)
        first, step = values.scalar(start), values.scalar(delta)
        if (first, step) != (0, 1):
            raise UnsupportedError("Range over a symbolic length must be 0, 1, 2 …")
        return ops.arange(count, dtype=values.device_dtype(limit.tf_dtype))
    if not delta:
        raise MismatchError("A range with steps of 0.")
    values.checked([max(int(np.ceil((limit - start) / delta)), 0)])
    return np.arange(start, limit, delta, dtype=start.dtype)


@kernel("LinSpace", static=("start", "stop", "num"), ignored=("Tidx",))
def lin_space(start: Any, stop: Any, num: Any) -> Any:
    """`num` evenly spaced numbers from `start` to `stop`."""
    return np.linspace(start, stop, *values.checked([int(num)]), dtype=start.dtype)


# Slices


def _bit(mask: int, position: int) -> bool:
    return bool(mask >> position & 1)


def _index(
    begin: Any, end: Any, strides: Any, masks: tuple[int, int, int, int, int]
) -> tuple[Any, ...]:
    begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask = masks
    index: list[Any] = []
    for i, step in enumerate(values.dims(strides)):
        if _bit(ellipsis_mask, i):
            index.append(Ellipsis)
        elif _bit(new_axis_mask, i):
            index.append(None)
        elif _bit(shrink_axis_mask, i):
            index.append(_item(begin, i))
        else:
            first = None if _bit(begin_mask, i) else _item(begin, i)
            last = None if _bit(end_mask, i) else _item(end, i)
            index.append(slice(first, last, step))
    return tuple(index)


def _item(vector: Any, position: int) -> Any:
    """An element as a number where it is known, else as a scalar tensor."""
    if isinstance(vector, np.ndarray):
        return values.dims(vector[position : position + 1])[0]
    return vector[position]


def _if_known(value: Any) -> Any:
    return value if values.is_traced(value) else values.static(value)


def _dynamic(input: Any, index: tuple[Any, ...]) -> Any:
    """Indexes with scalar tensors, one axis after the other."""
    if any(
        isinstance(item, slice) and values.is_traced([item.start, item.stop])
        for item in index
    ):
        raise UnsupportedError(
            "A slice here has a length that depends on the values of the inputs. "
            "Call the function outside of jit."
        )
    plain = tuple(slice(i, i + 1) if isinstance(i, int) else i for i in index)
    static_index = tuple(
        item if isinstance(item, slice) or item in (None, Ellipsis) else slice(None)
        for item in (p if not values.is_traced(p) else slice(None) for p in plain)
    )
    out = values.to_tensor(input)[static_index]
    spent = sum(1 for item in index if item is not None and item is not Ellipsis)
    axis = 0
    for item in index:
        if item is Ellipsis:
            axis += values.rank_of(input) - spent
        elif isinstance(item, int):
            out = ops.squeeze(out, axis)
        elif item is not None and not isinstance(item, slice):
            # Counted from the end where negative, as TensorFlow does.
            length = ops.shape(out)[axis]
            out = ops.take(out, ops.where(item < 0, item + length, item), axis=axis)
        else:
            axis += 1
    return out


@kernel("StridedSlice", static=("strides",), ignored=("Index",))
def strided_slice(
    input: Any,
    begin: Any,
    end: Any,
    strides: Any,
    *,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Any:
    """Python's indexing: slices, single places, `...` and new axes, by bit masks."""
    masks = (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    index = _index(_if_known(begin), _if_known(end), strides, masks)
    if values.is_traced([i for i in index if not isinstance(i, slice)]) or any(
        isinstance(i, slice) and values.is_traced([i.start, i.stop]) for i in index
    ):
        return _dynamic(input, index)
    return input[index]


@kernel("StridedSliceGrad", static=("shape", "begin", "end", "strides"))
def strided_slice_grad(
    shape: Any,
    begin: Any,
    end: Any,
    strides: Any,
    dy: Any,
    *,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Any:
    """Zeros of `shape` with `dy` in the slice's place."""
    masks = (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    lengths = values.dims(shape)
    zeros = np.zeros(lengths, values.numpy_dtype(values.dtype_of(dy)))
    return _place(zeros, _index(begin, end, strides, masks), dy)


@kernel("TensorStridedSliceUpdate", static=("begin", "end", "strides"))
def tensor_strided_slice_update(
    input: Any,
    begin: Any,
    end: Any,
    strides: Any,
    value: Any,
    *,
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Any:
    """The input with `value` in the slice's place."""
    masks = (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    return _place(input, _index(begin, end, strides, masks), value)


def _place(input: Any, index: tuple[Any, ...], value: Any) -> Any:
    """Writes `value` where `input[index]` is."""
    if values.is_host([input, value]):
        out = np.array(input)
        out[index] = value
        return out
    lengths = values.shape_of(input)
    places = np.arange(int(np.prod(lengths))).reshape(lengths)[index]
    value = ops.broadcast_to(values.to_tensor(value), places.shape)
    flat = ops.scatter_update(
        ops.reshape(values.to_tensor(input), (-1,)),
        places.reshape(-1, 1).astype(np.int32),
        ops.reshape(value, (-1,)),
    )
    return ops.reshape(flat, lengths)


@kernel("Slice", static=("size",), ignored=("Index",))
def slice_(input: Any, begin: Any, size: Any) -> Any:
    """A block from `begin` with lengths `size`; -1 means up to the end."""
    begin = _if_known(begin)
    wanted = values.dims(size)
    if values.is_traced(begin):
        if any(isinstance(w, int) and w < 0 for w in wanted):
            raise UnsupportedError(
                "A slice here reaches from a place that depends on the values of the "
                "inputs to the end. Call the function outside of jit."
            )
        return ops.slice(values.to_tensor(input), begin, wanted)
    starts = values.dims(begin)
    return input[
        tuple(
            slice(b, None if isinstance(w, int) and w < 0 else b + w)
            for b, w in zip(starts, wanted, strict=True)
        )
    ]


@kernel("Split", static=("split_dim",))
def split(split_dim: Any, value: Any, *, num_split: int) -> list[Any]:
    """Equal parts along an axis."""
    return list(xp.split(value, num_split, axis=values.scalar(split_dim)))


@kernel("SplitV", static=("size_splits", "split_dim"), ignored=("Tlen",))
def split_v(
    value: Any, size_splits: Any, split_dim: Any, *, num_split: int
) -> list[Any]:
    """Parts of given lengths along an axis; one length may be -1."""
    axis = values.scalar(split_dim)
    sizes = size_splits.tolist()
    if -1 in sizes:
        sizes[sizes.index(-1)] = values.shape_of(value)[axis] - sum(sizes) - 1
    parts = list(xp.split(value, np.cumsum(sizes)[:-1].tolist(), axis=axis))
    return parts[:num_split]


@kernel("Unpack")
def unpack(value: Any, *, num: int, axis: int) -> list[Any]:
    """The entries along an axis, one by one."""
    before = axis % values.rank_of(value)
    head = (slice(None),) * before
    return [value[(*head, i)] for i in range(num)]


# Joins


def _joined(parts: list[Any], axis: int) -> Any:
    if values.is_host(parts):
        return values.joined(parts, np.concatenate(parts, axis=axis))
    return ops.concatenate([values.to_tensor(p) for p in parts], axis=axis)


@kernel("ConcatV2", static=("axis",), ignored=("N", "Tidx"))
def concat_v2(inputs: list[Any], axis: Any) -> Any:
    """The inputs one after the other along an axis."""
    return _joined(inputs, values.scalar(axis))


@kernel("Concat", static=("concat_dim",), ignored=("N",))
def concat(concat_dim: Any, inputs: list[Any]) -> Any:
    """The inputs one after the other along an axis."""
    return _joined(inputs, values.scalar(concat_dim))


@kernel("ParallelConcat", ignored=("N", "shape"))
def parallel_concat(inputs: list[Any]) -> Any:
    """The inputs one after the other along the first axis."""
    return _joined(inputs, 0)


@kernel("ConcatOffset", static=("concat_dim", "shape"), ignored=("N",))
def concat_offset(concat_dim: Any, shape: list[Any]) -> list[Any]:
    """Where each part begins in a concatenation."""
    axis = values.scalar(concat_dim)
    out = []
    position = 0
    for lengths in shape:
        offset = np.zeros_like(lengths)
        offset[axis] = position
        position += lengths[axis]
        out.append(offset)
    return out


@kernel("Pack", ignored=("N",))
def pack(inputs: list[Any], *, axis: int) -> Any:
    """The inputs stacked along a new axis."""
    if values.is_host(inputs):
        return values.joined(inputs, np.stack(inputs, axis=axis))
    return ops.stack([values.to_tensor(p) for p in inputs], axis=axis)


# Order


@kernel("Transpose", static=("perm",), ignored=("Tperm",))
def transpose(x: Any, perm: Any) -> Any:
    """Axes in another order."""
    return xp.transpose(x, values.dims(perm))


@kernel("ConjugateTranspose", static=("perm",), ignored=("Tperm",))
def conjugate_transpose(x: Any, perm: Any) -> Any:
    """Axes in another order, complex numbers conjugated."""
    return xp.conj(xp.transpose(x, values.dims(perm)))


@kernel("InvertPermutation", static=("x",))
def invert_permutation(x: Any) -> Any:
    """The order that undoes an order."""
    return np.argsort(x).astype(x.dtype)


@kernel("ReverseV2", static=("axis",), ignored=("Tidx",))
def reverse_v2(tensor: Any, axis: Any) -> Any:
    """Back to front along some axes."""
    axes = values.dims(axis)
    return xp.flip(tensor, axis=axes) if axes else tensor


@kernel("Reverse", static=("dims",))
def reverse(tensor: Any, dims: Any) -> Any:
    """Back to front along the axes that are marked."""
    axes = tuple(int(i) for i in np.flatnonzero(dims))
    return xp.flip(tensor, axis=axes) if axes else tensor


@kernel("ReverseSequence", ignored=("Tlen",))
def reverse_sequence(
    input: Any, seq_lengths: Any, *, seq_dim: int, batch_dim: int
) -> Any:
    """The first entries of each row back to front, as many as its length says."""
    moved = xp.moveaxis(input, (batch_dim, seq_dim), (0, 1))
    count = values.shape_of(moved)[1]
    places = np.arange(count, dtype=np.int32)[None, :]
    lengths = xp.expand_dims(values.cast(seq_lengths, "int32"), 1)
    source = xp.where(xp.less(places, lengths), lengths - 1 - places, places)
    tail = (1,) * (values.rank_of(moved) - 2)
    source = xp.reshape(source, (*values.shape_of(source), *tail))
    out = xp.take_along_axis(moved, source, axis=1)
    return xp.moveaxis(out, (0, 1), (batch_dim, seq_dim))


@kernel("Roll", static=("shift", "axis"), ignored=("Tshift", "Taxis"))
def roll(input: Any, shift: Any, axis: Any) -> Any:
    """Entries moved along axes; what leaves at one end comes in at the other."""
    for by, along in zip(shift.reshape(-1), axis.reshape(-1), strict=True):
        input = xp.roll(input, int(by), axis=int(along))
    return input


@kernel("Tile", static=("multiples",), ignored=("Tmultiples",))
def tile(input: Any, multiples: Any) -> Any:
    """The input repeated along each axis."""
    if isinstance(multiples, values.SymbolicArray):
        lengths = values.shape_of(input)
        wanted = values.dims(multiples)
        if all(n == 1 or w == 1 for n, w in zip(lengths, wanted, strict=True)):
            full = [n * w for n, w in zip(lengths, wanted, strict=True)]
            return ops.broadcast_to(values.to_tensor(input), full)
    wanted = values.dims(multiples)
    values.checked([values.shape_of(input)[i] * n for i, n in enumerate(wanted)])
    return xp.tile(input, wanted)


# Pads


@kernel("Pad", static=("paddings",), ignored=("Tpaddings",))
def pad(input: Any, paddings: Any) -> Any:
    """Zeros around the input."""
    return xp.pad(input, values.widths_for(input, paddings.tolist()))


@kernel("PadV2", static=("paddings",), ignored=("Tpaddings",))
def pad_v2(input: Any, paddings: Any, constant_values: Any) -> Any:
    """One value around the input."""
    widths = values.widths_for(input, paddings.tolist())
    if values.is_host([input, constant_values]):
        return np.pad(input, widths, constant_values=constant_values.item())
    return ops.pad(
        values.to_tensor(input),
        widths,
        constant_values=values.to_tensor(constant_values),
    )


@kernel("MirrorPad", static=("paddings",), ignored=("Tpaddings",))
def mirror_pad(input: Any, paddings: Any, *, mode: str) -> Any:
    """The input's own border, mirrored, around it."""
    widths = values.widths_for(input, paddings.tolist())
    return xp.pad(input, widths, mode=mode.lower())


@kernel("OneHot", static=("depth",), ignored=("TI",))
def one_hot(
    indices: Any, depth: Any, on_value: Any, off_value: Any, *, axis: int
) -> Any:
    """`on_value` at each index, `off_value` elsewhere, along a new axis."""
    (count,) = values.checked([int(values.scalar(depth))])
    place = values.rank_of(indices) if axis < 0 else axis
    numbers = np.arange(count, dtype=np.int32)
    numbers = numbers.reshape(
        [-1 if i == place else 1 for i in range(values.rank_of(indices) + 1)]
    )
    hit = xp.equal(xp.expand_dims(indices, place), numbers)
    return xp.where(hit, on_value, off_value)


@kernel("Bitcast")
def bitcast(input: Any, *, T: str, type: str) -> Any:
    """The same bits as another type."""
    if values.is_host(input):
        target = np.dtype(values.numpy_dtype(type))
        if target.itemsize > input.dtype.itemsize:
            return np.ascontiguousarray(input).view(target)[..., 0]
        if target.itemsize < input.dtype.itemsize:
            return np.ascontiguousarray(input)[..., None].view(target)
        return np.ascontiguousarray(input).view(target).reshape(input.shape)
    wide, narrow = (np.dtype(values.numpy_dtype(name)).itemsize for name in (type, T))
    if wide != narrow and values.dtype_of(input) != T:
        raise UnsupportedError(
            f"Bitcast of {T} to {type} needs {narrow * 8}-bit numbers, which JAX has "
            "where `jax_enable_x64` is set."
        )
    if wide < narrow:
        input = ops.expand_dims(input, -1)
    out = ops.view(input, dtype=values.device_dtype(type))
    return ops.squeeze(out, -1) if wide > narrow else out
