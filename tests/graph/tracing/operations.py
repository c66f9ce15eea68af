"""One row or more per function of `keras.ops`; TensorFlow has to agree with Keras."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np

from graph.tracing.cases import Case


class _Present:
    """A module whose names that this release of Keras doesn't have yet are `None`."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name, None)
        return _Present(found) if isinstance(found, ModuleType) else found


ops: Any = _Present(keras.ops)

OPERATIONS: list[Case] = []
# Names of `keras.ops` and of its parts by the row that stands for them.
COVERED: dict[str, str] = {}


def row(name: str, function: Callable[..., Any], *arguments: str, **rest: Any) -> None:
    """Adds a row; its name is a function's, and what tells it from others behind.

    A function that this Keras doesn't have yet gets none.
    """
    if _get(name.partition(":")[0]) is None:
        return
    if any(case.name == name for case in OPERATIONS):
        raise ValueError(name)
    OPERATIONS.append(Case(name, function, arguments, **rest))
    COVERED.setdefault(name.partition(":")[0], name)


def _get(name: str) -> Any:
    found: Any = ops
    for part in name.split("."):
        found = getattr(found, part)
    return found


def same(names: str, *arguments: str, **rest: Any) -> None:
    """Adds a row for each of several functions that take the same."""
    for name in names.split():
        row(name, _get(name), *arguments, **rest)


# Functions without a row, and why. Those that only make or ask are called by rows.
WITHOUT_ROW = {
    "convert_to_numpy": "leaves the graph",
    "dtype": "gives no tensor",
    "is_tensor": "gives no tensor",
    "ndim": "gives no tensor",
    "linalg": "a module",
    "nn": "a module",
    "numpy": "a module",
    "image": "a module",
    "jvp": "calls with derivatives",
}

# What TensorFlow has no words for, and what the error says.
REFUSED = {
    "image.elastic_transform": "Keras asks for the value of a tensor, which has none",
    "bincount": "how long it is depends on values, which JAX can't trace",
    "bartlett": "its length is a tensor in Keras, which JAX can't trace",
    "blackman": "its length is a tensor in Keras, which JAX can't trace",
    "hamming": "its length is a tensor in Keras, which JAX can't trace",
    "hanning": "its length is a tensor in Keras, which JAX can't trace",
    "kaiser": "its length is a tensor in Keras, which JAX can't trace",
    "nonzero": "how many there are depends on values, which JAX can't trace",
    "unique": "how many there are depends on values, which JAX can't trace",
}

REFUSED = {name: why for name, why in REFUSED.items() if _get(name) is not None}

X, Y = "f32[b,4]", "f32[b,4]"

# Elementwise

same(
    "abs absolute angle any all arctan arcsinh ceil conj conjugate copy cos cosh "
    "deg2rad erf erfc exp exp2 expm1 fabs floor imag isfinite isinf isnan isneginf "
    "isposinf isreal negative nan_to_num rad2deg real round sign signbit sin sinc "
    "sinh square tan tanh trunc i0 cbrt logical_not ravel stop_gradient zeros_like "
    "ones_like",
    X,
)
same("log log10 log1p log2 sqrt rsqrt reciprocal", X, low=0.1)
same("arccos arcsin arctanh erfinv", X, low=-0.9, high=0.9, rtol=1e-4)
row("arccosh", ops.arccosh, X, low=1.1, high=4.0)
row("empty_like", lambda x: ops.empty_like(x) * 0, X)
row("full_like", lambda x: ops.full_like(x, 3), X)
row("round:2", lambda x: ops.round(x, 2), X)
same(
    "add subtract multiply divide true_divide maximum minimum fmax fmin arctan2 "
    "hypot logaddexp logaddexp2 equal not_equal greater greater_equal less less_equal "
    "heaviside isclose divide_no_nan",
    X,
    Y,
)
same("floor_divide mod fmod power", X, Y, low=0.3)
same("logical_and logical_or logical_xor", "bool[b,3]", "bool[b,3]", low=0)
same(
    "bitwise_and bitwise_or bitwise_xor gcd lcm bitwise_left_shift "
    "bitwise_right_shift left_shift right_shift",
    *("i32[b,3]", "i32[b,3]"),
    low=1,
    high=9,
)
same("bitwise_invert bitwise_not", "i32[b,3]")
row("floor_divide:ints", ops.floor_divide, "i32[b,3]", "i32[b,3]", low=1, high=9)
row("ldexp", ops.ldexp, "f32[b,3]", "i32[b,3]", low=-3, high=4)
row("allclose", ops.allclose, X, Y)
row("nextafter", ops.nextafter, X, Y)
row("clip", lambda x: ops.clip(x, -0.5, 0.7), X)
row("cast", lambda x: ops.cast(x, "int32"), X)
row("saturate_cast", lambda x: ops.saturate_cast(x * 300, "uint8"), X)
row("where", lambda x, y: ops.where(x > y, x, y), X, Y)
row("convert_to_tensor", lambda x: ops.convert_to_tensor([1.0, 2.0, 3, 4]) + x, X)
row("custom_gradient", lambda x: ops.custom_gradient(_with_gradient)(x), X)
row("angle:complex", lambda x, y: ops.angle(_complex(x, y)), X, Y)
row("abs:complex", lambda x, y: ops.abs(_complex(x, y)), X, Y)
row("real:complex", lambda x, y: ops.real(_complex(x, y) * _complex(y, x)), X, Y)
row("imag:complex", lambda x, y: ops.imag(ops.exp(_complex(x, y))), X, Y)
row("conj:complex", lambda x, y: ops.imag(ops.conj(_complex(x, y))), X, Y)
row("polar", lambda x, y: ops.real(ops.polar(x, y)), X, Y)
row("view_as_complex", lambda x: ops.real(ops.view_as_complex(x)), "f32[b,3,2]")
row("view_as_real", lambda x, y: ops.view_as_real(_complex(x, y)), X, Y)
row("view", lambda x: ops.view(x, "int32"), X)


def _complex(x: Any, y: Any) -> Any:
    return ops.view_as_complex(ops.stack([x, y], axis=-1))


def _with_gradient(x: Any) -> Any:
    return ops.log1p(ops.exp(x)), lambda upstream: upstream


# Reductions

for _options in ({}, {"axis": 1}, {"axis": -1, "keepdims": True}):
    _name = ":".join(["", *map(str, _options.values())])
    for _function in (
        *("sum", "prod", "mean", "max", "min", "std", "var", "amax", "amin"),
        *("any", "all", "median", "logsumexp", "nansum", "nanmean", "nanmax"),
        *("nanmin", "nanprod", "nanstd", "nanvar", "nanmedian"),
    ):
        if f"{_function}{_name}" not in COVERED:
            row(
                f"{_function}{_name}:",
                lambda x, f=_function, o=_options: _get(f)(x, **o),
                X,
            )
for _function in ("argmax", "argmin", "nanargmax", "nanargmin"):
    row(_function, lambda x, f=_function: _get(f)(x, axis=-1), X)
    row(f"{_function}:flat", _get(_function), "f32[b,3]")
for _function in ("argmax", "argmin"):  # of zeros of both signs
    row(f"{_function}:zeros", lambda x, f=_function: _get(f)(x * 0, axis=-1), X)
row("count_nonzero", lambda x: ops.count_nonzero(x > 0, axis=1), X)
row("average", lambda x, y: ops.average(x, axis=1, weights=y), X, Y, low=0.1)
row("quantile", lambda x: ops.quantile(x, [0.2, 0.5], axis=1), "f32[b,7]")
row("percentile", lambda x: ops.percentile(x, 30, axis=1), "f32[b,7]")
row("nanquantile", lambda x: ops.nanquantile(x, 0.3, axis=1), "f32[b,7]")
row("nanpercentile", lambda x: ops.nanpercentile(x, 30, axis=1), "f32[b,7]")
row("quantile:nearest", lambda x: ops.quantile(x, 0.4, 1, "nearest"), "f32[b,7]")
row("cumsum", lambda x: ops.cumsum(x, axis=1), X)
row("cumsum:flat", ops.cumsum, X)
row("cumprod", lambda x: ops.cumprod(x, axis=1), X)
row("nancumsum", lambda x: ops.nancumsum(x, axis=1), X)
row("nancumprod", lambda x: ops.nancumprod(x, axis=1), X)
row("ptp", lambda x: ops.ptp(x, axis=1), X)
row("norm", lambda x: ops.norm(x, axis=1), X)
row("norm:one", lambda x: ops.norm(x, ord=1, axis=1), X)
row("norm:infinite", lambda x: ops.norm(x, ord=np.inf, axis=1), X)
row("norm:matrix", lambda x: ops.norm(x, ord="fro", axis=(1, 2)), "f32[b,3,2]")
row("norm:nuclear", lambda x: ops.norm(x, ord="nuc", axis=(1, 2)), "f32[b,3,3]")
row("moments", lambda x: ops.moments(x, axes=[0, 1]), X)
row("trapezoid", lambda x: ops.trapezoid(x, dx=0.5), X)
row("histogram", lambda x: ops.histogram(x, 5, (-1, 1)), "f32[9]")
row("corrcoef", ops.corrcoef, "f32[3,6]")
row("correlate", lambda x, y: ops.correlate(x, y, "same"), "f32[9]", "f32[4]")
row("diff", lambda x: ops.diff(x, n=2), X)

# Shapes

row("append", lambda x, y: ops.append(x, y, axis=1), X, Y)
row("array", lambda x: ops.array([1.0, 2.0, 3, 4]) * x, X)
row("array_split", lambda x: ops.array_split(x, 3, axis=1), X)
row("broadcast_to", lambda x: ops.broadcast_to(x[:, :, None], (*x.shape, 3)), X)
row("concatenate", lambda x, y: ops.concatenate([x, y], axis=0), X, Y)
row("diag", ops.diag, "f32[4]")
row("diag:of", lambda x: ops.diag(x, 1), "f32[4,4]")
row("diagflat", ops.diagflat, "f32[4]")
row("diagonal", lambda x: ops.diagonal(x, axis1=1, axis2=2), "f32[b,3,4]")
row("dsplit", lambda x: ops.dsplit(x, 2), "f32[b,3,4]")
row("hsplit", lambda x: ops.hsplit(x, 2), X)
row("vsplit", lambda x: ops.vsplit(x, 2), "f32[4,3]")
for _function in ("dstack", "hstack", "vstack"):
    row(_function, lambda x, y, f=_function: _get(f)([x, y]), X, Y)
row("expand_dims", lambda x: ops.expand_dims(x, (0, 2)), X)
row("flip", lambda x: ops.flip(x, axis=1), X)
same("fliplr flipud", X)
row("get_item", lambda x: ops.get_item(x, (slice(None), slice(1, 3))), X)
row("meshgrid", lambda x, y: ops.meshgrid(x, y), "f32[b]", "f32[3]")
row("moveaxis", lambda x: ops.moveaxis(x, 1, 0), X)
row("pad", lambda x: ops.pad(x, ((0, 0), (1, 2))), X)
row("pad:value", lambda x: ops.pad(x, ((0, 0), (1, 2)), constant_values=3.0), X)
for _mode in ("reflect", "symmetric", "edge", "wrap"):
    row(f"pad:{_mode}", lambda x, m=_mode: ops.pad(x, ((0, 0), (1, 2)), mode=m), X)
row("ravel:3", ops.ravel, "f32[b,3,2]")
row("rearrange", lambda x: ops.rearrange(x, "b (h c) -> b c h", h=2, c=2), X)
row("repeat", lambda x: ops.repeat(x, 2, axis=1), X)
row("repeat:each", lambda x: ops.repeat(x, np.array([1, 2, 0, 1]), axis=1), X)
row("reshape", lambda x: ops.reshape(x, (-1, 2)), X)
row("roll", lambda x: ops.roll(x, 2, axis=1), X)
row("roll:flat", lambda x: ops.roll(x, 1), X)
row("rot90", lambda x: ops.rot90(x, axes=(1, 2)), "f32[b,3,4]")
row("slice", lambda x: ops.slice(x, (0, 1), (2, 2)), "f32[3,4]")
row("slice_update", lambda x, y: ops.slice_update(x, (0, 1), y[:1, :2]), X, Y)
row("scatter", lambda x: ops.scatter(np.array([[1], [3]]), x, (5, 4)), "f32[2,4]")
row(
    "scatter_update",
    lambda x, y: ops.scatter_update(x, [[0], [1]], y),
    *("f32[b,4]", "f32[2,4]"),
)
for _reduction in ("add", "max", "min", "mul"):
    row(
        f"scatter_update:{_reduction}",
        lambda x, y, r=_reduction: ops.scatter_update(x, [[0], [1]], y, r),
        *("f32[b,4]", "f32[2,4]"),
    )
row("shape", lambda x: ops.convert_to_tensor(ops.shape(x)[0]) + 0, X)
row("size", lambda x: ops.size(x) + 0, X)
row("split", lambda x: ops.split(x, 2, axis=1), X)
row("split:at", lambda x: ops.split(x, [1, 3], axis=1), X)
row("squeeze", lambda x: ops.squeeze(x, 1), "f32[b,1,3]")
row("stack", lambda x, y: ops.stack([x, y], axis=1), X, Y)
row("swapaxes", lambda x: ops.swapaxes(x, 0, 1), X)
row("take", lambda x, i: ops.take(x, i, axis=1), X, "i32[3]", low=0, high=4)
row("take:flat", lambda x, i: ops.take(x, i), X, "i32[3]", low=0, high=4)
row(
    "take:negative", lambda x, i: ops.take(x, i - 2, axis=1), X, "i32[3]", low=0, high=4
)
row(
    "take_along_axis",
    lambda x, i: ops.take_along_axis(x, i, axis=1),
    *(X, "i32[b,2]"),
    low=0,
    high=4,
)
row("tile", lambda x: ops.tile(x, (2, 3)), X)
row("transpose", ops.transpose, "f32[b,3,2]")
row("trace", lambda x: ops.trace(x, axis1=1, axis2=2), "f32[b,3,3]")
row("tril", lambda x: ops.tril(x, 1), "f32[b,3,4]")
row("triu", lambda x: ops.triu(x, -1), "f32[b,3,4]")
row("unstack", lambda x: ops.unstack(x, axis=1), X)
row("unravel_index", lambda i: ops.unravel_index(i, (3, 4)), "i32[b]", low=0, high=9)
row("vander", lambda x: ops.vander(x, 4), "f32[5]")
row("fold", lambda x: ops.fold(x, (4, 4), 2, stride=2), "f32[b,12,4]")
row("unfold", lambda x: ops.unfold(x, 2, stride=2), "f32[b,3,4,4]")

# What is made

row("arange", lambda x: x + ops.arange(4, dtype="float32"), X)
row("arange:length", lambda x: ops.arange(ops.shape(x)[0]), X)
row("eye", lambda x: x + ops.eye(4)[0], X)
row("identity", lambda x: x + ops.identity(4)[1], X)
row("empty", lambda x: x + 0 * ops.empty((4,)), X)
row("full", lambda x: ops.full((ops.shape(x)[0], 2), 3.0), X)
row("ones", lambda x: ops.ones(ops.shape(x)), X)
row("zeros", lambda x: ops.zeros((ops.shape(x)[0], 3)), X)
row("linspace", lambda x: ops.linspace(x[0], x[1], 5), X)
row("logspace", lambda x: ops.logspace(x[0], x[1], 5), X)
row("geomspace", lambda x: ops.geomspace(x[0], x[1], 5), X, low=0.5)
row("tri", lambda x: x + ops.tri(4)[1], X)

# Sorting and searching

row("argsort", lambda x: ops.argsort(x, axis=1), X)
row("sort", lambda x: ops.sort(x, axis=1), X)
row("sort:flat", lambda x: ops.sort(x, axis=0), X)
row("argpartition", lambda x: ops.argpartition(x, 0, axis=1)[:, :1], X)
row("top_k", lambda x: ops.top_k(x, 2), X)
row("in_top_k", lambda i, x: ops.in_top_k(i, x, 2), "i32[b]", X, low=0, high=4)
row("searchsorted", lambda x: ops.searchsorted(np.array([-1.0, 0, 1]), x), "f32[b]")
row(
    "searchsorted:right",
    lambda x: ops.searchsorted(np.array([-1.0, 0, 1]), x, side="right"),
    "f32[b]",
)
row("digitize", lambda x: ops.digitize(x, np.array([-1.0, 0, 1])), X)
row("isin", lambda i: ops.isin(i, [1, 3]), "i32[b,3]", low=0, high=5)
for _function in ("sum", "max", "min", "prod"):
    row(
        f"segment_{_function}",
        lambda x, f=_function: _get(f"segment_{f}")(
            x, np.array([0, 0, 2, 1, 2]), num_segments=3
        ),
        "f32[5,3]",
    )
    row(
        f"segment_{_function}:sorted",
        lambda x, f=_function: _get(f"segment_{f}")(
            x, np.array([0, 0, 1, 2, 2]), num_segments=4, sorted=True
        ),
        "f32[5,3]",
    )

# Linear algebra

same("matmul dot", "f32[b,3]", "f32[3,4]")
row("matmul:batches", ops.matmul, "f32[b,3,4]", "f32[b,4,2]")
row("inner", ops.inner, "f32[b,3]", "f32[2,3]")
row("outer", ops.outer, "f32[b]", "f32[3]")
row("vdot", ops.vdot, "f32[5]", "f32[5]")
row("kron", ops.kron, "f32[2,3]", "f32[3,2]")
row("cross", ops.cross, "f32[b,3]", "f32[b,3]")
row("tensordot", lambda x, y: ops.tensordot(x, y, 1), "f32[b,3]", "f32[3,4]")
row("einsum", lambda x, y: ops.einsum("bij,bkj->bik", x, y), "f32[b,3,4]", "f32[b,2,4]")
row("einsum:three", lambda x, y: ops.einsum("bi,ij,bj->b", x, y, x), X, "f32[4,4]")
row("cdist", ops.cdist, "f32[b,3]", "f32[4,3]")


def _definite(x: Any) -> Any:
    return ops.matmul(x, ops.swapaxes(x, -1, -2)) + 2.0 * ops.eye(x.shape[-1])


def _rebuilt(x: Any) -> Any:
    """A matrix from its eigenvalues and eigenvectors, whatever their order is."""
    values, vectors = ops.eig(x)
    return ops.real(ops.matmul(vectors * values, ops.inv(vectors)))


SQUARE = "f32[b,3,3]"
row("cholesky", lambda x: ops.cholesky(_definite(x)), SQUARE, rtol=1e-4)
row(
    "cholesky_inverse",
    lambda x: ops.cholesky_inverse(ops.cholesky(_definite(x))),
    "f32[3,3]",
    rtol=1e-3,
    atol=1e-5,
)
row("det", lambda x: ops.det(_definite(x)), SQUARE, rtol=1e-4)
row("slogdet", lambda x: ops.slogdet(_definite(x)), SQUARE, rtol=1e-4)
row("logdet", lambda x: ops.logdet(_definite(x)), SQUARE, rtol=1e-4)
row("inv", lambda x: ops.inv(_definite(x)), SQUARE, rtol=1e-3, atol=1e-5)
row("pinv", lambda x: ops.pinv(x), "f32[4,3]", rtol=1e-3, atol=1e-5)
row("eig:vectors", lambda x: _rebuilt(_definite(x)), "f32[3,3]", rtol=1e-3, atol=1e-4)
row("slogdet:any", ops.slogdet, "f32[b,6,6]", rtol=1e-3)
row("eigh", lambda x: ops.abs(ops.eigh(_definite(x))[0]), SQUARE, rtol=1e-4)
row(
    "eig", lambda x: ops.sort(ops.real(ops.eig(_definite(x))[0])), "f32[3,3]", rtol=1e-3
)
row("lstsq", ops.lstsq, "f32[5,3]", "f32[5,2]", rtol=1e-3, atol=1e-4)
row("lu_factor", lambda x: ops.lu_factor(x), SQUARE, rtol=1e-3, atol=1e-5)
row("matrix_rank", ops.matrix_rank, "f32[4,3]")
row("qr", lambda x: ops.abs(ops.qr(x)[1]), "f32[b,4,3]", rtol=1e-4, atol=1e-5)
row("solve", lambda x, y: ops.solve(_definite(x), y), SQUARE, "f32[b,3,2]", rtol=1e-3)
row(
    "solve_triangular",
    lambda x, y: ops.solve_triangular(ops.cholesky(_definite(x)), y, lower=True),
    *(SQUARE, "f32[b,3,2]"),
    rtol=1e-3,
)
row("svd", lambda x: ops.svd(x, compute_uv=False), "f32[b,4,3]", rtol=1e-4)

# Networks

same(
    "elu celu gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh "
    "leaky_relu log_sigmoid log_softmax relu relu6 selu sigmoid silu soft_shrink "
    "softmax softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus swish "
    "tanh_shrink",
    X,
)
row("gelu:exact", lambda x: ops.gelu(x, approximate=False), X)
row("threshold", lambda x: ops.threshold(x, 0.2, 0.1), X)
row("normalize", lambda x: ops.normalize(x, axis=-1, order=2), X)
row("normalize:three", lambda x: ops.normalize(x, axis=-1, order=3), X)
row("rms_normalization", lambda x: ops.rms_normalization(x, axis=-1), X)
row("layer_normalization", lambda x: ops.layer_normalization(x, axis=-1), X)
row(
    "batch_normalization",
    lambda x, m, v: ops.batch_normalization(x, m, v, axis=-1),
    *(X, "f32[4]", "f32[4]"),
    low=0.1,
)
row("one_hot", lambda i: ops.one_hot(i, 4), "i32[b,3]", low=0, high=4)
row("multi_hot", lambda i: ops.multi_hot(i, 4), "i32[b,3]", low=0, high=4)
row("binary_crossentropy", ops.binary_crossentropy, X, Y, low=0.1, high=0.9)
row(
    "binary_crossentropy:logits",
    lambda x, y: ops.binary_crossentropy(x, y, from_logits=True),
    *(X, Y),
)
row("categorical_crossentropy", ops.categorical_crossentropy, X, Y, low=0.1, high=0.9)
row(
    "categorical_crossentropy:logits",
    lambda x, y: ops.categorical_crossentropy(x, y, from_logits=True),
    *(X, Y),
)
for _logits in (False, True):
    row(
        f"sparse_categorical_crossentropy:{_logits}",
        lambda i, x, f=_logits: ops.sparse_categorical_crossentropy(
            i, x if f else ops.softmax(x), from_logits=f
        ),
        *("i32[b]", X),
        low=0,
        high=4,
    )
IMAGE = "f32[b,8,9,3]"
row(
    "average_pool:3d float16",
    lambda x: ops.average_pool(ops.cast(x, "float16"), 2, 2),
    "f32[b,4,5,6,2]",
    atol=1e-3,  # JAX sums in half precision, the trace in single.
)
for _padding in ("valid", "same"):
    row(f"max_pool:{_padding}", lambda x, p=_padding: ops.max_pool(x, 2, 2, p), IMAGE)
    row(
        f"average_pool:{_padding}",
        lambda x, p=_padding: ops.average_pool(x, 3, 2, p),
        IMAGE,
    )
    row(
        f"conv:{_padding}",
        lambda x, k, p=_padding: ops.conv(x, k, 2, p),
        *(IMAGE, "f32[3,3,3,4]"),
        rtol=1e-4,
        atol=1e-4,
    )
    row(
        f"conv_transpose:{_padding}",
        lambda x, k, p=_padding: ops.conv_transpose(x, k, 2, p),
        *(IMAGE, "f32[3,3,4,3]"),
        rtol=1e-4,
        atol=1e-4,
    )
    row(
        f"depthwise_conv:{_padding}",
        lambda x, k, p=_padding: ops.depthwise_conv(x, k, 1, p),
        *(IMAGE, "f32[3,3,3,2]"),
        rtol=1e-4,
        atol=1e-4,
    )
row(
    "separable_conv",
    lambda x, k, p: ops.separable_conv(x, k, p, padding="same"),
    *(IMAGE, "f32[3,3,3,2]", "f32[1,1,6,4]"),
    rtol=1e-4,
    atol=1e-4,
)
row("adaptive_average_pool", lambda x: ops.adaptive_average_pool(x, (4, 3)), IMAGE)
row("adaptive_max_pool", lambda x: ops.adaptive_max_pool(x, (4, 3)), IMAGE)
row("adaptive_average_pool:odd", lambda x: ops.adaptive_average_pool(x, (3, 4)), IMAGE)
row("adaptive_max_pool:odd", lambda x: ops.adaptive_max_pool(x, (3, 4)), IMAGE)
row("depth_to_space", lambda x: ops.depth_to_space(x, 2), "f32[b,3,4,8]")
row("space_to_depth", lambda x: ops.space_to_depth(x, 2), "f32[b,4,6,3]")
row(
    "dot_product_attention",
    lambda x, y: ops.dot_product_attention(x, y, y),
    *("f32[b,5,2,4]", "f32[b,6,2,4]"),
)
row(
    "dot_product_attention:causal",
    lambda x: ops.dot_product_attention(x, x, x, is_causal=True),
    "f32[b,5,2,4]",
)
row(
    "ctc_loss",
    lambda i, x: ops.ctc_loss(i, x, ops.full((2,), 3), ops.full((2,), 6), 0),
    *("i32[2,3]", "f32[2,6,5]"),
    low=1,
    high=5,
    rtol=1e-4,
)
row(
    "ctc_decode",
    lambda x: ops.ctc_decode(x, ops.full((2,), 6), "greedy"),
    "f32[2,6,5]",
)
row("psnr", lambda x, y: ops.psnr(x, y, 2.0), IMAGE, IMAGE, rtol=1e-4)

# Signals

row("fft", lambda x, y: ops.fft((x, y)), X, Y, atol=1e-5)
row("fft2", lambda x, y: ops.fft2((x, y)), "f32[b,3,4]", "f32[b,3,4]", atol=1e-5)
row("ifft2", lambda x, y: ops.ifft2((x, y)), "f32[b,3,4]", "f32[b,3,4]", atol=1e-5)
row("rfft", ops.rfft, "f32[b,8]", atol=1e-5)
row("rfft:length", lambda x: ops.rfft(x, 6), "f32[b,8]", atol=1e-5)
row("irfft", lambda x, y: ops.irfft((x, y)), "f32[b,5]", "f32[b,5]", atol=1e-5)
row("stft", lambda x: ops.stft(x, 8, 4, 8), "f32[b,32]", atol=1e-5)
row("istft", lambda x: ops.istft(ops.stft(x, 8, 4, 8), 8, 4, 8), "f32[b,32]", atol=1e-5)
row("extract_sequences", lambda x: ops.extract_sequences(x, 4, 2), "f32[b,10]")

# Loops

row("cond", lambda x: ops.cond(ops.mean(x) > 0, lambda: x, lambda: -x), X)
row("switch", lambda i, x: ops.switch(i[0], [ops.abs, ops.exp], x), "i32[1]", X, low=0)
row(
    "while_loop",
    lambda x: ops.while_loop(lambda v: ops.max(v) < 9, lambda v: (v * 2,), (x,)),
    X,
    low=0.1,
)
row("fori_loop", lambda x: ops.fori_loop(0, 3, lambda i, v: v * 2 + i, x), X)
row("scan", lambda x: ops.scan(lambda c, i: (c + i, c * i), x[0], x), "f32[5,4]")
row("associative_scan", lambda x: ops.associative_scan(ops.maximum, x, axis=1), X)
row("map", lambda x: ops.map(lambda v: ops.cumsum(v) * 2, x), X)
row("vectorized_map", lambda x: ops.vectorized_map(lambda v: ops.sort(v), x), X)
row("vectorize", lambda x: ops.vectorize(lambda v: ops.sin(v) + 1)(x), X)

# Images

same("image.rgb_to_grayscale image.rgb_to_hsv", IMAGE, low=0.01, high=1)
row("image.hsv_to_rgb", ops.image.hsv_to_rgb, IMAGE, low=0.01, high=1)
for _interpolation in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
    row(
        f"image.resize:{_interpolation}",
        lambda x, i=_interpolation: ops.image.resize(x, (5, 12), interpolation=i),
        IMAGE,
        rtol=1e-4,
        atol=1e-5,
    )
row(
    "image.resize:cropped",
    lambda x: ops.image.resize(x, (4, 4), crop_to_aspect_ratio=True),
    IMAGE,
)
row(
    "image.resize:padded",
    lambda x: ops.image.resize(x, (6, 6), pad_to_aspect_ratio=True),
    IMAGE,
)
row("image.crop_images", lambda x: ops.image.crop_images(x, 1, 2, 4, 5), IMAGE)
row("image.pad_images", lambda x: ops.image.pad_images(x, 1, 2, 12, 14), IMAGE)
row("image.extract_patches", lambda x: ops.image.extract_patches(x, 3), IMAGE)
row(
    "image.extract_patches:same",
    lambda x: ops.image.extract_patches(x, 3, 2, padding="same"),
    IMAGE,
)
row(
    "image.extract_patches_3d",
    lambda x: ops.image.extract_patches_3d(x, 2),
    "f32[b,4,4,4,2]",
)
for _interpolation in ("nearest", "bilinear"):
    for _fill in ("constant", "nearest", "reflect", "wrap", "mirror"):
        row(
            f"image.affine_transform:{_interpolation}:{_fill}",
            lambda x, i=_interpolation, f=_fill: ops.image.affine_transform(
                x, np.array([[0.9, 0.2, 0.3, -0.1, 1.1, 0.6, 0, 0]] * 2, "f4"), i, f
            ),
            "f32[2,8,9,3]",
            atol=1e-4,
        )
row(
    "image.map_coordinates",
    lambda x: ops.image.map_coordinates(
        x, np.array([[0.5, 1.2, 3.9], [2.5, 0.1, 1.0]], "f4"), order=1
    ),
    "f32[5,4]",
)
row(
    "image.map_coordinates:nearest",
    lambda x: ops.image.map_coordinates(
        x, np.array([[0.5, 1.2, 9.9], [2.5, -3.1, 1.0]], "f4"), 0, "nearest"
    ),
    "f32[5,4]",
)
row("image.gaussian_blur", lambda x: ops.image.gaussian_blur(x), IMAGE, atol=1e-5)
row(
    "image.perspective_transform",
    lambda x: ops.image.perspective_transform(
        x,
        np.array([[[0, 0], [7, 0], [0, 8], [7, 8]]] * 2, "f4"),
        np.array([[[1, 0], [6, 1], [0, 7], [7, 8]]] * 2, "f4"),
    ),
    "f32[2,8,9,3]",
    atol=1e-3,
)
row(
    "image.scale_and_translate",
    lambda x: ops.image.scale_and_translate(
        x,
        (6, 6),
        np.array([0.7, 0.8], "f4"),
        np.array([0.1, 0.2], "f4"),
        (0, 1),
        "linear",
    ),
    "f32[8,9]",
    atol=1e-5,
)
row("image.sobel_edges", ops.image.sobel_edges, IMAGE, atol=1e-5)
row(
    "image.ssim",
    lambda x, y: ops.image.ssim(x, y, 1.0),
    *("f32[b,14,14,1]", "f32[b,14,14,1]"),
    low=0.01,
    high=1,
    rtol=1e-4,
)

row("select", lambda x, y: ops.select([x > 1, y > 0], [x, y], 7.0), X, Y)

# All that there are.
NAMES = sorted(
    name
    for name in dir(keras.ops)
    if not name.startswith("_") and callable(getattr(keras.ops, name))
) + sorted(
    f"image.{name}"
    for name in dir(keras.ops.image)
    if not name.startswith("_") and callable(getattr(keras.ops.image, name))
)
