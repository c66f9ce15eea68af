"""Rows of `kernels/gradient_images.py`."""

from __future__ import annotations

import numpy as np

from graph.cases.case import Case, f32, i32, normal, uniform

_GRADS = normal(2, 8, 5, 3)
_IMAGE = normal(2, 5, 7, 3)
_SAMPLING = {
    "legacy": {"align_corners": False, "half_pixel_centers": False},
    "corners": {"align_corners": True, "half_pixel_centers": False},
    "half": {"align_corners": False, "half_pixel_centers": True},
}
_CROPS = {
    "boxes": f32(
        [[0.03, 0.04, 0.96, 0.93], [-0.21, 0.13, 0.67, 1.31], [0.87, 0.83, 0.13, 0.2]]
    ),
    "box_ind": i32(1, 0, 1),
}
_DILATION = {
    "input": normal(1, 6, 5, 2),
    "filter": normal(2, 3, 2),
    "out_backprop": normal(1, 6, 5, 2, salt=1),
}
_NORM = {
    "y_backprop": normal(2, 4, 3, 2),
    "x": normal(2, 4, 3, 2, salt=1),
    "scale": uniform(0.5, 2, 2),
}
_ROUNDED = {
    "gradients": normal(4, 3),
    "inputs": 2 * normal(4, 3, salt=1),
}

ROWS = [
    *(
        Case(
            f"{op}Grad",
            {"grads": _GRADS, "original_image": _IMAGE},
            attrs,
            sampling,
            5e-6,
        )
        for op in ("ResizeBilinear", "ResizeBicubic")
        for sampling, attrs in _SAMPLING.items()
    ),
    *(
        Case(
            "ResizeNearestNeighborGrad",
            {"grads": _GRADS, "size": i32(5, 7)},
            attrs,
            sampling,
        )
        for sampling, attrs in _SAMPLING.items()
    ),
    *(
        Case(
            "ScaleAndTranslateGrad",
            {
                "grads": _GRADS,
                "original_image": _IMAGE,
                "scale": f32(1.7, 0.6),
                "translation": f32(-0.5, 0.3),
            },
            {"kernel_type": kind, "antialias": antialias},
            f"{kind}-{antialias}",
            5e-6,
        )
        for kind in ("lanczos3", "triangle")
        for antialias in (True, False)
    ),
    *(
        Case(
            "CropAndResizeGradImage",
            {"grads": normal(3, 4, 3, 2), **_CROPS, "image_size": i32(2, 6, 5, 2)},
            {"T": "float32", "method": method},
            method,
            5e-6,
        )
        for method in ("bilinear", "nearest")
    ),
    Case(
        "CropAndResizeGradBoxes",
        {"grads": normal(3, 4, 3, 2), "image": normal(2, 6, 5, 2), **_CROPS},
        {"method": "bilinear"},
        "",
        1e-5,
    ),
    *(
        Case(
            "MirrorPadGrad",
            {"input": normal(8, 9), "paddings": i32([[1, 2], [0, 3]])},
            {"mode": mode},
            mode,
        )
        for mode in ("REFLECT", "SYMMETRIC")
    ),
    Case(
        "LRNGrad",
        {
            "input_grads": normal(2, 3, 3, 7),
            "input_image": normal(2, 3, 3, 7, salt=1),
            "output_image": (
                normal(2, 3, 3, 7, salt=1)
                * np.power(
                    1.5
                    + 0.7
                    * sum(
                        np.pad(
                            np.square(normal(2, 3, 3, 7, salt=1)),
                            [(0, 0)] * 3 + [(2, 2)],
                        )[..., i : i + 7]
                        for i in range(5)
                    ),
                    -0.6,
                )
            ).astype("float32"),
        },
        {"depth_radius": 2, "bias": 1.5, "alpha": 0.7, "beta": 0.6},
        "",
        5e-6,
    ),
    *(
        Case(
            op,
            _DILATION,
            {"strides": [1, 1, 1, 1], "rates": [1, 2, 1, 1], "padding": "SAME"},
            "",
            5e-6,
        )
        for op in ("Dilation2DBackpropInput", "Dilation2DBackpropFilter")
    ),
    *(
        Case(
            op,
            {
                **_NORM,
                "reserve_space_1": f32(0.1, -0.2)
                if not training
                else _NORM["x"].mean((0, 1, 2)),
                "reserve_space_2": f32(1.5, 0.7)
                if not training
                else _NORM["x"].var((0, 1, 2)),
            },
            {"is_training": training, "epsilon": 0.001},
            f"{training}",
            1e-5,
            compare=lambda found: found[:3],
        )
        for op in ("FusedBatchNormGrad", "FusedBatchNormGradV2")
        for training in (False, True)
    ),
    Case(
        "FakeQuantWithMinMaxArgsGradient",
        _ROUNDED,
        {"min": -1.3, "max": 1.7, "num_bits": 8, "narrow_range": False},
    ),
    *(
        Case(
            "FakeQuantWithMinMaxVarsGradient",
            {**_ROUNDED, "min": np.float32(-1.3), "max": np.float32(1.7)},
            {"num_bits": 4, "narrow_range": narrow},
            f"{narrow}",
        )
        for narrow in (False, True)
    ),
    Case(
        "FakeQuantWithMinMaxVarsPerChannelGradient",
        {**_ROUNDED, "min": f32(-1.3, -0.2, -2), "max": f32(1.7, 1.2, 0.3)},
        {"num_bits": 8, "narrow_range": False},
    ),
]
