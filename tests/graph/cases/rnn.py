"""Rows of `kernels/rnn.py`."""

from __future__ import annotations

from typing import Any

from graph.cases.case import Case, i64, normal

_UNITS = 3
_LSTM: dict[str, Any] = {
    "cs_prev": normal(2, _UNITS),
    "h_prev": normal(2, _UNITS, salt=1),
    "w": normal(4 + _UNITS, 4 * _UNITS),
    "wci": normal(_UNITS),
    "wcf": normal(_UNITS, salt=1),
    "wco": normal(_UNITS, salt=2),
    "b": normal(4 * _UNITS),
}

ROWS = [
    *(
        Case(
            "LSTMBlockCell",
            {"x": normal(2, 4), **_LSTM},
            {"use_peephole": peephole, "cell_clip": clip},
            f"{peephole}-{clip}",
            5e-6,
        )
        for peephole, clip in ((False, 0.0), (True, 0.5))
    ),
    *(
        Case(
            op,
            {"seq_len_max": i64(5), "x": normal(5, 2, 4), **_LSTM},
            {"use_peephole": peephole},
            f"{peephole}",
            5e-6,
        )
        for op in ("BlockLSTM", "BlockLSTMV2")
        for peephole in (False, True)
    ),
    Case(
        "GRUBlockCell",
        {
            "x": normal(2, 4),
            "h_prev": normal(2, 3),
            "w_ru": normal(7, 6),
            "w_c": normal(7, 3),
            "b_ru": normal(6),
            "b_c": normal(3),
        },
        {},
        "",
        5e-6,
    ),
]
