"""One tool that runs signatures, in a process of its own, for `throughput.py`.

    python throughput_worker.py regraft|tensorflow|openvino
    python throughput_worker.py write NAME PATH

Each line of its input is a JSON request, each line of its output an answer:
`{"model": PATH}` opens a SavedModel, `{"batch": N, "seconds": S}` calls
`serving_default` on the same random batch until S seconds are over and says how long
each call took. Compilation and the first call are not counted. `write` lets tf_keras
save a model with random weights.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np

WORDS, LENGTH = 20_000, 200
Call = Callable[[Any], Any]


def write(name: str, path: str) -> None:
    """Lets tf_keras save a model; it serves one input of open batch size."""
    import tf_keras as keras

    keras.utils.set_random_seed(1)
    if name == "LSTM":
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((LENGTH,), dtype="int32"),
                layers.Embedding(WORDS, 128),
                layers.LSTM(128),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
    else:
        model = getattr(keras.applications, name)(weights=None)
    model.save(path)


def inputs(batch: int, is_text: bool) -> Any:
    """Returns the same random batch in every process."""
    random = np.random.default_rng(batch)
    if is_text:
        return random.integers(0, WORDS, (batch, LENGTH), dtype="int32")
    return random.normal(size=(batch, 224, 224, 3)).astype("float32")


def regraft(path: str) -> tuple[Call, bool]:
    """Calls the signature, which Regraft compiles."""
    import regraft

    loaded = regraft.load(path)
    function = loaded.signatures["serving_default"]
    ((name, spec),) = function.inputs.items()

    def run(x: Any) -> Any:
        (found,) = function(**{name: x}).values()
        return np.asarray(found)

    run.loaded = loaded
    return run, spec.dtype.name == "int32"


def tensorflow(path: str) -> tuple[Call, bool]:
    """Calls the concrete function that TensorFlow restores."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    function = loaded.signatures["serving_default"]
    ((name, spec),) = function.structured_input_signature[1].items()

    def run(x: Any) -> Any:
        (found,) = function(**{name: tf.constant(x)}).values()
        return found.numpy()

    run.loaded = loaded
    return run, spec.dtype == tf.int32


def openvino(path: str) -> tuple[Call, bool]:
    """Compiles the same file for throughput on one request, in float32."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(path)
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", options)
    kind = compiled.inputs[0].get_element_type()
    return lambda x: np.array(compiled([x])[0]), kind != ov.Type.f32


def answer(request: dict[str, Any], state: dict[str, Any], tool: Any) -> dict[str, Any]:
    """Carries out one request."""
    if "model" in request:
        state["run"], state["is_text"] = tool(request["model"])
        return {}
    run, x = state["run"], inputs(request["batch"], state["is_text"])
    started = time.perf_counter()
    result = run(x)
    first = time.perf_counter() - started
    if request["seconds"] == 0:
        return {"first": first, "sum": float(np.abs(result).astype("float64").sum())}
    seconds: list[float] = []
    while sum(seconds) < request["seconds"] or len(seconds) < 3:
        started = time.perf_counter()
        run(x)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


def main() -> None:
    """Answers until the input ends."""
    if sys.argv[1] == "write":
        write(*sys.argv[2:4])
        return
    tool = {"regraft": regraft, "tensorflow": tensorflow, "openvino": openvino}
    state: dict[str, Any] = {}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), state, tool[sys.argv[1]])))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
