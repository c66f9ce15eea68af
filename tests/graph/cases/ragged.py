"""Rows of `kernels/ragged.py`."""

from __future__ import annotations

import numpy as np

from graph.cases.case import Case, f32, i32, i64, normal

ROWS = [
    Case(
        "RaggedTensorToTensor",
        {
            "shape": i64(-1),
            "values": f32(1, 2, 3, 4),
            "default_value": f32(9),
            "row_partition_tensors": [i64(0, 2, 2, 4)],
        },
        {"row_partition_types": ["ROW_SPLITS"]},
    ),
    Case(
        "RaggedTensorToTensor",
        {
            "shape": i64(4, 3),
            "values": f32(1, 2, 3, 4),
            "default_value": f32(9),
            "row_partition_tensors": [i64(4), i64(0, 0, 2, 2)],
        },
        {"row_partition_types": ["FIRST_DIM_SIZE", "VALUE_ROWIDS"]},
        "rowids",
    ),
    Case(
        "RaggedTensorToTensor",
        {
            "shape": i64(-1, -1, 2),
            "values": f32(1, 2, 3, 4, 5),
            "default_value": f32(0),
            "row_partition_tensors": [i64(0, 2, 3), i64(0, 3, 3, 5)],
        },
        {"row_partition_types": ["ROW_SPLITS", "ROW_SPLITS"]},
        "nested",
    ),
    Case(
        "RaggedTensorToTensor",
        {
            "shape": i64(-1),
            "values": normal(4, 2),
            "default_value": f32(0),
            "row_partition_tensors": [i64(0, 2, 2, 4)],
        },
        {"row_partition_types": ["ROW_SPLITS"]},
        "inner",
    ),
    Case(
        "RaggedTensorToSparse",
        {"rt_nested_splits": [i64(0, 2, 2, 4)], "rt_dense_values": f32(1, 2, 3, 4)},
    ),
    Case(
        "RaggedRange", {"starts": i32(0, 5), "limits": i32(3, 5), "deltas": i32(1, 1)}
    ),
    Case(
        "RaggedGather",
        {
            "params_nested_splits": [i64(0, 2, 2, 5)],
            "params_dense_values": f32(1, 2, 3, 4, 5),
            "indices": i32(2, 0, 2),
        },
        {"OUTPUT_RAGGED_RANK": 1},
    ),
    Case(
        "RaggedBincount",
        {
            "splits": i64(0, 2, 2, 5),
            "values": i32(1, 1, 0, 3, 9),
            "size": i32(4),
            "weights": np.zeros(0, np.float32),
        },
    ),
    Case(
        "RaggedBincount",
        {
            "splits": i64(0, 2, 2, 5),
            "values": i32(1, 1, 0, 3, 9),
            "size": i32(4),
            "weights": np.zeros(0, np.float32),
        },
        {"binary_output": True},
        "binary",
    ),
]
