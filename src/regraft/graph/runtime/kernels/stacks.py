"""Stacks of TensorFlow 1's loops, maps of tensors, and small stateful ops."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from keras import ops

from regraft.errors import MismatchError
from regraft.graph import ir
from regraft.graph.runtime.context import Context, HostVariable
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.array import tensor_strided_slice_update
from regraft.graph.runtime.kernels.resource import write
from regraft.graph.runtime.registry import kernel


class Stack:
    """A pile of tensors: the last one put on is the first one taken off."""

    def __init__(self) -> None:
        self.items: list[Any] = []


@kernel("StackV2", ignored=("elem_type", "stack_name"))
def stack_v2(max_size: Any) -> Stack:
    """A new stack."""
    del max_size
    return Stack()


@kernel("StackPushV2", ignored=("swap_memory",))
def stack_push_v2(handle: Stack, elem: Any) -> Any:
    """Puts a tensor on a stack; the tensor itself."""
    handle.items.append(elem)
    return elem


@kernel("StackPopV2", ignored=("elem_type",))
def stack_pop_v2(handle: Stack) -> Any:
    """Takes the last tensor off a stack."""
    if not handle.items:
        raise MismatchError("The graph takes a tensor off an empty stack.")
    return handle.items.pop()


@kernel("StackCloseV2")
def stack_close_v2(handle: Stack) -> None:
    """Empties a stack."""
    handle.items.clear()


class TensorMap:
    """Tensors by keys; what changes it gives a new one."""

    def __init__(self, items: dict[Any, tuple[Any, Any]]) -> None:
        self.items = items


def _key(key: Any) -> Any:
    array = np.asarray(values.static(key))
    if array.dtype == object:
        return (array.shape, tuple(array.reshape(-1).tolist()))
    return (array.shape, array.tobytes())


@kernel("EmptyTensorMap")
def empty_tensor_map() -> TensorMap:
    """A map without entries."""
    return TensorMap({})


@kernel("TensorMapInsert", static=("key",))
def tensor_map_insert(input_handle: TensorMap, key: Any, value: Any) -> TensorMap:
    """A map with one more entry, or another value in it."""
    return TensorMap({**input_handle.items, _key(key): (key, value)})


def _found(handle: TensorMap, key: Any) -> tuple[Any, Any]:
    found = handle.items.get(_key(key))
    if found is None:
        raise MismatchError(f"The graph asks a map for a key that it lacks: {key}.")
    return found


@kernel("TensorMapLookup", static=("key",))
def tensor_map_lookup(input_handle: TensorMap, key: Any) -> Any:
    """The value of a key."""
    return _found(input_handle, key)[1]


@kernel("TensorMapErase", static=("key",), ignored=("value_dtype",))
def tensor_map_erase(input_handle: TensorMap, key: Any) -> TensorMap:
    """A map without an entry."""
    _found(input_handle, key)
    gone = _key(key)
    return TensorMap({k: v for k, v in input_handle.items.items() if k != gone})


@kernel("TensorMapSize")
def tensor_map_size(input_handle: TensorMap) -> Any:
    """How many entries a map has."""
    return np.int32(len(input_handle.items))


@kernel("TensorMapHasKey", static=("key",))
def tensor_map_has_key(input_handle: TensorMap, key: Any) -> Any:
    """Whether a map has an entry."""
    return np.bool_(_key(key) in input_handle.items)


@kernel("TensorMapStackKeys")
def tensor_map_stack_keys(input_handle: TensorMap) -> Any:
    """All keys of a map in one tensor."""
    return np.stack([np.asarray(key) for key, _ in input_handle.items.values()])


# Variables that count, or of which a part is set


def _counted(ctx: Context, variable: Any, limit: int) -> Any:
    before = ctx.read(variable)
    if int(values.static(before)) >= limit:
        raise MismatchError(f"The graph counts to {limit}, and has.")
    ctx.assign(variable, before + np.asarray(1, values.dtype_of(before)))
    return before


@kernel("CountUpTo", writes=True)
def count_up_to(ctx: Context, ref: Any, *, limit: int) -> Any:
    """The number before it is raised by one."""
    return _counted(ctx, ref, limit)


@kernel("ResourceCountUpTo", writes=True)
def resource_count_up_to(ctx: Context, resource: Any, *, limit: int) -> Any:
    """The number before it is raised by one."""
    return _counted(ctx, resource, limit)


@kernel("ResourceStridedSliceAssign", static=("begin", "end", "strides"), writes=True)
def resource_strided_slice_assign(
    ctx: Context,
    ref: Any,
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
) -> None:
    """Replaces a part of a variable."""
    new = tensor_strided_slice_update(
        ctx.read(ref),
        begin,
        end,
        strides,
        value,
        begin_mask=begin_mask,
        end_mask=end_mask,
        ellipsis_mask=ellipsis_mask,
        new_axis_mask=new_axis_mask,
        shrink_axis_mask=shrink_axis_mask,
    )
    write(ctx, ref, new)


@kernel("StridedSliceAssign", static=("begin", "end", "strides"), writes=True)
def strided_slice_assign(
    ctx: Context,
    ref: Any,
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
    """Replaces a part of a TensorFlow 1 variable."""
    resource_strided_slice_assign(
        ctx,
        ref,
        begin,
        end,
        strides,
        value,
        begin_mask=begin_mask,
        end_mask=end_mask,
        ellipsis_mask=ellipsis_mask,
        new_axis_mask=new_axis_mask,
        shrink_axis_mask=shrink_axis_mask,
    )
    return ref


@kernel("TemporaryVariable", ignored=("var_name",))
def temporary_variable(ctx: Context, *, dtype: str, shape: ir.TensorShape) -> Any:
    """A variable that lives within one run."""
    del ctx
    return HostVariable(dtype=dtype, shape=shape.dims or ())


@kernel("DestroyTemporaryVariable", ignored=("var_name",))
def destroy_temporary_variable(ctx: Context, ref: Any) -> Any:
    """The last value of a variable that lives within one run."""
    return ctx.read(ref)


@kernel("FakeParam")
def fake_param(*, dtype: str, shape: ir.TensorShape) -> Any:
    """Stands for a value that is not used."""
    lengths = values.checked([d or 0 for d in shape.dims or ()])
    return np.zeros(lengths, values.numpy_dtype(dtype))


@kernel("Timestamp", host=True)
def timestamp() -> Any:
    """Seconds since 1970."""
    return np.float64(time.time())


@kernel("XlaSharding", passthrough=True, ignored=("sharding", "unspecified_dims"))
def xla_sharding(input: Any) -> Any:
    """The input; here is the only place there is."""
    return input


# What is written for TensorBoard: nothing


def _nothing(*inputs: Any) -> Any:
    del inputs
    return b""


@kernel("ScalarSummary", limits="writes nothing")
def scalar_summary(tags: Any, values: Any) -> Any:
    """An empty text in the place of a record for TensorBoard."""
    return _nothing(tags, values)


@kernel("HistogramSummary", limits="writes nothing")
def histogram_summary(tag: Any, values: Any) -> Any:
    """An empty text in the place of a record for TensorBoard."""
    return _nothing(tag, values)


@kernel("ImageSummary", ignored=("max_images", "bad_color"), limits="writes nothing")
def image_summary(tag: Any, tensor: Any) -> Any:
    """An empty text in the place of a record for TensorBoard."""
    return _nothing(tag, tensor)


@kernel("AudioSummaryV2", ignored=("max_outputs",), limits="writes nothing")
def audio_summary_v2(tag: Any, tensor: Any, sample_rate: Any) -> Any:
    """An empty text in the place of a record for TensorBoard."""
    return _nothing(tag, tensor, sample_rate)


@kernel("TensorSummaryV2", limits="writes nothing")
def tensor_summary_v2(tag: Any, tensor: Any, serialized_summary_metadata: Any) -> Any:
    """An empty text in the place of a record for TensorBoard."""
    return _nothing(tag, tensor, serialized_summary_metadata)


@kernel("MergeSummary", ignored=("N",), limits="writes nothing")
def merge_summary(inputs: list[Any]) -> Any:
    """An empty text in the place of a record for TensorBoard."""
    return _nothing(*inputs)


@kernel(
    "ApproxTopK",
    ignored=("recall_target", "reduction_input_size_override", "aggregate_to_topk"),
    limits="exact, along the last axis",
)
def approx_top_k(
    input: Any, *, k: int, reduction_dimension: int, is_max_k: bool
) -> tuple[Any, Any]:
    """The largest or smallest entries, and where they are."""
    x = ops.moveaxis(values.to_tensor(input), reduction_dimension, -1)
    found, places = ops.top_k(x if is_max_k else -x, k)
    found = found if is_max_k else -found
    return (
        ops.moveaxis(found, -1, reduction_dimension),
        ops.moveaxis(places, -1, reduction_dimension),
    )
