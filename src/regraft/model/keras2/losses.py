"""Losses of Keras 2 where Keras 3 computes something else.

* Crossentropies of a `sigmoid` or `softmax` are computed from its logits, which
  Keras 2 remembers on the tensor; Keras 3 clips the probabilities, so that a
  saturated output has no gradient. TensorFlow's gradient of the softmax kind is
  `softmax - labels`, whatever the labels add up to.
* Binary crossentropy of probabilities adds epsilon inside the logarithm too.
* Where a value is just at a bound of a clip, TensorFlow lets its gradient pass.
* A hinge has a gradient where a margin is just kept: all of it, JAX's is half.
* Where an output is what it should be, TensorFlow's gradient of the absolute error is
  0, JAX's is 1; a cosine similarity has a gradient where an output is 0.
* Up to 2.10 a mask only zeroes the steps: the mean is over all of them. Weights per
  row go with a mask per step, which Keras 3 refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from regraft import _compat
from regraft.graph.runtime.kernels import kinks
from regraft.model.keras2.logits import logits_of
from regraft.model.keras2.registration import registered

Function = Callable[..., Any]


def logits_for(
    y_pred: Any, activation: str, from_logits: bool, old_logits: bool
) -> Any | None:
    """What a crossentropy is computed from; `None`: from the probabilities.

    Since 2.4 remembered logits go before all, whichever activation they are of and
    whether or not the loss takes its input for logits.
    """
    found = logits_of(y_pred)
    if found is not None and (
        not old_logits or (found[0] == activation and not from_logits)
    ):
        return found[1]
    return y_pred if from_logits else None


def _clip(values: Any, low: float, high: float) -> Any:
    raised = ops.where(values < low, ops.cast(low, values.dtype), values)
    return ops.where(values > high, ops.cast(high, values.dtype), raised)


def _like(y_true: Any, y_pred: Any) -> Any:
    """Targets with the rank and dtype of the outputs."""
    y_true = ops.cast(ops.convert_to_tensor(y_true), y_pred.dtype)
    return _same_rank(y_true, y_pred)[0]


def _smooth_binary(labels: Any, smoothing: float) -> Any:
    return labels * (1.0 - smoothing) + 0.5 * smoothing if smoothing else labels


def binary_of_each(labels: Any, outputs: Any, logits: Any | None) -> Any:
    """Binary crossentropy of each element."""
    if logits is not None:
        return ops.softplus(logits) - labels * logits
    epsilon = keras.config.epsilon()
    outputs = _clip(ops.convert_to_tensor(outputs), epsilon, 1.0 - epsilon)
    hit = labels * ops.log(outputs + epsilon)
    # TensorFlow's graph optimizer adds the constants of `1 - outputs + epsilon`.
    miss = (1.0 - labels) * ops.log((1.0 + epsilon) - outputs)
    return -(hit + miss)


def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    old_logits: bool = False,
) -> Any:
    """Mean over the last axis, as `tf.keras.losses.binary_crossentropy`."""
    logits = logits_for(y_pred, "sigmoid", from_logits, old_logits)
    labels = _smooth_binary(_like(y_true, y_pred), label_smoothing)
    return ops.mean(binary_of_each(labels, y_pred, logits), axis=axis)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Mean over the last axis, as `tf.keras.losses.binary_focal_crossentropy`."""
    logits = logits_for(y_pred, "sigmoid", from_logits, False)
    labels = _smooth_binary(_like(y_true, y_pred), label_smoothing)
    chances = ops.sigmoid(y_pred) if from_logits else y_pred
    right = labels * chances + (1.0 - labels) * (1.0 - chances)
    values = ops.power(1.0 - right, gamma) * binary_of_each(labels, y_pred, logits)
    if apply_class_balancing:
        values = values * (labels * alpha + (1.0 - labels) * (1.0 - alpha))
    return ops.mean(values, axis=axis)


def _softmax_crossentropy(labels: Any, logits: Any, axis: int) -> Any:
    """The value is exact; the gradient is `softmax - labels`."""
    value = -ops.sum(labels * ops.log_softmax(logits, axis=axis), axis=axis)
    slope = ops.logsumexp(logits, axis=axis) - ops.sum(labels * logits, axis=axis)
    return ops.stop_gradient(value) + slope - ops.stop_gradient(slope)


def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    old_logits: bool = False,
    old_smoothing: bool = False,
) -> Any:
    """As `tf.keras.losses.categorical_crossentropy`."""
    logits = logits_for(y_pred, "softmax", from_logits, old_logits)
    labels = _like(y_true, y_pred)
    if label_smoothing:
        # Before TensorFlow 2.3 the classes were looked for on axis 1.
        count = ops.shape(labels)[1 if old_smoothing else axis]
        labels = labels * (1.0 - label_smoothing) + label_smoothing / ops.cast(
            count, labels.dtype
        )
    if logits is None:
        return keras.losses.categorical_crossentropy(labels, y_pred, axis=axis)
    return _softmax_crossentropy(labels, logits, axis)


def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
    old_logits: bool = False,
) -> Any:
    """As `tf.keras.losses.sparse_categorical_crossentropy`."""
    logits = logits_for(y_pred, "softmax", from_logits, old_logits)
    if logits is None:
        # Clipped before anything makes their sum 1, which may be 0.
        epsilon = keras.config.epsilon()
        logits = ops.log(_clip(y_pred, epsilon, 1.0 - epsilon))
    if ignore_class is not None:
        return keras.losses.sparse_categorical_crossentropy(
            y_true, logits, from_logits=True, ignore_class=ignore_class, axis=axis
        )
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, axis=-1)
    labels = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[axis], axis=axis)
    return _softmax_crossentropy(ops.cast(labels, logits.dtype), logits, axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """As `tf.keras.losses.categorical_focal_crossentropy`."""
    logits = logits_for(y_pred, "softmax", from_logits, False)
    return keras.losses.categorical_focal_crossentropy(
        y_true,
        y_pred if logits is None else ops.softmax(logits, axis=axis),
        alpha=alpha,
        gamma=gamma,
        label_smoothing=label_smoothing,
        axis=axis,
    )


def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """As `tf.keras.losses.mean_absolute_error`."""
    return ops.mean(kinks.absolute(y_pred - _like(y_true, y_pred)), axis=-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """As `tf.keras.losses.mean_absolute_percentage_error`."""
    y_true = _like(y_true, y_pred)
    size = ops.maximum(ops.abs(y_true), keras.config.epsilon())
    return 100.0 * ops.mean(kinks.absolute((y_true - y_pred) / size), axis=-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """As `tf.keras.losses.cosine_similarity`, which has a gradient at 0."""
    y_true = _unit(_like(y_true, y_pred), axis)
    return -ops.sum(y_true * _unit(y_pred, axis), axis=axis)


def _unit(x: Any, axis: int) -> Any:
    total = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(total, 1e-12))


def positive_cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """The similarity itself, as TensorFlow 1's `tf.keras.losses.cosine_similarity`."""
    return -cosine_similarity(y_true, y_pred, axis=axis)


def hinge(y_true: Any, y_pred: Any) -> Any:
    """As `tf.keras.losses.hinge`."""
    y_true = _like(y_true, y_pred)
    of_classes = ops.all(ops.logical_or(ops.equal(y_true, 0), ops.equal(y_true, 1)))
    y_true = ops.where(of_classes, 2.0 * y_true - 1.0, y_true)
    return ops.mean(_positive(1.0 - y_true * y_pred), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """As `tf.keras.losses.categorical_hinge`."""
    y_true = _like(y_true, y_pred)
    right = ops.sum(y_true * y_pred, axis=-1)
    return _positive(ops.max((1.0 - y_true) * y_pred, axis=-1) - right + 1.0)


def _positive(margins: Any) -> Any:
    return kinks.maximum(margins, ops.zeros_like(margins))


def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """As `tf.keras.losses.kl_divergence`."""
    epsilon = keras.config.epsilon()
    y_true = _clip(y_true, epsilon, 1.0)
    y_pred = _clip(y_pred, epsilon, 1.0)
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


# By the name of Keras 3's function that computes otherwise.
FUNCTIONS: Mapping[str, Function] = {
    "binary_crossentropy": binary_crossentropy,
    "binary_focal_crossentropy": binary_focal_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "categorical_focal_crossentropy": categorical_focal_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "categorical_hinge": categorical_hinge,
    "cosine_similarity": cosine_similarity,
    "hinge": hinge,
    "kl_divergence": kl_divergence,
    "mean_absolute_error": mean_absolute_error,
    "mean_absolute_percentage_error": mean_absolute_percentage_error,
    "positive_cosine_similarity": positive_cosine_similarity,
}
# Those with the rule of `logits_for` before 2.4.
OLD_LOGITS = frozenset(
    name for name in FUNCTIONS if name.endswith("crossentropy") and "focal" not in name
)
# Those that remember logits have an effect on.
USES_LOGITS = frozenset(name for name in FUNCTIONS if "crossentropy" in name)


@registered
class Keras2Loss(keras.losses.Loss):
    """A loss with the arithmetic of the Keras 2 that wrote the file.

    Args:
        fn: Per-sample loss, or its name in `FUNCTIONS` or among Keras 3's losses.
        arguments: Keyword arguments of the function.
        spelled: What the file says: a name, or `{"class_name": …, "config": …}`.
        counts_masked_steps: Whether a mean is over the masked steps too.
        reduction: `"sum_over_batch_size"`, `"sum"` or `"none"`.
        name: Of the loss.
    """

    def __init__(
        self,
        fn: Function | str,
        arguments: Mapping[str, Any] | None = None,
        spelled: Any = None,
        counts_masked_steps: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        self.fn = _function(fn) if isinstance(fn, str) else fn
        self.arguments = dict(arguments or {})
        self.spelled = spelled
        self.counts_masked_steps = counts_masked_steps

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if not self._takes_indices() and keras.tree.is_nested(y_pred) is False:
            if len(y_true.shape) == 1 and len(y_pred.shape) == 2:
                # Else there were one loss for the whole batch, and no weight of a row
                # would meet its own.
                y_true = ops.expand_dims(y_true, axis=-1)
            y_true, y_pred = _same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self.arguments)

    def _takes_indices(self) -> bool:
        return self.fn is sparse_categorical_crossentropy

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        mask = _compat.keras_mask(y_pred)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        losses = self.call(y_true, y_pred)
        if mask is None:
            mask = _compat.keras_mask(losses)  # Of an ignored class.
        weights = None if mask is None else self._mask_weights(mask, losses.dtype)
        if sample_weight is not None:
            given = ops.cast(ops.convert_to_tensor(sample_weight), losses.dtype)
            if weights is not None:
                weights, given = _same_rank(weights, given, spread=True)
                given = weights * given
            weights = given
        if weights is not None:
            losses, weights = _same_rank(losses, weights, spread=True)
            losses = losses * weights
        if self.reduction == "sum_over_batch_size":
            return ops.mean(losses)
        return ops.sum(losses) if self.reduction == "sum" else losses

    def _mask_weights(self, mask: Any, dtype: str) -> Any:
        weights = ops.cast(mask, dtype)
        if self.reduction != "sum_over_batch_size" or self.counts_masked_steps:
            return weights
        return weights / ops.maximum(ops.mean(weights), keras.config.epsilon())

    def get_config(self) -> dict[str, Any]:
        return {
            "fn": _function_name(self.fn),
            "arguments": self.arguments,
            "spelled": self.spelled,
            "counts_masked_steps": self.counts_masked_steps,
            "reduction": self.reduction,
            "name": self.name,
        }


def _same_rank(first: Any, second: Any, *, spread: bool = False) -> tuple[Any, Any]:
    """Removes a last dimension of 1 where the ranks differ by one, or adds one."""
    difference = len(first.shape) - len(second.shape)
    if difference == 1:
        if first.shape[-1] == 1 and not spread:
            return ops.squeeze(first, axis=-1), second
        if spread:
            return first, ops.expand_dims(second, axis=-1)
    if difference == -1:
        if second.shape[-1] == 1:
            return first, ops.squeeze(second, axis=-1)
        if spread:
            return ops.expand_dims(first, axis=-1), second
    return first, second


def _function(name: str) -> Function:
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    custom = keras.saving.get_registered_object(name)
    if custom is not None:
        return custom
    found = vars(keras.losses).get(name)
    if not callable(found) or isinstance(found, type):
        raise ValueError(f"Unknown loss function {name!r}.")
    return found


def _function_name(function: Function) -> str:
    for name, found in FUNCTIONS.items():
        if found is function:
            return name
    return str(keras.saving.get_registered_name(function))


@registered
def averaged_cosine_proximity(y_true: Any, y_pred: Any) -> Any:
    """Keras 1's `cosine_proximity`: the negative mean of the products, not the sum."""
    products = ops.normalize(y_true, axis=-1) * ops.normalize(y_pred, axis=-1)
    return -ops.mean(products, axis=-1)
