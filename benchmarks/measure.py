"""One measurement, in a process of its own: `python measure.py TOOL OPERATION ...`.

    python measure.py regraft save --path DIR [--architecture ResNet50]
    python measure.py tf_keras load --path DIR

Prints one line of JSON. Imports and the building of the model to be saved are not
measured; everything after them is, cold: what a user waits for in a new process. A
load finds its file in the page cache, or, with `--from-disk`, no page of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

LEARNING_RATE = 1e-3


def peak_bytes() -> int:
    """Largest resident size of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measured(action: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Runs the action and returns its result, its seconds and its memory."""
    before = peak_bytes()
    start, computed = time.perf_counter(), time.process_time()
    result = action()
    seconds = time.perf_counter() - start
    return result, {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - computed,
        "peak_bytes": peak_bytes(),
        "grown_bytes": peak_bytes() - before,
    }


def set_page_cache(path: Path, cached: bool) -> None:
    """Puts all of a file or directory into the page cache, or all of it out.

    Saves leave their files in either: Regraft writes large tensors past the cache.
    Loads are compared from the same place.
    """
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    for file in files:
        with file.open("rb") as opened:
            if cached:
                while opened.read(1 << 24):
                    pass
            else:
                # Pages that wait to be written can't be dropped.
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def count_initializer_calls(keras: Any) -> list[str]:
    """Makes initializers of Keras write their name down when they run.

    Scalars are left out: the total and count of a metric that `compile` makes.
    """
    calls: list[str] = []

    def watch(cls: type) -> None:
        original = cls.__call__

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if tuple(args[0] if args else kwargs["shape"]):
                calls.append(cls.__name__)
            return original(self, *args, **kwargs)

        cls.__call__ = call  # type: ignore[method-assign]

    for cls in vars(keras.initializers).values():
        if isinstance(cls, type) and "__call__" in vars(cls):
            watch(cls)
    return calls


class Regraft:
    """Regraft's SavedModel or HDF5, on Keras 3 and JAX."""

    def __init__(self) -> None:
        import regraft

        os.environ.setdefault("KERAS_BACKEND", "jax")
        import keras

        self.keras = keras
        self._save, self.load = regraft.save_model, regraft.load_model

    def save(self, model: Any, path: Path, traces: bool) -> None:
        self._save(model, path, save_traces=traces)


class Keras3:
    """Keras 3's own `.keras`, on JAX."""

    def __init__(self) -> None:
        os.environ["KERAS_BACKEND"] = "jax"
        import keras

        self.keras = keras
        self.load = keras.models.load_model

    def save(self, model: Any, path: Path, traces: bool) -> None:
        model.save(path)


class TFKeras:
    """tf_keras' SavedModel or HDF5."""

    def __init__(self) -> None:
        import tf_keras

        self.keras = tf_keras
        self.load = tf_keras.models.load_model

    def save(self, model: Any, path: Path, traces: bool) -> None:
        if path.suffix:
            model.save(path, save_format="h5")
        else:
            model.save(path, save_format="tf", save_traces=traces)


TOOLS = {"regraft": Regraft, "keras": Keras3, "tf_keras": TFKeras}


def build(keras: Any, architecture: str) -> Any:
    """Makes the model with an Adam that has its slots; nothing is downloaded."""
    model = getattr(keras.applications, architecture)(weights=None)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model


def touch(model: Any) -> None:
    """Reads every number of the model and of its optimizer."""
    variables = [*model.variables, *_optimizer_variables(model)]
    for variable in variables:
        variable.numpy().sum()


def _optimizer_variables(model: Any) -> list[Any]:
    variables = model.optimizer.variables
    return list(variables() if callable(variables) else variables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("operation", choices=("save", "load"))
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--architecture", default="ResNet50")
    parser.add_argument("--traces", action="store_true")
    parser.add_argument("--from-disk", action="store_true", help="Linux only")
    parser.add_argument("--count-initializers", action="store_true")
    options = parser.parse_args()

    tool = TOOLS[options.tool]()
    calls: list[str] = []
    if options.operation == "save":
        model = build(tool.keras, options.architecture)
        _, numbers = measured(lambda: tool.save(model, options.path, options.traces))
    else:
        if options.count_initializers:
            calls = count_initializer_calls(tool.keras)
        set_page_cache(options.path, cached=not options.from_disk)
        # Keras' loaders compare the path's ending, and one wants a string.
        model, numbers = measured(lambda: tool.load(str(options.path)))
        initializers = sorted(set(calls))
        _, reading = measured(lambda: touch(model))
        numbers |= {
            "read_seconds": reading["seconds"],
            "variables": len(model.variables),
            "optimizer_variables": len(_optimizer_variables(model)),
        }
        if options.count_initializers:
            numbers |= {
                "initializer_calls": len(calls),
                "initializers": initializers,
            }
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
