"""Rows of `kernels/dataset.py`: pipelines that a graph makes and uses up."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Program, normal


def _sum(tf: Any, data: Any, start: Any) -> Any:
    return data.reduce(start, lambda state, item: state * 0.5 + item)


def _rows(tf: Any, x: Any) -> Any:
    """Rows mapped, batched, put together, and taken apart again."""
    data = tf.data.Dataset.from_tensor_slices((x, x[:, 0]))
    data = data.map(lambda row, first: (row * 2.0 + first, first))
    data = data.map(lambda row, first: (row, first), num_parallel_calls=2)
    batches = data.batch(2).prefetch(1)
    sums = batches.reduce(
        tf.zeros([3]), lambda state, item: state * 0.5 + tf.reduce_sum(item[0], 0)
    )
    whole = data.batch(2, drop_remainder=True).map(lambda rows, _: rows[0])
    again = whole.concatenate(whole.take(1)).repeat(2).skip(1)
    return [sums, _sum(tf, again, tf.zeros([3]))]


def _numbers(tf: Any, x: Any) -> Any:
    """Numbers filtered, scanned, counted side by side."""
    numbers = tf.data.Dataset.range(1, 20, 3)
    odd = numbers.filter(lambda n: n % 2 == 1)
    sums = odd.scan(np.int64(0), lambda state, n: (state + n, state * n))
    small = numbers.take_while(lambda n: n < 12)
    pairs = tf.data.Dataset.zip((sums, small))
    found = pairs.reduce(np.int64(1), lambda state, pair: state * 3 + pair[0] - pair[1])
    inner = odd.flat_map(lambda n: tf.data.Dataset.from_tensors(n).repeat(2))
    total = inner.reduce(np.int64(0), lambda state, n: state * 2 + n)
    single = tf.data.Dataset.from_tensors(x).map(lambda row: row + 1.0)
    return [found, total, tf.data.experimental.get_single_element(single)]


def _by_ops(tf: Any, x: Any) -> Any:
    """Batches through ops that other versions of TensorFlow write."""
    raw = tf.raw_ops
    data = raw.TensorSliceDataset(components=[x], output_shapes=[[3]])
    batched = {"output_types": [tf.float32], "output_shapes": [[None, 3]]}
    twos = raw.BatchDataset(input_dataset=data, batch_size=np.int64(5), **batched)
    more = raw.ParallelBatchDataset(
        input_dataset=data,
        batch_size=np.int64(5),
        num_parallel_calls=np.int64(1),
        drop_remainder=True,
        **batched,
    )
    return [
        *raw.DatasetToSingleElement(dataset=twos, **batched),
        *raw.DatasetToSingleElement(dataset=more, **batched),
    ]


ROWS = [
    Program("ReduceDataset", _rows, (normal(5, 3),)),
    Program("FilterDataset", _numbers, (normal(3),)),
    Program("BatchDataset", _by_ops, (normal(5, 3),)),
]
