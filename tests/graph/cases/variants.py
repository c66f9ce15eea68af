"""Rows of `kernels/variants.py`, `kernels/candidates.py`, and `MapDefun`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Case, Program, f32, i64, normal, texts

_SPARSE = {
    "sparse_indices": i64([[0, 1], [0, 4], [2, 0]]),
    "sparse_values": f32(1.5, -2, 3),
    "sparse_shape": i64(4, 5),
}


def _ragged(tf: Any, flat: Any, batched: bool) -> Any:
    """A ragged tensor of two partitions."""
    splits = [np.array(s, np.int64) for s in ([0, 2, 2, 3], [0, 1, 3, 4])]
    return tf.raw_ops.RaggedTensorToVariant(
        rt_nested_splits=splits, rt_dense_values=flat, batched_input=batched
    )


def _unpacked(tf: Any, encoded: Any, inner: int, outer: int) -> list[Any]:
    found = tf.raw_ops.RaggedTensorFromVariant(
        encoded_ragged=encoded,
        input_ragged_rank=inner,
        output_ragged_rank=outer,
        Tvalues=tf.float32,
    )
    return [*found.output_nested_splits, found.output_dense_values]


def _whole(tf: Any, flat: Any) -> Any:
    return _unpacked(tf, _ragged(tf, flat, False), 2, 2)


def _by_rows(tf: Any, flat: Any) -> Any:
    rows = _ragged(tf, flat, True)
    return [*_unpacked(tf, rows, 1, 2), *_unpacked(tf, rows[0], 1, 1)]


def _gradient(tf: Any, flat: Any) -> Any:
    rows = tf.raw_ops.RaggedTensorToVariant(
        rt_nested_splits=[np.array([0, 2, 2, 4], np.int64)],
        rt_dense_values=flat,
        batched_input=True,
    )
    return [
        tf.raw_ops.RaggedTensorToVariantGradient(
            encoded_ragged_grad=rows,
            row_splits=np.array([0, 2, 2, 4], np.int64),
            dense_values_shape=[4, 2],
            Tvalues=tf.float32,
        )
    ]


def _squares_of_rows(tf: Any, flat: Any) -> Any:
    """TensorFlow's `map_fn` over ragged rows, of which some are empty."""
    ragged = tf.RaggedTensor.from_row_splits(flat, [0, 2, 2, 4])
    spec = tf.RaggedTensorSpec([None, 2], tf.float32, 0)
    doubled = tf.map_fn(lambda row: row * 2.0, ragged, fn_output_signature=spec)
    sums = tf.map_fn(
        lambda row: tf.reduce_sum(row, 0), ragged, fn_output_signature=tf.float32
    )
    return [doubled.values, doubled.row_splits, sums]


def _sparse_rows(out_type: str) -> Any:
    def build(tf: Any, found: Any) -> Any:
        raw = tf.raw_ops
        given = {**_SPARSE, "sparse_values": found, "out_type": out_type}
        many = raw.SerializeManySparse(**given)
        one = raw.SerializeSparse(**given)
        return [
            *raw.DeserializeSparse(serialized_sparse=one, dtype=tf.float32),
            *raw.DeserializeSparse(serialized_sparse=many, dtype=tf.float32),
        ]

    return build


def _many_sparse(tf: Any, found: Any) -> Any:
    many = tf.raw_ops.SerializeManySparse(**{**_SPARSE, "sparse_values": found})
    return [*tf.raw_ops.DeserializeManySparse(serialized_sparse=many, dtype=tf.float32)]


def _map_defun(tf: Any, x: Any) -> Any:
    @tf.function
    def twice(row, factor):  # type: ignore[no-untyped-def]
        return row * factor, tf.reduce_sum(row)

    made = twice.get_concrete_function(
        tf.TensorSpec([3], tf.float32), tf.TensorSpec([], tf.float32)
    )
    made.add_to_graph()
    return tf.raw_ops.MapDefun(
        arguments=[x],
        captured_inputs=[tf.constant(2.0)],
        output_types=[tf.float32, tf.float32],
        output_shapes=[[3], []],
        f=made,
    )


def _sampler(op: str, unique: bool, **more: Any) -> Any:
    def build(tf: Any, classes: Any) -> Any:
        return [
            *getattr(tf.raw_ops, op)(
                true_classes=classes,
                num_true=2,
                num_sampled=4,
                unique=unique,
                range_max=6,
                seed=1,
                seed2=2,
                **more,
            )
        ]

    return build


_CLASSES = i64([[0, 5], [2, 2], [1, 4]])

ROWS = [
    Program("RaggedTensorToVariant", _whole, (normal(4, 2),)),
    Program("RaggedTensorFromVariant", _by_rows, (normal(4, 2),)),
    Program("RaggedTensorToVariantGradient", _gradient, (normal(4, 2),)),
    Program("RaggedTensorToVariant-map", _squares_of_rows, (normal(4, 2),)),
    Case("SerializeSparse", _SPARSE),
    Case("SerializeManySparse", _SPARSE),
    Case(
        "SerializeManySparse",
        {**_SPARSE, "sparse_values": texts("a", "", "bc")},
        {},
        "text",
    ),
    *(
        Program(
            f"DeserializeSparse-{kind}",
            _sparse_rows(kind),
            (f32(1.5, -2, 3),),
            eager_only="What is written as text must be known.",
        )
        for kind in ("string", "variant")
    ),
    Program(
        "DeserializeManySparse",
        _many_sparse,
        (f32(1.5, -2, 3),),
        eager_only="What is written as text must be known.",
    ),
    Program("MapDefun", _map_defun, (normal(4, 3),)),
    *(
        Program(f"{op}-{unique}", _sampler(op, unique), (_CLASSES,), random=True)
        for op in ("UniformCandidateSampler", "LogUniformCandidateSampler")
        for unique in (False, True)
    ),
    Program(
        "FixedUnigramCandidateSampler",
        _sampler(
            "FixedUnigramCandidateSampler",
            True,
            unigrams=[1.0, 4.0, 2.0, 1.0, 3.0],
            num_reserved_ids=1,
            distortion=0.5,
        ),
        (_CLASSES,),
        random=True,
    ),
    Case(
        "AllCandidateSampler",
        {"true_classes": _CLASSES},
        {"num_true": 2, "num_sampled": 6, "unique": True},
    ),
    Case(
        "ComputeAccidentalHits",
        {"true_classes": _CLASSES, "sampled_candidates": i64(4, 2, 0, 3)},
        {"num_true": 2},
    ),
]
