"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.native import raw_native
from regraft.graph.runtime.registry import kernel

_LABELS = ("labels_indices", "labels_values", "sequence_length")


def _loss(
    inputs: Any, indices: Any, labels: Any, lengths: Any, blank: int
) -> tuple[Any, Any]:
    """Returns the loss of each sequence, and its gradient."""
    x = values.to_tensor(inputs)
    steps, batch, _ = values.shape_of(x)
    counts = np.bincount(indices[:, 0], minlength=batch).astype(np.int32)
    dense = np.zeros((batch, max(int(counts.max(initial=0)), 1)), np.int32)
    dense[indices[:, 0], indices[:, 1]] = labels
    lengths = np.asarray(lengths, np.int32)

    def loss(logits: Any) -> Any:
        return ops.ctc_loss(
            dense, ops.swapaxes(logits, 0, 1), counts, lengths, mask_index=blank
        )

    found, back = raw_native("vjp")(loss, x)
    (gradient,) = back(ops.ones_like(found))
    inside = np.arange(steps)[:, None] < lengths[None]
    return found, ops.where(inside[..., None], gradient, ops.zeros_like(gradient))


@kernel("CTCLoss", static=_LABELS, limits="labels that are known while compiling")
def ctc_loss(
    inputs: Any,
    labels_indices: Any,
    labels_values: Any,
    sequence_length: Any,
    *,
    preprocess_collapse_repeated: bool,
    ctc_merge_repeated: bool,
    ignore_longer_outputs_than_inputs: bool,
) -> tuple[Any, Any]:
    """Loss of label sequences; the last class is the blank one."""
    if preprocess_collapse_repeated or not ctc_merge_repeated:
        raise UnsupportedError("CTCLoss that treats repeated labels specially.")
    if ignore_longer_outputs_than_inputs:
        raise UnsupportedError("CTCLoss that passes over sequences.")
    blank = int(values.shape_of(inputs)[-1]) - 1
    return _loss(inputs, labels_indices, labels_values, sequence_length, blank)


@kernel("CTCGreedyDecoder", host=True)
def ctc_greedy_decoder(
    inputs: Any, sequence_length: Any, *, merge_repeated: bool, blank_index: int
) -> tuple[Any, Any, Any, Any]:
    """The most likely class of each step, without blanks."""
    _, batch, classes = inputs.shape
    blank = blank_index % classes
    places, found = [], []
    widest = 0
    score = np.zeros((batch, 1), inputs.dtype)
    for row in range(batch):
        last, count = -1, 0
        for step in range(int(sequence_length[row])):
            label = int(np.argmax(inputs[step, row]))
            score[row, 0] -= inputs[step, row, label]
            if label != blank and not (merge_repeated and label == last):
                places.append((row, count))
                found.append(label)
                count += 1
            last = label
        widest = max(widest, count)
    return (
        np.array(places, np.int64).reshape(-1, 2),
        np.array(found, np.int64),
        np.array([batch, widest], np.int64),
        score,
    )
