"""Traces a model on JAX for a process whose Keras runs on another backend.

    python -m regraft.trace_process < request.json > answer.json

Run by `other_backends`, never by hand. A process of Keras has one backend for good, so
the only way to what JAX can trace is a process of its own.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import keras

from regraft.api import load_model, save_model


def trace(request: Mapping[str, Any]) -> list[str]:
    """Loads a SavedModel without functions and saves it with them.

    Args:
        request: `source` and `target`, directories; `modules`, whose import registers
            the caller's classes with Keras; `classes`, `[name, module, qualified
            name]` of each class that the model is made of.

    Returns:
        What had to be said about it.
    """
    for name in request["modules"]:
        importlib.import_module(name)
    classes = {
        name: reduce(getattr, path.split("."), importlib.import_module(module))
        for name, module, path in _rows(request["classes"])
    }
    model = load_model(request["source"], custom_objects=classes, compile=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        save_model(model, request["target"])
    return [str(item.message) for item in caught if item.category is UserWarning]


def _rows(rows: Sequence[Sequence[str]]) -> list[tuple[str, str, str]]:
    return [(name, module, path) for name, module, path in rows]


def main() -> int:
    """Answers one request: `{"notes": […]}` or `{"error": …}`."""
    request = json.load(sys.stdin)
    # What a module of the caller prints must not be taken for the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        result: dict[str, Any] = {"notes": trace(request)}
    # Whatever a class of the caller raises on JAX is the answer.
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    json.dump({**result, "backend": keras.backend.backend()}, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
