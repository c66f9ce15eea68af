"""What is said when a node can't be computed; nothing here runs before one can't."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from regraft.errors import (
    LimitError,
    MismatchError,
    RegraftError,
    UnsupportedError,
)
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.plan import Plan, Step

# What NumPy says of an array that can't be; it has no class for this.
_IMPOSSIBLE = (
    "array is too big",
    "Maximum allowed size exceeded",
    "Maximum allowed dimension exceeded",
    "broadcast dimensions too large",
    "iterator is too large",
    "maximum supported dimension",
    "negative dimensions",
    "too large to convert to C",
    "RESOURCE_EXHAUSTED",
)
# What JAX raises where a value is wanted that is not known while tracing.
_NOT_YET_KNOWN = frozenset(
    (
        "ConcretizationTypeError",
        "NonConcreteBooleanIndexError",
        "TracerArrayConversionError",
        "TracerBoolConversionError",
        "TracerIntegerConversionError",
    )
)
_MOST_CHARACTERS = 400
_MOST_INPUTS = 8


def as_typed(
    error: Exception, step: Step, inputs: Sequence[Any] | None, plan: Plan
) -> Exception:
    """Returns what to raise for what a kernel raised.

    Args:
        error: What it raised.
        step: The node.
        inputs: What it was computed with, if that much was found.
        plan: Where the node is.
    """
    node = f"node '{step.node.name}' ({step.node.op}) of '{plan.name}'"
    if _is_about_size(error):
        return LimitError(
            f"A graph asks for an array that can't be made ({error}). In {node}."
        )
    if isinstance(error, (RegraftError, Warning, OSError)):
        error.add_note(f"In {node}.")
        return error
    given = ", ".join(_described(value) for value in (inputs or ())[:_MOST_INPUTS])
    if inputs is not None and len(inputs) > _MOST_INPUTS:
        given += ", …"
    what = " ".join(str(error).split())[:_MOST_CHARACTERS] or type(error).__name__
    if type(error).__name__ in _NOT_YET_KNOWN:
        return UnsupportedError(
            f"The result of {node} depends on the values of the inputs, which are "
            "unknown while the function is being compiled. Call it outside of jit "
            f"(with `run_eagerly=True` or on concrete arrays). Given: {given}."
        )
    if isinstance(error, NotImplementedError):
        return UnsupportedError(f"Can't compute {node} of {given}: {what}")
    return MismatchError(f"Can't compute {node} of {given or 'its inputs'}: {what}")


def _is_about_size(error: Exception) -> bool:
    """Whether an array of such a size can't be made."""
    if isinstance(error, RegraftError):
        return False
    if isinstance(error, (MemoryError, RecursionError)):
        return True
    if isinstance(error, (ValueError, OverflowError, RuntimeError)):
        return any(text in str(error) for text in _IMPOSSIBLE)
    return False


def _described(value: Any) -> str:
    if isinstance(value, list):
        items = ", ".join(_described(item) for item in value[:_MOST_INPUTS])
        return f"[{items}{', …' if len(value) > _MOST_INPUTS else ''}]"
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        lengths = ", ".join(str(length) for length in value.shape)
        return f"{values.dtype_of(value)}[{lengths}]"
    return type(value).__name__
