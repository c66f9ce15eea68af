"""What each TensorFlow op computes, by family."""

from __future__ import annotations

import importlib

FAMILIES = (
    "array",
    "audio",
    "boxes",
    "candidates",
    "checkpoint",
    "control_flow",
    "conv",
    "counting",
    "csv",
    "ctc",
    "cudnn",
    "dataset",
    "example",
    "sequence_example",
    "gather",
    "gradient",
    "gradient_images",
    "image",
    "linalg",
    "math",
    "nn",
    "old",
    "partition",
    "pictures",
    "quantize",
    "quantized",
    "ragged",
    "random",
    "resource",
    "rnn",
    "space",
    "sets",
    "sparse",
    "sparse_counts",
    "sparse_math",
    "sparse_matrix",
    "special",
    "stablehlo",
    "stacks",
    "string",
    "table",
    "tensor_list",
    "training",
    "variants",
    "words",
    "xla",
)


def load_all() -> None:
    """Fills the registry."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
