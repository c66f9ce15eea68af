"""Arguments that Keras 2 took late, by class, with the value that stands for none.

Older versions refuse a config that has one. Where it is left out every version takes
this value, so only what says otherwise is written. Known since: TensorFlow 2.1 for
convolutions, 2.4 for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of every class that has the argument.
_EVERYWHERE: Mapping[str, Any] = {
    "seed": None,
    "synchronized": False,
    "optional": False,
    "zero_output_for_mask": False,
    "keepdims": False,
    "robust_masking": False,
    "softmax_robust_masking": False,
    "score_mode": "dot",
    "crop_to_aspect_ratio": False,
    "idf_weights": None,
    "mask_value": None,
    "encoding": "utf-8",
}
_OF_CLASSES: Mapping[str, Mapping[str, Any]] = {
    **{key: {"groups": 1} for key in ("Conv1D", "Conv2D", "Conv3D")},
    "Embedding": {"sparse": False},
    "Discretization": {
        "output_mode": "int",
        "sparse": False,
        "epsilon": 0.01,
        "num_bins": None,
    },
    "Hashing": {"output_mode": "int", "sparse": False},
    "Normalization": {"invert": False},
    "TextVectorization": {"sparse": False, "ragged": False},
    "IntegerLookup": {"vocabulary_dtype": "int64"},
    "StringLookup": {"vocabulary_dtype": "string"},
}
_OF_LOSSES: Mapping[str, Mapping[str, Any]] = {
    "BinaryCrossentropy": {"axis": -1},
    "CategoricalCrossentropy": {"axis": -1},
    "SparseCategoricalCrossentropy": {"ignore_class": None, "axis": -1},
}
_OF_METRICS: Mapping[str, Mapping[str, Any]] = {
    "AUC": {"num_labels": None, "from_logits": False},
    "CategoricalCrossentropy": {"axis": -1},
    "MeanIoU": {
        "ignore_class": None,
        "sparse_y_true": True,
        "sparse_y_pred": True,
        "axis": -1,
    },
    "MeanTensor": {"shape": None},
    "PrecisionAtRecall": {"class_id": None},
    "RecallAtPrecision": {"class_id": None},
    "SensitivityAtSpecificity": {"class_id": None},
    "SparseCategoricalCrossentropy": {"ignore_class": None},
    "SpecificityAtSensitivity": {"class_id": None},
}


def without_late_arguments(
    class_name: str, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns a layer's config without late arguments that say nothing."""
    return _without(config, {**_EVERYWHERE, **_OF_CLASSES.get(class_name, {})})


def loss_without_late_arguments(
    class_name: str, config: Mapping[str, Any]
) -> dict[str, Any]:
    """The same of a loss."""
    return _without(config, _OF_LOSSES.get(class_name, {}))


def metric_without_late_arguments(
    class_name: str, config: Mapping[str, Any]
) -> dict[str, Any]:
    """The same of a metric."""
    return _without(config, _OF_METRICS.get(class_name, {}))


def _without(config: Mapping[str, Any], late: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in config.items()
        if key not in late or type(value) is not type(late[key]) or value != late[key]
    }
