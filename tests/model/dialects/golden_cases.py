"""What the files in `golden/` hold."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (names of its dtypes)
import numpy as np

GOLDEN = Path(__file__).with_name("golden")


@functools.cache
def load(name: str) -> dict[str, Any]:
    """Returns the content of a golden file."""
    with gzip.open(GOLDEN / f"{name}.json.gz") as file:
        return json.load(file)


def cases(name: str) -> list[dict[str, Any]]:
    return load(name)["cases"]


def array(data: dict[str, Any]) -> np.ndarray:
    """Unpacks an array of a golden file."""
    if "data" in data:
        raw = base64.b64decode(data["data"])
        return np.frombuffer(raw, dtype=data["dtype"]).reshape(data["shape"])
    if data["dtype"].startswith("complex"):
        pairs = np.array(data["value"], "float32").reshape(*data["shape"], 2)
        return pairs[..., 0] + 1j * pairs[..., 1]
    return np.array(data["value"], dtype=data["dtype"]).reshape(data["shape"])


def arrays(items: list[dict[str, Any]]) -> list[np.ndarray]:
    return [array(item) for item in items]
