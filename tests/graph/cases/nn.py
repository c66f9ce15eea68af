"""Rows of `kernels/nn.py`."""

from __future__ import annotations

from graph.cases.case import Case, i32, integers, normal, uniform

_X = normal(3, 4)
_IMAGE = normal(2, 6, 7, 3)
_BATCH_NORM = {
    "x": _IMAGE,
    "scale": uniform(0.5, 2, 3),
    "offset": normal(3),
    "mean": normal(3, salt=1),
    "variance": uniform(0.5, 2, 3),
}
_POOLS = (
    ("valid", {"ksize": [1, 2, 3, 1], "strides": [1, 2, 2, 1], "padding": "VALID"}),
    ("same", {"ksize": [1, 3, 2, 1], "strides": [1, 2, 1, 1], "padding": "SAME"}),
)
_POOLS_3D = (
    (
        "valid",
        {"ksize": [1, 2, 2, 2, 1], "strides": [1, 1, 2, 1, 1], "padding": "VALID"},
    ),
    ("same", {"ksize": [1, 2, 3, 2, 1], "strides": [1, 2, 2, 1, 1], "padding": "SAME"}),
)

_ACTIVATIONS = {
    "Elu": "features",
    "LogSoftmax": "logits",
    "Relu": "features",
    "Relu6": "features",
    "Selu": "features",
    "Sigmoid": "x",
    "Softmax": "logits",
    "Softplus": "features",
    "Softsign": "features",
}
_GRADIENTS = {
    "ReluGrad": "features",
    "Relu6Grad": "features",
    "EluGrad": "outputs",
    "SeluGrad": "outputs",
    "SoftplusGrad": "features",
    "SoftsignGrad": "features",
    "LeakyReluGrad": "features",
}

ROWS = [
    *(Case(op, {name: _X * 4}) for op, name in _ACTIVATIONS.items()),
    *(
        Case(op, {"gradients": _X, name: normal(3, 4, salt=7)})
        for op, name in _GRADIENTS.items()
    ),
    Case("Relu", {"features": integers(-5, 5, 3, 4)}, {}, "int32"),
    Case("LeakyRelu", {"features": _X}, {"alpha": 0.3}),
    Case("BiasAdd", {"value": _X, "bias": normal(4)}),
    Case(
        "BiasAdd",
        {"value": normal(2, 3, 4, 5), "bias": normal(3)},
        {"data_format": "NCHW"},
        "channels_first",
    ),
    Case("BiasAddV1", {"value": _X, "bias": normal(4)}),
    Case("BiasAddGrad", {"out_backprop": _IMAGE}, {"data_format": "NHWC"}),
    Case("L2Loss", {"t": _X}),
    Case(
        "SoftmaxCrossEntropyWithLogits", {"features": _X, "labels": uniform(0, 1, 3, 4)}
    ),
    Case(
        "SparseSoftmaxCrossEntropyWithLogits", {"features": _X, "labels": i32(0, 3, 1)}
    ),
    *(
        Case(
            op, _BATCH_NORM, {"is_training": training, "epsilon": 0.001}, f"{training}"
        )
        for op in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
        for training in (False, True)
    ),
    Case(
        "FusedBatchNormV3",
        _BATCH_NORM,
        {"is_training": True, "exponential_avg_factor": 0.3, "epsilon": 0.001},
        "average",
    ),
    Case(
        "LRN",
        {"input": normal(2, 3, 3, 7)},
        {"depth_radius": 2, "bias": 1.5, "alpha": 0.3, "beta": 0.6},
    ),
    *(Case("MaxPool", {"input": _IMAGE}, attrs, label) for label, attrs in _POOLS),
    Case(
        "MaxPool",
        {"input": _IMAGE},
        {
            "ksize": [1, 2, 2, 1],
            "strides": [1, 2, 2, 1],
            "padding": "EXPLICIT",
            "explicit_paddings": [0, 0, 1, 0, 0, 1, 0, 0],
        },
        "explicit",
    ),
    *(Case("AvgPool", {"value": _IMAGE}, attrs, label) for label, attrs in _POOLS),
    Case(
        "MaxPoolV2",
        {"input": _IMAGE, "ksize": i32(1, 2, 2, 1), "strides": i32(1, 2, 2, 1)},
        {"padding": "VALID"},
    ),
    *(
        Case("MaxPool3D", {"input": normal(1, 4, 5, 4, 2)}, attrs, label)
        for label, attrs in _POOLS_3D
    ),
    *(
        Case("AvgPool3D", {"input": normal(1, 4, 5, 4, 2)}, attrs, label)
        for label, attrs in _POOLS_3D
    ),
    *(
        Case(
            "MaxPoolWithArgmax",
            {"input": _IMAGE},
            {**attrs, "include_batch_in_index": batch},
            f"{label}-{batch}",
        )
        for label, attrs in _POOLS
        for batch in (False, True)
    ),
]
