"""TensorFlow's throughput on SavedModels, in turns: `python serving.py DIR DIR ...`.

Prints the examples per second of each `serving_default` as one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

BATCH = 8
ROUNDS = 12


def call(signature: Any) -> Any:
    """Returns a call of a signature on one batch."""
    specs = signature.structured_input_signature[1]
    rng = np.random.default_rng(0)
    inputs = {
        name: tf.constant(rng.random((BATCH, *spec.shape[1:]), np.float32))
        for name, spec in specs.items()
    }
    return lambda: [np.asarray(value) for value in signature(**inputs).values()]


def main() -> None:
    loaded = [tf.saved_model.load(path) for path in sys.argv[1:]]
    calls = [call(model.signatures["serving_default"]) for model in loaded]
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(ROUNDS + 2):
        for run, times in zip(calls, seconds, strict=True):
            start = time.process_time()
            run()
            if turn >= 2:  # the first two find kernels and layouts
                times.append(time.process_time() - start)
    print(json.dumps([BATCH / statistics.median(times) for times in seconds]))


if __name__ == "__main__":
    main()
