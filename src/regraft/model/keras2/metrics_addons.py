"""Metrics of TensorFlow Addons that files name (`Addons>CohenKappa`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from regraft.errors import UnsupportedError
from regraft.model.keras2.registration import ADDONS_PACKAGE


def _one_of(value: Any, known: tuple[Any, ...], argument: str) -> Any:
    if value not in known:
        text = f"{argument} is one of {known}. Received: {value!r}."
        raise UnsupportedError(text)
    return value


def _chosen(y_pred: Any, threshold: float | None) -> Any:
    """Which classes an output means: those above a threshold, or the largest."""
    if threshold is not None:
        return y_pred > threshold
    largest = ops.max(y_pred, axis=-1, keepdims=True)
    return ops.logical_and(y_pred >= largest, ops.abs(y_pred) > 1e-12)


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class FBetaScore(keras.metrics.Metric):
    """The harmonic mean of precision and recall, where recall weighs `beta` squared.

    Args:
        num_classes: Number of classes.
        average: `None` (a score for each class), `"micro"`, `"macro"`, `"weighted"`.
        beta: What recall weighs.
        threshold: Above it an output means a class; `None`: the largest does.
        name: Of the metric.
        dtype: Of its result.
    """

    def __init__(
        self,
        num_classes: int,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_classes = int(num_classes)
        averages = (None, "micro", "macro", "weighted")
        self.average = _one_of(average, averages, "average")
        self.beta = beta
        self.threshold = threshold
        self.axis = None if average == "micro" else 0
        shape = () if average == "micro" else (self.num_classes,)
        # Attributes and names are those of files.
        self.true_positives = self._zeros("true_positives", shape)
        self.false_positives = self._zeros("false_positives", shape)
        self.false_negatives = self._zeros("false_negatives", shape)
        self.weights_intermediate = self._zeros("weights_intermediate", shape)

    def _zeros(self, name: str, shape: tuple[int, ...]) -> Any:
        return self.add_weight(shape=shape, initializer="zeros", name=name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = ops.convert_to_tensor(y_pred)
        found = ops.cast(_chosen(y_pred, self.threshold), self.dtype)
        labels = ops.cast(y_true, self.dtype)
        weights = 1.0
        if sample_weight is not None:
            weights = ops.expand_dims(ops.cast(sample_weight, self.dtype), 1)
        for variable, values in (
            (self.true_positives, found * labels),
            (self.false_positives, found * (1.0 - labels)),
            (self.false_negatives, (1.0 - found) * labels),
            (self.weights_intermediate, labels),
        ):
            variable.assign_add(ops.sum(values * weights, axis=self.axis))

    def result(self) -> Any:
        hits = ops.convert_to_tensor(self.true_positives)
        precision = ops.divide_no_nan(hits, hits + self.false_positives)
        recall = ops.divide_no_nan(hits, hits + self.false_negatives)
        square = self.beta**2
        scores = ops.divide_no_nan(precision * recall, square * precision + recall)
        scores = scores * (1.0 + square)
        if self.average == "weighted":
            seen = ops.convert_to_tensor(self.weights_intermediate)
            shares = ops.divide_no_nan(seen, ops.sum(seen))
            return ops.sum(scores * shares)
        return scores if self.average is None else ops.mean(scores)

    def get_config(self) -> dict[str, Any]:
        names = ("num_classes", "average", "beta", "threshold")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class F1Score(FBetaScore):
    """`FBetaScore` where both weigh the same."""

    def __init__(
        self,
        num_classes: int,
        average: str | None = None,
        threshold: float | None = None,
        name: str = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["beta"]
        return config


class _Confusion(keras.metrics.Metric):
    """Counts which class was taken for which."""

    def __init__(self, num_classes: int, name: str, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_classes = int(num_classes)
        shape = (self.num_classes, self.num_classes)
        self.conf_mtx = self.add_weight(
            shape=shape, initializer="zeros", name="conf_mtx"
        )

    def _count(self, labels: Any, found: Any, sample_weight: Any) -> None:
        labels, found = (
            ops.one_hot(ops.reshape(each, (-1,)), self.num_classes, dtype=self.dtype)
            for each in (labels, found)
        )
        if sample_weight is not None:
            weights = ops.cast(ops.reshape(sample_weight, (-1, 1)), self.dtype)
            labels = labels * weights
        self.conf_mtx.assign_add(ops.matmul(ops.transpose(labels), found))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class CohenKappa(_Confusion):
    """How much better than chance two raters agree.

    Args:
        num_classes: Number of classes.
        name: Of the metric.
        weightage: What a disagreement weighs: `None` (each the same), `"linear"`,
            `"quadratic"`.
        sparse_labels: Whether targets are numbers of classes.
        regression: Whether outputs are.
        dtype: Of its result.
    """

    def __init__(
        self,
        num_classes: int,
        name: str = "cohen_kappa",
        weightage: str | None = None,
        sparse_labels: bool = False,
        regression: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, name, dtype)
        weights = (None, "linear", "quadratic")
        self.weightage = _one_of(weightage, weights, "weightage")
        self.sparse_labels = bool(sparse_labels)
        self.regression = bool(regression)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if self.num_classes == 2:
            y_pred = ops.cast(y_pred, "float32") > 0.5
        else:
            if not self.sparse_labels:
                y_true = ops.argmax(y_true, axis=1)
            if len(y_pred.shape) > 1 and self.regression:
                y_pred = ops.round(ops.abs(y_pred))
            elif len(y_pred.shape) > 1:
                y_pred = ops.argmax(y_pred, axis=-1)
        labels, found = ops.cast(y_true, "int32"), ops.cast(y_pred, "int32")
        self._count(labels, found, sample_weight)

    def result(self) -> Any:
        places = ops.cast(ops.arange(self.num_classes), self.dtype)
        apart = ops.abs(places[:, None] - places[None, :])
        if self.weightage is None:
            apart = ops.cast(apart > 0, self.dtype)
        elif self.weightage == "quadratic":
            apart = ops.square(apart)
        counts = ops.convert_to_tensor(self.conf_mtx)
        chance = ops.sum(counts, axis=0)[:, None] * ops.sum(counts, axis=1)[None, :]
        observed = ops.sum(counts / ops.sum(counts) * apart)
        expected = ops.sum(chance / ops.sum(chance) * apart)
        return ops.where(ops.isnan(expected), 0.0, 1.0 - observed / expected)

    def get_config(self) -> dict[str, Any]:
        names = ("weightage", "sparse_labels", "regression")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class MatthewsCorrelationCoefficient(_Confusion):
    """How well classes and what outputs take them for correlate.

    Args:
        num_classes: Number of classes.
        name: Of the metric.
        dtype: Of its result.
    """

    def __init__(
        self,
        num_classes: int,
        name: str = "MatthewsCorrelationCoefficient",
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, found = ops.argmax(y_true, axis=1), ops.argmax(y_pred, axis=1)
        self._count(labels, found, sample_weight)

    def result(self) -> Any:
        counts = ops.convert_to_tensor(self.conf_mtx)
        labels, found = ops.sum(counts, axis=1), ops.sum(counts, axis=0)
        total = ops.sum(counts)
        right = ops.sum(ops.diagonal(counts)) * total - ops.sum(labels * found)
        spread = (total**2 - ops.sum(labels**2)) * (total**2 - ops.sum(found**2))
        score = right / ops.sqrt(spread)
        return ops.where(ops.isnan(score), ops.zeros_like(score), score)


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class RSquare(keras.metrics.Metric):
    """How much of the spread of targets outputs explain.

    Files leave out for how many regressors it was adjusted, as if for none.

    Args:
        name: Of the metric.
        dtype: Of its result.
        multioutput: `"raw_values"`, `"uniform_average"` or `"variance_weighted"`.
    """

    def __init__(
        self,
        name: str = "r_square",
        dtype: Any = None,
        multioutput: str = "uniform_average",
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        averages = ("raw_values", "uniform_average", "variance_weighted")
        self.multioutput = _one_of(multioutput, averages, "multioutput")
        self._sums: list[Any] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = ops.cast(y_true, self.dtype), ops.cast(y_pred, self.dtype)
        if not self._sums:
            shape = tuple(y_true.shape[1:])
            names = ("sum", "squared_sum", "residual", "count")
            self._sums = [
                self.add_weight(shape=shape, initializer="zeros", name=name)
                for name in names
            ]
        weights = ops.ones_like(y_true)
        if sample_weight is not None:
            given = ops.cast(sample_weight, self.dtype)
            rest = (1,) * (len(y_true.shape) - len(given.shape))
            weights = weights * ops.reshape(given, tuple(given.shape) + rest)
        of_rows = (
            y_true * weights,
            ops.square(y_true) * weights,
            ops.square(y_true - y_pred) * weights,
            weights,
        )
        for variable, values in zip(self._sums, of_rows, strict=True):
            variable.assign_add(ops.sum(values, axis=0))

    def result(self) -> Any:
        if not self._sums:
            return ops.zeros((), self.dtype)
        total, squares, residual, count = map(ops.convert_to_tensor, self._sums)
        spread = squares - total * total / count
        scores = 1.0 - residual / spread
        scores = ops.where(ops.isinf(scores), ops.zeros_like(scores), scores)
        if self.multioutput == "uniform_average":
            return ops.mean(scores)
        if self.multioutput == "variance_weighted":
            return ops.sum(scores * spread) / ops.sum(spread)
        return scores

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multioutput": self.multioutput}


@keras.saving.register_keras_serializable(ADDONS_PACKAGE)
class HammingLoss(keras.metrics.Mean):
    """Which part of labels is wrong.

    Args:
        mode: `"multiclass"` or `"multilabel"`.
        name: Of the metric.
        threshold: Above it an output means a class; `None`: the largest does.
        dtype: Of its result.
    """

    def __init__(
        self,
        mode: str,
        name: str = "hamming_loss",
        threshold: float | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.mode = _one_of(mode, ("multiclass", "multilabel"), "mode")
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = ops.cast(y_pred, self.dtype)
        found = ops.cast(_chosen(y_pred, self.threshold), "int32")
        labels = ops.cast(y_true, "int32")
        if self.mode == "multiclass":
            wrong = 1.0 - ops.cast(ops.count_nonzero(labels * found, -1), self.dtype)
        else:
            wrong = ops.cast(ops.count_nonzero(labels - found, -1), self.dtype)
            wrong = wrong / y_pred.shape[-1]
        super().update_state(wrong, sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        given = {"mode": self.mode, "threshold": self.threshold}
        return {**super().get_config(), **given}


CLASSES: Mapping[str, type[keras.metrics.Metric]] = {
    cls.__name__: cls
    for cls in (
        FBetaScore,
        F1Score,
        CohenKappa,
        MatthewsCorrelationCoefficient,
        RSquare,
        HammingLoss,
    )
}
# Those that files name without the package.
UNREGISTERED = frozenset({"HammingLoss"})
