"""Rows of `kernels/image.py` and `kernels/boxes.py`."""

from __future__ import annotations

from typing import Any

from graph.cases.case import Case, f32, i32, normal, uniform

_IMAGE = normal(2, 5, 7, 3)
_COLOURS = uniform(0, 1, 2, 4, 5, 3)
_SIZES = {"up": i32(8, 9), "down": i32(3, 4), "one": i32(1, 1)}
_SAMPLING = {
    "legacy": {"align_corners": False, "half_pixel_centers": False},
    "corners": {"align_corners": True, "half_pixel_centers": False},
    "half": {"align_corners": False, "half_pixel_centers": True},
}
_TRANSFORMS = f32(
    [[1.1, 0.2, -1, -0.1, 0.9, 0.5, 0.01, 0.02], [0.7, 0, 1, 0, 1.3, -2, 0, 0]]
)
_BOXES = f32(
    [
        [0, 0, 1, 1],
        [0, 0.1, 1, 1.1],
        [0, -0.1, 1, 0.9],
        [0, 10, 1, 11],
        [0, 10.1, 1, 11.1],
        [1, 101, 0, 100],
    ]
)
_SCORES = f32(0.9, 0.75, 0.6, 0.95, 0.5, 0.3)


def _suppression(op: str, *more: Any, **attrs: Any) -> Case:
    names = (
        "boxes",
        "scores",
        "max_output_size",
        "iou_threshold",
        "score_threshold",
        "soft_nms_sigma",
    )
    values = (_BOXES, _SCORES, i32(4), *more)
    return Case(
        op,
        dict(zip(names, values, strict=False)),
        attrs,
        "-".join(map(str, attrs.values())) if op[-1] in "45" else "",
    )


ROWS = [
    *(
        Case(op, {"images": _IMAGE, "size": size}, attrs, f"{label}-{sampling}", 5e-6)
        for op in ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic")
        for label, size in _SIZES.items()
        for sampling, attrs in _SAMPLING.items()
    ),
    *(
        Case(
            "ResizeArea",
            {"images": _IMAGE, "size": size},
            {"align_corners": align},
            f"{label}-{align}",
            5e-6,
        )
        for label, size in _SIZES.items()
        for align in (False, True)
    ),
    *(
        Case(
            "CropAndResize",
            {
                "image": _IMAGE,
                "boxes": f32(
                    [[0, 0, 1, 1], [-0.2, 0.1, 0.7, 1.3], [0.9, 0.8, 0.1, 0.2]]
                ),
                "box_ind": i32(1, 0, 1),
                "crop_size": size,
            },
            {"method": method, "extrapolation_value": 0.5},
            f"{method}-{label}",
            5e-6,
        )
        for method in ("bilinear", "nearest")
        for label, size in (("four", i32(4, 3)), ("one", i32(1, 1)))
    ),
    *(
        Case(
            "ImageProjectiveTransformV3",
            {
                "images": _IMAGE,
                "transforms": _TRANSFORMS,
                "output_shape": i32(6, 6),
                "fill_value": f32(0.25),
            },
            {"interpolation": interpolation, "fill_mode": mode},
            f"{interpolation}-{mode}",
            1e-5,
        )
        for interpolation in ("BILINEAR", "NEAREST")
        for mode in ("CONSTANT", "REFLECT", "WRAP", "NEAREST")
    ),
    Case(
        "ImageProjectiveTransformV2",
        {"images": _IMAGE, "transforms": _TRANSFORMS[:1], "output_shape": i32(5, 7)},
        {"interpolation": "BILINEAR"},
        "",
        1e-5,
    ),
    Case("AdjustContrastv2", {"images": _COLOURS, "contrast_factor": f32(1.7)}),
    Case("RGBToHSV", {"images": _COLOURS}),
    Case("HSVToRGB", {"images": _COLOURS}),
    Case("AdjustHue", {"images": _COLOURS, "delta": f32(0.3)}, tolerance=1e-5),
    Case(
        "AdjustHue",
        {"images": normal(3, 4, 5, 3), "delta": f32(-0.4)},
        label="beyond",
        tolerance=1e-5,
    ),
    Case("AdjustSaturation", {"images": _COLOURS, "scale": f32(1.4)}, tolerance=1e-5),
    Case(
        "AdjustSaturation",
        {"images": normal(3, 4, 5, 3), "scale": f32(0.6)},
        label="beyond",
        tolerance=1e-5,
    ),
    Case(
        "NonMaxSuppression",
        {"boxes": _BOXES, "scores": _SCORES, "max_output_size": i32(3)},
        {"iou_threshold": 0.5},
    ),
    _suppression("NonMaxSuppressionV2", f32(0.5)),
    _suppression("NonMaxSuppressionV3", f32(0.5), f32(0.4)),
    *(
        _suppression(
            "NonMaxSuppressionV4", f32(0.5), f32(0.4), pad_to_max_output_size=pad
        )
        for pad in (False, True)
    ),
    *(
        _suppression(
            "NonMaxSuppressionV5",
            f32(0.5),
            f32(0.4),
            f32(0.5),
            pad_to_max_output_size=pad,
        )
        for pad in (False, True)
    ),
    Case(
        "CombinedNonMaxSuppression",
        {
            "boxes": uniform(0, 1, 2, 6, 1, 4),
            "scores": uniform(0, 1, 2, 6, 3),
            "max_output_size_per_class": i32(3),
            "max_total_size": i32(5),
            "iou_threshold": f32(0.3),
            "score_threshold": f32(0.2),
        },
    ),
    *(
        Case(
            "ScaleAndTranslate",
            {
                "images": _IMAGE,
                "size": i32(8, 4),
                "scale": f32(1.6, 0.6),
                "translation": f32(0.5, -0.25),
            },
            {"kernel_type": name, "antialias": antialias},
            f"{name}-{antialias}",
            1e-5,
        )
        for name in (
            *("lanczos1", "lanczos3", "lanczos5", "gaussian", "box", "triangle"),
            *("keyscubic", "mitchellcubic"),
        )
        for antialias in (False, True)
    ),
]
