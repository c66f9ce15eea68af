"""Recurrent cells and layers that are one op each."""

from __future__ import annotations

from typing import Any

from keras import ops

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel


def _lstm_step(
    x: Any,
    state: Any,
    hidden: Any,
    weights: tuple[Any, ...],
    forget_bias: float,
    cell_clip: float,
    use_peephole: bool,
    order: str,
) -> tuple[Any, ...]:
    w, peep_i, peep_f, peep_o, b = weights
    gates = ops.matmul(ops.concatenate([x, hidden], axis=1), w) + b
    parts = dict(zip(order, ops.split(gates, 4, axis=1), strict=True))
    i, f, o = parts["i"], parts["f"] + forget_bias, parts["o"]
    if use_peephole:
        i, f = i + state * peep_i, f + state * peep_f
    candidate = ops.tanh(parts["c"])
    i, f = ops.sigmoid(i), ops.sigmoid(f)
    new = candidate * i + state * f
    if cell_clip > 0:
        new = ops.clip(new, -cell_clip, cell_clip)
    if use_peephole:
        o = o + new * peep_o
    o = ops.sigmoid(o)
    shown = ops.tanh(new)
    return i, new, f, o, candidate, shown, o * shown


@kernel("LSTMBlockCell")
def lstm_block_cell(
    x: Any,
    cs_prev: Any,
    h_prev: Any,
    w: Any,
    wci: Any,
    wcf: Any,
    wco: Any,
    b: Any,
    *,
    forget_bias: float,
    cell_clip: float,
    use_peephole: bool,
) -> tuple[Any, ...]:
    """One step of an LSTM, with all that happens inside."""
    weights = tuple(values.to_tensor(v) for v in (w, wci, wcf, wco, b))
    inputs, state, hidden = (values.to_tensor(v) for v in (x, cs_prev, h_prev))
    return _lstm_step(
        inputs, state, hidden, weights, forget_bias, cell_clip, use_peephole, "icfo"
    )


def _block_lstm(
    seq_len_max: Any,
    x: Any,
    cs_prev: Any,
    h_prev: Any,
    weights: tuple[Any, ...],
    forget_bias: float,
    cell_clip: float,
    use_peephole: bool,
    order: str,
) -> tuple[Any, ...]:
    x, state, hidden = (values.to_tensor(v) for v in (x, cs_prev, h_prev))
    weights = tuple(values.to_tensor(v) for v in weights)
    limit = int(seq_len_max)
    count = values.shape_of(x)[0]

    def step(held: Any, inputs: Any) -> Any:
        made = _lstm_step(
            inputs,
            held[0],
            held[1],
            weights,
            forget_bias,
            cell_clip,
            use_peephole,
            order,
        )
        return (made[1], made[6]), made

    _, stacked = ops.scan(step, (state, hidden), x[:limit])
    rest = count - limit
    if not rest:
        return tuple(stacked)
    return tuple(ops.pad(s, [[0, rest], [0, 0], [0, 0]]) for s in stacked)


@kernel("BlockLSTM", static=("seq_len_max",))
def block_lstm(
    seq_len_max: Any,
    x: Any,
    cs_prev: Any,
    h_prev: Any,
    w: Any,
    wci: Any,
    wcf: Any,
    wco: Any,
    b: Any,
    *,
    forget_bias: float,
    cell_clip: float,
    use_peephole: bool,
) -> tuple[Any, ...]:
    """An LSTM over time, with all that happens inside; gates in order i, c, f, o."""
    return _block_lstm(
        seq_len_max,
        x,
        cs_prev,
        h_prev,
        (w, wci, wcf, wco, b),
        forget_bias,
        cell_clip,
        use_peephole,
        "icfo",
    )


@kernel("BlockLSTMV2", static=("seq_len_max",))
def block_lstm_v2(
    seq_len_max: Any,
    x: Any,
    cs_prev: Any,
    h_prev: Any,
    w: Any,
    wci: Any,
    wcf: Any,
    wco: Any,
    b: Any,
    *,
    cell_clip: float,
    use_peephole: bool,
) -> tuple[Any, ...]:
    """An LSTM over time, with all that happens inside; gates in order i, f, c, o."""
    return _block_lstm(
        seq_len_max,
        x,
        cs_prev,
        h_prev,
        (w, wci, wcf, wco, b),
        0.0,
        cell_clip,
        use_peephole,
        "ifco",
    )


@kernel("GRUBlockCell")
def gru_block_cell(
    x: Any, h_prev: Any, w_ru: Any, w_c: Any, b_ru: Any, b_c: Any
) -> tuple[Any, Any, Any, Any]:
    """One step of a GRU, with all that happens inside."""
    x, hidden, w_ru, w_c, b_ru, b_c = (
        values.to_tensor(v) for v in (x, h_prev, w_ru, w_c, b_ru, b_c)
    )
    gates = ops.sigmoid(ops.matmul(ops.concatenate([x, hidden], axis=1), w_ru) + b_ru)
    reset, update = ops.split(gates, 2, axis=1)
    both = ops.concatenate([x, hidden * reset], axis=1)
    candidate = ops.tanh(ops.matmul(both, w_c) + b_c)
    new = update * hidden + (1 - update) * candidate
    return reset, update, candidate, new
