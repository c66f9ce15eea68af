"""Rows of `kernels/conv.py`."""

from __future__ import annotations

from typing import Any

from graph.cases.case import Case, i32, normal

_TOLERANCE = 5e-6
_IMAGE = normal(2, 8, 9, 4)

_PLAIN: dict[str, dict[str, Any]] = {
    "valid": {"strides": [1, 1, 1, 1], "padding": "VALID"},
    "same": {"strides": [1, 2, 2, 1], "padding": "SAME"},
    "uneven": {"strides": [1, 3, 2, 1], "padding": "SAME"},
    "dilated": {
        "strides": [1, 1, 1, 1],
        "padding": "SAME",
        "dilations": [1, 2, 3, 1],
    },
    "explicit": {
        "strides": [1, 2, 1, 1],
        "padding": "EXPLICIT",
        "explicit_paddings": [0, 0, 1, 2, 0, 3, 0, 0],
    },
}


def _transposed(
    label: str, size: list[int], out: tuple[int, ...], **attrs: Any
) -> Case:
    return Case(
        "Conv2DBackpropInput",
        {
            "input_sizes": i32(size),
            "filter": normal(3, 2, 4, 5),
            "out_backprop": normal(*out),
        },
        attrs,
        label,
        _TOLERANCE,
    )


ROWS = [
    *(
        Case(
            "Conv2D",
            {"input": _IMAGE, "filter": normal(3, 2, 4, 5)},
            attrs,
            label,
            _TOLERANCE,
        )
        for label, attrs in _PLAIN.items()
    ),
    Case(
        "Conv2D",
        {"input": _IMAGE, "filter": normal(3, 3, 2, 6)},
        {"strides": [1, 1, 1, 1], "padding": "SAME"},
        "groups",
        _TOLERANCE,
    ),
    *(
        Case(
            "DepthwiseConv2dNative",
            {"input": _IMAGE, "filter": normal(3, 2, 4, m)},
            attrs,
            f"{label}-{m}",
            _TOLERANCE,
        )
        for label, attrs in _PLAIN.items()
        for m in (1, 2)
        if label in ("valid", "same")
    ),
    Case(
        "DepthwiseConv2dNative",
        {"input": _IMAGE, "filter": normal(3, 2, 4, 1)},
        {
            "strides": [1, 1, 1, 1],
            "padding": "EXPLICIT",
            "explicit_paddings": [0, 0, 1, 2, 0, 3, 0, 0],
        },
        "explicit",
        _TOLERANCE,
    ),
    Case(
        "Conv3D",
        {"input": normal(1, 4, 5, 6, 2), "filter": normal(2, 3, 2, 2, 3)},
        {"strides": [1, 1, 2, 1, 1], "padding": "SAME"},
        "",
        _TOLERANCE,
    ),
    _transposed(
        "valid", [2, 10, 9, 4], (2, 8, 8, 5), strides=[1, 1, 1, 1], padding="VALID"
    ),
    _transposed(
        "stride", [2, 16, 17, 4], (2, 8, 9, 5), strides=[1, 2, 2, 1], padding="SAME"
    ),
    _transposed(
        "wide", [2, 17, 16, 4], (2, 6, 4, 5), strides=[1, 3, 4, 1], padding="SAME"
    ),
    _transposed(
        "gap", [2, 10, 9, 4], (2, 4, 4, 5), strides=[1, 2, 2, 1], padding="VALID"
    ),
    _transposed(
        "explicit",
        [2, 8, 8, 4],
        (2, 8, 8, 5),
        strides=[1, 1, 1, 1],
        padding="EXPLICIT",
        explicit_paddings=[0, 0, 1, 1, 1, 0, 0, 0],
    ),
    Case(
        "Conv3DBackpropInputV2",
        {
            "input_sizes": i32(1, 4, 6, 6, 2),
            "filter": normal(2, 3, 2, 2, 3),
            "out_backprop": normal(1, 2, 3, 3, 3),
        },
        {"strides": [1, 2, 2, 2, 1], "padding": "SAME"},
        "",
        _TOLERANCE,
    ),
    Case(
        "DepthwiseConv2dNativeBackpropInput",
        {
            "input_sizes": i32(2, 8, 9, 4),
            "filter": normal(3, 2, 4, 2),
            "out_backprop": normal(2, 4, 5, 8),
        },
        {"strides": [1, 2, 2, 1], "padding": "SAME"},
        "",
        _TOLERANCE,
    ),
]
