"""TensorList ops, and TensorFlow 1's TensorArrays, which are the same thing."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.graph import ir
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.lists import TensorList, item_shape
from regraft.graph.runtime.registry import kernel

_TYPES = ("shape_type", "element_dtype")


@kernel("TensorListReserve", static=("element_shape", "num_elements"), ignored=_TYPES)
def tensor_list_reserve(
    element_shape: Any, num_elements: Any, *, element_dtype: str
) -> TensorList:
    """A list of places to be filled."""
    return TensorList.reserve(
        element_dtype, item_shape(element_shape), int(values.scalar(num_elements))
    )


@kernel("EmptyTensorList", static=("element_shape", "max_num_elements"))
def empty_tensor_list(
    element_shape: Any, max_num_elements: Any, *, element_dtype: str
) -> TensorList:
    """A list without items."""
    del max_num_elements
    return TensorList(element_dtype, item_shape(element_shape), [])


@kernel("TensorListFromTensor", static=("element_shape",))
def tensor_list_from_tensor(
    tensor: Any, element_shape: Any, *, element_dtype: str
) -> TensorList:
    """The rows of a tensor."""
    return TensorList(element_dtype, item_shape(element_shape), stack=tensor)


def _gathered(handle: TensorList, shape: Any) -> Any:
    known = handle.narrowed(item_shape(shape))
    if not len(known) and not known.is_stackable:
        lengths = [d or 0 for d in known.item_shape or ()]
        return np.zeros((0, *lengths), values.numpy_dtype(handle.dtype))
    return known.stacked()


@kernel("TensorListStack", static=("element_shape",), ignored=("num_elements",))
def tensor_list_stack(input_handle: TensorList, element_shape: Any) -> Any:
    """All items in one tensor."""
    return _gathered(input_handle, element_shape)


@kernel("TensorListGetItem", static=("element_shape",))
def tensor_list_get_item(
    input_handle: TensorList, index: Any, element_shape: Any
) -> Any:
    """One item."""
    shape = item_shape(element_shape)
    return input_handle.get(index, None if shape is None or None in shape else shape)


@kernel("TensorListSetItem")
def tensor_list_set_item(
    input_handle: TensorList,
    index: Any,
    item: Any,
    *,
    resize_if_index_out_of_bounds: bool,
) -> TensorList:
    """The list with another item in one place."""
    return input_handle.set(index, item, resize=resize_if_index_out_of_bounds)


@kernel("TensorListPushBack")
def tensor_list_push_back(input_handle: TensorList, tensor: Any) -> TensorList:
    """The list with an item more."""
    return input_handle.pushed(tensor)


@kernel("TensorListPopBack", static=("element_shape",))
def tensor_list_pop_back(
    input_handle: TensorList, element_shape: Any
) -> tuple[TensorList, Any]:
    """The list without its last item, and that item."""
    last = len(input_handle) - 1
    return input_handle.popped(), tensor_list_get_item(
        input_handle, np.int32(last), element_shape
    )


@kernel("TensorListLength")
def tensor_list_length(input_handle: TensorList) -> Any:
    """Number of items."""
    return np.int32(len(input_handle))


@kernel("TensorListResize", static=("size",))
def tensor_list_resize(input_handle: TensorList, size: Any) -> TensorList:
    """The list cut or filled to a length."""
    return input_handle.resized(int(size))


@kernel("TensorListElementShape")
def tensor_list_element_shape(input_handle: TensorList, *, shape_type: str) -> Any:
    """Shape of the items; -1 where a length is unknown."""
    shape = input_handle.item_shape
    if shape is None:
        return np.asarray(-1, values.numpy_dtype(shape_type))
    return values.integers([-1 if d is None else d for d in shape], shape_type)


def _concatenated(handle: TensorList) -> tuple[Any, Any]:
    items = [handle.zero() if item is None else item for item in handle.items]
    lengths = np.array([values.shape_of(item)[0] for item in items], np.int64)
    if not items:
        rest = [d or 0 for d in (handle.item_shape or (0,))[1:]]
        return np.zeros((0, *rest), values.numpy_dtype(handle.dtype)), lengths
    return xp.concatenate(items, axis=0), lengths


@kernel("TensorListConcat", ignored=("element_shape",))
def tensor_list_concat(input_handle: TensorList) -> tuple[Any, Any]:
    """All items one after the other, and their lengths."""
    return _concatenated(input_handle)


@kernel("TensorListConcatV2")
def tensor_list_concat_v2(
    input_handle: TensorList, element_shape: Any, leading_dims: Any
) -> tuple[Any, Any]:
    """All items one after the other, and their lengths."""
    del element_shape, leading_dims
    return _concatenated(input_handle)


@kernel("TensorListConcatLists")
def tensor_list_concat_lists(input_a: TensorList, input_b: TensorList) -> TensorList:
    """The items of one list, then those of another."""
    items = [*input_a.items, *input_b.items]
    return TensorList(input_a.dtype, input_a.item_shape, items)


@kernel("TensorListGather", static=("element_shape",))
def tensor_list_gather(
    input_handle: TensorList, indices: Any, element_shape: Any
) -> Any:
    """Some items in one tensor."""
    return xp.take(_gathered(input_handle, element_shape), indices, axis=0)


@kernel("TensorListScatter", static=("indices", "element_shape"))
def tensor_list_scatter(
    tensor: Any, indices: Any, element_shape: Any, *, element_dtype: str
) -> TensorList:
    """A list with the rows of a tensor in given places."""
    empty = TensorList(element_dtype, item_shape(element_shape), [])
    return empty.put(indices.tolist(), tensor)


@kernel("TensorListScatterV2", static=("indices", "element_shape", "num_elements"))
def tensor_list_scatter_v2(
    tensor: Any,
    indices: Any,
    element_shape: Any,
    num_elements: Any,
    *,
    element_dtype: str,
) -> TensorList:
    """A list of a given length with the rows of a tensor in given places."""
    count = max(int(num_elements), 0)
    empty = TensorList.reserve(element_dtype, item_shape(element_shape), count)
    return empty.put(indices.tolist(), tensor)


@kernel("TensorListScatterIntoExistingList", static=("indices",))
def tensor_list_scatter_into_existing_list(
    input_handle: TensorList, tensor: Any, indices: Any
) -> TensorList:
    """The list with the rows of a tensor in given places."""
    return input_handle.put(indices.tolist(), tensor)


@kernel("TensorListSplit", static=("element_shape", "lengths"))
def tensor_list_split(
    tensor: Any, element_shape: Any, lengths: Any, *, element_dtype: str
) -> TensorList:
    """A tensor cut along its first axis into parts of given lengths."""
    ends = np.cumsum(lengths).tolist()
    items = [
        tensor[end - length : end]
        for end, length in zip(ends, lengths.tolist(), strict=True)
    ]
    return TensorList(element_dtype, item_shape(element_shape), items)


# TensorArrays: the list travels as the flow value, the handle only begins it.


@kernel(
    "TensorArrayV3",
    static=("size",),
    ignored=(
        "dynamic_size",
        "clear_after_read",
        "identical_element_shapes",
        "tensor_array_name",
    ),
)
def tensor_array_v3(
    size: Any, *, dtype: str, element_shape: ir.TensorShape
) -> tuple[Any, TensorList]:
    """An array of places to be filled."""
    array = TensorList.reserve(dtype, element_shape.dims, int(size))
    return array, array


@kernel("TensorArrayReadV3", ignored=("dtype",))
def tensor_array_read_v3(handle: Any, index: Any, flow_in: TensorList) -> Any:
    """One item."""
    del handle
    return flow_in.get(index)


@kernel("TensorArrayWriteV3")
def tensor_array_write_v3(
    handle: Any, index: Any, value: Any, flow_in: TensorList
) -> TensorList:
    """The array with another item in one place."""
    del handle
    return flow_in.set(index, value, resize=True)


@kernel("TensorArrayGatherV3", ignored=("dtype", "element_shape"))
def tensor_array_gather_v3(handle: Any, indices: Any, flow_in: TensorList) -> Any:
    """Some items in one tensor."""
    del handle
    if not len(flow_in):
        lengths = [d or 0 for d in flow_in.item_shape or ()]
        return ops.zeros((0, *lengths), values.device_dtype(flow_in.dtype))
    return xp.take(flow_in.stacked(), indices, axis=0)


@kernel("TensorArrayScatterV3", static=("indices",))
def tensor_array_scatter_v3(
    handle: Any, indices: Any, value: Any, flow_in: TensorList
) -> TensorList:
    """The array with the rows of a tensor in given places."""
    del handle
    if indices.tolist() == list(range(len(flow_in))):
        return flow_in.with_stacked(value)
    return flow_in.put(indices.tolist(), value)


@kernel("TensorArraySizeV3")
def tensor_array_size_v3(handle: Any, flow_in: TensorList) -> Any:
    """Number of items."""
    del handle
    return np.int32(len(flow_in))


@kernel("TensorArrayConcatV3", ignored=("dtype", "element_shape_except0"))
def tensor_array_concat_v3(handle: Any, flow_in: TensorList) -> tuple[Any, Any]:
    """All items one after the other, and their lengths."""
    del handle
    return _concatenated(flow_in)


@kernel("TensorArraySplitV3", static=("lengths",))
def tensor_array_split_v3(
    handle: Any, value: Any, lengths: Any, flow_in: TensorList
) -> TensorList:
    """The array with a tensor cut into its places."""
    del handle
    ends = np.cumsum(lengths).tolist()
    items = [
        value[end - length : end]
        for end, length in zip(ends, lengths.tolist(), strict=True)
    ]
    return TensorList(flow_in.dtype, flow_in.item_shape, items)


@kernel("TensorArrayCloseV3")
def tensor_array_close_v3(handle: Any) -> None:
    """Nothing: arrays are values."""
    del handle
