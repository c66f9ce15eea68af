"""Rows of `kernels/sparse.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Case, Program, f32, i32, i64, normal, text, texts

_INDICES = i64([[0, 1], [1, 0], [1, 2], [3, 1]])
_VALUES = f32(1, 2, 3, 4)
_SHAPE = i64(5, 3)
_NONE = np.zeros(0, np.float32)


def _matrices(tf: Any, places: Any, a: Any, b: Any, dense: Any) -> Any:
    """All that `tf.linalg.sparse` does on a CPU, of the matrices' sparse tensors."""
    raw, shape = tf.raw_ops, [3, 4] if places.shape[1] == 2 else [2, 3, 4]
    first, second = (
        raw.SparseTensorToCSRSparseMatrix(indices=places, values=v, dense_shape=shape)
        for v in (a, b)
    )
    turned = raw.SparseMatrixTranspose(input=second, type=tf.float32)
    square = raw.SparseMatrixSparseMatMul(a=first, b=turned, type=tf.float32)
    other = raw.SparseMatrixSparseMatMul(
        a=first, b=second, transpose_a=True, type=tf.float32
    )
    picked = raw.DenseToCSRSparseMatrix(dense_input=dense, indices=places[:2])
    found = [
        *raw.CSRSparseMatrixToSparseTensor(sparse_matrix=square, type=tf.float32),
        *raw.CSRSparseMatrixComponents(
            csr_sparse_matrix=first, index=0, type=tf.float32
        ),
        *(
            raw.CSRSparseMatrixToDense(sparse_input=m, type=tf.float32)
            for m in (first, other, picked)
        ),
        raw.SparseMatrixNNZ(sparse_matrix=first),
        raw.SparseMatrixMatMul(a=first, b=dense, transpose_b=True),
        raw.SparseMatrixMatMul(a=first, b=dense, transpose_a=True),
        raw.SparseMatrixMatMul(a=first, b=dense, adjoint_a=True, transpose_output=True),
    ]
    return found


ROWS = [
    *(
        Program(
            f"sparse-matrices-{places.shape[1]}",
            _matrices,
            (places, normal(4), normal(4, salt=1), normal(*shape)),
            eager_only="Places are an input.",
        )
        for places, shape in (
            (i64([[0, 1], [0, 3], [1, 0], [2, 3]]), (3, 4)),
            (i64([[0, 0, 1], [0, 2, 3], [1, 1, 0], [1, 1, 2]]), (2, 3, 4)),
        )
    ),
    *(
        Case(
            "SparseReduceMax",
            {
                "input_indices": _INDICES,
                "input_values": _VALUES,
                "input_shape": _SHAPE,
                "reduction_axes": axes,
            },
            {"keep_dims": False},
            label,
        )
        for axes, label in ((np.zeros(0, np.int32), "none"), (i32([0, 1]), "all"))
    ),
    Case(
        "RaggedFillEmptyRows",
        {
            "value_rowids": i64(0, 0, 3),
            "values": f32(1, 2, 3),
            "nrows": i64(5),
            "default_value": f32(9),
        },
    ),
    Case(
        "SparseToDense",
        {
            "sparse_indices": _INDICES,
            "output_shape": _SHAPE,
            "sparse_values": _VALUES,
            "default_value": f32(-1),
        },
    ),
    Case(
        "SparseReshape",
        {"input_indices": _INDICES, "input_shape": _SHAPE, "new_shape": i64(3, -1)},
    ),
    Case(
        "SparseReorder",
        {
            "input_indices": _INDICES[::-1].copy(),
            "input_values": _VALUES,
            "input_shape": _SHAPE,
        },
    ),
    Case(
        "SparseFillEmptyRows",
        {
            "indices": _INDICES,
            "values": _VALUES,
            "dense_shape": _SHAPE,
            "default_value": f32(9),
        },
    ),
    Case(
        "SparseTensorDenseMatMul",
        {
            "a_indices": _INDICES,
            "a_values": _VALUES,
            "a_shape": _SHAPE,
            "b": normal(3, 2),
        },
    ),
    Case(
        "SparseTensorDenseMatMul",
        {
            "a_indices": _INDICES,
            "a_values": _VALUES,
            "a_shape": _SHAPE,
            "b": normal(2, 5),
        },
        {"adjoint_a": True, "adjoint_b": True},
        "adjoint",
    ),
    Case(
        "SparseTensorDenseMatMul",
        {
            "a_indices": _INDICES,
            "a_values": (normal(4) + 1j * normal(4, salt=1)).astype(np.complex64),
            "a_shape": _SHAPE,
            "b": (normal(2, 5) + 1j * normal(2, 5, salt=1)).astype(np.complex64),
        },
        {"adjoint_a": True, "adjoint_b": True},
        "conjugate",
    ),
    Case(
        "SparseConcat",
        {
            "indices": [_INDICES, _INDICES[:2]],
            "values": [_VALUES, _VALUES[:2]],
            "shapes": [_SHAPE, _SHAPE],
        },
        {"concat_dim": 1},
    ),
    Case(
        "SparseSlice",
        {
            "indices": _INDICES,
            "values": _VALUES,
            "shape": _SHAPE,
            "start": i64(1, 0),
            "size": i64(3, 2),
        },
    ),
    Case(
        "SparseReduceSum",
        {
            "input_indices": _INDICES,
            "input_values": _VALUES,
            "input_shape": _SHAPE,
            "reduction_axes": i32([1]),
        },
        {"keep_dims": True},
    ),
    Case(
        "SparseReduceSum",
        {
            "input_indices": i64([[0, 1, 0], [0, 2, 1], [1, 1, 1]]),
            "input_values": f32(1, 2, 4),
            "input_shape": i64(2, 3, 2),
            "reduction_axes": i32([-1, 0]),
        },
        {"keep_dims": False},
        "two",
    ),
    Case(
        "SparseReduceSum",
        {
            "input_indices": _INDICES,
            "input_values": _VALUES,
            "input_shape": _SHAPE,
            "reduction_axes": np.zeros(0, np.int32),
        },
        {"keep_dims": True},
        "none",
    ),
    Case(
        "SparseReduceSum",
        {
            "input_indices": _INDICES,
            "input_values": _VALUES,
            "input_shape": _SHAPE,
            "reduction_axes": i32([0, 1]),
        },
        {"keep_dims": True},
        "all",
    ),
    Case(
        "SparseBincount",
        {
            "indices": _INDICES,
            "values": i32(1, 1, 0, 9),
            "dense_shape": _SHAPE,
            "size": i32(4),
            "weights": _NONE,
        },
    ),
    *(
        Case(
            "SparseCrossHashed",
            {
                "indices": [_INDICES, _INDICES[:3]],
                "values": [texts("a", "b", "c", "d"), i64(7, 8, 9)],
                "shapes": [_SHAPE, _SHAPE],
                "dense_inputs": [],
                "num_buckets": i64(buckets),
                "strong_hash": np.array(strong),
                "salt": i64(11, 22),
            },
            {},
            f"{buckets}-{strong}",
        )
        for buckets, strong in ((1000, False), (0, False), (1000, True))
    ),
    Case(
        "SparseCrossV2",
        {
            "indices": [_INDICES],
            "values": [texts("a", "b", "c", "d")],
            "shapes": [_SHAPE],
            "dense_inputs": [
                texts([["x", "y"], ["z", "w"], ["p", "q"], ["r", "s"], ["t", "u"]])
            ],
            "sep": text("_"),
        },
    ),
    *(
        Case(
            "SparseCross",
            {
                "indices": [_INDICES, _INDICES[:3]],
                "values": [texts("a", "b", "c", "d"), i64(7, 8, 9)],
                "shapes": [_SHAPE, _SHAPE],
                "dense_inputs": [],
            },
            {
                "hashed_output": hashed,
                "num_buckets": 1000,
                "hash_key": 956888297470,
                "out_type": "int64" if hashed else "string",
                "internal_type": "int64" if hashed else "string",
            },
            f"{hashed}",
        )
        for hashed in (True,)
    ),
]
