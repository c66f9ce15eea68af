"""Rows of `kernels/resource.py`: variables of TensorFlow 2 and 1."""

from __future__ import annotations

from typing import Any

from graph.cases.case import Program, f32, i32, normal

_INDICES = i32([[0, 1], [2, 0]])


def _handle(tf: Any, shape: list[int]) -> Any:
    return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=shape, shared_name="v")


def _started(tf: Any, value: Any) -> tuple[Any, Any]:
    handle = _handle(tf, value.shape.as_list())
    return handle, tf.raw_ops.AssignVariableOp(resource=handle, value=value)


def _read(tf: Any, handle: Any) -> Any:
    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)


def _changing(change: Any) -> Any:
    """A variable is set, changed, and read."""

    def build(tf: Any, value: Any, *others: Any) -> Any:
        handle, start = _started(tf, value)
        with tf.control_dependencies([start]):
            done = change(tf, handle, *others)
        with tf.control_dependencies([done]):
            return [_read(tf, handle)]

    return build


def _changed(op: str) -> Any:
    return _changing(
        lambda tf, handle, delta: getattr(tf.raw_ops, op)(resource=handle, value=delta)
    )


def _scattered(op: str, name: str = "resource") -> Any:
    return _changing(
        lambda tf, handle, indices, updates: getattr(tf.raw_ops, op)(
            **{name: handle}, indices=indices, updates=updates
        )
    )


def _looked_at(look: Any) -> Any:
    """A variable is set, and an op looks at it."""

    def build(tf: Any, value: Any, *others: Any) -> Any:
        handle, start = _started(tf, value)
        with tf.control_dependencies([start]):
            return [look(tf, handle, *others)]

    return build


def _destroyed(tf: Any, value: Any) -> Any:
    handle, start = _started(tf, value)
    with tf.control_dependencies([start]):
        found = _read(tf, handle)
    with tf.control_dependencies([found]):
        done = tf.raw_ops.DestroyResourceOp(resource=handle)
    with tf.control_dependencies([done]):
        return [tf.identity(found)]


def _uninitialized(tf: Any) -> Any:
    handle = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[2], shared_name="never")
    return [tf.raw_ops.VarIsInitializedOp(resource=handle)]


def _reference(change: Any, op: str = "VariableV2") -> Any:
    """A variable of TensorFlow 1 is set, changed, and read."""

    def build(tf: Any, value: Any, *others: Any) -> Any:
        ref = getattr(tf.raw_ops, op)(
            shape=value.shape, dtype=tf.float32, shared_name="r"
        )
        start = tf.raw_ops.Assign(ref=ref, value=value)
        with tf.control_dependencies([start]):
            done = change(tf, ref, *others)
        with tf.control_dependencies([done]):
            return [tf.identity(ref), tf.raw_ops.IsVariableInitialized(ref=ref)]

    return build


def _changed_ref(op: str) -> Any:
    return _reference(
        lambda tf, ref, delta: getattr(tf.raw_ops, op)(ref=ref, value=delta)
    )


def _scattered_ref(op: str) -> Any:
    return _reference(
        lambda tf, ref, indices, updates: getattr(tf.raw_ops, op)(
            ref=ref, indices=indices, updates=updates
        )
    )


_VALUE = normal(4, 3)
_ROWS = (_VALUE, i32(2, 0), normal(2, 3, salt=4))
_ENTRIES = (_VALUE, _INDICES, f32(5, -6))

ROWS = [
    Program(
        "VarHandleOp-ReadVariableOp-AssignVariableOp", _looked_at(_read), (_VALUE,)
    ),
    Program("VarIsInitializedOp", _uninitialized),
    Program(
        "VariableShape",
        _looked_at(lambda tf, h: tf.raw_ops.VariableShape(input=h)),
        (_VALUE,),
    ),
    Program("DestroyResourceOp", _destroyed, (_VALUE,)),
    *(
        Program(op, _changed(op), (_VALUE, normal(4, 3, salt=1)))
        for op in ("AssignAddVariableOp", "AssignSubVariableOp")
    ),
    Program(
        "ResourceGather",
        _looked_at(
            lambda tf, h, i: tf.raw_ops.ResourceGather(
                resource=h, indices=i, dtype=tf.float32
            )
        ),
        (_VALUE, i32([[3, 0], [1, 1]])),
    ),
    Program(
        "ResourceGatherNd",
        _looked_at(
            lambda tf, h, i: tf.raw_ops.ResourceGatherNd(
                resource=h, indices=i, dtype=tf.float32
            )
        ),
        (_VALUE, _INDICES),
    ),
    *(
        Program(f"ResourceScatter{op}", _scattered(f"ResourceScatter{op}"), _ROWS)
        for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Update")
    ),
    *(
        Program(
            f"ResourceScatterNd{op}",
            _scattered(f"ResourceScatterNd{op}", "ref"),
            _ENTRIES,
        )
        for op in ("Add", "Sub", "Min", "Max", "Update")
    ),
    *(
        Program(op, _changed_ref(op), (_VALUE, normal(4, 3, salt=1)))
        for op in ("AssignAdd", "AssignSub")
    ),
    Program("VariableV2-Assign", _reference(lambda tf, ref: tf.no_op()), (_VALUE,)),
    Program(
        "RefIdentity",
        _reference(lambda tf, ref: tf.raw_ops.RefIdentity(input=ref)),
        (_VALUE,),
    ),
    Program("Variable", _reference(lambda tf, ref: tf.no_op(), "Variable"), (_VALUE,)),
    *(
        Program(f"Scatter{op}", _scattered_ref(f"Scatter{op}"), _ROWS)
        for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Update")
    ),
    *(
        Program(f"ScatterNd{op}", _scattered_ref(f"ScatterNd{op}"), _ENTRIES)
        for op in ("Add", "Sub", "Min", "Max", "Update")
    ),
]
