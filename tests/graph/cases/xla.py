"""Rows of `kernels/xla.py`: XLA's own ops, which TensorFlow runs when it compiles."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from graph.cases.case import Program, f32, i32, integers, normal, uniform

_IMAGE = normal(2, 5, 6, 3)
_MATRIX = normal(4, 5)


def _ops() -> Any:
    """TensorFlow's functions of these ops, which its own names leave out."""
    return importlib.import_module("tensorflow.compiler.tf2xla.ops.gen_xla_ops")


def _message(**fields: Any) -> bytes:
    """A message of XLA's by field number (`f1=…`): numbers, or lists of them."""
    out = b""
    for name, value in fields.items():
        number = int(name[1:])
        if isinstance(value, int):
            out += bytes([number << 3, value])
        elif value:
            out += bytes([number << 3 | 2, len(value), *value])
    return out


def _row(
    name: str, run: Callable[..., Any], *inputs: Any, tolerance: float = 2e-6
) -> Program:
    def build(tf: Any, *tensors: Any) -> Any:
        compiled = tf.function(lambda *given: run(tf, *given), jit_compile=True)
        return compiled(*tensors)

    return Program(f"xla-{name}", build, inputs, tolerance=tolerance)


def _folding(tf: Any, how: Callable[..., Any], dtype: Any = None) -> Any:
    spec = tf.TensorSpec([], dtype or tf.float32)
    return tf.function(how).get_concrete_function(spec, spec)


_DOT = _message(f1=[2], f2=[1], f3=[0], f4=[0])
_NHWC = _message(f7=0, f8=3, f11=[1, 2], f3=2, f4=3, f6=[0, 1], f9=0, f10=3, f12=[1, 2])


def _conv(version: str, **attrs: Any) -> Callable[..., Any]:
    def run(tf: Any, x: Any, kernel: Any) -> Any:
        return getattr(_ops(), version)(
            lhs=x,
            rhs=kernel,
            window_strides=[2, 1],
            padding=[[1, 0], [2, 1]],
            lhs_dilation=[1, 2],
            rhs_dilation=[2, 1],
            feature_group_count=1,
            dimension_numbers=_NHWC,
            precision_config=b"",
            **attrs,
        )

    return run


def _reduce(how: str) -> Callable[..., Any]:
    def run(tf: Any, x: Any) -> Any:
        functions = {
            "sum": lambda a, b: a + b,
            "max": tf.maximum,
            "own": lambda a, b: a + b * 2.0 - tf.minimum(a, b),
        }
        return _ops().xla_reduce(
            input=x,
            init_value=-1.5,
            dimensions_to_reduce=[0, 2],
            reducer=_folding(tf, functions[how]),
        )

    return run


def _arg_max(version: str) -> Callable[..., Any]:
    def run(tf: Any, x: Any) -> Any:
        places = tf.cast(tf.broadcast_to(tf.range(5), [4, 5]), tf.float32)

        def fold(a: Any, i: Any, b: Any, j: Any) -> Any:
            first = tf.logical_or(a > b, tf.logical_and(tf.equal(a, b), i < j))
            return tf.where(first, a, b), tf.where(first, i, j)

        number = tf.TensorSpec([], tf.float32)
        reducer = tf.function(fold).get_concrete_function(*[number] * 4)
        if version == "XlaVariadicReduce":
            return _ops().xla_variadic_reduce(
                input=[x, places],
                init_value=[-100.0, 0.0],
                dimensions_to_reduce=[1],
                reducer=reducer,
            )
        return _ops().xla_variadic_reduce_v2(
            inputs=[x, places],
            init_values=[-100.0, 0.0],
            dimensions_to_reduce=[1],
            reducer=reducer,
        )

    return run


def _window(how: str, start: float) -> Callable[..., Any]:
    def run(tf: Any, x: Any) -> Any:
        function = {"max": tf.maximum, "sum": lambda a, b: a + b}[how]
        return _ops().xla_reduce_window(
            input=x,
            init_value=start,
            window_dimensions=[1, 2, 3, 1],
            window_strides=[1, 2, 1, 1],
            base_dilations=[1, 1, 1, 1],
            window_dilations=[1, 2, 1, 1],
            padding=[[0, 0], [1, 1], [0, 2], [0, 0]],
            computation=_folding(tf, function),
        )

    return run


def _scatter(how: str) -> Callable[..., Any]:
    def run(tf: Any, x: Any, places: Any, new: Any) -> Any:
        functions = {
            "add": lambda a, b: a + b,
            "mul": lambda a, b: a * b,
            "min": tf.minimum,
            "max": tf.maximum,
            "set": lambda a, b: b,
        }
        return _ops().xla_scatter(
            operand=x,
            scatter_indices=places,
            updates=new,
            update_computation=_folding(tf, functions[how]),
            dimension_numbers=_message(f1=[1], f2=[0], f3=[0], f4=1),
            indices_are_sorted=False,
        )

    return run


def _sort(tf: Any, x: Any, y: Any) -> Any:
    def before(a: Any, b: Any, c: Any, d: Any) -> Any:
        return tf.logical_or(a > b, tf.logical_and(tf.equal(a, b), c < d))

    real, whole = (tf.TensorSpec([], dtype) for dtype in (tf.float32, tf.int32))
    comparator = tf.function(before).get_concrete_function(real, real, whole, whole)
    return _ops().xla_variadic_sort(
        inputs=[x, y], dimension=0, comparator=comparator, is_stable=True
    )


def _loop(tf: Any, x: Any) -> Any:
    specs = [tf.TensorSpec([], tf.int32), tf.TensorSpec([4, 5], tf.float32)]
    cond = tf.function(lambda i, y: i < 3).get_concrete_function(*specs)
    body = tf.function(lambda i, y: (i + 1, y * 0.5 + 1.0))
    return _ops().xla_while(
        input=[0, x], cond=cond, body=body.get_concrete_function(*specs)
    )


ROWS = [
    _row(
        "dot",
        lambda tf, x, y: _ops().xla_dot(
            lhs=x, rhs=y, dimension_numbers=_DOT, precision_config=b""
        ),
        *(normal(2, 3, 4), normal(2, 4, 5)),
    ),
    _row(
        "dot-v2",
        lambda tf, x, y: _ops().xla_dot_v2(
            lhs=x,
            rhs=y,
            dimension_numbers=_message(f1=[1], f2=[0]),
            precision_config=b"",
            preferred_element_type=tf.int32,
        ),
        *(integers(-9, 9, 3, 4, dtype="int8"), integers(-9, 9, 4, 2, dtype="int8")),
    ),
    _row("conv", _conv("xla_conv"), _IMAGE, normal(2, 2, 3, 4)),
    Program(
        "xla-conv-v2",
        lambda tf, x, k: tf.function(
            lambda a, b: _conv("xla_conv_v2", preferred_element_type=tf.float32)(
                tf, a, b
            ),
            jit_compile=True,
        )(x, k),
        (_IMAGE, normal(2, 2, 3, 4)),
    ),
    _row(
        "gather",
        lambda tf, x, places: _ops().xla_gather(
            operand=x,
            start_indices=places,
            slice_sizes=[1, 3],
            dimension_numbers=_message(f1=[1], f2=[0], f3=[0, 1], f4=1),
            indices_are_sorted=False,
        ),
        *(_MATRIX, i32([[0, 1], [3, 4], [-2, 0], [9, 2]])),
    ),
    _row(
        "gather-rows",
        lambda tf, x, places: _ops().xla_gather(
            operand=x,
            start_indices=places,
            slice_sizes=[1, 5],
            dimension_numbers=_message(f1=[2], f2=[0], f3=[0], f4=2),
            indices_are_sorted=False,
        ),
        *(_MATRIX, i32([[0, 1, 3], [2, 2, 0]])),
    ),
    *(
        _row(
            f"scatter-{how}",
            _scatter(how),
            *(_MATRIX, i32([[0], [2], [7]]), normal(3, 5)),
        )
        for how in ("add", "mul", "min", "max", "set")
    ),
    *(_row(f"reduce-{how}", _reduce(how), normal(2, 3, 4)) for how in ("sum", "max")),
    _row("reduce-own", _reduce("own"), uniform(0, 1, 1, 3, 4)),
    *(
        _row(f"arg-max-{name}", _arg_max(name), integers(0, 4, 4, 5).astype("float32"))
        for name in ("XlaVariadicReduce", "XlaVariadicReduceV2")
    ),
    _row("window-max", _window("max", -3e38), _IMAGE),
    _row("window-sum", _window("sum", 0.0), _IMAGE),
    _row(
        "pad",
        lambda tf, x: _ops().xla_pad(
            input=x,
            padding_value=7.0,
            padding_low=[1, -1],
            padding_high=[-2, 3],
            padding_interior=[2, 0],
        ),
        _MATRIX,
    ),
    _row(
        "dynamic-slice",
        lambda tf, x, begin: _ops().xla_dynamic_slice(
            input=x, start_indices=begin, size_indices=[2, 3]
        ),
        *(_MATRIX, i32(3, 1)),
    ),
    _row(
        "dynamic-update-slice",
        lambda tf, x, new, begin: _ops().xla_dynamic_update_slice(
            input=x, update=new, indices=begin
        ),
        *(_MATRIX, normal(2, 2), i32(1, 9)),
    ),
    _row(
        "broadcast-helper",
        lambda tf, x, y: _ops().xla_broadcast_helper(lhs=x, rhs=y, broadcast_dims=[1]),
        *(normal(2, 3, 4), normal(3)),
    ),
    _row("sort", lambda tf, x: _ops().xla_sort(input=x), normal(3, 7)),
    _row(
        "key-value-sort",
        lambda tf, x, y: _ops().xla_key_value_sort(keys=x, values=y),
        *(normal(7), integers(0, 9, 7)),
    ),
    _row(
        "variadic-sort",
        _sort,
        integers(0, 3, 6, 4).astype("float32"),
        integers(0, 3, 6, 4, dtype="int32"),
    ),
    _row(
        "einsum",
        lambda tf, x, y: _ops().xla_einsum(a=x, b=y, equation="ab,cb->ac"),
        *(normal(3, 4), normal(2, 4)),
    ),
    _row(
        "reduce-precision",
        lambda tf, x: _ops().xla_reduce_precision(
            operand=x, exponent_bits=5, mantissa_bits=6
        ),
        _MATRIX,
    ),
    _row(
        "barrier",
        lambda tf, x, y: _ops().xla_optimization_barrier(input=[x, y]),
        *(_MATRIX, f32(1, 2)),
    ),
    _row("while", _loop, _MATRIX),
]
