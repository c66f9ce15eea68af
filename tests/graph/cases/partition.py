"""Rows of `kernels/partition.py`, `sparse_math.py`, `csv.py` and `ctc.py`."""

from __future__ import annotations

from typing import Any

from graph.cases.case import Case, f32, i32, i64, normal, texts

_A: dict[str, Any] = {
    "a_indices": i64([[0, 1], [1, 0], [2, 3]]),
    "a_values": f32(1, 2, -3),
    "a_shape": i64(3, 4),
}
_B: dict[str, Any] = {
    "b_indices": i64([[0, 1], [2, 2], [2, 3]]),
    "b_values": f32(0.5, 4, 3),
    "b_shape": i64(3, 4),
}
_SPARSE: dict[str, Any] = {
    "sp_indices": i64([[0, 1], [0, 2], [2, 3]]),
    "sp_values": f32(1, 2, -3),
    "sp_shape": i64(3, 4),
}
_SEGMENTS: dict[str, Any] = {
    "data": normal(6, 3),
    "indices": i32(0, 2, 2, 5),
    "segment_ids": i32(0, 0, 2, 2),
    "num_segments": i32(5),
}
_CTC: dict[str, Any] = {
    "inputs": normal(7, 3, 5),
    "labels_indices": i64([[0, 0], [0, 1], [1, 0], [2, 0], [2, 1], [2, 2]]),
    "labels_values": i32(1, 2, 0, 3, 3, 1),
    "sequence_length": i32(7, 4, 6),
}

ROWS = [
    Case(
        "DynamicPartition",
        {"data": normal(5, 2), "partitions": i32(0, 2, 0, 2, 2)},
        {"num_partitions": 3},
    ),
    Case(
        "DynamicPartition",
        {"data": normal(2, 3, 2), "partitions": i32([[0, 1, 0], [1, 1, 0]])},
        {"num_partitions": 2},
        "matrix",
    ),
    *(
        Case(
            op,
            {
                "indices": [i32(0, 2), i32([[1, 3], [2, 4]])],
                "data": [normal(2, 3), normal(2, 2, 3)],
            },
        )
        for op in ("DynamicStitch",)
    ),
    Case(
        "ParallelDynamicStitch",
        {"indices": [i32(0, 2), i32(1)], "data": [normal(2, 3), normal(3)]},
    ),
    Case("SparseAdd", {**_A, **_B, "thresh": f32(0)}),
    Case(
        "SparseAdd",
        {**_A, **_B, "thresh": f32(1.6)},
        label="threshold",
        fixed=("a_values", "b_values"),
    ),
    Case("SparseSparseMaximum", {**_A, **_B}),
    Case("SparseSparseMinimum", {**_A, **_B}),
    Case("SparseTensorDenseAdd", {**_A, "b": normal(3, 4)}),
    *(
        Case(f"SparseDenseCwise{op}", {**_SPARSE, "dense": normal(1, 4)})
        for op in ("Add", "Mul", "Div")
    ),
    Case("SparseSoftmax", _SPARSE),
    *(
        Case(f"SparseSegment{op}WithNumSegments", _SEGMENTS)
        for op in ("Sum", "Mean", "SqrtN")
    ),
    Case(
        "DecodeCSV",
        {
            "records": texts(["1,2.5,text", ',,"a ""b"", c"', "-7,1e3,", 'NA,NA,"x"']),
            "record_defaults": [i32([9]), f32([0.5]), texts(["none"])],
        },
        {"na_value": "NA"},
    ),
    Case(
        "DecodeCSV",
        {
            "records": texts(["a;b;c;4", "d;e;f;5"]),
            "record_defaults": [texts(["?"]), i64([0])],
        },
        {"field_delim": ";", "select_cols": [1, 3], "use_quote_delim": False},
        "selected",
    ),
    *(
        Case("DataFormatDimMap", {"x": i32(0, 1, -1, 2)}, attrs, label)
        for label, attrs in (
            ("", {}),
            ("back", {"src_format": "NCHW", "dst_format": "NHWC"}),
        )
    ),
    *(
        Case("DataFormatVecPermute", {"x": x}, attrs, label)
        for label, x, attrs in (
            ("", i32(10, 20, 30, 40), {}),
            ("pairs", i32([[1, 2], [3, 4], [5, 6], [7, 8]]), {}),
            ("spatial", i32(3, 4), {"src_format": "NHWC", "dst_format": "NCHW"}),
            ("back", i32(1, 2, 3, 4), {"src_format": "NCHW", "dst_format": "NHWC"}),
        )
    ),
    *(
        Case(
            "SparseReduceMax",
            {
                "input_indices": i64([[0, 1], [0, 2], [2, 3]]),
                "input_values": f32(1, 2, -3),
                "input_shape": i64(3, 4),
                "reduction_axes": axes,
            },
            {"keep_dims": keep},
            f"{axes.tolist()}-{keep}",
        )
        for axes in (i32([1]), i32([-2]), i32([0, 1]))
        for keep in (False, True)
    ),
    *(
        Case(
            "SparseSplit",
            {
                "split_dim": i64(axis),
                "indices": i64([[0, 1], [0, 2], [2, 3]]),
                "values": f32(1, 2, -3),
                "shape": i64(3, 4),
            },
            {"num_split": 2},
            str(axis),
        )
        for axis in (0, 1)
    ),
    Case("CTCLoss", _CTC, tolerance=1e-5),
    *(
        Case(
            "CTCGreedyDecoder",
            {"inputs": normal(7, 3, 5), "sequence_length": i32(7, 4, 6)},
            {"merge_repeated": merge},
            str(merge),
        )
        for merge in (False, True)
    ),
    *(
        Case(
            "RaggedCross",
            {
                "ragged_values": [texts("a", "b", "c")],
                "ragged_row_splits": [i64(0, 2, 2, 3)],
                "sparse_indices": [i64([[0, 0], [2, 0], [2, 1]])],
                "sparse_values": [i64(7, -8, 9)],
                "sparse_shape": [i64(3, 2)],
                "dense_inputs": [texts([["x"], ["y"], ["z"]])],
            },
            {
                "input_order": "RSD",
                "hashed_output": hashed,
                "num_buckets": 100 if hashed else 0,
                "hash_key": 956888297470,
                "out_values_type": "int64" if hashed else "string",
                "out_row_splits_type": "int64",
            },
            str(hashed),
        )
        for hashed in (False, True)
    ),
    *(
        Case(
            "CTCBeamSearchDecoder",
            {"inputs": normal(7, 3, 5), "sequence_length": i32(7, 4, 6)},
            {"beam_width": 50, "top_paths": 3, "merge_repeated": merge},
            str(merge),
            tolerance=1e-5,
        )
        for merge in (False, True)
    ),
]
