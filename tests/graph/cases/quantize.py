"""Rows of `kernels/quantize.py`."""

from __future__ import annotations

from graph.cases.case import Case, f32, i32, normal

_X = normal(4, 3) * 4


ROWS = [
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
]
