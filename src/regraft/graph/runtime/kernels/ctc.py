"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.native import raw_native
from regraft.graph.runtime.registry import kernel

_LABELS = ("labels_indices", "labels_values", "sequence_length")


def _check_options(op: str, *, as_usual: bool, passes_over: bool) -> None:
    if not as_usual:
        raise UnsupportedError(f"{op} that treats repeated labels specially.")
    if passes_over:
        raise UnsupportedError(f"{op} that passes over sequences.")


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
    as_usual = ctc_merge_repeated and not preprocess_collapse_repeated
    passes_over = ignore_longer_outputs_than_inputs
    _check_options("CTCLoss", as_usual=as_usual, passes_over=passes_over)
    blank = int(values.shape_of(inputs)[-1]) - 1
    return _loss(inputs, labels_indices, labels_values, sequence_length, blank)


@kernel("CTCLossV2", static=_LABELS, limits="labels that are known while compiling")
def ctc_loss_v2(
    inputs: Any,
    labels_indices: Any,
    labels_values: Any,
    sequence_length: Any,
    *,
    preprocess_collapse_repeated: bool,
    ctc_merge_repeated: bool,
    ignore_longer_outputs_than_inputs: bool,
) -> tuple[Any, Any]:
    """Loss of label sequences; the first class is the blank one."""
    as_usual = ctc_merge_repeated and not preprocess_collapse_repeated
    passes_over = ignore_longer_outputs_than_inputs
    _check_options("CTCLossV2", as_usual=as_usual, passes_over=passes_over)
    return _loss(inputs, labels_indices, labels_values, sequence_length, 0)


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


Beam = tuple[int, ...]


def _beams(logits: Any, width: int, blank: int) -> list[tuple[Beam, float]]:
    """Returns label sequences with the logarithms of their probabilities, best first.

    Each sequence has two: of the ways that end in the blank class, and of the others.
    """
    least = -np.inf
    beams: dict[Beam, tuple[float, float]] = {(): (0.0, least)}
    for step in logits:
        shifted = step - step.max()
        logs = shifted - np.log(np.exp(shifted).sum())
        new: dict[Beam, list[float]] = {}
        for beam, (in_blank, in_label) in beams.items():
            both = np.logaddexp(in_blank, in_label)
            kept = new.setdefault(beam, [least, least])
            kept[0] = np.logaddexp(kept[0], both + logs[blank])
            if beam:
                kept[1] = np.logaddexp(kept[1], in_label + logs[beam[-1]])
            for label, log in enumerate(logs):
                if label == blank:
                    continue
                begun = in_blank if beam and beam[-1] == label else both
                longer = new.setdefault((*beam, label), [least, least])
                longer[1] = np.logaddexp(longer[1], begun + log)
        order = sorted(
            new.items(), key=lambda item: -np.logaddexp(item[1][0], item[1][1])
        )
        beams = {beam: (pair[0], pair[1]) for beam, pair in order[:width]}
    return [(beam, float(np.logaddexp(*pair))) for beam, pair in beams.items()]


@kernel("CTCBeamSearchDecoder", host=True)
def ctc_beam_search_decoder(
    inputs: Any,
    sequence_length: Any,
    *,
    beam_width: int,
    top_paths: int,
    merge_repeated: bool,
) -> tuple[list[Any], list[Any], list[Any], Any]:
    """The most likely label sequences; the last class is the blank one."""
    _, batch, classes = inputs.shape
    values.checked([batch, top_paths])
    if not 1 <= top_paths <= beam_width:
        raise MismatchError(f"{top_paths} best of {beam_width} sequences.")
    scores = np.zeros((batch, top_paths), inputs.dtype)
    paths: list[list[list[int]]] = [[] for _ in range(top_paths)]
    for row in range(batch):
        steps = inputs[: int(sequence_length[row]), row].astype(np.float64)
        found = _beams(steps, beam_width, classes - 1)
        if len(found) < top_paths:
            raise MismatchError(f"Fewer than {top_paths} sequences are possible.")
        for rank, (beam, score) in enumerate(found[:top_paths]):
            scores[row, rank] = score
            labels = list(beam)
            if merge_repeated:
                labels = [
                    label
                    for i, label in enumerate(labels)
                    if not i or labels[i - 1] != label
                ]
            paths[rank].append(labels)
    indices, labels_of, shapes = [], [], []
    for rows in paths:
        places = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
        indices.append(np.array(places, np.int64).reshape(-1, 2))
        labels_of.append(np.array([label for row in rows for label in row], np.int64))
        longest = max((len(row) for row in rows), default=0)
        shapes.append(np.array([batch, longest], np.int64))
    return indices, labels_of, shapes, scores
