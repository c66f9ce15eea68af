"""Functions with kinks whose gradients there are TensorFlow's.

At a kink a function has no gradient, so each library chose one: JAX's of `abs` at 0
is 1 and of `maximum` of equals is a half to each, TensorFlow's are 0 and all to the
first. A unit whose inputs are zeros and whose bias is still its first 0 stands just
there, so that the choice shows in the first steps of training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels.dual import dual
from regraft.graph.runtime.kernels.values import dtype_of, to_tensor

_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def without_own_gradients() -> Iterator[None]:
    """Lets each function be one operation: TensorFlow has its gradient of that."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def are_plain() -> bool:
    """Whether each function is to be one operation."""
    return _plain.get()


def _has_own_gradient(x: Any) -> bool:
    return "float" in dtype_of(x) and not are_plain()


def _absolute(x: Any) -> Any:
    return x * ops.stop_gradient(ops.sign(x)) if _has_own_gradient(x) else ops.abs(x)


def _larger(x: Any, y: Any) -> Any:
    if not _has_own_gradient(x):
        return ops.maximum(x, y)
    return ops.where(ops.logical_or(ops.greater_equal(x, y), ops.isnan(x)), x, y)


def _smaller(x: Any, y: Any) -> Any:
    if not _has_own_gradient(x):
        return ops.minimum(x, y)
    return ops.where(ops.logical_or(ops.less_equal(x, y), ops.isnan(x)), x, y)


absolute = dual(np.abs, _absolute)
maximum = dual(np.maximum, _larger)
minimum = dual(np.minimum, _smaller)


def clip(x: Any, low: Any, high: Any) -> Any:
    """Values between two bounds; the gradient passes also where one is just at one."""
    return minimum(maximum(x, low), high)


relu = dual(lambda x: np.maximum(x, x.dtype.type(0)), ops.relu)
relu6 = dual(lambda x: np.clip(x, 0, 6).astype(x.dtype), ops.relu6)


def leaky_relu(x: Any, alpha: Any) -> Any:
    """Values, negative ones times `alpha`; the gradient at 0 is `alpha`."""
    x = to_tensor(x)
    if not _has_own_gradient(x):
        return ops.leaky_relu(x, negative_slope=alpha)
    return ops.where(ops.greater(x, 0), x, ops.cast(alpha, x.dtype) * x)


def selu(x: Any) -> Any:
    """Scaled exponential linear units; the gradient at 0 is that from above."""
    x = to_tensor(x)
    smooth = ops.selu(x)
    if not _has_own_gradient(x):
        return smooth
    at_zero = ops.cast(1.0507009873554805, x.dtype) * x
    return ops.where(ops.equal(x, 0), at_zero, smooth)
