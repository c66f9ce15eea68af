"""One row per thing that a traced function may do; TensorFlow has to agree with JAX."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@dataclasses.dataclass(frozen=True)
class Case:
    """A function of JAX arrays.

    Attributes:
        name: Of the row.
        function: What is traced.
        arguments: `"f32[b,3]"`; a letter is a length that isn't known.
        ops: Ops that must be in the graph.
        not_ops: Ops that must not be.
        low, high: Where the numbers are drawn from.
        atol: How near the results must be.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    ops: tuple[str, ...] = ()
    not_ops: tuple[str, ...] = ()
    low: float = -2.0
    high: float = 2.0
    atol: float = 2e-6
    rtol: float = 1e-5


CASES: list[Case] = []


def case(name: str, function: Callable[..., Any], *arguments: str, **rest: Any) -> None:
    if any(row.name == name for row in CASES):
        raise ValueError(name)
    CASES.append(Case(name, function, arguments, **rest))


for _name in [
    "abs",
    "cbrt",
    "ceil",
    "conj",
    "cos",
    "cosh",
    "erf",
    "exp",
    "expm1",
    "exp2",
    "floor",
    "is_finite",
    "logistic",
    "neg",
    "round",
    "sign",
    "sin",
    "sinh",
    "square",
    "tan",
    "tanh",
    "asinh",
    "atan",
    "erfc",
    "bessel_i0e",
    "bessel_i1e",
]:
    case(_name, getattr(lax, _name), "f32[b,3]")
for _name in ["log", "log1p", "rsqrt", "sqrt", "digamma", "lgamma"]:
    case(_name, getattr(lax, _name), "f32[b,3]", low=0.1, rtol=1e-4)
for _name in ["acos", "asin", "atanh", "erf_inv"]:
    case(_name, getattr(lax, _name), "f32[b,3]", low=-0.9, high=0.9, rtol=1e-4)
case("log2", jnp.log2, "f32[b,3]", low=0.1, rtol=1e-4)
# Primitives of newer JAX: 0.12 has them, 0.10 has not.
if hasattr(lax, "one_minus_square"):
    case("one_minus_square", lax.one_minus_square, "f32[b,3]")
if hasattr(lax, "polynomial"):
    case("polynomial", lambda x: lax.polynomial(x, [1.0, 2.0, x]), "f32[b,3]")
    case("polynomial of one", lambda x: lax.polynomial(x, [3.0]), "f32[b,3]")
case("acosh", lax.acosh, "f32[b,3]", low=1.1, high=4)
case("round_even", lambda x: jnp.round(x * 2) / 2, "f32[b,3]", low=-4, high=4)
for _name in ["add", "sub", "mul", "max", "min", "atan2", "div"]:
    case(_name, getattr(lax, _name), "f32[b,3]", "f32[b,3]")
case("div int", lax.div, "i32[b,3]", "i32[b,3]", low=1, high=9)
case("rem", lax.rem, "f32[b,3]", "f32[b,3]", low=0.5, high=9)
case("rem signs", lax.rem, "f32[b,3]", "f32[b,3]", low=-9, high=9)
case("rem rows", lambda x: lax.rem(x, jnp.full_like(x, -2.5)), "f32[b,3]", low=-9)
case("mod float", lambda x: x % 0.75, "f32[b,3]", low=-9, high=9)
case("rem int", lax.rem, "i32[b,3]", "i32[b,3]", low=1, high=9)
for _dtype in ("int8", "int16", "uint8", "uint16", "uint32"):
    case(
        f"rem {_dtype}",
        lambda x, y, d=_dtype: lax.rem(x.astype(d), y.astype(d)),
        "i32[b,3]",
        "i32[b,3]",
        low=1,
        high=99,
    )
case("floor_divide", lambda x: x // 3, "i32[b,3]", low=-9, high=9)
case("mod", lambda x: x % 3, "i32[b,3]", low=-9, high=9)
case("pow", lax.pow, "f32[b,3]", "f32[b,3]", low=0.1)
for _power in (2, 3, 5, -1, -2):
    case(
        f"integer_pow {_power}",
        lambda x, p=_power: lax.integer_pow(x, p),
        "f32[b,3]",
        low=0.5,
    )
for _name in ["eq", "ne", "lt", "le", "gt", "ge"]:
    case(_name, getattr(lax, _name), "i32[b,5]", "i32[b,5]", low=0, high=3)
for _name in ["and", "or", "xor"]:
    _function = getattr(lax, f"bitwise_{_name}")
    case(_name, _function, "i32[b,5]", "i32[b,5]", low=0, high=9)
    case(f"{_name} bool", _function, "bool[b,5]", "bool[b,5]", low=0)
case("not", lax.bitwise_not, "i32[b,5]")
case("not bool", lax.bitwise_not, "bool[b,5]")
case("shift_left", lambda x: x << 2, "i32[b,5]", low=-9, high=9)
case("shift_right_arithmetic", lambda x: x >> 2, "i32[b,5]", low=-99, high=99)
case(
    "shift_right_logical",
    lambda x: lax.shift_right_logical(x, jnp.int32(2)),
    "i32[b,5]",
    low=-99,
    high=99,
)
case("population_count", lax.population_count, "i32[b,5]", low=-9, high=99)
case("clz", lax.clz, "i32[b,5]", low=-9, high=99)
case("clamp", lambda x: jnp.clip(x, -1, 0.5), "f32[b,5]")
case("clamp lax", lambda x: lax.clamp(0.0, x, 6.0), "f32[b,5]", ops=("Relu6",), high=9)
case("relu", jax.nn.relu, "f32[b,5]", ops=("Relu",), not_ops=("Maximum",))
case(
    "relu6",
    jax.nn.relu6,
    "f32[b,5]",
    ops=("Relu6",),
    not_ops=("Relu", "Minimum"),
    high=9,
)
case("gelu", jax.nn.gelu, "f32[b,5]")
case("gelu exact", lambda x: jax.nn.gelu(x, approximate=False), "f32[b,5]")
case("silu", jax.nn.silu, "f32[b,5]", ops=("Sigmoid", "Mul"))
case("softplus", jax.nn.softplus, "f32[b,5]")
case("softmax", jax.nn.softmax, "f32[b,5]")
case("logsumexp", lambda x: jax.nn.logsumexp(x, axis=-1), "f32[b,5]")
case("cast int", lambda x: x.astype("int32"), "f32[b,5]")
case("cast bool", lambda x: x.astype("bool"), "i32[b,5]")
case(
    "cast bfloat16", lambda x: (x.astype("bfloat16") * 2).astype("float32"), "f32[b,5]"
)
case("bitcast", lambda x: lax.bitcast_convert_type(x, "int32"), "f32[b,5]")
case("reduce_precision", lambda x: lax.reduce_precision(x, 8, 23), "f32[b,5]")
case("complex", lambda x, y: jnp.abs(lax.complex(x, y) * 2j), "f32[b,5]", "f32[b,5]")
case("real imag", lambda x: (1j * x + 2).real + jnp.conj(1j * x).imag, "f32[b,5]")
case("stop_gradient", lax.stop_gradient, "f32[b,5]", ops=("StopGradient",))
case("select_n", lambda p, x: jnp.where(p, x, 0.0), "bool[b,1]", "f32[b,3]")
case(
    "select_n of a row",
    lambda x: jnp.where(jnp.sum(x) > 0, x.sum(0, keepdims=True), jnp.nan),
    "f32[b,3]",
    low=0.5,
)
case(
    "select_n many",
    lambda w, x: lax.select_n(w, x, 2 * x, 3 * x),
    "i32[b,5]",
    "f32[b,5]",
    low=0,
    high=3,
)
case("igamma", lax.igamma, "f32[b,5]", "f32[b,5]", low=0.1, rtol=1e-4)
case("igammac", lax.igammac, "f32[b,5]", "f32[b,5]", low=0.1, rtol=1e-4)
case(
    "betainc",
    lax.betainc,
    "f32[b,5]",
    "f32[b,5]",
    "f32[b,5]",
    low=0.1,
    high=0.9,
    rtol=1e-4,
)
case("zeta", lax.zeta, "f32[b,5]", "f32[b,5]", low=1.5, high=4, rtol=1e-4)
case(
    "polygamma",
    lambda x: jax.scipy.special.polygamma(1, x),
    "f32[b,5]",
    low=0.5,
    rtol=1e-4,
)

# Array
case(
    "bias",
    lambda x, w, c: x @ w + c,
    "f32[b,3]",
    "f32[3,4]",
    "f32[4]",
    ops=("MatMul", "BiasAdd"),
    not_ops=("AddV2", "Reshape"),
)
case(
    "broadcast", lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 4, 3)), "f32[b,3]"
)
case("broadcast both", lambda x, y: x[:, None] + y[None], "f32[b,3]", "f32[c,3]")
case("broadcast alone", lambda x: jnp.broadcast_to(x, (4, 3)) * 2, "f32[3]")
case("outer", lambda x, y: x[:, None] * y[None, :], "f32[b]", "f32[c]")
case("zeros", lambda x: jnp.zeros_like(x) + jnp.ones((x.shape[0], 1)), "f32[b,3]")
case("reshape", lambda x: x.reshape(x.shape[0], 6), "f32[b,2,3]")
case("reshape two", lambda x: x.reshape(x.shape[0] * x.shape[1], 3), "f32[b,c,3]")
case("reshape back", lambda x: (2 * x.reshape(-1, 3)).reshape(x.shape), "f32[b,c,3]")
case("expand", lambda x: jnp.expand_dims(x, (0, 2)), "f32[b,3]")
case("squeeze", lambda x: jnp.squeeze(x, 1), "f32[b,1,3]")
case("transpose", lambda x: x.transpose(2, 0, 1), "f32[b,2,3]")
case("concatenate", lambda x, y: jnp.concatenate([x, y], 1), "f32[b,2]", "f32[b,3]")
case(
    "concatenate unknown",
    lambda x, y: jnp.concatenate([x, y], 0),
    "f32[b,2]",
    "f32[c,2]",
)
case("stack", lambda x, y: jnp.stack([x, y], 1), "f32[b,2]", "f32[b,2]", ops=("Pack",))
case("split", lambda x: jnp.split(x, 3, 1), "f32[b,6]", ops=("Split",))
case("split uneven", lambda x: jnp.split(x, [1, 4], 1), "f32[b,6]")
case("rev", lambda x: jnp.flip(x, 1), "f32[b,6]")
case("iota", lambda x: x + jnp.arange(6.0), "f32[b,6]")
case("iota unknown", lambda x: x + jnp.arange(x.shape[0])[:, None], "f32[b,6]")
case("eye", lambda x: x @ jnp.eye(3), "f32[b,3]")
case("length", lambda x: x / x.shape[0], "f32[b,3]")
case(
    "length arithmetic",
    lambda x: x * ((x.shape[0] * 3 + 1) // 2 - x.shape[0] % 2),
    "f32[b,3]",
)
case("pad", lambda x: jnp.pad(x, ((0, 0), (1, 2))), "f32[b,3]")
case("pad value", lambda x: jnp.pad(x, ((1, 0), (1, 2)), constant_values=7), "f32[b,3]")
case("pad interior", lambda x: lax.pad(x, 1.0, ((0, 0, 1), (1, -1, 2))), "f32[b,3]")
case("pad reflect", lambda x: jnp.pad(x, ((0, 0), (2, 2)), mode="reflect"), "f32[b,4]")
case("slice", lambda x: x[:, 1:5:2], "f32[b,6]")
case("slice unknown", lambda x: x[1:, :-1], "f32[b,6]")
case("slice reversed", lambda x: x[:, ::-1], "f32[b,6]")
case(
    "dynamic_slice",
    lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, 1),
    "f32[b,6]",
    "i32[]",
    low=0,
    high=7,
)
case(
    "dynamic_update_slice",
    lambda x, y, i: lax.dynamic_update_slice(x, y, (0, i)),
    "f32[b,6]",
    "f32[b,2]",
    "i32[]",
    low=0,
    high=7,
)
case(
    "dynamic_update_slice row",
    lambda x, y, i: lax.dynamic_update_slice(x, y, (i, 0)),
    "f32[5,b]",
    "f32[1,b]",
    "i32[]",
    low=0,
    high=7,
)
case(
    "dynamic_update_slice two",
    lambda x, y, i: lax.dynamic_update_slice(x, y, (i, i, 0)),
    "f32[4,6,b]",
    "f32[2,2,b]",
    "i32[]",
    low=0,
    high=3,
)
case("tile", lambda x: jnp.tile(x, (2, 1, 3)), "f32[b,2]")
case("repeat", lambda x: jnp.repeat(x, 2, axis=1), "f32[b,3]")

# Reductions
for _name in ["sum", "prod", "max", "min", "mean", "var", "std", "any", "all"]:
    case(f"reduce {_name}", functools.partial(getattr(jnp, _name), axis=1), "f32[b,5]")
case("reduce two", lambda x: x.sum((0, 2)), "f32[b,5,2]")
case("reduce all axes", lambda x: x.mean(), "f32[b,5]")
case("reduce_xor", lambda x: lax.reduce_xor(x > 0, (1,)), "f32[b,5]")
case("reduce_and int", lambda x: lax.reduce_and(x, (1,)), "i32[b,5]", low=0, high=9)
case("argmax", lambda x: jnp.argmax(x, 1), "f32[b,5]")
case("argmin", lambda x: jnp.argmin(x, -1), "f32[b,5]")
case("cumsum", lambda x: jnp.cumsum(x, 1), "f32[b,5]")
case("cumsum reverse", lambda x: lax.cumsum(x, 0, reverse=True), "f32[b,5]")
case("cumprod", lambda x: jnp.cumprod(x, 1), "f32[b,5]")
case("cummax", lambda x: lax.cummax(x, 1), "f32[b,5]")
case("cummin reverse", lambda x: lax.cummin(x, 1, reverse=True), "f32[b,5,2]")
case("cumlogsumexp", lambda x: lax.cumlogsumexp(x, 1), "f32[b,5]")
case("sort", lambda x: jnp.sort(x, 1), "f32[b,5]")
case("sort first", lambda x: jnp.sort(x, 0), "i32[b,5]", low=-9, high=9)
case("argsort", lambda x: jnp.argsort(x, 1), "f32[b,5]")
case(
    "sort two keys",
    lambda x, y: lax.sort((x, y, x + y), 1, num_keys=2),
    "i32[b,9]",
    "i32[b,9]",
    low=0,
    high=3,
)
case("top_k", lambda x: lax.top_k(x, 3), "f32[b,5]")

# Indexing
case("take", lambda x, i: jnp.take(x, i, axis=0), "f32[7,3]", "i32[b,4]", low=0, high=7)
case(
    "take middle",
    lambda x, i: jnp.take(x, i, axis=1),
    "f32[b,7,3]",
    "i32[4]",
    low=0,
    high=7,
)
case(
    "take negative",
    lambda x, i: jnp.take(x, i, axis=1),
    "f32[b,7,3]",
    "i32[4]",
    low=-7,
    high=0,
)
case("index", lambda x: x[:, -1], "f32[b,5,2]", ops=("StridedSlice",))
case("index unknown", lambda x: x[-1], "f32[b,5,2]")
case("index array", lambda x, i: x[i, i], "f32[7,7,b]", "i32[c]", low=0, high=7)
case("index rows", lambda x, i: x[:, i, 1], "f32[b,7,2]", "i32[c]", low=0, high=7)
case(
    "take_along_axis",
    lambda x, i: jnp.take_along_axis(x, i, 1),
    "f32[b,7]",
    "i32[b,3]",
    low=0,
    high=7,
)
case(
    "take_along_axis first",
    lambda x, i: jnp.take_along_axis(x, i, 0),
    "f32[7,b]",
    "i32[3,b]",
    low=0,
    high=7,
)
case(
    "gather windows",
    lambda x, i: jax.vmap(lambda j: lax.dynamic_slice_in_dim(x, j, 2, 0))(i),
    "f32[7,3]",
    "i32[b]",
    low=0,
    high=5,
)
case(
    "vmap dynamic_slice",
    lambda x, i: jax.vmap(lambda r, j: lax.dynamic_slice_in_dim(r, j, 2, 0))(x, i),
    "f32[b,7]",
    "i32[b]",
    low=0,
    high=5,
)
case("scatter set", lambda x, i: x.at[i].set(1.0), "f32[7,b]", "i32[3]", low=0, high=7)
case("scatter add", lambda x, i: x.at[i].add(1.0), "f32[7,b]", "i32[3]", low=0, high=7)
case("scatter column", lambda x: x.at[:, 1].set(0.0), "f32[b,3]")
case(
    "scatter max", lambda x, i: x.at[:, i].max(0.5), "f32[b,7]", "i32[3]", low=0, high=7
)
# Places outside are left out.
for _name in ("add", "max", "min", "mul", "set"):
    case(
        f"scatter {_name} outside",
        lambda x, y, i, m=_name: getattr(x.at[i], m)(y),
        "f32[7,b]",
        "f32[3,b]",
        "i32[3]",
        low=-12,
        high=12,
    )
case(
    "scatter windows outside",
    lambda x, i: jax.vmap(lambda r, j: r.at[j, 1:].set(9.0))(x, i),
    "f32[b,4,3]",
    "i32[b]",
    low=-9,
    high=9,
)
case(
    "scatter pairs outside",
    lambda x, i: x.at[i, i + 1].add(1.0),
    "f32[b,4]",
    "i32[6]",
    low=-6,
    high=6,
)
case("one_hot", lambda i: jax.nn.one_hot(i, 5), "i32[b,3]", low=0, high=5)
case(
    "segment_sum",
    lambda x, i: jax.ops.segment_sum(x, i, 4),
    "f32[b,3]",
    "i32[b]",
    low=0,
    high=4,
)

# Products
case(
    "matmul batch",
    lambda x, y: x @ y,
    "f32[b,2,3]",
    "f32[b,3,4]",
    ops=("BatchMatMulV2",),
)
case("matmul rows", lambda x, y: x @ y, "f32[b,2,3]", "f32[3,4]", ops=("MatMul",))
case("matmul rows unknown", lambda x, y: x @ y, "f32[b,c,3]", "f32[3,4]")
case("matmul turned", lambda x, y: x @ y.T, "f32[b,3]", "f32[c,3]", ops=("MatMul",))
case("dot", lambda x, y: jnp.dot(x, y), "f32[3]", "f32[3]")
case("vector", lambda x, y: x @ y, "f32[b,3]", "f32[3]")
case(
    "einsum",
    lambda x, y: jnp.einsum("bqhd,bkhd->bhqk", x, y),
    "f32[b,2,3,4]",
    "f32[b,c,3,4]",
)
case("tensordot", lambda x, y: jnp.tensordot(x, y, 2), "f32[b,2,3]", "f32[2,3,4]")
case("matmul int", lambda x, y: x @ y, "i32[b,3]", "i32[3,4]", low=-9, high=9)


def _conv(padding="SAME", strides=1, dilation=1, groups=1, lhs=1):
    def run(x, k):
        n = x.ndim - 2
        spatial = "DHW"[3 - n :]
        return lax.conv_general_dilated(
            x,
            k,
            (strides,) * n,
            padding,
            lhs_dilation=(lhs,) * n,
            rhs_dilation=(dilation,) * n,
            feature_group_count=groups,
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        )

    return run


for _padding in ("SAME", "VALID", ((1, 2), (0, 1))):
    for _strides in (1, 2):
        case(
            f"conv {_padding} {_strides}",
            _conv(_padding, _strides),
            "f32[b,7,8,3]",
            "f32[3,3,3,4]",
            ops=("Conv2D",),
            not_ops=("Transpose",),
            rtol=1e-4,
            atol=1e-5,
        )
case(
    "conv unknown size",
    _conv("SAME", 2),
    "f32[b,h,w,3]",
    "f32[3,3,3,4]",
    ops=("Conv2D",),
    not_ops=("Pad",),
    rtol=1e-4,
    atol=1e-5,
)
case(
    "conv dilated",
    _conv("SAME", 1, 2),
    "f32[b,7,8,3]",
    "f32[3,3,3,4]",
    rtol=1e-4,
    atol=1e-5,
)
case(
    "conv groups",
    _conv("SAME", 1, 1, 2),
    "f32[b,7,8,4]",
    "f32[3,3,2,6]",
    rtol=1e-4,
    atol=1e-5,
)
for _name, _how, _shape, _kernel in (
    ("dilated unknown size", ("SAME", 1, 2), "b,h,w,3", "3,3,3,4"),
    ("dilated padded", (((-1, 2), (3, 0)), 1, 3), "b,9,8,3", "3,2,3,4"),
    ("dilated strides", ("SAME", 2, 3), "b,9,8,3", "2,3,3,4"),
    ("dilated groups", ("VALID", 1, 2, 2), "b,9,8,4", "3,3,2,6"),
    ("dilated causal", (((4, 0),), 1, 2), "b,t,3", "3,3,4"),
    ("dilated depthwise padded", (((4, 0), (0, 1)), 1, 2, 3), "b,7,8,3", "3,3,1,6"),
    ("dilated volume", ("SAME", 1, 2), "b,5,t,6,3", "3,2,3,3,4"),
    ("dilated volume groups", ("SAME", 1, 2, 2), "b,5,6,7,4", "2,3,3,2,6"),
    ("groups strides", ("SAME", 2, 1, 2), "b,7,8,4", "3,3,2,6"),
    ("groups volume", ("SAME", 2, 1, 2), "b,5,6,7,4", "2,3,3,2,6"),
    ("depthwise padded", (((2, 1), (0, 3)), 1, 1, 3), "b,7,8,3", "3,3,1,6"),
):
    case(
        f"conv {_name}",
        _conv(*_how),
        f"f32[{_shape}]",
        f"f32[{_kernel}]",
        rtol=1e-4,
        atol=1e-5,
    )
case(
    "conv lhs dilated",
    _conv(((1, 1), (2, 1)), 1, 1, 1, 2),
    "f32[b,4,5,3]",
    "f32[3,3,3,4]",
    rtol=1e-4,
    atol=1e-5,
)
case(
    "depthwise",
    _conv("SAME", 1, 1, 3),
    "f32[b,7,8,3]",
    "f32[3,3,1,6]",
    ops=("DepthwiseConv2dNative",),
    rtol=1e-4,
    atol=1e-5,
)
case(
    "depthwise stride",
    _conv("SAME", 2, 1, 3),
    "f32[b,7,8,3]",
    "f32[3,3,1,3]",
    ops=("DepthwiseConv2dNative",),
    rtol=1e-4,
    atol=1e-5,
)
case(
    "depthwise dilated",
    _conv("SAME", 1, 2, 3),
    "f32[b,7,8,3]",
    "f32[3,3,1,3]",
    rtol=1e-4,
    atol=1e-5,
)
case(
    "depthwise dilated valid",
    _conv("VALID", 1, 2, 3),
    "f32[b,7,8,3]",
    "f32[3,3,1,3]",
    rtol=1e-4,
    atol=1e-5,
)
case(
    "conv1d",
    _conv("SAME", 2),
    "f32[b,7,3]",
    "f32[3,3,4]",
    ops=("Conv2D",),
    rtol=1e-4,
    atol=1e-5,
)
case(
    "conv1d unknown",
    _conv("VALID", 1),
    "f32[b,c,3]",
    "f32[3,3,4]",
    rtol=1e-4,
    atol=1e-5,
)
case(
    "conv3d",
    _conv("SAME", 2),
    "f32[b,5,6,7,3]",
    "f32[3,3,3,3,4]",
    ops=("Conv3D",),
    rtol=1e-4,
    atol=1e-5,
)
case(
    "conv channels first",
    lambda x, k: lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NCHW", "HWIO", "NCHW")
    ),
    "f32[b,3,7,8]",
    "f32[3,3,3,4]",
    rtol=1e-4,
    atol=1e-5,
)


def _window(op, init, sizes, strides, padding):
    return lambda x: lax.reduce_window(x, init, op, sizes, strides, padding)


for _padding in ("SAME", "VALID"):
    case(
        f"max pool {_padding}",
        _window(lax.max, -np.inf, (1, 3, 3, 1), (1, 2, 2, 1), _padding),
        "f32[b,7,8,2]",
        ops=("MaxPool",),
    )
    case(
        f"sum pool {_padding}",
        _window(lax.add, 0.0, (1, 3, 3, 1), (1, 2, 2, 1), _padding),
        "f32[b,7,8,2]",
    )
    case(
        f"max pool 1d {_padding}",
        _window(lax.max, -np.inf, (1, 3, 1), (1, 2, 1), _padding),
        "f32[b,7,2]",
    )
case(
    "max pool 3d",
    _window(lax.max, -np.inf, (1, 2, 2, 2, 1), (1, 2, 2, 2, 1), "SAME"),
    "f32[b,5,6,7,2]",
    ops=("MaxPool3D",),
)
case(
    "max pool 3d float16",
    lambda x: _window(
        lax.max, np.float16(-np.inf), (1, 2, 2, 2, 1), (1, 2, 2, 2, 1), "SAME"
    )(x.astype("float16")),
    "f32[b,5,6,7,2]",
)
case(
    "max pool channels first",
    _window(lax.max, -np.inf, (1, 1, 2, 2), (1, 1, 2, 2), "VALID"),
    "f32[b,2,6,8]",
)
case(
    "min pool",
    _window(lax.min, np.inf, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
    "f32[b,6,8,2]",
)
case(
    "pool everywhere",
    _window(lax.max, -np.inf, (2, 2, 2), (1, 2, 2), "VALID"),
    "f32[6,6,8]",
)

# Control flow
case(
    "cond",
    lambda x: lax.cond(x.sum() > 0, lambda y: y * 2, lambda y: y - 1, x),
    "f32[b,3]",
)
case(
    "switch",
    lambda i, x: lax.switch(i, [lambda y: y, lambda y: 2 * y, jnp.sin], x),
    "i32[]",
    "f32[b,3]",
    low=0,
    high=3,
)
case(
    "cond without operands",
    lambda x: lax.cond(x[0, 0] > 0, lambda: x.shape[0] * 1.0, lambda: 2.0),
    "f32[b,3]",
)
case(
    "while",
    lambda x: lax.while_loop(lambda c: c.sum() < 50, lambda c: c * 2 + 1, x),
    "f32[b,3]",
    low=0.1,
)
case("fori_loop", lambda x: lax.fori_loop(0, 4, lambda i, c: c * i + x, x), "f32[b,3]")
case(
    "fori_loop unknown",
    lambda x: lax.fori_loop(0, x.shape[0], lambda i, c: c + x[i], x[0]),
    "f32[b,3]",
)
case(
    "scan",
    lambda x, w: lax.scan(
        lambda c, v: (jnp.tanh(c @ w + v), c), jnp.zeros((x.shape[1], 3)), x
    ),
    "f32[t,b,3]",
    "f32[3,3]",
    ops=("StatelessWhile",),
)
case(
    "scan reverse",
    lambda x: lax.scan(lambda c, v: (c + v, c * v), x[0], x, reverse=True),
    "f32[4,b,3]",
)
case(
    "scan length",
    lambda x: lax.scan(lambda c, _: (c * 2, None), x, None, length=3)[0],
    "f32[b,3]",
)
case("map", lambda x: lax.map(lambda r: r * r.sum(), x), "f32[b,3]")
case("associative_scan", lambda x: lax.associative_scan(jnp.add, x, axis=1), "f32[b,6]")
case(
    "searchsorted",
    lambda x: jnp.searchsorted(jnp.array([0.0, 0.5, 1.0]), x),
    "f32[b,3]",
)
case("jit", lambda x: jax.jit(lambda y: y * 2)(x), "f32[b,3]", ops=("Mul",))
case("remat", lambda x: jax.checkpoint(lambda y: jnp.sin(y) * 2)(x), "f32[b,3]")
case("grad", jax.grad(lambda x: (jnp.tanh(x) ** 2).sum()), "f32[b,3]")
case("vmap", jax.vmap(lambda r: r / jnp.linalg.norm(r)), "f32[b,3]")

# Linear algebra
_spd = lambda x: jnp.einsum("bij,bkj->bik", x, x) + 3 * jnp.eye(3)  # noqa: E731
case(
    "cholesky",
    lambda x: jnp.linalg.cholesky(_spd(x)),
    "f32[b,3,3]",
    rtol=1e-4,
    atol=1e-4,
)
case(
    "eigvalsh",
    lambda x: jnp.linalg.eigvalsh(_spd(x)),
    "f32[b,3,3]",
    rtol=1e-4,
    atol=1e-4,
)
case(
    "svdvals",
    lambda x: jnp.linalg.svd(_spd(x), compute_uv=False),
    "f32[b,3,3]",
    rtol=1e-4,
    atol=1e-4,
)
case(
    "triangular_solve",
    lambda x, y: lax.linalg.triangular_solve(
        jnp.linalg.cholesky(_spd(x)), y, left_side=True, lower=True
    ),
    "f32[b,3,3]",
    "f32[b,3,2]",
    rtol=1e-4,
    atol=1e-4,
)
case("fft", lambda x: jnp.abs(jnp.fft.fft(x)), "f32[b,8]", atol=1e-5)
case("ifft2", lambda x: jnp.abs(jnp.fft.ifft2(x)), "f32[b,4,4]", atol=1e-5)
case("rfft", lambda x: jnp.abs(jnp.fft.rfft(x)), "f32[b,8]", atol=1e-5)
case("irfft", lambda x: jnp.fft.irfft(jnp.fft.rfft(x)), "f32[b,8]", atol=1e-5)
