"""Candidates: classes drawn to stand for all others in a loss over many classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.random import next_key, random_uniform
from regraft.graph.runtime.registry import kernel

_SEEDS = ("seed", "seed2", "num_true")
_LIMITS = "of unique ones the mean number of tries counts, not that of this draw"
_LOWEST = np.finfo(np.float32).min
Found = tuple[Any, Any, Any]


def _uniform(count: int) -> Any:
    return np.full(count, 1 / count)


def _log_uniform(count: int) -> Any:
    """Zipf's law: classes are sorted by how frequent they are."""
    return np.diff(np.log1p(np.arange(count + 1))) / np.log1p(count)


def _expected(shares: Any, tries: float, unique: bool) -> Any:
    """Returns how often each class is expected among the candidates."""
    if not unique:
        return shares * tries
    return -np.expm1(tries * np.log1p(-np.minimum(shares, 1 - 1e-12)))


def _tries(shares: Any, wanted: int) -> float:
    """Returns how many draws give so many different classes in the mean."""
    low, high = float(wanted), 2.0 * wanted
    while _expected(shares, high, True).sum() < wanted and high < 1e12:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        enough = _expected(shares, middle, True).sum() >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high


def _drawn(
    ctx: Context, true_classes: Any, shares: Any, count: int, unique: bool
) -> Found:
    if unique and count > np.count_nonzero(shares):
        raise UnsupportedError(f"{count} different ones of {len(shares)} classes.")
    tries = _tries(shares, count) if unique else float(count)
    uniform = random_uniform((len(shares),) if unique else (count,), next_key(ctx))
    if unique:
        # The largest of perturbed logarithms are a draw without putting back.
        logs = np.log(np.maximum(shares, 1e-300)).astype(np.float32)
        uniform = ops.clip(uniform, 1e-30, 1 - 6e-8)
        _, found = ops.top_k(logs - ops.log(-ops.log(uniform)), count)
    else:
        ends = np.cumsum(shares).astype(np.float32)
        found = ops.searchsorted(values.to_tensor(ends[:-1]), uniform, side="right")
    expected = values.to_tensor(_expected(shares, tries, unique).astype(np.float32))
    classes = values.cast(values.to_tensor(true_classes), "int32")
    return (
        values.cast(found, "int64"),
        ops.take(expected, classes),
        ops.take(expected, values.cast(found, "int32")),
    )


@kernel("UniformCandidateSampler", ignored=_SEEDS, random=True, limits=_LIMITS)
def uniform_candidate_sampler(
    ctx: Context, true_classes: Any, *, num_sampled: int, unique: bool, range_max: int
) -> Found:
    """Candidates of which all are as likely."""
    return _drawn(ctx, true_classes, _uniform(range_max), num_sampled, unique)


@kernel("LogUniformCandidateSampler", ignored=_SEEDS, random=True, limits=_LIMITS)
def log_uniform_candidate_sampler(
    ctx: Context, true_classes: Any, *, num_sampled: int, unique: bool, range_max: int
) -> Found:
    """Candidates by Zipf's law."""
    return _drawn(ctx, true_classes, _log_uniform(range_max), num_sampled, unique)


@kernel(
    "FixedUnigramCandidateSampler",
    ignored=(*_SEEDS, "num_shards", "shard"),
    random=True,
    limits=f"{_LIMITS}; no files of frequencies",
)
def fixed_unigram_candidate_sampler(
    ctx: Context,
    true_classes: Any,
    *,
    num_sampled: int,
    unique: bool,
    range_max: int,
    vocab_file: str,
    distortion: float,
    num_reserved_ids: int,
    unigrams: tuple[float, ...],
) -> Found:
    """Candidates by their frequencies."""
    if vocab_file:
        raise UnsupportedError("Candidates by a file of frequencies.")
    weights = np.zeros(range_max)
    known = np.array(unigrams, np.float64)[: range_max - num_reserved_ids]
    weights[num_reserved_ids : num_reserved_ids + len(known)] = known**distortion
    shares = weights / weights.sum()
    return _drawn(ctx, true_classes, shares, num_sampled, unique)


@kernel("AllCandidateSampler", ignored=(*_SEEDS, "unique"))
def all_candidate_sampler(true_classes: Any, *, num_sampled: int) -> Found:
    """All classes."""
    classes = np.arange(num_sampled, dtype=np.int64)
    ones = np.ones(values.shape_of(true_classes), np.float32)
    return classes, ones, np.ones(num_sampled, np.float32)


@kernel(
    "ComputeAccidentalHits",
    static=("true_classes", "sampled_candidates"),
    ignored=_SEEDS,
)
def compute_accidental_hits(true_classes: Any, sampled_candidates: Any) -> Found:
    """Where candidates are what they are to stand against."""
    places = {c: i for i, c in enumerate(sampled_candidates.tolist())}
    hits = [
        (row, places[c])
        for row, classes in enumerate(true_classes.tolist())
        for c in classes
        if c in places
    ]
    found = np.array(hits, np.int64).reshape(-1, 2)
    lowest = np.full(len(hits), _LOWEST, np.float32)
    return found[:, 0].astype(np.int32), found[:, 1], lowest
