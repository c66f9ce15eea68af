"""The functions of a SavedModel, run by TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def run(
    path: str, requests: Sequence[tuple[Sequence[str], int, Sequence[Any]]]
) -> list[list[Any] | str]:
    """Runs traces, in this order, in one loaded model.

    Args:
        path: The SavedModel.
        requests: Names that lead from the root to a function, the number of one of
            its traces, and flat inputs.

    Returns:
        Per request its flat results, or what TensorFlow refuses it with.
    """
    root = tf.saved_model.load(path)
    return [_answer(root, *request) for request in requests]


def _answer(
    root: Any, names: Sequence[str], trace: int, inputs: Sequence[Any]
) -> list[Any] | str:
    found = root
    for name in names:
        found = found[name] if isinstance(found, dict) else _child(found, name)
    concrete = found.concrete_functions[trace]
    try:
        results = concrete(*[tf.constant(i) for i in inputs])
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    flat = tf.nest.flatten(results)
    return [np.asarray(r) for r in flat if tf.is_tensor(r)]


def _child(owner: Any, name: str) -> Any:
    if name.isdigit() and hasattr(owner, "__getitem__"):
        return owner[int(name)]
    return getattr(owner, name)
