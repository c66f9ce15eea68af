"""NumPy's and Keras' functions of one name, behind that name.

`xp.add(x, y)` is `numpy.add` where all arguments are concrete and
`keras.ops.add` else. So what doesn't depend on traced values stays known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels.values import is_host, to_tensor


def _device(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_device(item) for item in value]
    return to_tensor(value) if isinstance(value, np.ndarray) else value


def dual(host: Callable[..., Any], device: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that runs `host` on concrete arguments, else `device`."""

    def call(*args: Any, **keywords: Any) -> Any:
        for arg in args:
            if not is_host(arg):
                return device(*map(_device, args), **keywords)
        return host(*args, **keywords)

    return call


class _Dual:
    """Functions of NumPy and Keras by their common name."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        device = getattr(ops, name)
        found = dual(getattr(np, name), device)
        setattr(self, name, found)
        return found


xp: Any = _Dual()
