"""Rows of `kernels/gradient.py`."""

from __future__ import annotations

import numpy as np

from graph.cases.case import Case, Program, i32, normal, uniform

_IMAGE = normal(2, 8, 9, 4)
_CONV = {"strides": [1, 2, 2, 1], "padding": "SAME"}
_POOL = {"ksize": [1, 2, 3, 1], "strides": [1, 2, 2, 1], "padding": "VALID"}
_POOL_3D = {
    "ksize": [1, 2, 2, 2, 1],
    "strides": [1, 2, 2, 2, 1],
    "padding": "VALID",
}
_VOLUME = normal(1, 4, 6, 4, 2)


def _max_pool_grad(tf, x, grad):  # type: ignore[no-untyped-def]
    out = tf.raw_ops.MaxPool(input=x, **_POOL)
    return [tf.raw_ops.MaxPoolGrad(orig_input=x, orig_output=out, grad=grad, **_POOL)]


def _max_pool3d_grad(tf, x, grad):  # type: ignore[no-untyped-def]
    out = tf.raw_ops.MaxPool3D(input=x, **_POOL_3D)
    return [
        tf.raw_ops.MaxPool3DGrad(orig_input=x, orig_output=out, grad=grad, **_POOL_3D)
    ]


ROWS = [
    Case(
        "Conv2DBackpropFilter",
        {
            "input": _IMAGE,
            "filter_sizes": i32(3, 2, 4, 5),
            "out_backprop": normal(2, 4, 5, 5),
        },
        _CONV,
        "",
        5e-6,
    ),
    Case(
        "DepthwiseConv2dNativeBackpropFilter",
        {
            "input": _IMAGE,
            "filter_sizes": i32(3, 2, 4, 2),
            "out_backprop": normal(2, 4, 5, 8),
        },
        _CONV,
        "",
        5e-6,
    ),
    Case(
        "Conv3DBackpropFilterV2",
        {
            "input": _VOLUME,
            "filter_sizes": i32(2, 3, 2, 2, 3),
            "out_backprop": normal(1, 2, 3, 2, 3),
        },
        {"strides": [1, 2, 2, 2, 1], "padding": "SAME"},
        "",
        5e-6,
    ),
    Program("MaxPoolGrad", _max_pool_grad, (_IMAGE, normal(2, 4, 4, 4))),
    Program("MaxPool3DGrad", _max_pool3d_grad, (_VOLUME, normal(1, 2, 3, 2, 2))),
    Case(
        "AvgPoolGrad",
        {"orig_input_shape": i32(2, 8, 9, 4), "grad": normal(2, 4, 4, 4)},
        _POOL,
    ),
    Case(
        "AvgPool3DGrad",
        {"orig_input_shape": i32(1, 4, 6, 4, 2), "grad": normal(1, 2, 3, 2, 2)},
        _POOL_3D,
    ),
    *(
        Case(
            "FusedBatchNormGradV3",
            {
                "y_backprop": _IMAGE,
                "x": normal(2, 8, 9, 4, salt=1),
                "scale": uniform(0.5, 2, 4),
                "reserve_space_1": mean,
                "reserve_space_2": variance,
                "reserve_space_3": np.zeros(0, np.float32),
            },
            {"is_training": training, "epsilon": 0.001},
            f"{training}",
            1e-5,
            compare=lambda results: results[:3],
        )
        for training, mean, variance in (
            (False, normal(4), uniform(0.5, 2, 4)),
            (
                True,
                normal(2, 8, 9, 4, salt=1).mean((0, 1, 2)),
                normal(2, 8, 9, 4, salt=1).var((0, 1, 2)),
            ),
        )
    ),
]
