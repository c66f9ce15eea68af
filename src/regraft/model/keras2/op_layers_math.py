"""TensorFlow's `tf.math`, `tf.linalg` and operators on `keras.ops`.

Each function has the argument names and defaults of the TensorFlow symbol that it
stands for (`SYMBOLS`), because files name arguments by keyword.
"""

# Functions and arguments are TensorFlow's; its documentation describes them.
# ruff: noqa: D103
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from regraft.graph.runtime.kernels import kinks
from regraft.model.keras2.host_values import device_dtype

Axis = int | list[int] | tuple[int, ...] | None


def axes(axis: Any) -> Axis:
    """One axis, several as a tuple, or `None` for all."""
    if axis is None or isinstance(axis, int):
        return axis
    found = tuple(int(item) for item in axis) if hasattr(axis, "__len__") else int(axis)
    return found


def _unary(function: Callable[[Any], Any]) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        return function(x)

    return call


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def call(x: Any, y: Any) -> Any:
        return function(*same_dtype(x, y))

    return call


def same_dtype(x: Any, y: Any) -> tuple[Any, Any]:
    """Gives a Python number the dtype of the tensor beside it, as TensorFlow does."""
    if hasattr(x, "dtype") and not hasattr(y, "dtype"):
        return x, ops.convert_to_tensor(y, dtype=x.dtype)
    if hasattr(y, "dtype") and not hasattr(x, "dtype"):
        return ops.convert_to_tensor(x, dtype=y.dtype), y
    return x, y


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(
        input_tensor: Any,
        axis: Any = None,
        keepdims: bool | None = False,
        keep_dims: bool | None = None,
        reduction_indices: Any = None,
    ) -> Any:
        axis = axis if axis is not None else reduction_indices
        keep = bool(keepdims or keep_dims)
        result = function(input_tensor, axis=axes(axis), keepdims=keep)
        return ops.cast(result, input_tensor.dtype)

    return call


def _is_floating(x: Any) -> bool:
    return "float" in str(x.dtype)


def truediv(x: Any, y: Any) -> Any:
    x, y = same_dtype(x, y)
    return ops.true_divide(x, y)


def div(x: Any, y: Any) -> Any:
    # TensorFlow 1 and C: integers stay integers.
    return truediv(x, y) if _is_floating(same_dtype(x, y)[0]) else floordiv(x, y)


def floordiv(x: Any, y: Any) -> Any:
    return ops.floor_divide(*same_dtype(x, y))


def divide_no_nan(x: Any, y: Any) -> Any:
    return ops.divide_no_nan(*same_dtype(x, y))


def multiply_no_nan(x: Any, y: Any) -> Any:
    x, y = same_dtype(x, y)
    return ops.where(ops.equal(y, 0), ops.zeros_like(x * y), x * y)


def squared_difference(x: Any, y: Any) -> Any:
    x, y = same_dtype(x, y)
    return ops.square(x - y)


def atan2(y: Any, x: Any) -> Any:
    return ops.arctan2(y, x)


def xlogy(x: Any, y: Any) -> Any:
    safe = ops.where(ops.equal(x, 0), ops.ones_like(y), y)
    return ops.where(ops.equal(x, 0), ops.zeros_like(x * safe), x * ops.log(safe))


def add_n(inputs: Any) -> Any:
    total = inputs[0]
    for item in inputs[1:]:
        total = ops.add(total, item)
    return total


def scalar_mul(scalar: Any, x: Any) -> Any:
    return ops.multiply(*same_dtype(scalar, x))


def reciprocal_no_nan(x: Any) -> Any:
    return ops.divide_no_nan(ops.ones_like(x), x)


def polyval(coeffs: Any, x: Any) -> Any:
    total = ops.zeros_like(x)
    for coefficient in coeffs:
        total = total * x + coefficient
    return total


def erfc(x: Any) -> Any:
    return 1.0 - ops.erf(x)


def reduce_any(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return ops.any(input_tensor, axis=axes(axis), keepdims=bool(keepdims))


def reduce_all(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return ops.all(input_tensor, axis=axes(axis), keepdims=bool(keepdims))


def reduce_euclidean_norm(
    input_tensor: Any, axis: Any = None, keepdims: bool = False
) -> Any:
    squares = ops.square(input_tensor)
    return ops.sqrt(ops.sum(squares, axis=axes(axis), keepdims=bool(keepdims)))


def count_nonzero(
    input: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
    dtype: str = "int64",
    input_tensor: Any = None,
) -> Any:
    values = input if input is not None else input_tensor
    nonzero = ops.cast(ops.not_equal(values, 0), device_dtype(dtype))
    return ops.sum(nonzero, axis=axes(axis), keepdims=bool(keepdims))


def argmax(
    input: Any, axis: Any = None, output_type: str = "int64", dimension: Any = None
) -> Any:
    axis = axis if axis is not None else dimension or 0
    return ops.cast(ops.argmax(input, axis=int(axis)), device_dtype(output_type))


def argmin(
    input: Any, axis: Any = None, output_type: str = "int64", dimension: Any = None
) -> Any:
    axis = axis if axis is not None else dimension or 0
    return ops.cast(ops.argmin(input, axis=int(axis)), device_dtype(output_type))


def _cumulative(function: Callable[..., Any], start: float) -> Callable[..., Any]:
    def call(
        x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False
    ) -> Any:
        axis = int(axis)
        if reverse:
            x = ops.flip(x, axis=axis)
        result = function(x, axis=axis)
        if exclusive:
            length = result.shape[axis]
            first = ops.full_like(ops.take(x, [0], axis=axis), start)
            rest = ops.take(result, list(range(length - 1)), axis=axis)
            result = ops.concatenate([first, rest], axis=axis)
        return ops.flip(result, axis=axis) if reverse else result

    return call


def _log_cumulative(x: Any, axis: int) -> Any:
    top = ops.max(x, axis=axis, keepdims=True)
    return ops.log(ops.cumsum(ops.exp(x - top), axis=axis)) + top


def l2_normalize(
    x: Any, axis: Any = None, epsilon: float = 1e-12, dim: Any = None
) -> Any:
    axis = axes(axis if axis is not None else dim)
    total = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(total, epsilon))


def zero_fraction(value: Any) -> Any:
    return ops.mean(ops.cast(ops.equal(value, 0), "float32"))


def top_k(input: Any, k: int = 1, sorted: bool = True, index_type: Any = None) -> Any:
    values, indices = ops.top_k(input, int(k), sorted=bool(sorted))
    return values, ops.cast(indices, index_type or "int32")


def in_top_k(predictions: Any, targets: Any, k: int) -> Any:
    return ops.in_top_k(ops.convert_to_tensor(targets), predictions, int(k))


def segment_sum(data: Any, segment_ids: Any) -> Any:
    return ops.segment_sum(data, ops.convert_to_tensor(segment_ids), sorted=True)


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: int) -> Any:
    ids = ops.convert_to_tensor(segment_ids)
    return ops.segment_sum(data, ids, num_segments=int(num_segments))


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    output_type: Any = None,
    grad_a: bool = False,
    grad_b: bool = False,
) -> Any:
    a, b = same_dtype(a, b)
    a = transposed(a, transpose_a or adjoint_a, adjoint_a)
    b = transposed(b, transpose_b or adjoint_b, adjoint_b)
    result = ops.matmul(a, b)
    return ops.cast(result, output_type) if output_type else result


def transposed(x: Any, transpose: bool, conjugate: bool = False) -> Any:
    if transpose:
        x = ops.swapaxes(x, -1, -2)
    return ops.conjugate(x) if conjugate and "complex" in str(x.dtype) else x


def matvec(a: Any, b: Any, transpose_a: bool = False, adjoint_a: bool = False) -> Any:
    a = transposed(a, transpose_a or adjoint_a, adjoint_a)
    return ops.squeeze(ops.matmul(a, ops.expand_dims(b, -1)), -1)


def tensordot(a: Any, b: Any, axes: Any) -> Any:
    return ops.tensordot(*same_dtype(a, b), axes=axes)


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool | None = None,
    keep_dims: bool | None = None,
) -> Any:
    keep = bool(keepdims or keep_dims)
    if ord in ("euclidean", 2, "fro"):
        return reduce_euclidean_norm(tensor, axis, keep)
    return ops.norm(tensor, ord=ord, axis=axes(axis), keepdims=keep)


def normalize(tensor: Any, ord: Any = "euclidean", axis: Any = None) -> Any:
    length = norm(tensor, ord, axis, keepdims=True)
    return tensor / length, length


def band_part(input: Any, num_lower: int, num_upper: int) -> Any:
    rows, columns = input.shape[-2], input.shape[-1]
    distance = ops.expand_dims(ops.arange(rows), 1) - ops.arange(columns)
    kept = ops.ones((rows, columns), dtype="bool")
    if num_lower >= 0:
        kept = ops.logical_and(kept, distance <= num_lower)
    if num_upper >= 0:
        kept = ops.logical_and(kept, -distance <= num_upper)
    return ops.where(kept, input, ops.zeros_like(input))


def diag(diagonal: Any) -> Any:
    identity = ops.eye(diagonal.shape[-1], dtype=diagonal.dtype)
    return ops.expand_dims(diagonal, -1) * identity


def diag_part(input: Any) -> Any:
    return ops.diagonal(input, axis1=-2, axis2=-1)


def set_diag(input: Any, diagonal: Any) -> Any:
    identity = ops.eye(input.shape[-2], input.shape[-1], dtype="bool")
    size = min(input.shape[-2:])
    wide = ops.expand_dims(diagonal, -1) * ops.ones(
        (size, input.shape[-1]), dtype=input.dtype
    )
    return ops.where(identity, wide, input)


def trace(x: Any) -> Any:
    return ops.trace(x, axis1=-2, axis2=-1)


def inv(input: Any, adjoint: bool = False) -> Any:
    return ops.inv(transposed(input, adjoint, adjoint))


def solve(matrix: Any, rhs: Any, adjoint: bool = False) -> Any:
    return ops.solve(transposed(matrix, adjoint, adjoint), rhs)


def matrix_transpose(a: Any, conjugate: bool = False) -> Any:
    return transposed(a, True, conjugate)


def adjoint(matrix: Any) -> Any:
    return transposed(matrix, True, True)


def cross(a: Any, b: Any) -> Any:
    return ops.cross(a, b)


def einsum(equation: str, *inputs: Any) -> Any:
    return ops.einsum(equation, *inputs)


def confusion_matrix(
    labels: Any, predictions: Any, num_classes: int, dtype: str = "int32"
) -> Any:
    rows = ops.one_hot(labels, num_classes, dtype=dtype)
    columns = ops.one_hot(predictions, num_classes, dtype=dtype)
    return ops.matmul(ops.transpose(rows), columns)


def complex_(real: Any, imag: Any) -> Any:
    real = ops.cast(real, "complex64")
    return real + ops.cast(imag, "complex64") * 1j


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    _, low = same_dtype(t, clip_value_min)
    _, high = same_dtype(t, clip_value_max)
    return kinks.clip(ops.convert_to_tensor(t), low, high)


def absolute(x: Any) -> Any:
    return kinks.absolute(ops.convert_to_tensor(x))


def maximum(x: Any, y: Any) -> Any:
    return kinks.maximum(*same_dtype(x, y))


def minimum(x: Any, y: Any) -> Any:
    return kinks.minimum(*same_dtype(x, y))


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None) -> Any:
    length = reduce_euclidean_norm(t, axes, keepdims=True)
    return t * clip_norm / ops.maximum(length, clip_norm)


def round_(x: Any) -> Any:
    return ops.round(x) if _is_floating(x) else x


def _variance(x: Any, axis: Any, keepdims: bool) -> Any:
    return ops.var(x, axis=axis, keepdims=keepdims)


_UNARY = {
    "abs": absolute,
    "negative": ops.negative,
    "sign": ops.sign,
    "exp": ops.exp,
    "expm1": ops.expm1,
    "log": ops.log,
    "log1p": ops.log1p,
    "sqrt": ops.sqrt,
    "rsqrt": ops.rsqrt,
    "square": ops.square,
    "reciprocal": ops.reciprocal,
    "sin": ops.sin,
    "cos": ops.cos,
    "tan": ops.tan,
    "tanh": ops.tanh,
    "sinh": ops.sinh,
    "cosh": ops.cosh,
    "asin": ops.arcsin,
    "acos": ops.arccos,
    "atan": ops.arctan,
    "asinh": ops.arcsinh,
    "acosh": ops.arccosh,
    "atanh": ops.arctanh,
    "erf": ops.erf,
    "erfinv": ops.erfinv,
    "floor": ops.floor,
    "ceil": ops.ceil,
    "rint": ops.round,
    "sigmoid": ops.sigmoid,
    "log_sigmoid": ops.log_sigmoid,
    "logical_not": ops.logical_not,
    "is_nan": ops.isnan,
    "is_finite": ops.isfinite,
    "is_inf": ops.isinf,
    "conj": ops.conjugate,
}

_BINARY = {
    "add": ops.add,
    "subtract": ops.subtract,
    "multiply": ops.multiply,
    "floormod": ops.mod,
    "mod": ops.mod,
    "pow": ops.power,
    "maximum": maximum,
    "minimum": minimum,
    "logical_and": ops.logical_and,
    "logical_or": ops.logical_or,
    "logical_xor": ops.logical_xor,
    "equal": ops.equal,
    "not_equal": ops.not_equal,
    "greater": ops.greater,
    "greater_equal": ops.greater_equal,
    "less": ops.less,
    "less_equal": ops.less_equal,
}

_REDUCTIONS = {
    "reduce_sum": ops.sum,
    "reduce_mean": ops.mean,
    "reduce_max": ops.max,
    "reduce_min": ops.min,
    "reduce_prod": ops.prod,
    "reduce_logsumexp": ops.logsumexp,
    "reduce_std": ops.std,
    "reduce_variance": _variance,
}

SYMBOLS: dict[str, Callable[..., Any]] = {
    **{f"math.{name}": _unary(function) for name, function in _UNARY.items()},
    **{f"math.{name}": _binary(function) for name, function in _BINARY.items()},
    **{f"math.{name}": _reduction(f) for name, f in _REDUCTIONS.items()},
    **{f"compat.v1.{name}": _reduction(f) for name, f in _REDUCTIONS.items()},
    "__operators__.add": _binary(ops.add),
    "__operators__.radd": lambda y, x: _binary(ops.add)(x, y),
    "__operators__.eq": _binary(ops.equal),
    "__operators__.ne": _binary(ops.not_equal),
    "math.softplus": lambda features: ops.softplus(features),
    "math.truediv": truediv,
    "math.divide": truediv,
    "divide": truediv,
    "realdiv": truediv,
    "compat.v1.div": div,
    "RealDiv": truediv,
    "math.floordiv": floordiv,
    "math.floor_div": floordiv,
    "compat.v1.floor_div": floordiv,
    "math.divide_no_nan": divide_no_nan,
    "compat.v1.div_no_nan": divide_no_nan,
    "math.multiply_no_nan": multiply_no_nan,
    "math.squared_difference": squared_difference,
    "math.atan2": atan2,
    "math.xlogy": xlogy,
    "math.add_n": add_n,
    "math.scalar_mul": scalar_mul,
    "compat.v1.math.scalar_mul": scalar_mul,
    "compat.v1.scalar_mul": scalar_mul,
    "math.reciprocal_no_nan": reciprocal_no_nan,
    "math.polyval": polyval,
    "math.erfc": erfc,
    "math.round": round_,
    "math.real": lambda input: ops.real(input),
    "math.imag": lambda input: ops.imag(input),
    "math.angle": lambda input: ops.angle(input),
    "math.reduce_any": reduce_any,
    "math.reduce_all": reduce_all,
    "math.reduce_euclidean_norm": reduce_euclidean_norm,
    "math.count_nonzero": count_nonzero,
    "math.argmax": argmax,
    "argmax": argmax,
    "compat.v1.argmax": argmax,
    "math.argmin": argmin,
    "compat.v1.argmin": argmin,
    "math.cumsum": _cumulative(ops.cumsum, 0.0),
    "math.cumprod": _cumulative(ops.cumprod, 1.0),
    "math.cumulative_logsumexp": _cumulative(_log_cumulative, float("-inf")),
    "math.l2_normalize": l2_normalize,
    "compat.v1.math.l2_normalize": l2_normalize,
    "compat.v1.nn.l2_normalize": l2_normalize,
    "nn.l2_normalize": l2_normalize,
    "math.zero_fraction": zero_fraction,
    "math.top_k": top_k,
    "nn.top_k": top_k,
    "math.in_top_k": in_top_k,
    "compat.v1.math.in_top_k": in_top_k,
    "math.segment_sum": segment_sum,
    "math.unsorted_segment_sum": unsorted_segment_sum,
    "math.confusion_matrix": confusion_matrix,
    "linalg.matmul": matmul,
    "linalg.matvec": matvec,
    "tensordot": tensordot,
    "linalg.tensordot": tensordot,
    "norm": norm,
    "linalg.norm": norm,
    "compat.v1.norm": norm,
    "linalg.normalize": normalize,
    "linalg.band_part": band_part,
    "linalg.diag": diag,
    "linalg.diag_part": diag_part,
    "linalg.set_diag": set_diag,
    "linalg.trace": trace,
    "linalg.det": lambda input: ops.det(input),
    "linalg.inv": inv,
    "linalg.solve": solve,
    "linalg.cholesky": lambda input: ops.cholesky(input),
    "linalg.matrix_transpose": matrix_transpose,
    "linalg.adjoint": adjoint,
    "linalg.cross": cross,
    "einsum": einsum,
    "linalg.einsum": einsum,
    "dtypes.complex": complex_,
    "clip_by_value": clip_by_value,
    "clip_by_norm": clip_by_norm,
    "bitwise.bitwise_and": _binary(ops.bitwise_and),
    "bitwise.bitwise_or": _binary(ops.bitwise_or),
    "bitwise.bitwise_xor": _binary(ops.bitwise_xor),
}
