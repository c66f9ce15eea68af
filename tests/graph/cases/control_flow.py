"""Rows of `kernels/control_flow.py`: programs with functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Program, f32, i32, normal


def _function(tf: Any, dtypes: list[Any], body: Any) -> Any:
    specs = [tf.TensorSpec(None, dtype) for dtype in dtypes]
    return tf.function(body).get_concrete_function(*specs)


def _branches(tf: Any) -> list[Any]:
    return [
        _function(tf, [tf.float32], lambda x: x * 2.0),
        _function(tf, [tf.float32], lambda x: x - 1.0),
        _function(tf, [tf.float32], lambda x: tf.nn.relu(x)),
    ]


def _if(op: str) -> Any:
    def build(tf: Any, cond: Any, x: Any) -> Any:
        then, other, _ = _branches(tf)
        call = getattr(tf.raw_ops, op)
        return call(
            cond=cond, input=[x], Tout=[tf.float32], then_branch=then, else_branch=other
        )

    return build


def _case(op: str) -> Any:
    def build(tf: Any, index: Any, x: Any) -> Any:
        call = getattr(tf.raw_ops, op)
        return call(
            branch_index=index, input=[x], Tout=[tf.float32], branches=_branches(tf)
        )

    return build


def _counted(op: str) -> Any:
    def build(tf: Any, x: Any) -> Any:
        types = [tf.int32, tf.float32]
        cond = _function(tf, types, lambda i, v: i < 5)
        body = _function(
            tf, types, lambda i, v: (i + 1, tf.tanh(v) * tf.cast(i, tf.float32))
        )
        call = getattr(tf.raw_ops, op)
        return call(input=[tf.constant(1), x], cond=cond, body=body)

    return build


def _data_loop(tf: Any, x: Any) -> Any:
    types = [tf.int32, tf.float32]
    cond = _function(tf, types, lambda i, v: tf.reduce_sum(v) < 100.0)
    body = _function(tf, types, lambda i, v: (i + 1, v * 1.7 + 0.5))
    return tf.raw_ops.While(input=[tf.constant(0), x], cond=cond, body=body)


def _nested_loop(tf: Any, x: Any) -> Any:
    @tf.function
    def run(v: Any) -> Any:
        for i in tf.range(3):
            for j in tf.range(2):
                v = v * 0.5 + tf.cast(i * j, tf.float32)
        return v

    return run(x)


def _array_loop(tf: Any, x: Any) -> Any:
    @tf.function
    def run(v: Any) -> Any:
        out = tf.TensorArray(tf.float32, size=tf.shape(v)[1])
        state = tf.zeros_like(v[:, 0])
        for t in tf.range(tf.shape(v)[1]):
            state = tf.tanh(v[:, t] + state)
            out = out.write(t, state)
        return tf.transpose(out.stack(), [1, 0, 2])

    return run(x)


def _for(tf: Any, x: Any) -> Any:
    body = _function(
        tf, [tf.int32, tf.float32], lambda i, v: v + tf.cast(i, tf.float32)
    )
    return tf.raw_ops.For(start=2, limit=7, delta=2, input=[x], body=body)


def _calls(op: str) -> Any:
    def build(tf: Any, x: Any) -> Any:
        call = getattr(tf.raw_ops, op)
        inner = _function(tf, [tf.float32], lambda v: (v * v, v + 1.0))
        outer = _function(
            tf,
            [tf.float32],
            lambda v: call(args=[v], Tout=[tf.float32, tf.float32], f=inner),
        )
        return call(args=[x], Tout=[tf.float32, tf.float32], f=outer)

    return build


def _batch_function(tf: Any, x: Any) -> Any:
    factor = tf.constant([2.0, 3.0])

    @tf.nondifferentiable_batch_function(1, 8, 10)
    def scaled(rows: Any) -> Any:
        return rows * factor + 1.0

    return [scaled(x)]


def _effects(tf: Any, x: Any) -> Any:
    first = tf.raw_ops.Assert(condition=tf.reduce_all(x < 99.0), data=[x])
    second = tf.raw_ops.PrintV2(input=tf.constant(""), end="")
    with tf.control_dependencies([first, second, tf.no_op()]):
        return [tf.identity(x) + 1.0]


def _print(tf: Any, x: Any) -> Any:
    return [tf.raw_ops.Print(input=x, data=[x], message="", first_n=0)]


def _loop_with_variable(tf: Any, x: Any) -> Any:
    handle = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[2], shared_name="total")
    start = tf.raw_ops.AssignVariableOp(resource=handle, value=tf.zeros([2]))

    @tf.function
    def run(v: Any, resource: Any) -> Any:
        for i in tf.range(4):
            tf.raw_ops.AssignAddVariableOp(
                resource=resource, value=v * tf.cast(i, tf.float32)
            )
        return tf.raw_ops.ReadVariableOp(resource=resource, dtype=tf.float32)

    with tf.control_dependencies([start]):
        made = run(tf.identity(x), handle)
    with tf.control_dependencies([made]):
        return [made, tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)]


def _old(build: Any) -> Any:
    """A program with the control flow of TensorFlow 1."""

    def run(tf: Any, *inputs: Any) -> Any:
        tf.compat.v1.disable_control_flow_v2()
        try:
            return build(tf, *inputs)
        finally:
            tf.compat.v1.enable_control_flow_v2()

    return run


def _old_cond(tf: Any, flag: Any, x: Any) -> Any:
    plain = tf.compat.v1.cond(flag, lambda: x * 2.0, lambda: tf.constant([7.0] * 3))
    nested = tf.compat.v1.cond(
        flag,
        lambda: tf.compat.v1.cond(x[0] > 0.0, lambda: x + 1.0, lambda: x - 1.0),
        lambda: tf.nn.relu(x),
    )
    return [plain, nested]


def _old_conds(tf: Any, flag: Any, x: Any) -> Any:
    """Several results, the same predicate again, other predicates, a shared draw."""
    v1 = tf.compat.v1

    def both() -> Any:
        noise = v1.random_uniform([3])
        return x + noise, noise, tf.constant(3)

    plus, noise, number = v1.cond(
        flag, both, lambda: (x - 1.0, x * 0.0, tf.constant(4))
    )
    small = tf.reduce_sum(x) < 100.0
    after = v1.cond(flag, lambda: plus - noise, lambda: plus * tf.cast(number, x.dtype))
    chosen = v1.case(
        [(x[0] > 50.0, lambda: x + 50.0), (small, lambda: after * 2.0)],
        default=lambda: x,
    )
    with tf.control_dependencies([v1.Assert(x[0] < 1e6, [x])]):
        return [after, tf.identity(chosen), number]


def _old_cond_and_loop(tf: Any, flag: Any, x: Any) -> Any:
    v1 = tf.compat.v1

    def loop(limit: int) -> Any:
        def body(i: Any, v: Any) -> Any:
            return i + 1, v1.cond(v[0] > 0.0, lambda: v - x, lambda: v * 0.5 + 1.0)

        return v1.while_loop(lambda i, v: i < limit, body, [tf.constant(0), x])[1]

    return [loop(3), v1.cond(flag, lambda: loop(4), lambda: -x)]


def _old_reads(tf: Any, flag: Any, x: Any) -> Any:
    """Branches that read variables of both kinds, and one that writes."""
    v1 = tf.compat.v1
    raw = tf.raw_ops
    empty = raw.VariableV2(shape=[3], dtype=tf.float32, shared_name="plain")
    plain = raw.Assign(ref=empty, value=[1.0, 2.0, 3.0])
    other = v1.get_variable("other", [3], use_resource=True)
    with tf.control_dependencies([other.initializer]):
        ready = other.assign([4.0, 5.0, 6.0])
    with tf.control_dependencies([plain, ready]):
        read = v1.cond(flag, lambda: plain * x, lambda: other + x)
    with tf.control_dependencies([read]):
        written = v1.cond(flag, lambda: other.assign_add(x), lambda: tf.identity(other))
    with tf.control_dependencies([read, written]):
        return [read, written, other.read_value()]


def _old_loop(tf: Any, x: Any) -> Any:
    scale = tf.constant([1.0, 2.0, 3.0])
    _, out = tf.compat.v1.while_loop(
        lambda i, v: i < 4,
        lambda i, v: (i + 1, tf.tanh(v) * scale + tf.cast(i, tf.float32)),
        [tf.constant(0), x],
    )
    return [out]


def _old_nested_loop(tf: Any, x: Any) -> Any:
    def outer(i: Any, v: Any) -> Any:
        _, inner = tf.compat.v1.while_loop(
            lambda j, w: j < i + 1, lambda j, w: (j + 1, w * 0.5 + x), [0, v]
        )
        return i + 1, inner

    _, out = tf.compat.v1.while_loop(lambda i, v: i < 3, outer, [tf.constant(0), x])
    return [out]


def _old_rnn(tf: Any, x: Any) -> Any:
    rows = tf.TensorArray(tf.float32, 5).unstack(tf.transpose(x, [1, 0, 2]))
    made = tf.TensorArray(tf.float32, 5)

    def body(t: Any, state: Any, out: Any) -> Any:
        state = tf.tanh(rows.read(t) + state)
        return t + 1, state, out.write(t, state)

    _, last, made = tf.compat.v1.while_loop(
        lambda t, state, out: t < 5, body, [0, tf.zeros_like(x[:, 0]), made]
    )
    return [last, made.stack()]


def _by_name(tf, x):  # type: ignore[no-untyped-def]
    """Functions in the places of ops, of several results, one in the other."""
    from tensorflow.python.framework import function  # noqa: TID251

    @function.Defun(tf.float32, tf.int32, func_name="both")
    def both(a, b):
        return a * 2.0, tf.cast(b, tf.float32) + a

    @function.Defun(tf.float32, func_name="outer")
    def outer(a):
        doubled, moved = both(a, 3)
        return moved - 1.0, doubled * moved

    return list(outer(x))


ROWS = [
    *(
        Program(f"{name}-{flag}", _old(build), (np.array(flag), normal(3)))
        for name, build in (
            ("Switch-Merge", _old_cond),
            ("Switch-Merge-several", _old_conds),
            ("Switch-Merge-loop", _old_cond_and_loop),
            ("Switch-Merge-variables", _old_reads),
        )
        for flag in (True, False)
    ),
    Program("Enter-Exit", _old(_old_loop), (normal(3),)),
    Program("Enter-Exit-nested", _old(_old_nested_loop), (normal(3),)),
    Program("Enter-Exit-rnn", _old(_old_rnn), (normal(2, 5, 3),)),
    *(
        Program(f"{op}-{cond}", _if(op), (np.array(cond), normal(3)))
        for op in ("If", "StatelessIf")
        for cond in (True, False)
    ),
    *(
        Program(f"{op}-{index}", _case(op), (i32(index), normal(3)))
        for op in ("Case", "StatelessCase")
        for index in (0, 1, 7)
    ),
    Program("While", _counted("While"), (normal(3),)),
    Program("StatelessWhile", _counted("StatelessWhile"), (normal(3),)),
    Program("While-data", _data_loop, (f32(1, 2),)),
    Program("While-nested", _nested_loop, (normal(3),)),
    Program("While-array", _array_loop, (normal(2, 5, 3),)),
    Program("While-variable", _loop_with_variable, (f32(1, 2),)),
    Program("For", _for, (normal(3),)),
    Program("PartitionedCall", _calls("PartitionedCall"), (normal(3),)),
    Program("StatefulPartitionedCall", _calls("StatefulPartitionedCall"), (normal(3),)),
    Program("Defun", _by_name, (normal(3),)),
    Program("BatchFunction", _batch_function, (normal(3, 2),)),
    Program("Assert-NoOp", _effects, (normal(3),)),
    Program("Print", _print, (normal(3),)),
]
