"""Arithmetic, comparisons, reductions, products, and special functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import kinks, values
from regraft.graph.runtime.kernels.dual import dual, xp
from regraft.graph.runtime.registry import kernel, register, register_table


def _unary(function: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda x: function(x)


def _binary(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda x, y: function(x, y)


def _erf_host(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[x.dtype])(x) if x.size else x


UNARY = {
    "Abs": kinks.absolute,
    "Acos": xp.arccos,
    "Acosh": xp.arccosh,
    "Angle": xp.angle,
    "Asin": xp.arcsin,
    "Asinh": xp.arcsinh,
    "Atan": xp.arctan,
    "Atanh": xp.arctanh,
    "Ceil": xp.ceil,
    "ComplexAbs": xp.abs,
    "Conj": xp.conj,
    "Cos": xp.cos,
    "Cosh": xp.cosh,
    "Erf": dual(_erf_host, ops.erf),
    "Exp": xp.exp,
    "Expm1": xp.expm1,
    "Floor": xp.floor,
    "Imag": xp.imag,
    "Invert": xp.bitwise_not,
    "IsFinite": xp.isfinite,
    "IsInf": xp.isinf,
    "IsNan": xp.isnan,
    "Log": xp.log,
    "Log1p": xp.log1p,
    "LogicalNot": xp.logical_not,
    "Neg": xp.negative,
    "Real": xp.real,
    "Rint": xp.round,
    "Round": xp.round,
    "Sign": xp.sign,
    "Sin": xp.sin,
    "Sinh": xp.sinh,
    "Sqrt": xp.sqrt,
    "Square": xp.square,
    "Tan": xp.tan,
    "Tanh": xp.tanh,
}
register_table({op: _unary(function) for op, function in UNARY.items()})


def _nonzero(y: Any) -> Any:
    """`y` with ones for zeros, so that a division by it is always defined."""
    return xp.where(xp.equal(y, 0), xp.ones_like(y), y)


def _or_zero(condition: Any, value: Any) -> Any:
    return xp.where(condition, value, xp.zeros_like(value))


def _is_integer(x: Any) -> bool:
    return "int" in values.dtype_of(x)


def truncate_div(x: Any, y: Any) -> Any:
    """Quotient rounded toward zero."""
    if not _is_integer(x):
        return xp.trunc(xp.divide(x, y))
    if values.dtype_of(x).startswith("u"):
        return xp.floor_divide(x, y)
    return xp.floor_divide(xp.abs(x), xp.abs(y)) * xp.sign(x) * xp.sign(y)


def div(x: Any, y: Any) -> Any:
    """Quotient; of integers, rounded toward zero."""
    return truncate_div(x, y) if _is_integer(x) else xp.divide(x, y)


def _real_div(x: Any, y: Any) -> Any:
    return div(x, y)


def _string_add(x: Any, y: Any) -> Any:
    return x + y


BINARY = {
    "Add": dual(_string_add, ops.add),
    "AddV2": xp.add,
    "Atan2": xp.arctan2,
    "BitwiseAnd": xp.bitwise_and,
    "BitwiseOr": xp.bitwise_or,
    "BitwiseXor": xp.bitwise_xor,
    "Div": div,
    "DivNoNan": lambda x, y: _or_zero(xp.not_equal(y, 0), div(x, _nonzero(y))),
    "FloorDiv": xp.floor_divide,
    "FloorMod": xp.mod,
    "Greater": xp.greater,
    "GreaterEqual": xp.greater_equal,
    "LeftShift": dual(np.left_shift, ops.left_shift),
    "Less": xp.less,
    "LessEqual": xp.less_equal,
    "LogicalAnd": xp.logical_and,
    "LogicalOr": xp.logical_or,
    "Maximum": kinks.maximum,
    "Minimum": kinks.minimum,
    "Mod": lambda x, y: xp.subtract(x, truncate_div(x, y) * y),
    "Mul": xp.multiply,
    "MulNoNan": lambda x, y: _or_zero(xp.not_equal(y, 0), xp.multiply(x, y)),
    "Pow": xp.power,
    "RealDiv": _real_div,
    "RightShift": dual(np.right_shift, ops.right_shift),
    "SquaredDifference": lambda x, y: xp.square(xp.subtract(x, y)),
    "Sub": xp.subtract,
    "TruncateDiv": truncate_div,
    "TruncateMod": lambda x, y: xp.subtract(x, truncate_div(x, y) * y),
    "Xdivy": lambda x, y: _or_zero(
        xp.not_equal(x, 0), xp.divide(x, xp.where(xp.equal(x, 0), xp.ones_like(y), y))
    ),
    "Xlog1py": lambda x, y: _or_zero(
        xp.not_equal(x, 0),
        x * xp.log1p(xp.where(xp.equal(x, 0), xp.zeros_like(y), y)),
    ),
    "Xlogy": lambda x, y: _or_zero(
        xp.not_equal(x, 0), x * xp.log(xp.where(xp.equal(x, 0), xp.ones_like(y), y))
    ),
}
register_table({op: _binary(function) for op, function in BINARY.items()})


@kernel("Rsqrt")
def rsqrt(x: Any) -> Any:
    """1 / sqrt(x)."""
    if values.is_host(x):
        return (1 / np.sqrt(x)).astype(x.dtype)
    return ops.rsqrt(x)


def _reciprocal(x: Any) -> Any:
    return xp.divide(xp.ones_like(x), x)


register_table({"Reciprocal": _reciprocal, "Inv": _reciprocal})


@kernel("Cast", ignored=("SrcT", "Truncate"))
def cast(x: Any, *, DstT: str) -> Any:
    """The values as another type."""
    if values.is_host(x) and x.dtype.kind == "c" and not DstT.startswith("complex"):
        x = x.real
    elif not values.is_host(x) and "complex" in values.dtype_of(x):
        x = x if DstT.startswith("complex") else ops.real(x)
    return values.cast(x, DstT)


def _compared(function: Callable[..., Any], unequal: bool) -> Callable[..., Any]:
    def kernel_function(x: Any, y: Any, *, incompatible_shape_error: bool) -> Any:
        if not incompatible_shape_error:
            try:
                np.broadcast_shapes(values.shape_of(x), values.shape_of(y))
            except ValueError:
                return np.bool_(unequal)
        return function(x, y)

    return kernel_function


register("Equal", _compared(dual(lambda x, y: x == y, ops.equal), False))
register("NotEqual", _compared(dual(lambda x, y: x != y, ops.not_equal), True))


@kernel("ApproximateEqual")
def approximate_equal(x: Any, y: Any, *, tolerance: float) -> Any:
    """Whether two numbers differ by less than `tolerance`."""
    return xp.less(xp.abs(xp.subtract(x, y)), tolerance)


@kernel("SelectV2")
def select_v2(condition: Any, t: Any, e: Any) -> Any:
    """`t` where the condition holds, else `e`; all broadcast."""
    return xp.where(condition, t, e)


@kernel("Select")
def select(condition: Any, t: Any, e: Any) -> Any:
    """`t` where the condition holds, else `e`; a vector chooses whole rows."""
    missing = values.rank_of(t) - values.rank_of(condition)
    if missing and values.rank_of(condition):
        lengths = (*values.shape_of(condition), *(1,) * missing)
        condition = xp.reshape(condition, lengths)
    return xp.where(condition, t, e)


@kernel("ClipByValue")
def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    """The values, held between two bounds."""
    return kinks.clip(t, clip_value_min, clip_value_max)


@kernel("AddN", ignored=("N",))
def add_n(inputs: list[Any]) -> Any:
    """The sum of the inputs."""
    total = inputs[0]
    for item in inputs[1:]:
        total = xp.add(total, item)
    return total


@kernel("AccumulateNV2", ignored=("N", "shape"))
def accumulate_n_v2(inputs: list[Any]) -> Any:
    """The sum of the inputs."""
    return add_n(inputs)


@kernel("Complex")
def complex_(real: Any, imag: Any, *, Tout: str) -> Any:
    """A complex number from its parts."""
    if values.is_host([real, imag]):
        return (real + 1j * imag).astype(values.numpy_dtype(Tout))
    dtype = values.device_dtype(Tout)
    return ops.cast(values.to_tensor(real), dtype) + 1j * ops.cast(
        values.to_tensor(imag), dtype
    )


@kernel("Cross")
def cross(a: Any, b: Any) -> Any:
    """Cross product of vectors of length 3."""
    return xp.cross(a, b)


# Reductions


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def kernel_function(input: Any, reduction_indices: Any, *, keep_dims: bool) -> Any:
        axes = values.dims(reduction_indices)
        if not axes:
            return xp.abs(input) if function is _euclidean_norm else input
        out = function(input, axis=axes, keepdims=keep_dims)
        return values.cast(values.normalized(out), values.dtype_of(input))

    return kernel_function


def _mean(x: Any, axis: Any, keepdims: bool) -> Any:
    if not _is_integer(x):
        return xp.mean(x, axis=axis, keepdims=keepdims)
    lengths = values.shape_of(x)
    count = int(np.prod([lengths[i] for i in axis]))
    total = xp.sum(x, axis=axis, keepdims=keepdims)
    return truncate_div(values.normalized(total), np.asarray(count, np.int32))


def _euclidean_norm(x: Any, axis: Any, keepdims: bool) -> Any:
    return xp.sqrt(xp.sum(xp.square(x), axis=axis, keepdims=keepdims))


REDUCTIONS = {
    "All": xp.all,
    "Any": xp.any,
    "EuclideanNorm": _euclidean_norm,
    "Max": xp.max,
    "Mean": _mean,
    "Min": xp.min,
    "Prod": xp.prod,
    "Sum": xp.sum,
}
register_table(
    {op: _reduction(function) for op, function in REDUCTIONS.items()},
    static=("reduction_indices",),
    ignored=("Tidx",),
)


def _arg_reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def kernel_function(input: Any, dimension: Any, *, output_type: str) -> Any:
        found = function(input, axis=values.scalar(dimension))
        return values.cast(values.normalized(found), output_type)

    return kernel_function


register_table(
    {"ArgMax": _arg_reduction(xp.argmax), "ArgMin": _arg_reduction(xp.argmin)},
    static=("dimension",),
    ignored=("Tidx",),
)


def _scan(function: Callable[..., Any], first: int) -> Callable[..., Any]:
    def kernel_function(x: Any, axis: Any, *, exclusive: bool, reverse: bool) -> Any:
        along = values.scalar(axis) % values.rank_of(x)
        out = xp.flip(x, axis=along) if reverse else x
        out = function(out, axis=along)
        out = values.cast(out, values.dtype_of(x))
        if exclusive:
            head = (slice(None),) * along
            begin = xp.full_like(out[(*head, slice(0, 1))], first)
            out = xp.concatenate([begin, out[(*head, slice(0, -1))]], axis=along)
        return xp.flip(out, axis=along) if reverse else out

    return kernel_function


def _log_sum_exp_scan(x: Any, axis: int) -> Any:
    x = values.to_tensor(x)
    return ops.associative_scan(ops.logaddexp, x, axis=axis)


register_table(
    {
        "Cumsum": _scan(xp.cumsum, 0),
        "Cumprod": _scan(xp.cumprod, 1),
        "CumulativeLogsumexp": _scan(_log_sum_exp_scan, -np.inf),  # type: ignore[arg-type]
    },
    static=("axis",),
    ignored=("Tidx",),
)


# Products


def _transposed(x: Any) -> Any:
    return xp.swapaxes(x, -1, -2)


def _adjoint(x: Any) -> Any:
    x = _transposed(x)
    return xp.conj(x) if values.dtype_of(x).startswith("complex") else x


@kernel("MatMul", ignored=("grad_a", "grad_b"))
def mat_mul(a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> Any:
    """Product of two matrices."""
    a = _transposed(a) if transpose_a else a
    b = _transposed(b) if transpose_b else b
    return values.cast(xp.matmul(a, b), values.dtype_of(a))


def _batch_mat_mul(x: Any, y: Any, *, adj_x: bool, adj_y: bool) -> Any:
    """Products of the innermost matrices."""
    x = _adjoint(x) if adj_x else x
    y = _adjoint(y) if adj_y else y
    return values.cast(xp.matmul(x, y), values.dtype_of(x))


@kernel("BatchMatMulV3", ignored=("grad_x", "grad_y"))
def batch_mat_mul_v3(x: Any, y: Any, *, adj_x: bool, adj_y: bool, Tout: str) -> Any:
    """Products of the innermost matrices, in a type of their own."""
    product = _batch_mat_mul(
        values.cast(x, Tout), values.cast(y, Tout), adj_x=adj_x, adj_y=adj_y
    )
    return values.cast(product, Tout)


register_table(
    {"BatchMatMul": _batch_mat_mul, "BatchMatMulV2": _batch_mat_mul},
    ignored=("grad_x", "grad_y"),
)


@kernel("SparseMatMul", ignored=("a_is_sparse", "b_is_sparse"))
def sparse_mat_mul(a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> Any:
    """Product of two matrices that may hold many zeros."""
    return mat_mul(
        values.cast(a, "float32"),
        values.cast(b, "float32"),
        transpose_a=transpose_a,
        transpose_b=transpose_b,
    )


@kernel("Einsum", ignored=("N",))
def einsum(inputs: list[Any], *, equation: str) -> Any:
    """Einstein's sum."""
    return xp.einsum(equation.replace(" ", ""), *inputs)


# Gradients that graphs hold as ops of their own


register_table(
    {
        "TanhGrad": lambda y, dy: dy * (1 - xp.square(y)),
        "SigmoidGrad": lambda y, dy: dy * y * (1 - y),
        "SqrtGrad": lambda y, dy: dy * 0.5 / y,
        "RsqrtGrad": lambda y, dy: dy * -0.5 * y * y * y,
        "ReciprocalGrad": lambda y, dy: -dy * y * y,
        "InvGrad": lambda y, dy: -dy * y * y,
    }
)
