"""Primitives that compute each element on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from regraft.errors import UnsupportedError
from regraft.graph.tracing.builder import same_shape
from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.registry import LOWERINGS, Lowering, lowering
from regraft.graph.tracing.values import Value, same_dim

# Constants up to this size are computed here instead of in the graph.
FOLDED_ELEMENTS = 1024

_UNARY = {
    "acos": "Acos",
    "acosh": "Acosh",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "bessel_i0e": "BesselI0e",
    "bessel_i1e": "BesselI1e",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "digamma": "Digamma",
    "erf": "Erf",
    "erf_inv": "Erfinv",
    "erfc": "Erfc",
    "exp": "Exp",
    "expm1": "Expm1",
    "floor": "Floor",
    "is_finite": "IsFinite",
    "lgamma": "Lgamma",
    "log": "Log",
    "log1p": "Log1p",
    "logistic": "Sigmoid",
    "neg": "Neg",
    "rsqrt": "Rsqrt",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "sqrt": "Sqrt",
    "square": "Square",
    "tan": "Tan",
    "tanh": "Tanh",
}

_BINARY = {
    "atan2": "Atan2",
    "eq": "Equal",
    "ge": "GreaterEqual",
    "gt": "Greater",
    "igamma": "Igamma",
    "igammac": "Igammac",
    "le": "LessEqual",
    "lt": "Less",
    "mul": "Mul",
    "ne": "NotEqual",
    "nextafter": "NextAfter",
    "polygamma": "Polygamma",
    "sub": "Sub",
    "zeta": "Zeta",
}

_FOLDS: dict[str, Callable[..., Any]] = {
    "AddV2": np.add,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterEqual": np.greater_equal,
    "Less": np.less,
    "LessEqual": np.less_equal,
    "LogicalAnd": np.logical_and,
    "LogicalNot": np.logical_not,
    "LogicalOr": np.logical_or,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Mul": np.multiply,
    "Neg": np.negative,
    "NotEqual": np.not_equal,
    "Sub": np.subtract,
}


def unary(g: Graph, op: str, x: Value, **attrs: Any) -> Value:
    """Adds an op of one operand; on what a value repeats, not on each repetition."""
    if x.source is not None and x.name is None:
        inner = unary(g, op, x.source, **attrs)
        return Value(inner.dtype, x.shape, source=inner, dimensions=x.dimensions)
    if x.constant is not None and op in _FOLDS and x.constant.size <= FOLDED_ELEMENTS:
        result = _FOLDS[op](x.constant)
        return Value.of(result, str(result.dtype))
    return g.op(op, x, shape=x.shape, **attrs)


def aligned(g: Graph, *operands: Value) -> list[Value]:
    """Returns operands that TensorFlow broadcasts to the result at hand."""
    shape = g.shape_of()
    views = [g.broadcastable(x) for x in operands]
    for axis, length in enumerate(shape):
        if any(_covers(view, axis, shape) for view in views):
            continue
        for place, x in enumerate(operands):
            # Nobody would repeat it: TensorFlow has to.
            if x.rank == len(shape) and same_dim(x.dims[axis], length):
                views[place] = Value(x.dtype, x.shape, name=g.tensor(x))
                break
    if all(view.rank < len(shape) for view in views):
        # What covers all lengths may still lack leading ones.
        place = max(range(len(views)), key=lambda index: views[index].rank)
        missing = len(shape) - views[place].rank
        views[place] = g.reshape(views[place], (1,) * missing + views[place].dims)
    return views


def _covers(view: Value, axis: int, shape: tuple[Any, ...]) -> bool:
    place = axis - (len(shape) - view.rank)
    return same_dim(shape[axis], 1) or (
        place >= 0 and same_dim(view.dims[place], shape[axis])
    )


def binary(g: Graph, op: str, x: Value, y: Value, **attrs: Any) -> Value:
    """Adds an op of two operands."""
    shape = g.shape_of()
    if x.constant is not None and y.constant is not None and op in _FOLDS:
        result = np.asarray(_FOLDS[op](x.constant, y.constant))
        if result.size <= FOLDED_ELEMENTS and result.shape == shape:
            dtype = "bool" if result.dtype == bool else x.dtype
            return Value.of(result, dtype)
    if (both := _repeated_alike(x, y)) is not None:
        inner_x, inner_y, model = both
        inner = g.op(op, inner_x, inner_y, shape=model.source.dims, **attrs)  # type: ignore[union-attr]
        return Value(
            inner.dtype, model.shape, source=inner, dimensions=model.dimensions
        )
    x, y = aligned(g, x, y)
    return g.op(op, x, y, shape=shape, **attrs)


def _repeated_alike(x: Value, y: Value) -> tuple[Value, Value, Value] | None:
    """Returns what two operands repeat, if they repeat it in the same way."""
    lazy_x = x.source is not None and x.name is None
    lazy_y = y.source is not None and y.name is None
    if lazy_x and lazy_y and x.dimensions == y.dimensions:
        left, right = x.source, y.source
        if same_shape(left.dims, right.dims) and same_shape(x.dims, y.dims):  # type: ignore[union-attr]
            return left, right, x  # type: ignore[return-value]
    if lazy_x and y.rank == 0:
        return x.source, y, x  # type: ignore[return-value]
    if lazy_y and x.rank == 0:
        return x, y.source, y  # type: ignore[return-value]
    return None


def _add_table(table: dict[str, str], make: Callable[..., Any]) -> None:
    for primitive, op in table.items():
        LOWERINGS[primitive] = Lowering(make(op), (), frozenset({"accuracy"}))


def _unary_lowering(op: str) -> Callable[..., Value]:
    return lambda g, x: unary(g, op, x)


def _binary_lowering(op: str) -> Callable[..., Value]:
    return lambda g, x, y: binary(g, op, x, y)


_add_table(_UNARY, _unary_lowering)
_add_table(_BINARY, _binary_lowering)


@lowering("abs")
def abs_(g: Graph, x: Value) -> Value:
    """Absolute value; of a complex number its length."""
    if not x.dtype.startswith("complex"):
        return unary(g, "Abs", x)
    return unary(g, "ComplexAbs", x, Tout=g.dtype_of())


@lowering("conj", ignored=("input_dtype",))
def conj(g: Graph, x: Value) -> Value:
    """Complex conjugate."""
    return unary(g, "Conj", cast(g, x, g.dtype_of()))


# These order NaN too in JAX; what they are used for (searching) has none.
_add_table({"eq_to": "Equal", "le_to": "LessEqual", "lt_to": "Less"}, _binary_lowering)

# Ops after which TensorFlow writes (and fuses) BiasAdd.
_BIASED = frozenset(
    {
        "BatchMatMulV2",
        "Conv2D",
        "Conv2DBackpropInput",
        "Conv3D",
        "Conv3DBackpropInputV2",
        "DepthwiseConv2dNative",
        "Einsum",
        "MatMul",
    }
)


@lowering("add", "add_any")
def add(g: Graph, x: Value, y: Value) -> Value:
    """`x + y`; as BiasAdd where it is one."""
    for value, bias in ((x, y), (y, x)):
        if _is_bias(g, value, bias):
            return g.op("BiasAdd", value, bias.source, shape=g.shape_of())
    return binary(g, "AddV2", x, y)


def _is_bias(g: Graph, value: Value, bias: Value) -> bool:
    source = bias.source
    if source is None or source.rank != 1 or value.name is None:
        return False
    if bias.dimensions != (bias.rank - 1,) or bias.rank != value.rank:
        return False
    producer = g.producer(value)
    if producer is not None and producer[0] in ("Reshape", "Squeeze"):
        producer = g.producer(Value(value.dtype, name=producer[1][0]))
    return (
        producer is not None
        and producer[0] in _BIASED
        and same_dim(value.dims[-1], source.dims[0])
    )


@lowering("max")
def max_(g: Graph, x: Value, y: Value) -> Value:
    """`max(x, y)`; with zero it is Relu."""
    if _is_scalar(x, -np.inf):
        return y  # JAX guards an empty maximum so.
    if _is_scalar(y, 0) and x.dtype != "uint32":
        return unary(g, "Relu", x)
    if _is_scalar(x, 0) and y.dtype != "uint32":
        return unary(g, "Relu", y)
    return binary(g, "Maximum", x, y)


@lowering("min")
def min_(g: Graph, x: Value, y: Value) -> Value:
    """`min(x, y)`; of Relu with six it is Relu6."""
    for value, bound in ((x, y), (y, x)):
        producer = g.producer(value)
        if producer is not None and producer[0] == "Relu" and _is_scalar(bound, 6):
            inner = Value(value.dtype, value.shape, name=producer[1][0])
            return unary(g, "Relu6", inner)
    return binary(g, "Minimum", x, y)


def _is_scalar(value: Value, number: float) -> bool:
    while value.source is not None:
        value = value.source
    constant = value.constant
    return constant is not None and constant.ndim == 0 and bool(constant == number)


@lowering("clamp")
def clamp(g: Graph, low: Value, x: Value, high: Value) -> Value:
    """`min(max(x, low), high)`."""
    if _is_scalar(low, 0) and _is_scalar(high, 6) and x.dtype.startswith("f"):
        return unary(g, "Relu6", x)
    return binary(g, "Minimum", binary(g, "Maximum", x, low), high)


@lowering("div")
def div(g: Graph, x: Value, y: Value) -> Value:
    """`x / y`, of integers towards zero."""
    if "int" not in x.dtype:
        return binary(g, "RealDiv", x, y)
    safe, is_zero = _not_zero(g, y)
    quotient = binary(g, "TruncateDiv", x, safe)
    if is_zero is None:
        return quotient
    return _chosen(g, is_zero, scalar(-1, x), quotient)


def _not_zero(g: Graph, y: Value) -> tuple[Value, Value | None]:
    """Returns a divisor, and where it was zero; TensorFlow fails there on a CPU."""
    bare = y
    while bare.source is not None:
        bare = bare.source
    if bare.constant is not None and bare.constant.all():
        return y, None
    is_zero = g.op("Equal", y, scalar(0, y), shape=y.shape)
    return g.op("SelectV2", is_zero, scalar(1, y), y, shape=y.shape), is_zero


def _chosen(g: Graph, which: Value, yes: Value, no: Value) -> Value:
    return g.op("SelectV2", which, yes, no, shape=g.shape_of())


@lowering("rem")
def rem(g: Graph, x: Value, y: Value) -> Value:
    """Remainder with the sign of `x`."""
    if x.dtype in ("float16", "bfloat16"):
        wide = _float_rem(g, cast(g, x, "float32"), cast(g, y, "float32"))
        return cast(g, wide, x.dtype)
    if "int" not in x.dtype:
        return _float_rem(g, x, y)
    safe, is_zero = _not_zero(g, y)
    if x.dtype in ("int32", "int64"):
        rest = binary(g, "TruncateMod", x, safe)
    else:
        # TensorFlow has no remainders of these.
        whole = binary(g, "Mul", binary(g, "TruncateDiv", x, safe), safe)
        rest = binary(g, "Sub", x, whole)
    return rest if is_zero is None else _chosen(g, is_zero, x, rest)


def _float_rem(g: Graph, x: Value, y: Value) -> Value:
    """Of positive numbers it is FloorMod, of which TensorFlow has a gradient."""
    x, y = aligned(g, x, y)
    shape, divisor = g.shape_of(), unary(g, "Abs", y)
    is_negative = g.op("Less", x, scalar(0, x), shape=x.shape)
    rest = g.op("FloorMod", x, divisor, shape=shape)
    mirrored = g.op("FloorMod", unary(g, "Neg", x), divisor, shape=shape)
    return _chosen(g, is_negative, unary(g, "Neg", mirrored), rest)


@lowering("pow")
def pow_(g: Graph, x: Value, y: Value) -> Value:
    """`x ** y`."""
    if x.dtype != y.dtype:
        y = cast(g, y, x.dtype)
    return binary(g, "Pow", x, y)


@lowering("integer_pow")
def integer_pow(g: Graph, x: Value, *, y: int) -> Value:
    """`x ** y` for a fixed `y`."""
    if y == 2:
        return unary(g, "Square", x)
    if y == -1:
        return unary(g, "Reciprocal", x)
    if y == 3:
        return binary(g, "Mul", unary(g, "Square", x), x)
    return binary(g, "Pow", x, Value.of(np.asarray(y, _numpy(x)), x.dtype))


def _numpy(value: Value) -> Any:
    from_name = {"bfloat16": "float32"}
    return np.dtype(from_name.get(value.dtype, value.dtype))


def scalar(number: float, like: Value) -> Value:
    """Returns a scalar constant of another value's dtype."""
    return Value.of(np.asarray(number, _numpy(like)), like.dtype)


@lowering("exp2")
def exp2(g: Graph, x: Value) -> Value:
    """`2 ** x`."""
    return binary(g, "Pow", scalar(2, x), x)


@lowering("log2", ignored=("accuracy",))
def log2(g: Graph, x: Value) -> Value:
    """The logarithm to base 2."""
    return binary(g, "Mul", unary(g, "Log", x), scalar(1 / math.log(2), x))


@lowering("one_minus_square")
def one_minus_square(g: Graph, x: Value) -> Value:
    """`1 - x ** 2`, exact where that is small."""
    one = scalar(1, x)
    return binary(g, "Mul", binary(g, "AddV2", x, one), binary(g, "Sub", one, x))


@lowering("polynomial", ignored=("unroll",))
def polynomial(g: Graph, x: Value, *coefficients: Value) -> Value:
    """A polynomial by Horner's rule; its coefficients begin with the constant one."""
    *rest, result = coefficients
    if not rest:
        return binary(g, "AddV2", binary(g, "Mul", x, scalar(0, x)), result)
    for coefficient in reversed(rest):
        result = binary(g, "AddV2", binary(g, "Mul", result, x), coefficient)
    return result


@lowering("cbrt")
def cbrt(g: Graph, x: Value) -> Value:
    """The real cube root."""
    root = binary(g, "Pow", unary(g, "Abs", x), scalar(1 / 3, x))
    return binary(g, "Mul", unary(g, "Sign", x), root)


@lowering("round")
def round_(g: Graph, x: Value, *, rounding_method: Any) -> Value:
    """Nearest integer; halves to even, or away from zero."""
    if int(rounding_method):
        return unary(g, "Round", x)
    up = unary(g, "Floor", binary(g, "AddV2", unary(g, "Abs", x), scalar(0.5, x)))
    return binary(g, "Mul", unary(g, "Sign", x), up)


@lowering("not")
def not_(g: Graph, x: Value) -> Value:
    """Logical or bitwise negation."""
    return unary(g, "LogicalNot" if x.dtype == "bool" else "Invert", x)


def _logical(primitive: str, logical: str, bitwise: str) -> None:
    @lowering(primitive)
    def lower(g: Graph, x: Value, y: Value) -> Value:
        return binary(g, logical if x.dtype == "bool" else bitwise, x, y)


_logical("and", "LogicalAnd", "BitwiseAnd")
_logical("or", "LogicalOr", "BitwiseOr")
_logical("xor", "NotEqual", "BitwiseXor")


@lowering("shift_left")
def shift_left(g: Graph, x: Value, y: Value) -> Value:
    """`x << y`."""
    return binary(g, "LeftShift", x, y)


@lowering("shift_right_arithmetic")
def shift_right_arithmetic(g: Graph, x: Value, y: Value) -> Value:
    """`x >> y` that keeps the sign."""
    return binary(g, "RightShift", x, y)


@lowering("shift_right_logical")
def shift_right_logical(g: Graph, x: Value, y: Value) -> Value:
    """`x >> y` that brings in zeros."""
    if x.dtype.startswith("u"):
        return binary(g, "RightShift", x, y)
    unsigned = f"u{x.dtype}"
    bits = [unary(g, "Bitcast", v, type=unsigned) for v in (x, y)]
    return unary(g, "Bitcast", binary(g, "RightShift", *bits), type=x.dtype)


@lowering("population_count")
def population_count(g: Graph, x: Value) -> Value:
    """How many bits are set."""
    return cast(g, unary(g, "PopulationCount", x), x.dtype)


@lowering("clz")
def clz(g: Graph, x: Value) -> Value:
    """How many bits above the highest one are not set."""
    if x.dtype not in ("int32", "uint32"):
        raise UnsupportedError(f"clz of {x.dtype} can't be written as TensorFlow ops.")
    smeared = x if x.dtype == "uint32" else unary(g, "Bitcast", x, type="uint32")
    for bits in (1, 2, 4, 8, 16):
        shifted = binary(g, "RightShift", smeared, scalar(bits, smeared))
        smeared = binary(g, "BitwiseOr", smeared, shifted)
    count = unary(g, "PopulationCount", unary(g, "Invert", smeared))
    return cast(g, count, x.dtype)


@lowering("select_n")
def select_n(g: Graph, which: Value, *cases: Value) -> Value:
    """Each element from the case that `which` names."""
    if which.constant is not None and which.constant.ndim == 0:
        return cases[int(which.constant)]
    if len(cases) == 1:
        return cases[0]
    if which.dtype == "bool":
        pred, no, yes = aligned(g, which, *cases)
        return g.op("SelectV2", pred, yes, no, shape=g.shape_of())
    result = cases[-1]
    for index in range(len(cases) - 2, -1, -1):
        here = g.op("LessEqual", which, np.int32(index), shape=which.shape)
        pred, yes, no = aligned(g, here, cases[index], result)
        result = g.op("SelectV2", pred, yes, no, shape=g.shape_of())
    return result


@lowering("convert_element_type")
def convert_element_type(g: Graph, x: Value, *, new_dtype: Any) -> Value:
    """Casts."""
    return cast(g, x, str(np.dtype(new_dtype)))


def cast(g: Graph, x: Value, dtype: str) -> Value:
    """Returns a value in another dtype, as JAX converts it."""
    if x.dtype == dtype:
        return x
    if x.constant is not None and x.constant.size <= FOLDED_ELEMENTS:
        if dtype == "bfloat16" or x.dtype == "bfloat16":
            return Value.of(x.constant.astype("float32"), dtype)
        return Value.of(x.constant.astype(dtype), dtype)
    if dtype == "bool":
        zero = scalar(0, x)
        if x.source is not None and x.name is None:
            inner = cast(g, x.source, dtype)
            return Value(dtype, x.shape, source=inner, dimensions=x.dimensions)
        return g.op("NotEqual", x, zero, shape=x.shape)
    return unary(g, "Cast", x, DstT=dtype)


@lowering("bitcast_convert_type")
def bitcast_convert_type(g: Graph, x: Value, *, new_dtype: Any) -> Value:
    """The same bits as another type."""
    dtype = str(np.dtype(new_dtype))
    return g.op("Bitcast", x, type=dtype, shape=g.shape_of())


@lowering("reduce_precision", ignored=("exponent_bits", "mantissa_bits"))
def reduce_precision(g: Graph, x: Value) -> Value:
    """Rounds as a narrower type would; TensorFlow computes with what it has."""
    return x


def _part(op: str) -> Callable[..., Value]:
    def lower(g: Graph, x: Value) -> Value:
        dtype = "float64" if x.dtype == "complex128" else "float32"
        return unary(g, op, x, Tout=dtype)

    return lower


_add_table({"real": "Real", "imag": "Imag"}, _part)


@lowering("complex")
def complex_(g: Graph, x: Value, y: Value) -> Value:
    """A complex number of its parts."""
    dtype = "complex128" if x.dtype == "float64" else "complex64"
    return binary(g, "Complex", x, y, Tout=dtype)


@lowering("stop_gradient", ignored=())
def stop_gradient(g: Graph, x: Value) -> Value:
    """Hides a value from derivatives."""
    if x.variable is not None and x.variable.after:
        return x  # TensorFlow's derivatives end where a written variable is read.
    made = g.producer(x)
    if made is not None and made[0] == "StopGradient":
        return x
    return unary(g, "StopGradient", x)


@lowering(
    "copy",
    "copy_p",
    "name",
    "optimization_barrier",
    "device_put",
    "sharding_constraint",
    "pvary",
)
def identity(g: Graph, *values: Value) -> list[Value]:
    """The same values."""
    return list(values)


@lowering("regularized_incomplete_beta")
def regularized_incomplete_beta(g: Graph, a: Value, b: Value, x: Value) -> Value:
    """The regularized incomplete beta function."""
    return g.op("Betainc", *aligned(g, a, b, x), shape=g.shape_of())
