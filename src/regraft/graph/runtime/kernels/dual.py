"""NumPy's and Keras' functions of one name, behind that name.

`xp.add(x, y)` is `numpy.add` where all arguments are concrete and
`keras.ops.add` else. So what doesn't depend on traced values stays known. Text is
only ever NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels.values import (
    SymbolicArray,
    is_host,
    keeping_float64,
    static,
    to_tensor,
)


def _device(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_device(item) for item in value]
    return to_tensor(value) if isinstance(value, np.ndarray) else value


def _host(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_host(item) for item in value]
    return static(value)


def _has_text(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_text, value))
    return (
        isinstance(value, np.ndarray)
        and value.dtype == object
        and not isinstance(value, SymbolicArray)
    )


def dual(host: Callable[..., Any], device: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that runs `host` on concrete arguments, else `device`."""

    def call(*args: Any, **keywords: Any) -> Any:
        for arg in args:
            if not is_host(arg):
                break
        else:
            return host(*args, **keywords)
        if any(map(_has_text, args)):
            return host(*map(_host, args), **keywords)
        return device(*map(_device, args), **keywords)

    return call


# Keras makes float32 of float64 in these, on JAX and while its `floatx` is float32.
_NARROWING = ("ceil", "cos", "cosh", "floor", "sin", "sinh", "tan", "tanh")


class _Dual:
    """Functions of NumPy and Keras by their common name."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        device = getattr(ops, name)
        if name in _NARROWING:
            device = keeping_float64(name, device)
        found = dual(getattr(np, name), device)
        setattr(self, name, found)
        return found


xp: Any = _Dual()
