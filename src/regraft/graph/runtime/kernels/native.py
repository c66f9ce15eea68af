"""Functions that Keras has no name for, found in its backend by theirs.

Each row gives a function's path in JAX's and in PyTorch's modules; where a backend
has none, the op cannot run there, and the error says so.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import keras

from regraft.errors import UnsupportedError
from regraft.graph.runtime.kernels import values

_PATHS: dict[str, dict[str, str]] = {
    "autograd_function": {"torch": "torch.autograd:Function"},
    "bessel_i0": {"jax": "jax.scipy.special:i0", "torch": "torch.special:i0"},
    "bessel_i0e": {"jax": "jax.scipy.special:i0e", "torch": "torch.special:i0e"},
    "bessel_i1": {"jax": "jax.scipy.special:i1", "torch": "torch.special:i1"},
    "bessel_i1e": {"jax": "jax.scipy.special:i1e", "torch": "torch.special:i1e"},
    "betainc": {"jax": "jax.scipy.special:betainc"},
    "complex": {"jax": "jax.lax:complex", "torch": "torch:complex"},
    "custom_vjp": {"jax": "jax:custom_vjp"},
    "digamma": {"jax": "jax.scipy.special:digamma", "torch": "torch.special:digamma"},
    "erfc": {"jax": "jax.scipy.special:erfc", "torch": "torch.special:erfc"},
    "export": {"jax": "jax.export:export"},
    "expm": {"jax": "jax.scipy.linalg:expm", "torch": "torch:matrix_exp"},
    "expi": {"jax": "jax.scipy.special:expi"},
    "fftn": {"jax": "jax.numpy.fft:fftn", "torch": "torch.fft:fftn"},
    "gammainc": {
        "jax": "jax.scipy.special:gammainc",
        "torch": "torch.special:gammainc",
    },
    "gammaincc": {
        "jax": "jax.scipy.special:gammaincc",
        "torch": "torch.special:gammaincc",
    },
    "ifftn": {"jax": "jax.numpy.fft:ifftn", "torch": "torch.fft:ifftn"},
    "irfftn": {"jax": "jax.numpy.fft:irfftn", "torch": "torch.fft:irfftn"},
    "jaxpr_as_fun": {"jax": "jax.extend.core:jaxpr_as_fun"},
    "jit": {"jax": "jax:jit"},
    "lgamma": {"jax": "jax.scipy.special:gammaln", "torch": "torch.special:gammaln"},
    "lu": {"jax": "jax.scipy.linalg:lu_factor", "torch": "torch.linalg:lu_factor"},
    "make_jaxpr": {"jax": "jax:make_jaxpr"},
    "ndtri": {"jax": "jax.scipy.special:ndtri", "torch": "torch.special:ndtri"},
    "nextafter": {"jax": "jax.numpy:nextafter", "torch": "torch:nextafter"},
    "poisson": {"jax": "jax.random:poisson"},
    "polygamma": {"jax": "jax.scipy.special:polygamma"},
    "population_count": {"jax": "jax.lax:population_count"},
    "rfftn": {"jax": "jax.numpy.fft:rfftn", "torch": "torch.fft:rfftn"},
    "ShapeDtypeStruct": {"jax": "jax:ShapeDtypeStruct"},
    "set_xla_metadata": {"jax": "jax.experimental.xla_metadata:set_xla_metadata"},
    "spence": {"jax": "jax.scipy.special:spence"},
    "vjp": {"jax": "jax:vjp"},
    "vmap": {"jax": "jax:vmap"},
    "wrap_key_data": {"jax": "jax.random:wrap_key_data"},
    "zeta": {"jax": "jax.scipy.special:zeta", "torch": "torch.special:zeta"},
}


@functools.cache
def _found(name: str, backend: str) -> Callable[..., Any]:
    path = _PATHS[name].get(backend)
    if path is None:
        raise UnsupportedError(f"'{name}' on Keras' {backend} backend.")
    module, attribute = path.split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def raw_native(name: str) -> Callable[..., Any]:
    """Returns a function of Keras' backend as it is.

    Raises:
        UnsupportedError: The backend has none.
    """
    return _found(name, keras.backend.backend())


def lax() -> Any:
    """Returns the module of JAX's own operations.

    Raises:
        UnsupportedError: Keras runs on another backend.
    """
    if keras.backend.backend() != "jax":
        raise UnsupportedError("XLA's own operations run on Keras' JAX backend only.")
    return importlib.import_module("jax.lax")


def native(name: str) -> Callable[..., Any]:
    """Returns a function of Keras' backend; positional arguments become tensors.

    Raises:
        UnsupportedError: When it is called, where the backend has none.
    """

    def call(*args: Any, **keywords: Any) -> Any:
        tensors = [values.to_tensor(arg) for arg in args]
        return _found(name, keras.backend.backend())(*tensors, **keywords)

    return call
