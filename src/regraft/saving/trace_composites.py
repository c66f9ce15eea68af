"""Marks computations of Keras that TensorFlow has one op for.

While a model is traced, some functions of Keras' JAX backend are replaced by ones
that compute the same and say what they do. Everything else is recognised in what JAX
records.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from regraft import _compat
from regraft.graph.runtime.kernels import kinks
from regraft.graph.tracing.composite import Results
from regraft.graph.tracing.tracer import Tracing, active
from regraft.saving.trace_marks import Function, alike, in_a_tuple, is_float
from regraft.saving.trace_random import RANDOM_MARKS
from regraft.saving.trace_sizes import (
    adaptive_pool,
    arange,
    aspect_crop,
    aspect_pad,
    average,
    is_known,
    largest,
    one_hot,
    pad,
    stft,
)


@contextmanager
def composites() -> Iterator[None]:
    """Marks what TensorFlow has one op for, in whatever is traced in this block."""
    replacements: dict[str, dict[str, Callable[[Any], Any]]] = {
        module: {
            name: functools.partial(_replacement, mark)
            for name, mark in functions.items()
        }
        for module, functions in _MARKS.items()
    }
    lengths = _compat.lengths_without_errors()
    marked = _compat.replaced_backend_functions(replacements)
    with marked, lengths, kinks.without_own_gradients():
        yield


def _replacement(mark: Function, original: Function) -> Function:
    @functools.wraps(original)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        tracing = active()
        if tracing is None:
            return original(*args, **kwargs)
        return mark(tracing, original, *args, **kwargs)

    return replaced


def _one_dtype(*arrays: Any) -> bool:
    return is_float(*arrays) and len({x.dtype for x in arrays}) == 1


def _reduced(axes: Sequence[int] | None, keepdims: bool, count: int) -> Results:
    """Returns what reductions along some dimensions give."""

    def results(x: Any) -> list[tuple[Any, Any]]:
        rank = len(x.shape)
        gone = set(range(rank)) if axes is None else {axis % rank for axis in axes}
        shape = [1 if i in gone else dim for i, dim in enumerate(x.shape)]
        if not keepdims:
            shape = [dim for i, dim in enumerate(x.shape) if i not in gone]
        return [(shape, x.dtype)] * count

    return results


def _last_axis(x: Any, axis: Any) -> bool:
    return isinstance(axis, int) and axis in (-1, x.ndim - 1)


# Activations


def _activation(op: str) -> Function:
    def mark(tracing: Tracing, original: Function, x: Any) -> Any:
        if not is_float(x):
            return original(x)
        return alike(tracing, "activation", original, x, op=op)

    return mark


def _elu(tracing: Tracing, original: Function, x: Any, alpha: float = 1.0) -> Any:
    if not is_float(x) or alpha != 1.0:
        return original(x, alpha)
    return alike(tracing, "activation", original, x, op="Elu")


def _gelu(
    tracing: Tracing, original: Function, x: Any, approximate: bool = True
) -> Any:
    x = keras.ops.convert_to_tensor(x)
    if approximate or not is_float(x):
        return original(x, approximate)
    run = functools.partial(original, approximate=False)
    return alike(tracing, "gelu", run, x)


def _leaky_relu(
    tracing: Tracing, original: Function, x: Any, negative_slope: float = 0.2
) -> Any:
    if not is_float(x):
        return original(x, negative_slope)
    run = functools.partial(original, negative_slope=negative_slope)
    return alike(tracing, "leaky_relu", run, x, alpha=float(negative_slope))


def _softmax(name: str, op: str) -> Function:
    def mark(tracing: Tracing, original: Function, x: Any, axis: Any = -1) -> Any:
        if not is_float(x) or not _last_axis(x, axis):
            return original(x, axis)
        run = functools.partial(original, axis=axis)
        return alike(tracing, name, run, x, axis=-1, op=op)

    return mark


# Layers


def _batch_normalization(
    tracing: Tracing,
    original: Function,
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Any:
    rest = [value for value in (offset, scale) if value is not None]
    has_offset, has_scale = offset is not None, scale is not None
    if not _one_dtype(x, mean, variance, *rest) or not isinstance(axis, int):
        return original(x, mean, variance, axis, offset, scale, epsilon)

    def run(x: Any, mean: Any, variance: Any, *rest: Any) -> Any:
        values = iter(rest)
        return original(
            x,
            mean,
            variance,
            axis,
            offset=next(values) if has_offset else None,
            scale=next(values) if has_scale else None,
            epsilon=epsilon,
        )

    return alike(
        tracing,
        "batch_normalization",
        run,
        x,
        mean,
        variance,
        *rest,
        axis=axis,
        epsilon=float(epsilon),
        has_offset=has_offset,
        has_scale=has_scale,
    )


def _moments(
    tracing: Tracing,
    original: Function,
    x: Any,
    axes: Any,
    keepdims: bool = False,
    synchronized: bool = False,
) -> Any:
    run = functools.partial(
        original, axes=axes, keepdims=keepdims, synchronized=synchronized
    )
    if synchronized or not is_float(x):
        return run(x)
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    results = _reduced(axes, keepdims, 2)
    return tuple(
        tracing.known_composite(
            "moments", run, results, x, axes=axes, keepdims=keepdims
        )
    )


def _average_pool(
    tracing: Tracing,
    original: Function,
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    run = functools.partial(
        original,
        pool_size=pool_size,
        strides=strides,
        padding=padding,
        data_format=data_format,
    )
    if not is_float(inputs):
        return run(inputs)
    rank = inputs.ndim - 2
    layout = data_format or keras.config.image_data_format()
    return tracing.composite(
        "average_pool",
        run,
        inputs,
        sizes=_spatial(pool_size, rank),
        strides=_spatial(pool_size if strides is None else strides, rank),
        padding=padding.upper(),
        channels_first=layout == "channels_first",
    )


def _spatial(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _conv_transpose(
    tracing: Tracing,
    original: Function,
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    run = functools.partial(
        original,
        strides=strides,
        padding=padding,
        output_padding=output_padding,
        data_format=data_format,
        dilation_rate=dilation_rate,
    )
    inputs, kernel = jnp.asarray(inputs), keras.ops.convert_to_tensor(kernel)
    layout = data_format or keras.config.image_data_format()
    if output_padding is not None or layout == "channels_first":
        return run(inputs, kernel)
    rank = inputs.ndim - 2
    return tracing.composite(
        "conv_transpose",
        run,
        inputs,
        kernel,
        strides=_spatial(strides, rank),
        padding=padding.upper(),
        dilations=_spatial(dilation_rate, rank),
    )


def _resize(
    tracing: Tracing,
    original: Function,
    images: Any,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    run = functools.partial(
        original,
        size=size,
        interpolation=interpolation,
        antialias=antialias,
        crop_to_aspect_ratio=crop_to_aspect_ratio,
        pad_to_aspect_ratio=pad_to_aspect_ratio,
        fill_mode=fill_mode,
        fill_value=fill_value,
        data_format=data_format,
    )
    layout = data_format or keras.config.image_data_format()
    axes = (-2, -1) if layout == "channels_first" else (-3, -2)
    at = (images.ndim + axes[0], images.ndim + axes[1])
    ratio = crop_to_aspect_ratio or pad_to_aspect_ratio
    if ratio and not is_known([images.shape[axis] for axis in at]):
        if crop_to_aspect_ratio:
            images = aspect_crop(images, size, at)
        else:
            images = aspect_pad(images, size, at, fill_value)
        return _resize(
            tracing,
            original,
            images,
            size,
            interpolation,
            antialias,
            data_format=data_format,
        )
    special = ratio or antialias
    if special or layout == "channels_first" or not is_float(images):
        return run(images)
    return tracing.composite("resize", run, images, interpolation=interpolation)


def _one_hot(
    tracing: Tracing,
    original: Function,
    x: Any,
    num_classes: Any,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
) -> Any:
    if not isinstance(num_classes, int | np.integer) and not sparse:
        return one_hot(x, num_classes, axis, dtype)
    run = functools.partial(
        original, num_classes=num_classes, axis=axis, dtype=dtype, sparse=sparse
    )
    if sparse or axis != -1:
        return run(x)
    x = jnp.asarray(x)
    return tracing.composite("one_hot", run, x, num_classes=int(num_classes), axis=axis)


def _dot_product_attention(
    tracing: Tracing,
    original: Function,
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    def run(query: Any, key: Any, value: Any, *rest: Any) -> Any:
        values = iter(rest)
        return original(
            query,
            key,
            value,
            bias=None if bias is None else next(values),
            mask=None if mask is None else next(values),
            scale=scale,
            is_causal=is_causal,
            flash_attention=flash_attention,
            attn_logits_soft_cap=attn_logits_soft_cap,
        )

    query, key, value = map(keras.ops.convert_to_tensor, (query, key, value))
    rest = [keras.ops.convert_to_tensor(x) for x in (bias, mask) if x is not None]
    plain = not is_causal and attn_logits_soft_cap is None
    plain = plain and (mask is None or rest[-1].dtype == bool)
    if not plain or query.ndim != 4 or query.shape[2] != key.shape[2]:
        return run(query, key, value, *rest)
    return tracing.composite(
        "dot_product_attention",
        run,
        query,
        key,
        value,
        *rest,
        scale=float(query.shape[-1] ** -0.5 if scale is None else scale),
        has_bias=bias is not None,
        has_mask=mask is not None,
    )


# NumPy's functions


def _mean(
    tracing: Tracing,
    original: Function,
    x: Any,
    axis: Any = None,
    keepdims: bool = False,
) -> Any:
    run = functools.partial(original, axis=axis, keepdims=keepdims)
    if not is_float(x) or x.dtype != jnp.float32:
        return run(x)
    axes = (axis,) if isinstance(axis, int) else axis
    axes = None if axes is None else tuple(axes)
    runs, results = in_a_tuple(run), _reduced(axes, keepdims, 1)
    return tracing.known_composite(
        "mean", runs, results, x, axes=axes, keepdims=bool(keepdims)
    )[0]


def _einsum(
    tracing: Tracing, original: Function, subscripts: str, *operands: Any, **kwargs: Any
) -> Any:
    arrays = [keras.ops.convert_to_tensor(x) for x in operands]
    if kwargs or not is_float(*arrays) or "->" not in subscripts:
        return original(subscripts, *operands, **kwargs)
    run = functools.partial(original, subscripts)
    equation = subscripts.replace(" ", "")
    return tracing.composite("einsum", run, *arrays, equation=equation)


def _take(
    tracing: Tracing, original: Function, x: Any, indices: Any, axis: Any = None
) -> Any:
    run = functools.partial(original, axis=axis)
    x = keras.ops.convert_to_tensor(x)
    if axis != 0 or not isinstance(x, jax.Array):
        return run(x, indices)
    return tracing.composite("take", run, x, jnp.asarray(indices), axis=0)


def _arg(name: str) -> Function:
    """Orders zeros by their sign as Keras does, without looking at their bits.

    Keras takes the negative one for the smallest number below zero; few readers of
    graphs have an op for bits, but all can divide.
    """
    find = getattr(jnp, name)

    def mark(
        tracing: Tracing,
        original: Function,
        x: Any,
        axis: Any = None,
        keepdims: bool = False,
    ) -> Any:
        x = keras.ops.convert_to_tensor(x)
        if x.dtype not in ("float32", "bfloat16", "float16") or x.ndim == 0:
            return original(x, axis=axis, keepdims=keepdims)
        x = x.astype("float32")
        x = jnp.where(1.0 / x == -jnp.inf, -jnp.finfo(x.dtype).tiny, x)
        return find(x, axis=axis, keepdims=keepdims)

    return mark


# Linear algebra


def _matrix(op: str) -> Function:
    def mark(tracing: Tracing, original: Function, *operands: Any) -> Any:
        arrays = [keras.ops.convert_to_tensor(x) for x in operands]
        if not is_float(*arrays):
            return original(*operands)
        return tracing.composite("matrix", original, *arrays, op=op)

    return mark


def _qr(tracing: Tracing, original: Function, x: Any, mode: str = "reduced") -> Any:
    run = functools.partial(original, mode=mode)
    x = keras.ops.convert_to_tensor(x)
    return tracing.composite("qr", run, x, full_matrices=mode == "complete")


_MARKS: dict[str, dict[str, Function]] = {
    "nn": {
        "adaptive_average_pool": adaptive_pool(average),
        "adaptive_max_pool": adaptive_pool(largest),
        "average_pool": _average_pool,
        "batch_normalization": _batch_normalization,
        "conv_transpose": _conv_transpose,
        "dot_product_attention": _dot_product_attention,
        "elu": _elu,
        "gelu": _gelu,
        "leaky_relu": _leaky_relu,
        "log_softmax": _softmax("log_softmax", "LogSoftmax"),
        "moments": _moments,
        "one_hot": _one_hot,
        "relu": _activation("Relu"),
        "relu6": _activation("Relu6"),
        "selu": _activation("Selu"),
        "softmax": _softmax("softmax", "Softmax"),
        "softplus": _activation("Softplus"),
        "softsign": _activation("Softsign"),
    },
    "numpy": {
        "arange": arange,
        "argmax": _arg("argmax"),
        "argmin": _arg("argmin"),
        "einsum": _einsum,
        "mean": _mean,
        "pad": pad,
        "slogdet": _matrix("LogMatrixDeterminant"),
        "take": _take,
    },
    "math": {"stft": stft},
    "random": RANDOM_MARKS,
    "image": {"resize": _resize},
    "linalg": {
        "det": _matrix("MatrixDeterminant"),
        "inv": _matrix("MatrixInverse"),
        "qr": _qr,
        "solve": _matrix("MatrixSolve"),
    },
}
