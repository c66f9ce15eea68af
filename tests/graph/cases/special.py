"""Rows of `kernels/special.py`."""

from __future__ import annotations

from graph.cases.case import Case, f32, i32, integers, normal, uniform

_POSITIVE = uniform(0.2, 4, 3, 4)
_UNIT = uniform(0.05, 0.95, 3, 4)
_COMPLEX = (normal(2, 4, 4, 6) + 1j * normal(2, 4, 4, 6, salt=1)).astype("complex64")
_LENGTHS = {"": i32([6]), "2D": i32(4, 6), "3D": i32(4, 4, 6)}

_ONE = {
    "BesselI0": normal(3, 4),
    "BesselI0e": normal(3, 4),
    "BesselI1": normal(3, 4),
    "BesselI1e": normal(3, 4),
    "Digamma": _POSITIVE,
    "Erfc": normal(3, 4),
    "Erfinv": _UNIT,
    "Expint": _POSITIVE,
    "Lgamma": _POSITIVE,
    "Ndtri": _UNIT,
    "Spence": _POSITIVE,
}

ROWS = [
    *(Case(op, {"x": x}, tolerance=2e-5) for op, x in _ONE.items()),
    *(
        Case(op, {"a": _POSITIVE, "x": _POSITIVE[::-1]}, tolerance=2e-5)
        for op in ("Igamma", "Igammac")
    ),
    Case("Zeta", {"x": _POSITIVE + 1.5, "q": _POSITIVE[::-1]}, tolerance=2e-5),
    Case("NextAfter", {"x1": normal(3), "x2": f32(9, -9, 0)}),
    Case("Betainc", {"a": _POSITIVE, "b": _POSITIVE[::-1], "x": _UNIT}, tolerance=2e-5),
    Case("Polygamma", {"a": f32(1, 2, 3), "x": f32(0.5, 1.5, 2.5)}, tolerance=2e-5),
    Case("PopulationCount", {"x": integers(0, 99, 5)}),
    *(
        Case(f"{op}{n}", {"input": _COMPLEX}, tolerance=1e-5)
        for op in ("FFT", "IFFT")
        for n in _LENGTHS
    ),
    *(
        Case(
            f"RFFT{n}",
            {"input": normal(2, 4, 4, 6), "fft_length": length},
            {"Tcomplex": "complex64"},
            tolerance=1e-5,
        )
        for n, length in _LENGTHS.items()
    ),
    *(
        Case(
            f"IRFFT{n}",
            {"input": _COMPLEX[..., :4], "fft_length": length},
            {"Treal": "float32"},
            tolerance=1e-5,
        )
        for n, length in _LENGTHS.items()
    ),
    Case(
        "RFFT",
        {"input": normal(2, 6), "fft_length": i32([4])},
        {"Tcomplex": "complex64"},
        "cut",
        tolerance=1e-5,
    ),
]
