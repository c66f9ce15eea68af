"""Reads the files that `make.py` writes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parent
VERSIONS = ("1.15", "2.3", "2.6", "2.11", "2.15", "2.21")


@cache
def load(version: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is known of each case, and all arrays by name."""
    with np.load(FOLDER / f"losses-{version}.npz") as file:
        about = json.loads(file["about"].tobytes())
        flat = file["values"]
    arrays, start = {}, 0
    for key, shape in about.pop("arrays"):
        end = start + int(np.prod(shape))
        arrays[key] = flat[start:end].reshape(shape)
        start = end
    return about, arrays


# Their neighbours show all that changed.
SLOW = ("2.3", "2.11", "2.15")


def version_marks(version: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if version in SLOW else []


def cases(kind: str) -> list[pytest.ParameterSet]:
    """Version and name of each case of `"losses"` or `"metrics"`."""
    return [
        pytest.param(v, case, marks=version_marks(v))
        for v in VERSIONS
        for case in load(v)[0][kind]
    ]
