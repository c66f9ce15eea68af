"""What each TensorFlow op computes, by family."""

from __future__ import annotations

import importlib

FAMILIES = (
    "array",
    "audio",
    "boxes",
    "checkpoint",
    "control_flow",
    "conv",
    "counting",
    "csv",
    "ctc",
    "cudnn",
    "example",
    "sequence_example",
    "gather",
    "gradient",
    "image",
    "linalg",
    "math",
    "nn",
    "partition",
    "pictures",
    "quantize",
    "ragged",
    "random",
    "resource",
    "rnn",
    "space",
    "sets",
    "sparse",
    "sparse_counts",
    "sparse_math",
    "special",
    "stablehlo",
    "stacks",
    "string",
    "table",
    "tensor_list",
    "training",
)


def load_all() -> None:
    """Fills the registry."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
