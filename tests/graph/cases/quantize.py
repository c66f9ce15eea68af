"""Rows of `kernels/quantize.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Case, Program, f32, i32, integers, normal

_X = normal(4, 3) * 4
_BOUNDS = np.abs(normal(200)) * 3 + 0.1


def _dequantize(kind: str, mode: str, low: Any, high: Any, **attrs: Any) -> Any:
    def build(tf: Any, x: Any) -> Any:
        given = tf.bitcast(x, getattr(tf, kind))
        return tf.raw_ops.Dequantize(
            input=given, min_range=low, max_range=high, mode=mode, **attrs
        )

    return build


ROWS = [
    *(
        Program(
            f"dequantize-{kind}-{mode}-{narrow}",
            _dequantize(kind, mode, -1.7, 3.2, narrow_range=narrow),
            (integers(low, low + 256, 3, 4, dtype=kind[1:]),),
        )
        for kind, low in (("qint8", -128), ("quint8", 0))
        for mode in ("MIN_COMBINED", "MIN_FIRST", "SCALED")
        for narrow in ((False, True) if mode == "SCALED" else (False,))
    ),
    Program(
        "dequantize-axis",
        _dequantize("qint8", "SCALED", [-1.0, -2.0, -3.0], [1.0, 3.0, 2.0], axis=0),
        (integers(-128, 128, 3, 4, dtype="int8"),),
    ),
    Case(
        "FakeQuantWithMinMaxArgs",
        {"inputs": _X},
        {"min": -5.0, "max": 4.0},
        tolerance=1e-5,
    ),
    Case(
        "FakeQuantWithMinMaxArgs",
        {"inputs": _X},
        {"min": -5.0, "max": 4.0, "num_bits": 4, "narrow_range": True},
        "narrow",
        tolerance=1e-5,
    ),
    Case(
        "FakeQuantWithMinMaxVars",
        {"inputs": _X, "min": f32(-3), "max": f32(6)},
        tolerance=1e-5,
    ),
    Case(
        "FakeQuantWithMinMaxVarsPerChannel",
        {"inputs": _X, "min": f32(-3, -1, 0), "max": f32(6, 2, 4)},
        tolerance=1e-5,
    ),
    Case(
        "FakeQuantWithMinMaxVarsPerChannel",
        {"inputs": normal(4, 200) * 4, "min": -_BOUNDS, "max": _BOUNDS},
        label="zero-halfway",
        tolerance=1e-5,
    ),
    *(
        Case(
            "QuantizeAndDequantizeV2",
            {"input": _X, "input_min": f32(-3), "input_max": f32(5)},
            {"signed_input": signed, "range_given": given, "num_bits": 5},
            f"{signed}-{given}",
            tolerance=1e-5,
        )
        for signed in (False, True)
        for given in (False, True)
        if signed or given
    ),
    Case(
        "QuantizeAndDequantizeV3",
        {"input": _X, "input_min": f32(-3), "input_max": f32(5), "num_bits": i32(6)},
        tolerance=1e-5,
    ),
    Case(
        "QuantizeAndDequantizeV4",
        {"input": _X, "input_min": f32(-3), "input_max": f32(5)},
        {"range_given": True},
        tolerance=1e-5,
    ),
    *(
        Case(
            "QuantizeV2",
            {"input": _X, "min_range": f32(-2), "max_range": f32(2.9)},
            {
                "T": kind,
                "mode": mode,
                "round_mode": around,
                "narrow_range": narrow,
            },
            f"{mode}-{kind}-{around}-{narrow}",
        )
        for mode, kind, around, narrow in (
            ("MIN_COMBINED", "quint8", "HALF_AWAY_FROM_ZERO", False),
            ("MIN_COMBINED", "qint8", "HALF_AWAY_FROM_ZERO", False),
            ("MIN_FIRST", "quint8", "HALF_AWAY_FROM_ZERO", False),
            ("SCALED", "qint8", "HALF_TO_EVEN", False),
            ("SCALED", "qint8", "HALF_AWAY_FROM_ZERO", True),
            ("SCALED", "quint8", "HALF_TO_EVEN", False),
        )
    ),
]
