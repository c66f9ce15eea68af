"""Rows of `kernels/random.py`: shapes and types; distributions have their own tests.

Where a seed or a generator says the numbers, they are TensorFlow's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Program, f32, normal


def _op(op: str, **options: Any) -> Any:
    def build(tf: Any, *inputs: Any) -> Any:
        given = {
            name: inputs[int(value[1:])]
            if isinstance(value, str) and value[0] == "#"
            else tf.constant(value)
            if isinstance(value, np.ndarray | np.generic)
            else value
            for name, value in options.items()
        }
        if op.startswith("Stateful"):
            handle = tf.raw_ops.VarHandleOp(
                dtype=tf.int64, shape=[3], shared_name=f"generator_{op}"
            )
            start = tf.raw_ops.AssignVariableOp(
                resource=handle, value=tf.constant([0, 0, 7], tf.int64)
            )
            with tf.control_dependencies([start]):
                return [getattr(tf.raw_ops, op)(resource=handle, **given)]
        found = getattr(tf.raw_ops, op)(**given)
        return list(found) if isinstance(found, tuple) else [found]

    return build


def _program(op: str, *inputs: Any, **options: Any) -> Program:
    return Program(op, _op(op, **options), inputs, random=True)


def _exact(op: str, name: str = "", **options: Any) -> Program:
    return Program(name or op, _op(op, **options), ())


def _exact_of(op: str, dtype: str, **options: Any) -> Program:
    given = {"shape": np.array([7, 3], np.int32), "key": _KEY, "counter": _LAST}
    name = f"{op}-{dtype}"
    return _exact(op, name, **given, alg=_ALG, dtype=dtype, **options)


def _skipped(tf: Any) -> Any:
    handle = tf.raw_ops.VarHandleOp(dtype=tf.int64, shape=[3], shared_name="skipped")
    start = tf.raw_ops.AssignVariableOp(
        resource=handle, value=tf.constant([5, 0, 7], tf.int64)
    )
    with tf.control_dependencies([start]):
        done = tf.raw_ops.RngSkip(
            resource=handle,
            algorithm=tf.constant(1, tf.int64),
            delta=tf.constant(2, tf.int64),
        )
    with tf.control_dependencies([done]):
        return [
            tf.raw_ops.RngReadAndSkip(
                resource=handle, alg=tf.constant(1), delta=tf.constant(3, tf.uint64)
            )
        ]


_SHAPE = np.array([3, 4], np.int32)
_ROWS_OF_3 = np.array([2, 3], np.int32)
_SEED = np.array([1, 2], np.int32)
_KEY = np.array([123456789], np.uint64)
_COUNTER = np.array([1, 2], np.uint64)
_LAST = np.array([2**64 - 2, 2**64 - 1], np.uint64)
_ALG = np.int32(1)
_PHILOX = np.int64(1)

ROWS = [
    *(
        _program(op, shape=_SHAPE, dtype="float32")
        for op in ("RandomUniform", "RandomStandardNormal", "TruncatedNormal")
    ),
    _program("RandomUniformInt", shape=_SHAPE, minval=np.int32(2), maxval=np.int32(9)),
    _program("RandomShuffle", normal(5, 2), value="#0"),
    _program("RandomGamma", f32(1, 2), shape=_SHAPE, alpha="#0"),
    _program("Multinomial", normal(3, 4), logits="#0", num_samples=np.int32(5)),
    *(
        _exact(op, shape=_SHAPE, seed=_SEED, dtype="float32")
        for op in (
            "StatelessRandomUniform",
            "StatelessRandomNormal",
            "StatelessTruncatedNormal",
        )
    ),
    *(
        _exact(op, shape=_SHAPE, key=_KEY, counter=_COUNTER, alg=_ALG, dtype="float32")
        for op in (
            "StatelessRandomUniformV2",
            "StatelessRandomNormalV2",
            "StatelessTruncatedNormalV2",
        )
    ),
    *(
        _exact_of(op, dtype)
        for op in (
            "StatelessRandomUniformV2",
            "StatelessRandomNormalV2",
            "StatelessTruncatedNormalV2",
        )
        for dtype in ("float16", "float64")
    ),
    *(
        _exact_of("StatelessRandomUniformFullIntV2", dtype)
        for dtype in ("int64", "uint32", "uint64")
    ),
    _exact(
        "StatelessRandomUniformIntV2",
        "StatelessRandomUniformIntV2-int64",
        shape=_SHAPE,
        key=_KEY,
        counter=_LAST,
        alg=_ALG,
        minval=np.int64(-(2**40)),
        maxval=np.int64(2**50),
    ),
    _exact("StatelessRandomUniformFullInt", shape=_SHAPE, seed=_SEED, dtype="int32"),
    _exact(
        "StatelessRandomUniformFullIntV2",
        shape=_SHAPE,
        key=_KEY,
        counter=_COUNTER,
        alg=_ALG,
        dtype="int32",
    ),
    _exact(
        "StatelessRandomUniformInt",
        shape=_SHAPE,
        seed=_SEED,
        minval=np.int32(2),
        maxval=np.int32(9),
    ),
    _exact(
        "StatelessRandomUniformIntV2",
        shape=_SHAPE,
        key=_KEY,
        counter=_COUNTER,
        alg=_ALG,
        minval=np.int32(2),
        maxval=np.int32(9),
    ),
    _program(
        "StatelessMultinomial",
        normal(3, 4),
        logits="#0",
        num_samples=np.int32(5),
        seed=_SEED,
    ),
    _exact("StatelessRandomGetKeyCounter", seed=_SEED),
    _exact("StatelessRandomGetKeyCounterAlg", seed=_SEED),
    Program("StatelessRandomGetAlg", _op("StatelessRandomGetAlg")),
    *(
        _exact(op, algorithm=_PHILOX, shape=_SHAPE, dtype="float32")
        for op in (
            "StatefulUniform",
            "StatefulStandardNormalV2",
            "StatefulTruncatedNormal",
        )
    ),
    _exact("StatefulUniformFullInt", algorithm=_PHILOX, shape=_SHAPE, dtype="uint64"),
    _exact(
        "StatefulUniformInt",
        algorithm=_PHILOX,
        shape=_SHAPE,
        minval=np.int32(2),
        maxval=np.int32(9),
    ),
    Program("RngSkip-RngReadAndSkip", _skipped),
    _program("RandomPoissonV2", normal(3) ** 2, shape=_SHAPE, rate="#0", dtype="int32"),
    _program(
        "StatelessRandomPoisson",
        normal(3) ** 2,
        shape=_ROWS_OF_3,
        seed=_SEED,
        lam="#0",
        dtype="float32",
    ),
    _program(
        "StatelessRandomBinomial",
        normal(3) ** 2 * 9,
        shape=_ROWS_OF_3,
        seed=_SEED,
        counts="#0",
        probs=f32(0.2, 0.5, 0.7),
        dtype="float32",
    ),
    _program(
        "StatefulRandomBinomial",
        algorithm=_PHILOX,
        shape=_SHAPE,
        counts=f32(9),
        probs=f32(0.5),
        dtype="float32",
    ),
    _program(
        "StatelessRandomGammaV2",
        normal(3) ** 2 + 1,
        shape=_ROWS_OF_3,
        seed=_SEED,
        alpha="#0",
    ),
    _program(
        "StatelessRandomGammaV3",
        normal(3) ** 2 + 1,
        shape=_ROWS_OF_3,
        key=_KEY,
        counter=_COUNTER,
        alg=_ALG,
        alpha="#0",
    ),
    *(
        _program(op, *bounds, shape=_SHAPE, **given)
        for op, bounds, given in (
            (
                "ParameterizedTruncatedNormal",
                (f32(0.5),),
                {
                    "means": "#0",
                    "stdevs": f32(2),
                    "minvals": f32(-1),
                    "maxvals": f32(3),
                },
            ),
            (
                "StatelessParameterizedTruncatedNormal",
                (f32(0.5),),
                {
                    "seed": _SEED,
                    "means": "#0",
                    "stddevs": f32(2),
                    "minvals": f32(-1),
                    "maxvals": f32(3),
                },
            ),
        )
    ),
    _program(
        "StatelessShuffle",
        normal(5, 2),
        value="#0",
        key=_KEY,
        counter=_COUNTER,
        alg=_ALG,
    ),
]
