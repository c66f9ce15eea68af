"""Loops and conditionals of TensorFlow 1 compiled, differentiated, and in functions."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.main_graph import MainGraph

FLOAT = ir.DataType.of("float32")
BOOL = ir.DataType.of("bool")
# The root of what is below 1 is no number, nor is its slope.
X = np.array([[0.5, 1.0], [1.5, 3.0]], np.float32)


@pytest.fixture(scope="module")
def saved(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("old")
    expected = peer.call("old_control_flow.save", path / "one", path / "two", x=X)
    return path, expected


@pytest.mark.peer
@pytest.mark.parametrize("file", ["one", "two"])
@pytest.mark.parametrize("flag", [True, False])
def test_conditionals_give_what_the_session_gave(
    saved: Any, file: str, flag: bool
) -> None:
    path, expected = saved
    call = regraft.load(path / file).signatures["serving_default"]
    wanted = {k: v for k, v in expected[flag].items() if k != "slope"}
    for found in (
        call(x=X, flag=np.array(flag)),
        jax.jit(lambda x, flag: call(x=x, flag=flag))(X, np.array(flag)),
    ):
        assert set(found) == set(wanted)
        for name, value in found.items():
            np.testing.assert_allclose(value, wanted[name], rtol=1e-5, err_msg=name)


@pytest.mark.peer
@pytest.mark.parametrize("file", ["one", "two"])
def test_the_branch_that_is_not_taken_has_no_part_in_slopes(
    saved: Any, file: str
) -> None:
    path, expected = saved
    call = regraft.load(path / file).signatures["serving_default"]
    slope = jax.jit(
        lambda x, flag: jax.grad(lambda x: call(x=x, flag=flag)["y"].sum())(x)
    )
    np.testing.assert_allclose(slope(X, np.array(True)), expected[True]["slope"])
    found = slope(X, np.array(False))
    assert np.isnan(found).any()
    np.testing.assert_allclose(found, expected[False]["slope"])


def _conditional(*nodes: ir.Node) -> MainGraph:
    placed = [
        ir.Node("p", "Placeholder", attrs={"dtype": BOOL}),
        ir.Node("x", "Placeholder", attrs={"dtype": FLOAT}),
        ir.Node("s", "Switch", ("x", "p"), {"T": FLOAT}),
        ir.Node("no", "Neg", ("s",), {"T": FLOAT}),
        ir.Node("yes", "Exp", ("s:1",), {"T": FLOAT}),
        *nodes,
    ]
    return MainGraph(placed, FunctionLibrary({}))


def _merge(*inputs: str) -> ir.Node:
    return ir.Node("m", "Merge", inputs, {"T": FLOAT, "N": len(inputs)})


def _both(graph: MainGraph, fetch: str = "m") -> list[Any]:
    x = np.float32(2)
    return [
        graph.run([fetch], {"x": x, "p": np.array(flag)})[0] for flag in (False, True)
    ]


def test_branches_may_come_in_either_order() -> None:
    for inputs in (("no", "yes"), ("yes", "no")):
        np.testing.assert_allclose(
            _both(_conditional(_merge(*inputs))), [-2, np.exp(2)], rtol=1e-6
        )


def test_what_is_no_conditional_runs_on_known_values() -> None:
    """The number of the branch is asked for, or there is one branch only."""
    graph = _conditional(_merge("no", "yes"), ir.Node("i", "Identity", ("m:1",)))
    graph._nodes["i"] = ir.Node(
        "i", "Identity", ("m:1",), {"T": ir.DataType.of("int32")}
    )
    assert [int(n) for n in _both(graph, "i")] == [0, 1]
    with pytest.raises(UnsupportedError, match="outside of jit"):
        jax.jit(lambda x, p: graph.run(["i"], {"x": x, "p": p}))(np.float32(2), True)
    lonely = _conditional()
    (found,) = lonely.run(["yes"], {"x": np.float32(2), "p": np.array(True)})
    np.testing.assert_allclose(found, np.exp(2), rtol=1e-6)


def test_branch_that_changes_a_reference_variable_runs_on_known_values() -> None:
    shape = {"dtype": FLOAT, "shape": ir.TensorShape(())}
    first = ir.TensorValue.from_numpy(np.float32(5))
    graph = _conditional(
        ir.Node("v", "VariableV2", attrs=shape),
        ir.Node("c", "Const", attrs={"value": first, "dtype": FLOAT}),
        ir.Node("a", "Assign", ("v", "c"), {"T": FLOAT}),
        ir.Node("r", "RefSwitch", ("v", "p", "^a"), {"T": FLOAT}),
        ir.Node("add", "AssignAdd", ("r:1", "s:1"), {"T": FLOAT}),
        _merge("no", "add"),
    )
    assert [float(value) for value in _both(graph)] == [-2, 7]
    with pytest.raises(UnsupportedError, match="by reference"):
        jax.jit(lambda x, p: graph.run(["m"], {"x": x, "p": p}))(np.float32(2), True)


def test_chain_of_a_great_many_conditionals_is_planned_in_time() -> None:
    nodes, last = [], "x"
    for number in range(2000):
        switch, merge = f"s{number}", f"m{number}"
        nodes += [
            ir.Node(switch, "Switch", (last, "p"), {"T": FLOAT}),
            ir.Node(f"n{number}", "Neg", (f"{switch}:1",), {"T": FLOAT}),
            ir.Node(merge, "Merge", (switch, f"n{number}"), {"T": FLOAT, "N": 2}),
        ]
        last = merge
    assert [float(v) for v in _both(_conditional(*nodes), last)] == [2, 2]


def test_branches_in_a_great_many_branches_are_not_followed() -> None:
    nodes = []
    for number in range(1, 300):
        nodes.append(ir.Node(f"p{number}", "Placeholder", attrs={"dtype": BOOL}))
        source = "x" if number == 1 else f"s{number - 1}:1"
        nodes.append(
            ir.Node(f"s{number}", "Switch", (source, f"p{number}"), {"T": FLOAT})
        )
    graph = _conditional(*nodes)
    feeds = {f"p{number}": np.array(True) for number in range(1, 300)}
    (found,) = graph.run(["s299:1"], {"x": np.float32(2), **feeds})
    assert float(found) == 2
