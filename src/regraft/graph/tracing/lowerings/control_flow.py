"""Calls, branches and loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.tracing.builder import shape_of
from regraft.graph.tracing.composite import Composite
from regraft.graph.tracing.function_graph import (
    Graph,
    composite_lowering,
    dtype_of,
    used_operands,
)
from regraft.graph.tracing.registry import COMPOSITES, lowering
from regraft.graph.tracing.values import Dim, Value


@lowering("jit", "pjit", ignored=("name",))
def jit(g: Graph, *operands: Value, jaxpr: Any) -> Any:
    """A function that JAX compiles; here it may be marked."""
    mark = g.tracing.mark_of(g.equation)
    if mark is None:
        return g.inline(jaxpr, operands)
    if mark.kind == "function":
        return g.call_marked(mark, jaxpr, operands)
    results = composite_lowering(g, mark, operands)
    return g.inline(jaxpr, operands) if results is None else results


@lowering("regraft_composite")
def known_composite(g: Graph, *operands: Value, composite: Composite) -> Any:
    """What is marked without being traced; it is now, if it has to be."""
    row = COMPOSITES[composite.name]
    results = row.function(g, *operands, **dict(composite.params))
    if results is not None:
        return results
    avals = [var.aval for var in g.equation.invars]
    specs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    return g.inline(jax.make_jaxpr(composite.run)(*specs), operands)


@lowering("closed_call", "core_call", "call", "eval_jaxpr")
def call(g: Graph, *operands: Value, call_jaxpr: Any) -> Any:
    """A function."""
    return g.inline(call_jaxpr, operands)


@lowering("remat", "checkpoint", "remat2", ignored=("policy", "prevent_cse"))
def remat(g: Graph, *operands: Value, jaxpr: Any) -> Any:
    """A function that JAX computes twice to save memory."""
    live = [i for i, is_live in enumerate(g.live) if is_live]
    out, flags = g.out, g.live
    results = g.run(jaxpr, (), operands, live)
    g.out, g.live = out, flags
    return results


@lowering("custom_lin")
def custom_lin(g: Graph, *operands: Value, jaxpr: Any) -> Any:
    """A linear function."""
    return g.inline(jaxpr, operands)


@lowering("custom_linear_solve", "linear_solve")
def linear_solve(g: Graph, *operands: Value, const_lengths: Any, jaxprs: Any) -> Any:
    """Solves linear equations as the caller said."""
    before = const_lengths.matvec + const_lengths.vecmat
    consts = operands[before : before + const_lengths.solve]
    right = operands[before + const_lengths.solve + const_lengths.transpose_solve :]
    return g.inline(jaxprs.solve, [*consts, *right])


class _Body:
    """A function of a loop or branch: its arguments in order, keys left out."""

    def __init__(self, g: Graph, values: Sequence[Value], symbols: Sequence[str]):
        self.graph = Graph(g.tracing, is_body=True)
        self.values = [self._argument(value) for value in values]
        for symbol in symbols:
            length = self.graph.argument(f"length_{symbol}".lower(), "int32", ())
            self.graph.know_symbol(symbol, length)

    def _argument(self, value: Value) -> Value:
        if value.key:
            return Value("key", value.shape, key=True)
        return self.graph.argument("arg", value.dtype, value.dims)

    def finish(self, name: str, results: Sequence[Value]) -> str:
        """Adds what it has become to the library; returns its name."""
        named = [("out", value) for value in results if not value.key]
        function = self.graph.finish(name, named, keeps_shapes=True)
        return self.graph.tracing.library.add_body(function)


def _with_symbols(build: Callable[[list[str]], tuple[Any, list[_Body]]]) -> Any:
    """Builds bodies again until every length that they need is an argument."""
    symbols: list[str] = []
    while True:
        result, bodies = build(symbols)
        missing = {s for body in bodies for s in body.graph.passed_symbols}
        if not missing:
            return result, symbols, any(b.graph.is_stateful for b in bodies)
        symbols = [*symbols, *sorted(missing)]


@lowering("platform_index")
def platform_index(g: Graph, *, platforms: Sequence[tuple[str, ...] | None]) -> Value:
    """Which branch is for a CPU, or for any device: TensorFlow's ops run on all."""
    for names in (*(p for p in platforms if p and "cpu" in p), None):
        if names in platforms:
            return Value.of(np.int32(list(platforms).index(names)), "int32")
    raise UnsupportedError(f"This is for {platforms} alone.")


@lowering("cond")
def cond(g: Graph, index: Value, *operands: Value, branches: Sequence[Any]) -> Any:
    """One of several functions."""
    if index.constant is not None:
        chosen = min(max(int(index.constant), 0), len(branches) - 1)
        return g.inline(branches[chosen], operands)
    out = g.out
    needed = set()
    for branch in branches:
        needed |= used_operands(branch.jaxpr, range(len(out)))
    kept = [i for i in sorted(needed) if not operands[i].key]

    def build(symbols: list[str]) -> tuple[list[str], list[_Body]]:
        bodies, names = [], []
        for branch in branches:
            body = _Body(g, [operands[i] for i in kept], symbols)
            values: list[Value | None] = [
                Value("key", v.shape, key=True) if v.key else None for v in operands
            ]
            for i, value in zip(kept, body.values, strict=True):
                values[i] = value
            results = body.graph.run(branch.jaxpr, branch.consts, values)
            names.append(body.finish("branch", results))
            bodies.append(body)
        return names, bodies

    names, symbols, stateful = _with_symbols(build)
    inputs = [*(operands[i] for i in kept), *(g.dim_symbol(s) for s in symbols)]
    return _branch(g, index, inputs, names, out, stateful)


def _branch(
    g: Graph,
    index: Value,
    inputs: list[Value],
    names: Sequence[str],
    out: Sequence[Any],
    stateful: bool,
) -> list[Value]:
    tensors = [aval for aval in out if dtype_of(aval) != "key"]
    attrs: dict[str, ir.AttrValue] = {
        "Tin": tuple(ir.DataType.of(v.dtype) for v in inputs),
        "Tout": tuple(ir.DataType.of(dtype_of(aval)) for aval in tensors),
        "output_shapes": tuple(shape_of(aval.shape) for aval in tensors),
    }
    prefix = "" if stateful else "Stateless"
    g.is_stateful |= stateful
    if len(names) == 2:
        which = _as_bool(g, index)
        attrs["Tcond"] = ir.DataType.of("bool")
        attrs["else_branch"] = ir.FunctionRef(names[0])
        attrs["then_branch"] = ir.FunctionRef(names[1])
        node = g.call(f"{prefix}If", [which, *inputs], attrs, "cond")
    else:
        attrs["branches"] = tuple(map(ir.FunctionRef, names))
        node = g.call(f"{prefix}Case", [index, *inputs], attrs, "switch")
    return _results(out, node)


def _as_bool(g: Graph, index: Value) -> Value:
    producer = g.producer(index)
    if producer is not None and producer[0] == "Cast":
        source = Value("bool", (), name=producer[1][0])
        if g.is_bool(source):
            return source
    return g.op("NotEqual", index, np.int32(0), shape=())


def _results(out: Sequence[Any], node: str, start: int = 0) -> list[Value]:
    results, place = [], start
    for aval in out:
        if dtype_of(aval) == "key":
            results.append(Value("key", tuple(aval.shape), key=True))
            continue
        name = f"{node}:output:{place}"
        results.append(Value(dtype_of(aval), tuple(aval.shape), name=name))
        place += 1
    return results


@lowering("while")
def while_(
    g: Graph,
    *operands: Value,
    cond_nconsts: int,
    cond_jaxpr: Any,
    body_nconsts: int,
    body_jaxpr: Any,
) -> list[Value]:
    """A loop with a condition."""
    out = g.out
    cond_consts = list(operands[:cond_nconsts])
    body_consts = list(operands[cond_nconsts : cond_nconsts + body_nconsts])
    carry = list(operands[cond_nconsts + body_nconsts :])
    counter = Value.of(np.int32(0), "int32")
    bound = Value.of(np.int32(-1), "int32")
    # The counter and its bound come first: TensorFlow's gradient looks for them.
    loop = [counter, bound, *carry, *cond_consts, *body_consts]
    first = 2 + len(carry)

    def build(symbols: list[str]) -> tuple[tuple[str, str], list[_Body]]:
        test = _Body(g, loop, symbols)
        test_operands = [*test.values[first : first + cond_nconsts]]
        test_operands += test.values[2:first]
        (go_on,) = test.graph.run(cond_jaxpr.jaxpr, cond_jaxpr.consts, test_operands)
        step = _Body(g, loop, symbols)
        step_operands = [*step.values[first + cond_nconsts :]]
        step_operands += step.values[2:first]
        new = step.graph.run(body_jaxpr.jaxpr, body_jaxpr.consts, step_operands)
        count = step.graph.op("AddV2", step.values[0], np.int32(1), shape=())
        results = [count, step.values[1], *new, *step.values[first:]]
        names = _add_loop(test, go_on, step, results, symbols)
        return names, [test, step]

    (test_name, step_name), symbols, stateful = _with_symbols(build)
    node = _loop(g, loop, symbols, test_name, step_name, stateful)
    return _results(out, node, 2)


def _add_loop(
    test: _Body,
    go_on: Value,
    step: _Body,
    results: Sequence[Value],
    symbols: Sequence[str],
) -> tuple[str, str]:
    """Adds the functions of a loop; returns their names."""
    lengths = [step.graph.dim_symbol(symbol) for symbol in symbols]
    body = step.finish("while_body", [*results, *lengths])
    return test.finish("while_cond", [go_on]), body


def _loop(
    g: Graph,
    values: Sequence[Value],
    symbols: Sequence[str],
    test: str,
    step: str,
    stateful: bool,
) -> str:
    inputs = [v for v in values if not v.key]
    inputs += [g.dim_symbol(symbol) for symbol in symbols]
    g.is_stateful |= stateful
    attrs: dict[str, ir.AttrValue] = {
        "T": tuple(ir.DataType.of(v.dtype) for v in inputs),
        "cond": ir.FunctionRef(test),
        "body": ir.FunctionRef(step),
        "output_shapes": tuple(shape_of(v.dims) for v in inputs),
        "_num_original_outputs": len(inputs),
    }
    return g.call("While" if stateful else "StatelessWhile", inputs, attrs, "while")


@lowering("scan", ignored=("linear", "unroll", "_split_transpose", "ft_out"))
def scan(
    g: Graph,
    *operands: Value,
    jaxpr: Any,
    length: Dim,
    reverse: bool,
    num_consts: int = 0,
    num_carry: int = 0,
    ft_in: Any = None,
) -> list[Value | None]:
    """A loop over the first dimension of arrays; TensorLists carry them."""
    if ft_in is not None:
        # JAX 0.12: trees of the constants, of what is carried, of the arrays.
        num_consts, num_carry, _ = map(len, ft_in.unpack())
    out, live = g.out, g.live
    consts = list(operands[:num_consts])
    carry = list(operands[num_consts : num_consts + num_carry])
    kept = [i for i in range(num_carry, len(out)) if live[i]]
    sources = [_to_list(g, x, reverse) for x in operands[num_consts + num_carry :]]
    targets = [_new_list(g, out[i], length) for i in kept]
    loop = [
        Value.of(np.int32(0), "int32"),
        g.dim(length),
        *carry,
        *targets,
        *sources,
        *consts,
    ]
    xs = operands[num_consts + num_carry :]
    spans = np.cumsum([2, len(carry), len(targets), len(sources)])

    def build(symbols: list[str]) -> tuple[tuple[str, str], list[_Body]]:
        test = _Body(g, loop, symbols)
        go_on = test.graph.op("Less", test.values[0], test.values[1], shape=())
        step = _Body(g, loop, symbols)
        results = _scan_step(step, jaxpr, spans, xs, num_carry, kept)
        names = _add_loop(test, go_on, step, results, symbols)
        return names, [test, step]

    (test_name, step_name), symbols, stateful = _with_symbols(build)
    node = _loop(g, loop, symbols, test_name, step_name, stateful)
    results: list[Value | None] = [None] * len(out)
    results[:num_carry] = _results(out[:num_carry], node, 2)
    first = 2 + sum(not v.key for v in carry)
    for at, i in enumerate(kept, first):
        stack = Value("variant", (), name=f"{node}:output:{at}")
        results[i] = _stacked(g, stack, out[i], length, reverse)
    return results


def _scan_step(
    step: _Body,
    jaxpr: Any,
    spans: Any,
    xs: Sequence[Value],
    num_carry: int,
    kept: Sequence[int],
) -> list[Value]:
    """Writes one round: reads elements, computes, stores results."""
    graph, values = step.graph, step.values
    carry_at, target_at, source_at, const_at = (int(i) for i in spans)
    index = values[0]
    carry = values[carry_at:target_at]
    items = [_item(graph, values[source_at + i], index, x) for i, x in enumerate(xs)]
    results = graph.run(jaxpr.jaxpr, jaxpr.consts, [*values[const_at:], *carry, *items])
    targets = []
    for place, i in enumerate(kept):
        target = values[target_at + place]
        stored = graph.op("TensorListSetItem", target, index, results[i], shape=())
        targets.append(stored)
    count = graph.op("AddV2", index, np.int32(1), shape=())
    return [count, values[1], *results[:num_carry], *targets, *values[source_at:]]


def _element_shape(shape: Sequence[Dim]) -> Any:
    return np.array([d if isinstance(d, int) else -1 for d in shape], np.int32)


def _to_list(g: Graph, x: Value, reverse: bool) -> Value:
    if x.key:
        return x
    if reverse:
        x = g.op("ReverseV2", x, np.array([0], np.int32), shape=x.shape)
    return g.op("TensorListFromTensor", x, _element_shape(x.dims[1:]), shape=())


def _item(g: Graph, source: Value, index: Value, x: Value) -> Value:
    if x.key:
        return Value("key", x.dims[1:], key=True)
    return g.op(
        "TensorListGetItem",
        source,
        index,
        _element_shape(x.dims[1:]),
        element_dtype=x.dtype,
        shape=x.dims[1:],
    )


def _new_list(g: Graph, aval: Any, length: Dim) -> Value:
    return g.op(
        "TensorListReserve",
        _element_shape(aval.shape[1:]),
        g.dim(length),
        element_dtype=dtype_of(aval),
        shape=(),
    )


def _stacked(g: Graph, source: Value, aval: Any, length: Dim, reverse: bool) -> Value:
    shape = tuple(aval.shape)
    result = g.op(
        "TensorListStack",
        source,
        _element_shape(shape[1:]),
        element_dtype=dtype_of(aval),
        num_elements=length if isinstance(length, int) else -1,
        shape=shape,
    )
    if not reverse:
        return result
    return g.op("ReverseV2", result, np.array([0], np.int32), shape=shape)
