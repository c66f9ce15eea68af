"""Losses of TensorFlow Addons that files name (`Addons>SigmoidFocalCrossEntropy`).

`NpairsLoss` is not among them: in `fit` of Keras 2 it is never a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph.runtime.kernels import kinks
from regraft.model.keras2.losses import binary_of_each
from regraft.model.keras2.registration import registered


@registered
def sigmoid_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float | None = 0.25,
    gamma: float | None = 2.0,
    from_logits: bool = False,
) -> Any:
    """The focal loss of RetinaNet, summed over the last axis.

    Logits that an output remembers are of no account.
    """
    outputs = ops.convert_to_tensor(y_pred)
    labels = ops.cast(y_true, outputs.dtype)
    values = binary_of_each(labels, outputs, outputs if from_logits else None)
    chances = ops.sigmoid(outputs) if from_logits else outputs
    if alpha:
        values = values * (labels * alpha + (1.0 - labels) * (1.0 - alpha))
    if gamma:
        right = labels * chances + (1.0 - labels) * (1.0 - chances)
        values = values * ops.power(1.0 - right, gamma)
    return ops.sum(values, axis=-1)


@registered
def contrastive_loss(y_true: Any, y_pred: Any, margin: float = 1.0) -> Any:
    """Squares of distances within pairs, and of what others lack to a margin."""
    labels = ops.cast(y_true, y_pred.dtype)
    missing = _positive(margin - y_pred)
    return labels * ops.square(y_pred) + (1.0 - labels) * ops.square(missing)


@registered
def pinball_loss(y_true: Any, y_pred: Any, tau: Any = 0.5) -> Any:
    """The loss of the quantile `tau`, a mean over the last axis."""
    quantile = ops.expand_dims(ops.cast(tau, y_pred.dtype), 0)
    gap = ops.cast(y_true, y_pred.dtype) - y_pred
    return ops.mean(kinks.maximum(quantile * gap, (quantile - 1.0) * gap), axis=-1)


@registered
def giou_loss(y_true: Any, y_pred: Any, mode: str = "giou") -> Any:
    """1 less how much two boxes (top, left, bottom, right) have in common."""
    if mode not in ("giou", "iou"):
        raise UnsupportedError(f"The mode is 'giou' or 'iou'. Received: {mode!r}.")
    labels = ops.cast(y_true, y_pred.dtype)
    low = kinks.maximum(y_pred[..., :2], labels[..., :2])
    high = kinks.minimum(y_pred[..., 2:], labels[..., 2:])
    shared = _area(low, high)
    total = _area(y_pred[..., :2], y_pred[..., 2:])
    total = total + _area(labels[..., :2], labels[..., 2:]) - shared
    found = ops.divide_no_nan(shared, total)
    if mode == "giou":
        low = kinks.minimum(y_pred[..., :2], labels[..., :2])
        high = kinks.maximum(y_pred[..., 2:], labels[..., 2:])
        around = _area(low, high)
        found = found - ops.divide_no_nan(around - total, around)
    return 1.0 - ops.squeeze(found)


def _area(low: Any, high: Any) -> Any:
    size = high - low
    size = kinks.maximum(ops.zeros_like(size), size)
    return size[..., 0] * size[..., 1]


@registered
def sparsemax_loss(y_true: Any, y_pred: Any, from_logits: bool = True) -> Any:
    """The loss whose gradient is the sparsemax of logits, less the labels."""
    del from_logits  # It is never anything else.
    labels = ops.cast(y_true, y_pred.dtype)
    chances = _sparsemax(y_pred)
    own = ops.where(chances > 0, chances * (y_pred - 0.5 * chances), 0.0)
    return ops.sum(own + labels * (0.5 * labels - y_pred), axis=1)


def _sparsemax(logits: Any) -> Any:
    """The nearest point to logits whose entries are chances."""
    falling = ops.flip(ops.sort(logits, axis=-1), axis=-1)
    sums = ops.cumsum(falling, axis=-1)
    counts = ops.cast(ops.arange(1, logits.shape[-1] + 1), logits.dtype)
    within = ops.cast(1.0 + counts * falling > sums, logits.dtype)
    count = ops.sum(within, axis=-1, keepdims=True)
    total = ops.sum(within * falling, axis=-1, keepdims=True)
    return ops.relu(logits - (total - 1.0) / count)


@registered
def weighted_kappa_loss(
    y_true: Any,
    y_pred: Any,
    num_classes: int,
    weightage: str = "quadratic",
    epsilon: float | None = 1e-6,
) -> Any:
    """The logarithm of how much worse than chance a batch of ratings agrees."""
    if weightage not in ("linear", "quadratic"):
        text = f"The weights are 'linear' or 'quadratic'. Received: {weightage!r}."
        raise UnsupportedError(text)
    labels = ops.cast(y_true, y_pred.dtype)
    ratings = ops.cast(ops.arange(num_classes), y_pred.dtype)

    def apart(first: Any) -> Any:
        gap = first - ratings[None, :]
        return ops.abs(gap) if weightage == "linear" else ops.square(gap)

    observed = ops.sum(apart(ops.matmul(labels, ratings[:, None])) * y_pred)
    counts = ops.sum(labels, axis=0)[:, None] * ops.sum(y_pred, axis=0)[None, :]
    expected = ops.sum(apart(ratings[:, None]) * counts)
    expected = expected / ops.cast(ops.shape(labels)[0], y_pred.dtype)
    return ops.log(ops.divide_no_nan(observed, expected) + (epsilon or 1e-7))


# ---------------------------------------------------------------- of embeddings


def _distances(embeddings: Any, metric: str = "L2") -> Any:
    if metric == "angular":
        total = ops.sum(ops.square(embeddings), axis=1, keepdims=True)
        unit = embeddings * ops.rsqrt(ops.maximum(total, 1e-12))
        return _positive(1.0 - ops.matmul(unit, ops.transpose(unit)))
    if metric not in ("L2", "squared-L2"):
        raise UnsupportedError(
            "Distances are 'L2', 'squared-L2' or 'angular', and functions are in no "
            f"file. Received: {metric!r}."
        )
    squares = ops.sum(ops.square(embeddings), axis=1)
    product = ops.matmul(embeddings, ops.transpose(embeddings))
    found = _positive(squares[:, None] + squares[None, :] - 2.0 * product)
    apart = ops.cast(found > 0.0, found.dtype)
    if metric == "L2":
        # A root has no gradient at 0.
        found = ops.sqrt(ops.where(found > 0.0, found, 1e-16))
    return found * apart * (1.0 - ops.eye(ops.shape(found)[0], dtype=found.dtype))


def _pairs(y_true: Any, dtype: str) -> tuple[Any, Any]:
    """Which pairs are of one class and not the same, and which are of two."""
    labels = ops.reshape(y_true, (-1, 1))
    same = ops.equal(labels, ops.transpose(labels))
    alike = ops.cast(same, dtype)
    return alike - ops.eye(ops.shape(labels)[0], dtype=dtype), 1.0 - alike


def _largest(values: Any, mask: Any) -> Any:
    """The largest of those that a mask has, the least of all where it has none."""
    least = ops.min(values, axis=-1, keepdims=True)
    return ops.max((values - least) * mask, axis=-1, keepdims=True) + least


def _least(values: Any, mask: Any) -> Any:
    return -_largest(-values, mask)


def _positive(values: Any) -> Any:
    return kinks.maximum(values, ops.zeros_like(values))


@registered
def triplet_semihard_loss(
    y_true: Any, y_pred: Any, margin: float = 1.0, distance_metric: str = "L2"
) -> Any:
    """Triplets with the nearest of those that are farther than the positive.

    Where there is none, with the farthest of another class.
    """
    far = _distances(y_pred, distance_metric)
    alike, others = _pairs(y_true, far.dtype)
    # Of each anchor and positive those of another class that are farther.
    farther = ops.cast(far[:, None, :] > far[:, :, None], far.dtype)
    farther = farther * others[:, None, :]
    spread = ops.broadcast_to(far[:, None, :], ops.shape(farther))
    nearest = ops.squeeze(_least(spread, farther), axis=-1)
    negatives = ops.where(ops.any(farther > 0, -1), nearest, _largest(far, others))
    losses = _positive((margin + far - negatives) * alike)
    return ops.sum(losses) / ops.sum(alike)


@registered
def triplet_hard_loss(
    y_true: Any,
    y_pred: Any,
    margin: float = 1.0,
    soft: bool = False,
    distance_metric: str = "L2",
) -> Any:
    """Triplets with the farthest of the class and the nearest of another."""
    far = _distances(y_pred, distance_metric)
    alike, others = _pairs(y_true, far.dtype)
    gap = _largest(far, alike) - _least(far, others)
    return ops.mean(ops.log1p(ops.exp(gap)) if soft else _positive(gap + margin))


@registered
def lifted_struct_loss(y_true: Any, y_pred: Any, margin: float = 1.0) -> Any:
    """Each pair of a class against all that are of others than it."""
    far = _distances(y_pred)
    alike, others = _pairs(y_true, far.dtype)
    closeness = margin - far
    top = _largest(closeness, others)
    top = kinks.maximum(top, ops.transpose(top))
    scaled = ops.exp(closeness[:, None, :] - top[:, :, None]) * others[:, None, :]
    total = ops.sum(scaled, axis=-1)
    losses = top + ops.log(total + ops.transpose(total)) + far
    losses = ops.square(_positive(losses * alike))
    return 0.25 * ops.sum(losses) / (ops.sum(alike) / 2.0)


@registered
def npairs_multilabel_loss(y_true: Any, y_pred: Any) -> Any:
    """Crossentropy of similarities, by how many of their classes two samples share."""
    labels = ops.cast(y_true, y_pred.dtype)
    shares = ops.matmul(labels, ops.transpose(labels))
    shares = shares / ops.sum(shares, axis=1, keepdims=True)
    return -ops.mean(ops.sum(shares * ops.log_softmax(y_pred, axis=-1), axis=-1))


@dataclass(frozen=True)
class Addon:
    """A class of the package.

    Attributes:
        function: What it computes.
        name: What a file means that gives it none.
        reduction: The same.
    """

    function: Callable[..., Any]
    name: str
    reduction: str = "none"


CLASSES: Mapping[str, Addon] = {
    "SigmoidFocalCrossEntropy": Addon(
        sigmoid_focal_crossentropy, "sigmoid_focal_crossentropy"
    ),
    "ContrastiveLoss": Addon(
        contrastive_loss, "contrastive_loss", "sum_over_batch_size"
    ),
    "PinballLoss": Addon(pinball_loss, "pinball_loss", "sum_over_batch_size"),
    "GIoULoss": Addon(giou_loss, "giou_loss", "sum_over_batch_size"),
    "SparsemaxLoss": Addon(sparsemax_loss, "sparsemax_loss", "sum_over_batch_size"),
    "WeightedKappaLoss": Addon(weighted_kappa_loss, "cohen_kappa_loss"),
    "TripletSemiHardLoss": Addon(triplet_semihard_loss, "triplet_semihard_loss"),
    "TripletHardLoss": Addon(triplet_hard_loss, "triplet_hard_loss"),
    "LiftedStructLoss": Addon(lifted_struct_loss, "lifted_struct_loss"),
    "NpairsMultilabelLoss": Addon(npairs_multilabel_loss, "npairs_multilabel_loss"),
}
# Functions that files name without a class.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    addon.function.__name__: addon.function
    for name, addon in CLASSES.items()
    if name not in ("WeightedKappaLoss", "SparsemaxLoss")
}
