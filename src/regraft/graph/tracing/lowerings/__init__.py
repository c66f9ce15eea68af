"""One small function per JAX primitive, in families as the runtime's kernels."""

from __future__ import annotations

import importlib

_FAMILIES = (
    "array",
    "columns",
    "composites",
    "control_flow",
    "derivatives",
    "elementwise",
    "indexing",
    "linalg",
    "nn",
    "random",
    "reduction",
    "saved",
    "sorting",
    "text",
)


def load() -> None:
    """Fills the registry."""
    for family in _FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
