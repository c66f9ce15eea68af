"""Rows of `kernels/tensor_list.py`."""

from __future__ import annotations

from typing import Any

from graph.cases.case import Program, normal


def _list(tf: Any, x: Any) -> Any:
    return tf.raw_ops.TensorListFromTensor(tensor=x, element_shape=tf.shape(x)[1:])


def _stack(tf: Any, handle: Any, shape: Any = -1) -> Any:
    return tf.raw_ops.TensorListStack(
        input_handle=handle, element_shape=shape, element_dtype=tf.float32
    )


def _reserved(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    handle = raw.TensorListReserve(
        element_shape=[3], num_elements=3, element_dtype=tf.float32
    )
    handle = raw.TensorListSetItem(input_handle=handle, index=1, item=x[0])
    item = raw.TensorListGetItem(
        input_handle=handle, index=1, element_shape=[3], element_dtype=tf.float32
    )
    return [_stack(tf, handle, [3]), item, raw.TensorListLength(input_handle=handle)]


def _pushed(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    handle = raw.EmptyTensorList(
        element_shape=[3], max_num_elements=-1, element_dtype=tf.float32
    )
    for row in range(2):
        handle = raw.TensorListPushBack(input_handle=handle, tensor=x[row])
    shorter, last = raw.TensorListPopBack(
        input_handle=handle, element_shape=[3], element_dtype=tf.float32
    )
    shape = raw.TensorListElementShape(input_handle=handle, shape_type=tf.int32)
    return [_stack(tf, handle), _stack(tf, shorter), last, shape]


def _sized(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    handle = raw.TensorListResize(input_handle=_list(tf, x), size=5)
    both = raw.TensorListConcatLists(
        input_a=_list(tf, x), input_b=handle, element_dtype=tf.float32
    )
    some = raw.TensorListGather(
        input_handle=handle,
        indices=[3, 0],
        element_shape=[3],
        element_dtype=tf.float32,
    )
    return [_stack(tf, handle), _stack(tf, both), some]


def _scattered(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    first = raw.TensorListScatter(tensor=x, indices=[2, 0], element_shape=[3])
    second = raw.TensorListScatterV2(
        tensor=x, indices=[2, 0], element_shape=[3], num_elements=4
    )
    third = raw.TensorListScatterIntoExistingList(
        input_handle=second, tensor=x, indices=[1, 3]
    )
    return [_stack(tf, first), _stack(tf, second), _stack(tf, third)]


def _split(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    handle = raw.TensorListSplit(tensor=x, element_shape=[-1, 3], lengths=[1, 1])
    joined, lengths = raw.TensorListConcat(
        input_handle=handle, element_dtype=tf.float32
    )
    again, sizes = raw.TensorListConcatV2(
        input_handle=handle,
        element_shape=[-1, 3],
        leading_dims=tf.zeros([0], tf.int64),
        element_dtype=tf.float32,
    )
    return [joined, lengths, again, sizes]


def _array(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    handle, flow = raw.TensorArrayV3(
        size=3, dtype=tf.float32, element_shape=[3], clear_after_read=False
    )
    flow = raw.TensorArrayScatterV3(
        handle=handle, indices=[2, 0], value=x, flow_in=flow
    )
    flow = raw.TensorArrayWriteV3(
        handle=handle, index=1, value=x[0] * 2.0, flow_in=flow
    )
    size = raw.TensorArraySizeV3(handle=handle, flow_in=flow)
    some = raw.TensorArrayGatherV3(
        handle=handle, indices=[1, 2, 0], flow_in=flow, dtype=tf.float32
    )
    one = raw.TensorArrayReadV3(handle=handle, index=1, flow_in=flow, dtype=tf.float32)
    with tf.control_dependencies([some, one, size]):
        close = raw.TensorArrayCloseV3(handle=handle)
    with tf.control_dependencies([close]):
        return [size, tf.identity(some), tf.identity(one)]


def _array_parts(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    handle, flow = raw.TensorArrayV3(size=2, dtype=tf.float32)
    flow = raw.TensorArraySplitV3(
        handle=handle, value=x, lengths=tf.constant([1, 1], tf.int64), flow_in=flow
    )
    joined, lengths = raw.TensorArrayConcatV3(
        handle=handle, flow_in=flow, dtype=tf.float32
    )
    return [joined, lengths]


_X = (normal(2, 3),)

ROWS = [
    Program("TensorListReserve-SetItem-GetItem-Length", _reserved, _X),
    Program("EmptyTensorList-PushBack-PopBack-ElementShape", _pushed, _X),
    Program("TensorListResize-ConcatLists-Gather", _sized, _X),
    Program("TensorListScatter-V2-IntoExistingList", _scattered, _X),
    Program("TensorListSplit-Concat-ConcatV2", _split, _X),
    Program("TensorArrayV3-Scatter-Write-Gather-Read-Size-Close", _array, _X),
    Program("TensorArrayV3-Split-Concat", _array_parts, _X),
]
