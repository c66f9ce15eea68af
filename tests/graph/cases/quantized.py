"""Rows of `kernels/quantized.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Program, integers

_PLAIN = {"quint8": "uint8", "qint8": "int8", "qint32": "int32"}


def _build(op: str, kinds: dict[str, str], **attrs: Any) -> Any:
    """A program of one op, whose quantized inputs come as plain numbers."""

    def build(tf: Any, *inputs: Any) -> Any:
        given = {
            name: tf.bitcast(x, getattr(tf, kind))
            for x, (name, kind) in zip(inputs, kinds.items(), strict=True)
        }
        fixed = {
            name: getattr(tf, value) if value in _PLAIN else value
            for name, value in attrs.items()
            if isinstance(value, str)
        }
        found = getattr(tf.raw_ops, op)(**given, **{**attrs, **fixed})
        return [
            tf.bitcast(out, _PLAIN[out.dtype.name]) if out.dtype.is_quantized else out
            for out in found
        ]

    return build


def _u8(*shape: int) -> Any:
    return integers(0, 256, *shape, dtype="uint8")


def _i8(*shape: int) -> Any:
    return integers(-128, 128, *shape, dtype="int8")


def _i32(*shape: int) -> Any:
    return integers(-(2**24), 2**24, *shape)


_IMAGES = _u8(2, 7, 6, 3)
_BOUNDS = {"min_input": -1.25, "max_input": 3.5}
_TWO = {"min_x": -1.25, "max_x": 3.5, "min_y": -2.0, "max_y": 0.75}
_POOL = {"ksize": [1, 3, 2, 1], "strides": [1, 2, 1, 1]}


def _row(name: str, op: str, inputs: dict[str, tuple[str, Any]], **attrs: Any) -> Any:
    tolerance = attrs.pop("tolerance", 2e-6)
    kinds = {key: kind for key, (kind, _) in inputs.items()}
    found = tuple(value for _, value in inputs.values())
    return Program(
        f"{op}-{name}", _build(op, kinds, **attrs), found, tolerance=tolerance
    )


def _resized(tf: Any, images: Any) -> Any:
    """Real numbers: TensorFlow's own are up to two steps of 255 off."""
    found, low, high = tf.raw_ops.QuantizedResizeBilinear(
        images=tf.bitcast(images, tf.quint8),
        size=[5, 9],
        min=-1.25,
        max=3.5,
        half_pixel_centers=True,
    )
    return [tf.cast(tf.bitcast(found, tf.uint8), tf.float32), low, high]


def _added(tf: Any, x: Any, y: Any) -> Any:
    """Real numbers: TensorFlow's own are up to a third of an input's step off."""
    found, low, high = tf.raw_ops.QuantizedAdd(
        x=tf.bitcast(x, tf.quint8), y=tf.bitcast(y, tf.quint8), **_TWO
    )
    return [tf.cast(tf.bitcast(found, tf.int32), tf.float32), low, high]


ROWS = [
    *(
        _row(
            f"{padding}-{step}",
            "QuantizedConv2D",
            {"input": ("quint8", _IMAGES), "filter": ("quint8", _u8(3, 2, 3, 4))},
            **_BOUNDS,
            min_filter=-0.5,
            max_filter=0.75,
            strides=[1, step, step, 1],
            padding=padding,
        )
        for padding in ("SAME", "VALID")
        for step in (1, 2)
    ),
    *(
        _row(
            f"{turned}",
            "QuantizedMatMul",
            {
                "a": ("quint8", _u8(5, 4) if turned else _u8(4, 5)),
                "b": ("quint8", _u8(3, 5) if turned else _u8(5, 3)),
            },
            min_a=-1.25,
            max_a=3.5,
            min_b=0.0,
            max_b=0.5,
            transpose_a=turned,
            transpose_b=turned,
        )
        for turned in (False, True)
    ),
    _row(
        "one",
        "QuantizedMul",
        {"x": ("quint8", _u8(3, 4)), "y": ("quint8", _u8(4))},
        **_TWO,
    ),
    *(
        Program(f"QuantizedAdd-{name}", _added, (_u8(3, 4), other), tolerance=0.005)
        for name, other in (("row", _u8(4)), ("same", _u8(3, 4)[::-1]), ("one", _u8()))
    ),
    *(
        _row(
            kind,
            "QuantizedBiasAdd",
            {"input": (kind, made(2, 3, 4)), "bias": (kind, made(4))},
            **_BOUNDS,
            min_bias=-2.0,
            max_bias=0.75,
            out_type="qint32",
        )
        for kind, made in (("quint8", _u8), ("qint8", _i8))
    ),
    *(
        _row(
            kind,
            op,
            {"features": (kind, made(3, 4))},
            min_features=-3.0,
            max_features=9.0,
            out_type=kind,
        )
        for op in ("QuantizedRelu", "QuantizedRelu6")
        for kind, made in (("quint8", _u8),)
    ),
    _row(
        "qint32",
        "QuantizedRelu",
        {"features": ("qint32", _i32(3, 4))},
        min_features=-8.0,
        max_features=8.0,
        out_type="qint32",
    ),
    *(
        _row(
            padding,
            op,
            {"input": ("quint8", _IMAGES)},
            **_BOUNDS,
            **_POOL,
            padding=padding,
        )
        for op in ("QuantizedMaxPool", "QuantizedAvgPool")
        for padding in ("SAME", "VALID")
    ),
    Program("QuantizedResizeBilinear", _resized, (_IMAGES,), tolerance=0.012),
    Program(
        "QuantizedConcat",
        lambda tf, x, y: [
            tf.bitcast(out, tf.uint8) if out.dtype.is_quantized else out
            for out in tf.raw_ops.QuantizedConcat(
                concat_dim=1,
                values=[tf.bitcast(x, tf.quint8), tf.bitcast(y, tf.quint8)],
                input_mins=[-1.0, 0.5],
                input_maxes=[3.0, 4.25],
            )
        ],
        (_u8(2, 3), _u8(2, 5)),
    ),
    _row(
        "one",
        "QuantizedReshape",
        {"tensor": ("quint8", _u8(3, 4))},
        shape=np.array([2, 6]),
        input_min=-1.0,
        input_max=3.0,
    ),
    _row(
        "one",
        "RequantizationRange",
        {"input": ("qint32", _i32(3, 4))},
        input_min=-300.0,
        input_max=300.0,
    ),
    *(
        _row(
            kind,
            "Requantize",
            {"input": ("qint32", _i32(3, 4))},
            input_min=-300.0,
            input_max=300.0,
            requested_output_min=-1.5,
            requested_output_max=1.75,
            out_type=kind,
        )
        for kind in ("quint8", "qint8")
    ),
    _row(
        "one",
        "QuantizeDownAndShrinkRange",
        {"input": ("qint32", _i32(3, 4))},
        input_min=-300.0,
        input_max=300.0,
        out_type="quint8",
    ),
]
