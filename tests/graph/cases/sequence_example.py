"""Rows of `kernels/sequence_example.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Case, f32, text, texts
from graph.cases.example import feature_lists, features_of, field_of


def _sequence(
    context: dict[str, list[Any]], lists: dict[str, list[list[Any]]]
) -> bytes:
    return field_of(1, features_of(**context)) + field_of(2, feature_lists(**lists))


_SERIALIZED = texts(
    [
        _sequence(
            {"a": [1, -2], "b": [1.5, 2.5], "c": [b"x"]},
            {
                "s": [[b"p"], [], [b"q", b"r"]],
                "d": [[1.0, 2.0], [3.0, 4.0]],
                "e": [[7]],
            },
        ),
        _sequence(
            {"a": [], "c": [b"y", b"zz"]},
            {"s": [[b"t"]], "d": [[5.0, 6.0]], "e": [[8, 9], [10]]},
        ),
        _sequence({"a": [7]}, {"d": [], "e": []}),
    ]
)
_ONE = np.asarray(_SERIALIZED[0], object)
_NONE = np.empty(0, object)


def _attrs(version: int) -> dict[str, Any]:
    attrs = {
        "context_sparse_types": ["int64"],
        "context_dense_shapes": [[2]],
        "feature_list_sparse_types": ["string"],
        "feature_list_dense_types": ["float32"],
        "feature_list_dense_shapes": [[2]],
    }
    if version == 2:
        attrs |= {
            "context_ragged_value_types": ["string"],
            "context_ragged_split_types": ["int64"],
            "feature_list_ragged_value_types": ["int64"],
            "feature_list_ragged_split_types": ["int32"],
        }
    return attrs


def _v2(serialized: Any, label: str) -> Case:
    return Case(
        "ParseSequenceExampleV2",
        {
            "serialized": serialized,
            "debug_name": _NONE,
            "context_sparse_keys": texts(["a"]),
            "context_dense_keys": texts(["b"]),
            "context_ragged_keys": texts(["c"]),
            "feature_list_sparse_keys": texts(["s"]),
            "feature_list_dense_keys": texts(["d"]),
            "feature_list_ragged_keys": texts(["e"]),
            "feature_list_dense_missing_assumed_empty": np.array([False]),
            "context_dense_defaults": [f32(9, 9)],
        },
        {
            "Ncontext_sparse": 1,
            "Nfeature_list_sparse": 1,
            "Nfeature_list_dense": 1,
            **_attrs(2),
        },
        label,
    )


ROWS = [
    _v2(_SERIALIZED, ""),
    _v2(_ONE, "scalar"),
    Case(
        "ParseSequenceExample",
        {
            "serialized": _SERIALIZED,
            "debug_name": _NONE,
            "context_dense_defaults": [f32(9, 9)],
        },
        {
            "feature_list_dense_missing_assumed_empty": ["d"],
            "context_sparse_keys": ["a"],
            "context_dense_keys": ["b"],
            "feature_list_sparse_keys": ["s"],
            "feature_list_dense_keys": ["d"],
            "Ncontext_sparse": 1,
            "Ncontext_dense": 1,
            "Nfeature_list_sparse": 1,
            "Nfeature_list_dense": 1,
            **_attrs(1),
        },
    ),
    Case(
        "ParseSingleSequenceExample",
        {
            "serialized": _ONE,
            "feature_list_dense_missing_assumed_empty": _NONE,
            "context_sparse_keys": [text("a")],
            "context_dense_keys": [text("b")],
            "feature_list_sparse_keys": [text("s")],
            "feature_list_dense_keys": [text("d")],
            "context_dense_defaults": [f32(9, 9)],
            "debug_name": text(""),
        },
        _attrs(1),
    ),
]
