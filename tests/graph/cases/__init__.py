"""All rows, by family of kernels."""

from __future__ import annotations

import importlib

from graph.cases.case import Case, Program

FAMILIES = (
    "array",
    "audio",
    "control_flow",
    "conv",
    "counting",
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
    "special",
    "stacks",
    "string",
    "table",
    "tensor_list",
    "training",
    "variants",
    "words",
    "xla",
)


def _rows() -> list[Case | Program]:
    rows: list[Case | Program] = []
    for family in FAMILIES:
        rows += importlib.import_module(f"{__name__}.{family}").ROWS
    return rows


ROWS = _rows()
CASES = [row for row in ROWS if isinstance(row, Case)]
PROGRAMS = [row for row in ROWS if isinstance(row, Program)]
