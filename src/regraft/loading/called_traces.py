"""Traces of a file that are written down again as they are, not traced anew."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax import export

from regraft.graph import ir
from regraft.graph.runtime import structure
from regraft.graph.runtime.context import HostVariable, KerasVariable, Table
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dataset import Dataset
from regraft.graph.runtime.saved_functions import Trace
from regraft.graph.tracing.function_graph import TOKENS
from regraft.graph.tracing.lowerings.saved import (
    CapturedConstant,
    CapturedResult,
    CapturedTable,
    CapturedText,
    CapturedValue,
    CapturedVariable,
)
from regraft.graph.tracing.tracer import Tracing

_numbers = itertools.count()
# With these a table is more than what it held when the file was read.
TABLE_WRITERS = frozenset(
    {
        *("LookupTableInsert", "LookupTableInsertV2", "LookupTableRemoveV2"),
        *("LookupTableImport", "LookupTableImportV2"),
    }
)
# The same of variables of text; other ops write numbers alone.
_TEXT_WRITERS = frozenset(
    {
        *("AssignVariableOp", "ResourceScatterUpdate", "ResourceScatterNdUpdate"),
        "ResourceStridedSliceAssign",
    }
)
# What lengths are while shapes are looked for; two numbers tell each from constants.
# The second row is for functions that take short lengths alone, as a table of few
# positions does; no natural sum makes one of its pairs another one.
_LENGTHS = (
    ((7, 11, 13, 17, 19, 23), (29, 31, 37, 41, 43, 47)),
    ((3, 5, 2), (5, 2, 6)),
)


def call_as_it_is(
    tracing: Tracing, trace: Trace, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any] | None:
    """Calls a trace as a function of its own in what is being traced.

    Args:
        tracing: What is being traced.
        trace: The trace.
        args: Positional arguments that fit.
        kwargs: Keyword arguments likewise.

    Returns:
        Its results in a tuple; `None` where it captures what can't be written down:
        anything but live variables, constants, pipelines, tables and text that it
        only reads, and tables that a layer keeps.
    """
    captured = [trace.capture(i) for i in trace.concrete.bound_inputs]
    given = [_given(one, trace) for one in captured]
    variables = [v for c in captured if (v := _variable(c)) is not None]
    pairs = [*structure.flat_tensors(trace.args, tuple(args))]
    pairs += structure.flat_tensors(trace.kwargs, kwargs)
    specs = list(structure.flat_specs(trace.output_spec))
    if any(one is None for one in given) or not all(d for _, d in pairs) or not specs:
        return None
    tensors = [value for value, _ in pairs]
    shapes = _shapes(trace, args, kwargs, tensors, specs)
    results = [
        jax.ShapeDtypeStruct(shape, values.traced_dtype(spec.dtype.name))
        for shape, spec in zip(shapes, specs, strict=True)
    ]
    results += [jax.ShapeDtypeStruct(tuple(v.shape), v.dtype) for v in variables]

    def stand_in(*arrays: Any) -> Any:
        # It can't be written down itself: only the mark can.
        return jax.pure_callback(_never, results, *arrays)

    found = tracing.composite(
        "saved_function",
        stand_in,
        *map(jax.numpy.asarray, tensors),
        *(jax.numpy.asarray(v.value) for v in variables),
        spec={
            "name": trace.name,
            "functions": trace.functions,
            "input_dtypes": tuple(dtype for _, dtype in pairs),
            "output_dtypes": tuple(spec.dtype.name for spec in specs),
            "captured": tuple(given),
        },
    )
    for variable, value in zip(variables, found[len(specs) :], strict=True):
        variable.assign(value)
    return (structure.rebuilt(trace.output_spec, iter(found[: len(specs)])),)


def _given(captured: Any, trace: Trace) -> CapturedValue | None:
    """What a function gets for an object that it captures; `None`: unknown."""
    if _variable(captured) is not None:
        return CapturedVariable()
    if isinstance(captured, np.ndarray):
        # The path of an asset leads nowhere in another file.
        is_path = not captured.ndim and trace.is_asset(captured.item())
        return None if is_path else CapturedConstant(captured)
    if isinstance(captured, HostVariable):
        is_text = captured.dtype == "string" and captured.is_initialized
        read_only = is_text and not trace.uses(_TEXT_WRITERS)
        return CapturedText(np.asarray(captured.read())) if read_only else None
    if isinstance(captured, Dataset) and captured.made_by is not None:
        made_by = captured.made_by
        inner = [_given(trace.capture(i), trace) for i in made_by.bound_inputs]
        # TensorFlow saves no pipeline that reads variables.
        known = [one for one in inner if one and not isinstance(one, CapturedVariable)]
        is_known = len(known) == len(inner)
        return CapturedResult(made_by.name, tuple(known)) if is_known else None
    if not isinstance(captured, Table) or trace.uses(TABLE_WRITERS):
        return None
    keys, found = captured.columns()
    if found.ndim > 1:
        return None
    return CapturedTable(keys, captured.key_dtype, found, captured.value_dtype)


def _variable(captured: Any) -> keras.Variable | None:
    """What stands for a captured object that functions may write."""
    if isinstance(captured, KerasVariable | Table):
        return captured.variable
    return None


def written_tables(trace: Trace) -> list[Table]:
    """Returns the tables that a trace captures, if it writes any."""
    if not trace.uses(TABLE_WRITERS):
        return []
    found = map(trace.capture, trace.concrete.bound_inputs)
    return [captured for captured in found if isinstance(captured, Table)]


def changes_tables(trace: Trace) -> bool:
    """Whether a trace writes a table, or reads one that others write."""
    found = map(trace.capture, trace.concrete.bound_inputs)
    return any(isinstance(c, Table) and c.variable is not None for c in found)


def why_uncompilable(has_text: bool, traces: Iterable[Trace]) -> str | None:
    """Says what functions do that no compiled step can; `None`: nothing.

    Args:
        has_text: Whether they take or give text.
        traces: Of the functions, as far as they are known.
    """
    traces = list(traces)
    if has_text:
        return "read text"
    if any(map(changes_tables, traces)):
        return "change tables"
    if any(trace.writes_on_host() for trace in traces):
        return "write text"
    return None if all(map(can_be_compiled, traces)) else "make shapes of values"


def can_be_compiled(trace: Trace) -> bool:
    """Whether a trace's shapes follow from the shapes of its arguments."""
    if not trace.may_need_values():
        return True

    def tensor(spec: Any) -> Any:
        if not isinstance(spec, ir.TensorSpec):
            return spec
        dims = [2 if dim is None else dim for dim in spec.shape.dims or ()]
        return jax.ShapeDtypeStruct(tuple(dims), values.traced_dtype(spec.dtype.name))

    args = [keras.tree.map_structure(tensor, arg) for arg in trace.args]
    kwargs = {k: keras.tree.map_structure(tensor, v) for k, v in trace.kwargs.items()}
    return _shapes_with(trace, args, kwargs, {}) is not None


def _never(*arrays: Any) -> Any:
    raise NotImplementedError("A function that is being traced was run.")


def _shapes(
    trace: Trace,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    tensors: Sequence[Any],
    specs: Sequence[ir.TensorSpec],
) -> list[tuple[Any, ...]]:
    """Returns the shapes of the results, in the lengths of the tensors."""
    lengths = {
        str(dim): dim
        for tensor in tensors
        for dim in tensor.shape
        if not isinstance(dim, int)
    }
    new = _new_lengths(lengths)
    for pair in _LENGTHS:
        if len(lengths) > len(pair[0]):
            continue
        first, second = (
            _shapes_with(trace, args, kwargs, dict(zip(lengths, numbers, strict=False)))
            for numbers in pair
        )
        if first is None or second is None:
            continue
        by_numbers = dict(zip(zip(*pair, strict=True), lengths.values(), strict=False))
        return [
            tuple(
                a if a == b else by_numbers[(a, b)] if (a, b) in by_numbers else new()
                for a, b in zip(one, other, strict=True)
            )
            for one, other in zip(first, second, strict=True)
        ]
    begin = tensors[0].shape[0] if tensors and tensors[0].shape else None
    return [_promised(spec, begin, new) for spec in specs]


def _promised(
    spec: ir.TensorSpec, begin: Any, new: Callable[[], Any]
) -> tuple[Any, ...]:
    """A shape as the file says it; the first length is that of the batch."""
    dims = spec.shape.dims or ()
    return tuple(
        dim if dim is not None else begin if not place and begin is not None else new()
        for place, dim in enumerate(dims)
    )


def _new_lengths(lengths: Mapping[str, Any]) -> Callable[[], Any]:
    """Returns what makes a length that follows from values alone."""
    scopes = [dim.scope for dim in lengths.values() if hasattr(dim, "scope")]
    scope = scopes[0] if scopes else export.SymbolicScope()
    return lambda: export.symbolic_shape(f"{TOKENS}{next(_numbers)}", scope=scope)[0]


def _shapes_with(
    trace: Trace,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    numbers: Mapping[str, int],
) -> list[tuple[int, ...]] | None:
    """Returns the shapes of the results where lengths are numbers, if they follow."""

    def sized(value: Any) -> Any:
        if not hasattr(value, "shape") or not hasattr(value, "dtype"):
            return value
        shape = tuple(d if isinstance(d, int) else numbers[str(d)] for d in value.shape)
        return jax.ShapeDtypeStruct(shape, value.dtype)

    given = (list(args), dict(kwargs))
    leaves = [sized(leaf) for leaf in keras.tree.flatten(given)]
    places = [i for i, x in enumerate(leaves) if isinstance(x, jax.ShapeDtypeStruct)]

    def run(*arrays: Any) -> Any:
        full = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            full[place] = array
        filled = keras.tree.pack_sequence_as(given, full)
        with keras.StatelessScope():
            generator = keras.random.SeedGenerator(0)
            results = trace.run(*filled, seed_generator=generator)
        return keras.tree.flatten(results)

    try:
        results = jax.eval_shape(run, *(leaves[place] for place in places))
    # Whatever a trace raises whose shapes depend on values.
    except Exception:
        return None
    return [tuple(result.shape) for result in results]
