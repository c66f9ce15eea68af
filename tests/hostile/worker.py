"""Opens files that mean harm, in a process of its own, and says what became of each.

Arguments: a text file that lists paths, one a line, and a good HDF5 file, whose model
`load_weights` fills. For each path and each verb one line of JSON goes to standard
output.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402

import regraft  # noqa: E402
from regraft.errors import RegraftError  # noqa: E402
from regraft.graph import ir  # noqa: E402
from regraft.graph.runtime import structure  # noqa: E402
from regraft.graph.runtime.kernels import values  # noqa: E402
from regraft.weights import load_weights  # noqa: E402

# Beyond what the process has after its imports.
MORE_MEMORY_BYTES = 3 << 30
SECONDS = 60
# When an alarm does not end a verb, because it is inside C or because it swallows all
# exceptions, its process ends with the places of its threads.
DEADLY_SECONDS = 2 * SECONDS
# What Keras' documentation promises, and what says that there is no such file.
PROMISED = (ValueError, OSError, FileNotFoundError, NotImplementedError, ImportError)
# What a function of a file may not do even when it is called.
CRASHES = (MemoryError, RecursionError, KeyboardInterrupt, SystemExit, struct.error)


class TookTooLongError(BaseException):
    """A verb did not come back."""


def _alarm(*_: Any) -> None:
    raise TookTooLongError


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(DEADLY_SECONDS, exit=True)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


def _outcome(verb: Callable[[], Any]) -> dict[str, Any]:
    """What comes of a verb."""
    started = time.monotonic()
    fault = None
    text = ""
    try:
        with _watched():
            verb()
        error = "none"
    except TookTooLongError:
        error = fault = "took too long"
    except RegraftError as raised:
        error, text = type(raised).__name__, str(raised)
    except BaseException as raised:
        error, text = type(raised).__name__, str(raised)
        if isinstance(raised, CRASHES) or type(raised) not in PROMISED:
            places = traceback.extract_tb(raised.__traceback__)
            own = [p for p in places if "regraft" in p.filename] or list(places)
            place = own[-1]
            fault = f"{error}: {str(raised)[:300]} ({place.filename}:{place.lineno})"
    return {
        "error": error,
        "text": text[:300],
        "fault": fault,
        "seconds": round(time.monotonic() - started, 2),
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> int:
    """The most that the process has held; `getrusage` counts its parent's, too."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _list_signatures(path: str) -> None:
    loaded = regraft.load(path)
    for name in loaded.signatures:
        _ = loaded.signatures[name]
    _ = loaded.variables


def _call_signatures(path: str) -> None:
    loaded = regraft.load(path)
    for name in list(loaded.signatures)[:2]:
        signature = loaded.signatures[name]
        given = {key: _zeros(spec) for key, spec in signature.inputs.items()}
        if all(value is not None for value in given.values()):
            signature(**given)


def _zeros(spec: Any) -> Any:
    """Something to give for a spec; `None` where it asks for too much."""
    parts = []
    for one in structure.flat_specs(spec):
        shape = [2 if size is None else size for size in one.shape.dims or ()]
        if any(size < 0 or size > 64 for size in shape):
            return None
        filler = 9 if one.name == "dense_shape" else 0
        text = one.dtype.name == "string"
        parts.append(np.full(shape, b"" if text else filler, numpy_of(one.dtype.name)))
    return parts[0] if isinstance(spec, ir.TensorSpec) else tuple(parts)


def numpy_of(dtype: str) -> Any:
    """NumPy's type for a dtype's name."""
    return object if dtype == "string" else values.numpy_dtype(dtype)


def _load_weights(path: str, good: str) -> None:
    model = regraft.load_model(good)
    before = model.get_weights()
    load_weights(model, path)
    for old, new in zip(before, model.get_weights(), strict=True):
        if np.shape(old) != np.shape(new):
            raise AssertionError("a weight changed its shape")


def main(listed: str, good: str) -> None:
    """Opens each file in each way."""
    regraft.load_model(good)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with open(listed) as file:
        paths = file.read().splitlines()
    for path in paths:
        verbs: dict[str, Callable[[], Any]] = {
            "inspect": lambda path=path: regraft.inspect(path),
            "load_model": lambda path=path: regraft.load_model(path),
            "load_model with a class": lambda path=path: regraft.load_model(
                path, custom_objects={"Mine": dict}
            ),
            "load_weights": lambda path=path: _load_weights(path, good),
        }
        if not path.endswith(".h5"):
            verbs["load"] = lambda path=path: _list_signatures(path)
            verbs["call"] = lambda path=path: _call_signatures(path)
        for name, verb in verbs.items():
            print(json.dumps({"start": path, "verb": name}), flush=True)
            found = _outcome(verb)
            print(json.dumps({"path": path, "verb": name, **found}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
