"""Reads the files that `make.py` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

STEPS = 6
SHAPES = {"kernel": (4, 3), "bias": (3,), "table": (6, 2), "other": (3, 2)}
FOLDER = Path(__file__).parent
VERSIONS = ("1.15", "2.0", "2.3", "2.6", "2.11", "2.15", "2.21", "addons")


@dataclass(frozen=True)
class Trajectory:
    """One optimizer of one TensorFlow.

    Attributes:
        config: What it wrote as `optimizer_config`.
        states: `optimizer_weights` before steps 0 and 3, without `u_product`.
        u_products: `_u_product` at the same places.
        values: Variables before the first and after each step.
        gradients: Of each step, dense.
    """

    config: dict[str, Any]
    states: dict[int, list[tuple[str, np.ndarray]]]
    u_products: dict[int, float]
    values: list[dict[str, np.ndarray]]
    gradients: list[dict[str, np.ndarray]]


def versions() -> list[str]:
    return [v for v in VERSIONS if (FOLDER / f"trajectories-{v}.npz").exists()]


@cache
def _load(version: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(FOLDER / f"trajectories-{version}.npz") as file:
        about = json.loads(file["about"].tobytes())
        flat = file["values"]
    arrays, start = {}, 0
    for key, shape in about.pop("arrays"):
        end = start + int(np.prod(shape))
        arrays[key] = flat[start:end].reshape(shape)
        start = end
    return about, arrays


def cases(version: str) -> list[str]:
    return list(_load(version)[0])


def load(version: str, case: str) -> Trajectory:
    about, arrays = _load(version)
    states: dict[int, list[tuple[str, np.ndarray]]] = {}
    u_products = {}
    for place, names in about[case]["names"].items():
        found = [
            (name, arrays[f"{case}/state{place}/{i}"]) for i, name in enumerate(names)
        ]
        found[0] = (found[0][0], found[0][1].astype(np.int64))
        u_products |= {int(place): float(v) for n, v in found if n == "_u_product"}
        states[int(place)] = [item for item in found if item[0] != "_u_product"]
    values = [{name: arrays[f"start/{name}"] for name in SHAPES}]
    gradients = []
    for step in range(STEPS):
        values.append({n: arrays[f"{case}/after{step}/{n}"] for n in SHAPES})
        dense = {n: arrays[f"gradient{step}/{n}"] for n in SHAPES}
        table = np.zeros(SHAPES["table"], np.float32)
        rows = arrays["distinct_rows" if "clip" in case else "rows"][step].astype(int)
        np.add.at(table, rows, dense["table"])
        gradients.append({**dense, "table": table})
    return Trajectory(about[case]["config"], states, u_products, values, gradients)
