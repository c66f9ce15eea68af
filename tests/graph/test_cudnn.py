"""cuDNN's recurrent layers give what tf_keras' layers give on a CPU.

TensorFlow runs these ops on NVIDIA's devices alone; tf_keras writes them into every
model as what it calls there, with the weights in cuDNN's order.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from graph.cases.case import normal
from peer import Peer
from regraft.errors import MismatchError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.main_graph import run_node

FLOAT = ir.DataType.of("float32")
BATCH, STEPS, WIDTH, UNITS = 3, 5, 6, 4


def _run(op: str, inputs: list[Any], **attrs: Any) -> list[Any]:
    return run_node(
        ir.Node("n", op, attrs={"T": FLOAT, **attrs}), inputs, FunctionLibrary({})
    )


# The two that hold the most; the others are marked `slow`.
QUICK = {("lstm", 2, 2, False), ("gru", 2, 2, True)}
ROWS = [
    pytest.param(
        kind,
        count,
        directions,
        [5, 2, 4] if ragged else None,
        id=f"{kind}-{count}-{directions}-{'ragged' if ragged else 'whole'}",
        marks=[] if (kind, count, directions, ragged) in QUICK else [pytest.mark.slow],
    )
    for kind in ("lstm", "gru", "rnn_tanh")
    for count in (1, 2)
    for directions in (1, 2)
    for ragged in (False, True)
]


@pytest.mark.parametrize(("kind", "count", "directions", "lengths"), ROWS)
def test_layers_equal_those_of_tf_keras(
    kind: str, count: int, directions: int, lengths: Any, peer: Peer
) -> None:
    x = normal(BATCH, STEPS, WIDTH)
    theirs = peer.call("recurrent.run", kind, count, directions == 2, x, lengths)
    mode: dict[str, Any] = {
        "rnn_mode": kind.encode(),
        "direction": b"bidirectional" if directions == 2 else b"unidirectional",
    }
    state = np.zeros((BATCH, count * directions, UNITS), np.float32)
    cell = state if kind == "lstm" else np.float32(0)
    sizes = np.array(lengths or [STEPS] * BATCH, np.int32)
    inputs = [x, state, cell, theirs["params"], sizes]

    def run(inputs: list[Any]) -> list[Any]:
        return _run("CudnnRNNV3", inputs, time_major=False, **mode)

    for out, hidden, last, *_ in (run(inputs), jax.jit(run)(inputs)):
        for row, size in enumerate(sizes):
            np.testing.assert_allclose(
                out[row, :size], theirs["outputs"][row, :size], atol=2e-6
            )
            np.testing.assert_array_equal(out[row, size:], 0)
        each = 2 if kind == "lstm" else 1
        for turn in range(directions):
            ours = [hidden, last][:each]
            for found, expected in zip(
                ours, theirs["states"][turn * each :], strict=False
            ):
                place = (count - 1) * directions + turn
                np.testing.assert_allclose(found[:, place], expected, atol=2e-6)
    if lengths is None:
        turned = np.swapaxes(x, 0, 1)
        first = np.swapaxes(state, 0, 1)
        given = [turned, first, first if kind == "lstm" else cell, theirs["params"]]
        for op in ("CudnnRNN", "CudnnRNNV2"):
            out = _run(op, given, **mode)[0]
            np.testing.assert_allclose(
                np.swapaxes(out, 0, 1), theirs["outputs"], atol=2e-6
            )
    sizes_of = [np.int32(count), np.int32(UNITS), np.int32(WIDTH)]
    parts = [*theirs["weights"], *theirs["biases"]]
    number = len(theirs["weights"])
    for suffix in ("", "V2"):
        counts = (
            {"num_params_weights": number, "num_params_biases": number}
            if suffix
            else {"num_params": number}
        )
        found = _run(
            f"CudnnRNNParamsToCanonical{suffix}",
            [*sizes_of, theirs["params"]],
            **counts,
            **mode,
        )
        for ours, expected in zip(found, parts, strict=True):
            np.testing.assert_array_equal(ours, expected)
        (vector,) = _run(
            f"CudnnRNNCanonicalToParams{suffix}", [*sizes_of, *parts], **counts, **mode
        )
        np.testing.assert_array_equal(vector, theirs["params"])
    (size,) = _run("CudnnRNNParamsSize", sizes_of, **mode)
    assert size.tolist() == [len(theirs["params"])]


def test_what_cudnn_alone_can_do_is_refused() -> None:
    state = np.zeros((1, BATCH, UNITS), np.float32)
    x = normal(STEPS, BATCH, WIDTH)
    with pytest.raises(MismatchError, match="received 7"):
        _run("CudnnRNN", [x, state, state, np.zeros(7, np.float32)])
    with pytest.raises(UnsupportedError, match="Dropout"):
        _run("CudnnRNN", [x, state, state, np.zeros(7, np.float32)], dropout=0.5)
