"""Special functions, and Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.native import native
from regraft.graph.runtime.registry import kernel, register, register_table


def _of_one(name: str) -> Callable[[Any], Any]:
    function = native(name)
    return lambda x: function(x)


def _of_two(name: str) -> Callable[[Any, Any], Any]:
    function = native(name)
    return lambda x, y: function(x, y)


register_table(
    {
        "BesselI0": _of_one("bessel_i0"),
        "BesselI0e": _of_one("bessel_i0e"),
        "BesselI1": _of_one("bessel_i1"),
        "BesselI1e": _of_one("bessel_i1e"),
        "Digamma": _of_one("digamma"),
        "Erfc": _of_one("erfc"),
        "Erfinv": lambda x: ops.erfinv(values.to_tensor(x)),
        "Expint": _of_one("expi"),
        "Igamma": _of_two("gammainc"),
        "Igammac": _of_two("gammaincc"),
        "Lgamma": _of_one("lgamma"),
        "Ndtri": _of_one("ndtri"),
    }
)


def _fixed(x: Any) -> Any:
    """A value that nothing is learned through."""
    return x if values.is_host(x) else ops.stop_gradient(x)


def _with_slope(value: Any, x: Any, slope: Any = None) -> Any:
    """Returns a value whose derivative by `x` is `slope`; 1 without."""
    if values.is_host(x):
        return value
    change = x - _fixed(x)
    return _fixed(value) + (change if slope is None else change * _fixed(slope))


@kernel("NextAfter")
def next_after(x1: Any, x2: Any) -> Any:
    """The next number from `x1` on towards `x2`; it changes as `x1` does."""
    return _with_slope(native("nextafter")(_fixed(x1), _fixed(x2)), x1)


@kernel("Spence")
def spence(x: Any) -> Any:
    """Spence's integral, with the derivative that it has."""
    at_one = ops.abs(x - 1.0) < 1e-6
    slope = ops.where(at_one, -1.0, ops.log(x) / ops.where(at_one, 1.0, 1.0 - x))
    return _with_slope(native("spence")(_fixed(x)), x, slope)


@kernel("Zeta")
def zeta(x: Any, q: Any) -> Any:
    """Hurwitz' function; TensorFlow knows its derivative by `q` alone."""
    return native("zeta")(_fixed(x), q)


@kernel("Betainc")
def betainc(a: Any, b: Any, x: Any) -> Any:
    """The regularized incomplete beta function.

    TensorFlow knows its derivative by `x` alone; JAX refuses the others.
    """
    return native("betainc")(_fixed(a), _fixed(b), x)


@kernel("Polygamma")
def polygamma(a: Any, x: Any) -> Any:
    """Derivatives of the digamma function."""
    return native("polygamma")(values.cast(a, "int32"), x)


@kernel("PopulationCount")
def population_count(x: Any) -> Any:
    """Number of bits that are set."""
    return values.cast(native("population_count")(x), "uint8")


# Fourier transforms


def _transform(name: str, axes: int) -> Callable[..., Any]:
    host = getattr(np.fft, name)
    device = native(name)
    along = tuple(range(-axes, 0))

    def kernel_function(input: Any) -> Any:
        if values.is_host(input):
            return host(input, axes=along).astype(input.dtype)
        return device(input, axes=along)

    return kernel_function


for _axes, _suffix in ((1, ""), (2, "2D"), (3, "3D")):
    register(f"FFT{_suffix}", _transform("fftn", _axes))
    register(f"IFFT{_suffix}", _transform("ifftn", _axes))


def _fitted(x: Any, lengths: tuple[int, ...]) -> Any:
    """Cuts or fills the last axes to lengths."""
    rank = values.rank_of(x)
    first = rank - len(lengths)
    cut = x[(..., *(slice(0, n) for n in lengths))]
    widths = [[0, 0]] * first + [
        [0, n - values.shape_of(cut)[first + i]] for i, n in enumerate(lengths)
    ]
    return np.pad(cut, widths) if values.is_host(cut) else ops.pad(cut, widths)


def _real(name: str, axes: int) -> Callable[..., Any]:
    device = native(name)
    along = tuple(range(-axes, 0))

    def to_complex(input: Any, fft_length: Any, *, Tcomplex: str) -> Any:
        lengths = values.dims(fft_length)
        out = device(_fitted(input, lengths), axes=along)
        return values.cast(out, Tcomplex)

    def to_real(input: Any, fft_length: Any, *, Treal: str) -> Any:
        lengths = values.dims(fft_length)
        half = (*lengths[:-1], lengths[-1] // 2 + 1)
        out = device(_fitted(input, half), s=lengths, axes=along)
        return values.cast(out, Treal)

    return to_complex if name == "rfftn" else to_real


for _axes, _suffix in ((1, ""), (2, "2D"), (3, "3D")):
    register(f"RFFT{_suffix}", _real("rfftn", _axes), static=("fft_length",))
    register(f"IRFFT{_suffix}", _real("irfftn", _axes), static=("fft_length",))
