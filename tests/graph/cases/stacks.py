"""Rows of `kernels/stacks.py`."""

from __future__ import annotations

from typing import Any

from graph.cases.case import Case, Program, normal


def _stack(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    handle = raw.StackV2(max_size=-1, elem_type=tf.float32)
    first = raw.StackPushV2(handle=handle, elem=x)
    with tf.control_dependencies([first]):
        second = raw.StackPushV2(handle=handle, elem=x * 2)
    with tf.control_dependencies([second]):
        top = raw.StackPopV2(handle=handle, elem_type=tf.float32)
    with tf.control_dependencies([top]):
        below = raw.StackPopV2(handle=handle, elem_type=tf.float32)
    with tf.control_dependencies([below]):
        done = raw.StackCloseV2(handle=handle)
    with tf.control_dependencies([done]):
        return [tf.identity(top), tf.identity(below)]


def _map(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    handle = raw.EmptyTensorMap()
    for key, value in (("a", x), ("b", x + 1), ("a", x * 3)):
        handle = raw.TensorMapInsert(input_handle=handle, key=key, value=value)
    fewer = raw.TensorMapErase(input_handle=handle, key="b", value_dtype=tf.float32)
    keys = raw.TensorMapStackKeys(input_handle=fewer, key_dtype=tf.string)
    return [
        raw.TensorMapLookup(input_handle=handle, key="a", value_dtype=tf.float32),
        raw.TensorMapSize(input_handle=handle),
        raw.TensorMapSize(input_handle=fewer),
        raw.TensorMapHasKey(input_handle=fewer, key="b"),
        tf.equal(keys, ["a"]),
    ]


def _counted(tf: Any) -> Any:
    raw = tf.raw_ops
    handle = raw.VarHandleOp(dtype=tf.int32, shape=[], shared_name="count")
    ref = raw.VariableV2(dtype=tf.int32, shape=[], shared_name="ref")
    start = raw.AssignVariableOp(resource=handle, value=3)
    started = raw.Assign(ref=ref, value=5)
    with tf.control_dependencies([start, started]):
        one = raw.ResourceCountUpTo(resource=handle, limit=9, T=tf.int32)
        other = raw.CountUpTo(ref=ref, limit=9)
    with tf.control_dependencies([one, other]):
        now = raw.ReadVariableOp(resource=handle, dtype=tf.int32)
        return [one, other, now, tf.identity(ref)]


def _sliced(tf: Any, x: Any, value: Any) -> Any:
    raw = tf.raw_ops
    handle = raw.VarHandleOp(dtype=tf.float32, shape=[4, 3], shared_name="part")
    ref = raw.VariableV2(dtype=tf.float32, shape=[4, 3], shared_name="part_ref")
    start = raw.AssignVariableOp(resource=handle, value=x)
    started = raw.Assign(ref=ref, value=x)
    place = {"begin": [1, 0], "end": [3, 0], "strides": [1, 1], "value": value}
    with tf.control_dependencies([start, started]):
        done = raw.ResourceStridedSliceAssign(ref=handle, **place, end_mask=2)
        other = raw.StridedSliceAssign(ref=ref, **place, end_mask=2)
    with tf.control_dependencies([done]):
        now = raw.ReadVariableOp(resource=handle, dtype=tf.float32)
    return [now, tf.identity(other)]


def _temporary(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    ref = raw.TemporaryVariable(shape=[2, 3], dtype=tf.float32, var_name="t")
    filled = raw.Assign(ref=ref, value=x)
    changed = raw.AssignAdd(ref=filled, value=x)
    return [raw.DestroyTemporaryVariable(ref=changed, var_name="t")]


def _summaries(tf: Any, x: Any) -> Any:
    raw = tf.raw_ops
    image = tf.reshape(tf.concat([x, x], 0), [1, 2, 6, 1])
    parts = [
        raw.ScalarSummary(tags="a", values=x[0, 0]),
        raw.HistogramSummary(tag="b", values=x),
        raw.ImageSummary(tag="c", tensor=image),
        raw.AudioSummaryV2(tag="d", tensor=x, sample_rate=8.0),
        raw.TensorSummaryV2(tag="e", tensor=x, serialized_summary_metadata=""),
    ]
    # What is written is nothing; that a graph has it does no harm.
    merged = raw.MergeSummary(inputs=parts)
    with tf.control_dependencies([merged]):
        return [x + 1]


def _sharded(tf: Any, x: Any) -> Any:
    return [tf.raw_ops.XlaSharding(input=x) * 2]


def _timed(tf: Any) -> Any:
    return [tf.raw_ops.Timestamp()]


ROWS = [
    Program("stack", _stack, (normal(2, 3),)),
    Program("map-of-tensors", _map, (normal(2, 3),)),
    Program("count-up-to", _counted),
    Program("strided-slice-assign", _sliced, (normal(4, 3), normal(2, 3))),
    Program("temporary-variable", _temporary, (normal(2, 3),)),
    Program("summaries", _summaries, (normal(2, 3),)),
    Program("Timestamp", _timed, random=True),
    Case(
        "ApproxTopK",
        {"input": normal(2, 7)},
        {"k": 3, "is_max_k": True, "reduction_dimension": -1},
    ),
]
