"""Objects that both generations of Keras name in configs, and what they are given.

Runs in both environments, so it imports neither Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Class → arguments besides the defaults.
LOSSES: dict[str, list[dict[str, Any]]] = {
    "BinaryCrossentropy": [
        {"from_logits": True, "label_smoothing": 0.1},
        {"axis": 0},
    ],
    "BinaryFocalCrossentropy": [
        {"gamma": 1.5, "apply_class_balancing": True, "alpha": 0.3},
        {"from_logits": True, "label_smoothing": 0.1},
    ],
    "CategoricalCrossentropy": [
        {"from_logits": True, "label_smoothing": 0.1},
        {"axis": 0},
    ],
    "CategoricalFocalCrossentropy": [
        {"alpha": 0.3, "gamma": 1.5},
        {"from_logits": True, "label_smoothing": 0.1},
    ],
    "CosineSimilarity": [{"axis": 0}],
    "Huber": [{"delta": 0.2}],
    "SparseCategoricalCrossentropy": [{"from_logits": True}, {"ignore_class": 1}],
}
EVERY_LOSS: list[dict[str, Any]] = [{}, {"reduction": "sum"}, {"reduction": "none"}]

METRICS: dict[str, list[dict[str, Any]]] = {
    "AUC": [
        {},
        {"curve": "PR", "summation_method": "majoring", "num_thresholds": 20},
        {"multi_label": True, "num_labels": 3, "label_weights": [1.0, 0.5, 2.0]},
        {"from_logits": True},
        {"thresholds": [0.2, 0.5, 0.7]},
        {"curve": "PR_GAIN", "summation_method": "majoring"},
    ],
    "BinaryAccuracy": [{}, {"threshold": 0.3}],
    "BinaryCrossentropy": [{}, {"from_logits": True, "label_smoothing": 0.1}],
    "BinaryIoU": [{}, {"target_class_ids": [0], "threshold": 0.3}],
    "CategoricalCrossentropy": [{}, {"from_logits": True, "label_smoothing": 0.1}],
    "CosineSimilarity": [{}, {"axis": 0}],
    "F1Score": [{}, {"average": "macro"}, {"average": "weighted", "threshold": 0.4}],
    "FBetaScore": [{"beta": 0.5, "average": "micro"}],
    "FalseNegatives": [{}, {"thresholds": [0.2, 0.6]}],
    "FalsePositives": [{}, {"thresholds": 0.3}],
    "IoU": [{"num_classes": 3, "target_class_ids": [0, 2]}],
    "MeanIoU": [{"num_classes": 3}, {"num_classes": 3, "ignore_class": 1}],
    "MeanRelativeError": [{"normalizer": [1.0, 2.0, 0.5]}],
    "MeanTensor": [{}, {"shape": [4, 3]}],
    "OneHotIoU": [{"num_classes": 3, "target_class_ids": [0]}],
    "OneHotMeanIoU": [{"num_classes": 3}],
    "Precision": [
        {},
        {"top_k": 2},
        {"class_id": 1, "thresholds": 0.4},
        {"thresholds": [0.2, 0.6]},
    ],
    "PrecisionAtRecall": [{"recall": 0.6}, {"recall": 0.4, "num_thresholds": 30}],
    "R2Score": [{}, {"class_aggregation": "variance_weighted_average"}],
    "Recall": [{}, {"top_k": 1}, {"class_id": 2, "thresholds": 0.3}],
    "RecallAtPrecision": [{"precision": 0.5}],
    "SensitivityAtSpecificity": [{"specificity": 0.5}],
    "SpecificityAtSensitivity": [{"sensitivity": 0.5, "num_thresholds": 30}],
    "SparseCategoricalCrossentropy": [{}, {"from_logits": True}],
    "SparseTopKCategoricalAccuracy": [{"k": 2}],
    "TopKCategoricalAccuracy": [{"k": 2}],
    "TrueNegatives": [{}, {"thresholds": [0.2, 0.6]}],
    "TruePositives": [{}],
}

INITIALIZERS: dict[str, list[dict[str, Any]]] = {
    "Constant": [{"value": 0.3}],
    "Identity": [{"gain": 0.5}],
    "Orthogonal": [{"gain": 0.5, "seed": 3}],
    "RandomNormal": [{"mean": 0.2, "stddev": 0.5, "seed": 3}],
    "RandomUniform": [{"minval": -0.2, "maxval": 0.5, "seed": 3}],
    "TruncatedNormal": [{"mean": 0.2, "stddev": 0.5}],
    "VarianceScaling": [
        {"scale": 2.0, "mode": "fan_avg", "distribution": "uniform", "seed": 3},
        {"distribution": "untruncated_normal"},
    ],
}
REGULARIZERS: dict[str, list[dict[str, Any]]] = {
    "L1": [{"l1": 0.1}],
    "L2": [{"l2": 0.1}],
    "L1L2": [{"l1": 0.1, "l2": 0.3}],
    "OrthogonalRegularizer": [{"factor": 0.1, "mode": "columns"}],
}
CONSTRAINTS: dict[str, list[dict[str, Any]]] = {
    "MaxNorm": [{}, {"max_value": 0.5, "axis": [0, 1]}],
    "MinMaxNorm": [{"min_value": 0.3, "max_value": 0.6, "rate": 0.5, "axis": 1}],
    "UnitNorm": [{}, {"axis": [0, 1, 2]}],
}
SCHEDULES: dict[str, list[dict[str, Any]]] = {
    "CosineDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 8, "alpha": 0.2},
        {
            "initial_learning_rate": 0.0,
            "decay_steps": 8,
            "warmup_target": 0.3,
            "warmup_steps": 3,
        },
    ],
    "CosineDecayRestarts": [
        {
            "initial_learning_rate": 0.1,
            "first_decay_steps": 3,
            "t_mul": 1.5,
            "m_mul": 0.8,
            "alpha": 0.1,
        },
    ],
    "ExponentialDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.7},
        {
            "initial_learning_rate": 0.1,
            "decay_steps": 3,
            "decay_rate": 0.7,
            "staircase": True,
        },
    ],
    "InverseTimeDecay": [
        {
            "initial_learning_rate": 0.1,
            "decay_steps": 3,
            "decay_rate": 0.7,
            "staircase": True,
        },
    ],
    "PiecewiseConstantDecay": [{"boundaries": [2, 5], "values": [0.1, 0.05, 0.01]}],
    "PolynomialDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 4, "power": 0.5, "cycle": True},
    ],
}
STEPS = tuple(range(0, 18, 2))

_RNG = np.random.RandomState(7)
VECTOR = _RNG.normal(size=(4, 5)).astype("float32") * 2
KERNEL = _RNG.normal(size=(3, 3, 2, 4)).astype("float32")
MATRIX = _RNG.normal(size=(6, 4)).astype("float32")
_SCORES = _RNG.normal(size=(8, 3)).astype("float32")
PROBABLE = (np.exp(_SCORES) / np.exp(_SCORES).sum(1, keepdims=True)).astype("float32")
CLASSES = _RNG.randint(0, 3, 8).astype("int32")
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
WEIGHTS = _RNG.uniform(0.2, 1.5, 8).astype("float32")
_UNWEIGHTED = ("R2Score", "BinaryIoU", "MeanRelativeError")
_ONE_VALUE = ("Mean", "Sum", "MeanTensor")
_SINGLE = (
    "PrecisionAtRecall",
    "RecallAtPrecision",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
)


def loss_value(loss: Any, name: str, config: dict[str, Any]) -> np.ndarray:
    """What a loss gives, with weights."""
    target = CLASSES if name.startswith("Sparse") else ONE_HOT
    if name in ("Hinge", "SquaredHinge"):
        target = ONE_HOT * 2 - 1
    output = _SCORES if config.get("from_logits") else PROBABLE
    # Reduced over the other axis, there is a value for each class.
    weights = None if config.get("axis") == 0 else WEIGHTS
    return np.asarray(loss(target, output, sample_weight=weights))


def updates(name: str, config: dict[str, Any]) -> list[tuple[tuple, dict]]:
    """Arguments of `update_state`, twice."""
    target, output = ONE_HOT, PROBABLE
    if config.get("from_logits"):
        output = _SCORES
    if name.startswith("Sparse"):
        target = CLASSES[:, None]
    if name in ("IoU", "MeanIoU"):
        target, output = CLASSES, np.argmax(PROBABLE, -1).astype("int32")
    if name == "Accuracy":
        target, output = CLASSES[:, None], np.argmax(PROBABLE, -1)[:, None]
    if name in _SINGLE:
        target, output = ONE_HOT[:, 0], PROBABLE[:, 0]
    found = []
    half = 4 if name == "MeanTensor" else 3
    for part in (slice(0, half), slice(half, 8)):
        arguments = (
            (output[part],) if name in _ONE_VALUE else (target[part], output[part])
        )
        # Reduced over the other axis, there is a value for each class.
        weighted = name not in _UNWEIGHTED and config.get("axis") != 0
        found.append((arguments, {"sample_weight": WEIGHTS[part]} if weighted else {}))
        if name in _ONE_VALUE:
            found[-1][1]["sample_weight"] = WEIGHTS[part, None] * np.ones(
                (1, 3), "float32"
            )
    return found
