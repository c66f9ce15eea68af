"""A trace inside of Keras: on values, on handles of text, in what is traced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.dtypes import HANDLE
from regraft.errors import RegraftError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime import composites, structure
from regraft.graph.runtime.saved_functions import Trace
from regraft.graph.tracing.tracer import Tracing, active
from regraft.loading.called_traces import call_as_it_is, changes_tables
from regraft.model.keras2.host_models import shown
from regraft.model.keras2.host_values import POOL, host_array, is_text, seen


def run_trace(
    trace: Trace,
    args: Any,
    kwargs: Mapping[str, Any],
    why: str,
    *,
    seed_generator: Any = None,
) -> Any:
    """Runs a trace; what can't be traced anew is written down as it is.

    Args:
        trace: The trace.
        args: Positional arguments that fit; handles stand for text.
        kwargs: Keyword arguments likewise.
        why: What to say where it reads text and is being compiled.
        seed_generator: What it draws random numbers from.

    Returns:
        Its results, with handles for text.
    """
    tracing = active()
    if tracing is not None and changes_tables(trace):
        # Keys that are known now would be written now.
        return _as_it_is(tracing, trace, args, kwargs)
    written = () if tracing is None else trace.written()
    before = [(variable, variable.value) for variable in written]
    try:
        if not trace.has_text:
            return trace.run(args, kwargs, seed_generator=seed_generator)
        args, kwargs = keras.tree.map_structure(
            lambda value: as_text(value, why), (args, kwargs)
        )
        results = trace.run(args, kwargs, seed_generator=seed_generator)
        return keras.tree.map_structure(as_handles, results)
    except RegraftError:
        if tracing is not None:
            for variable, value in before:  # It may have written some of them.
                variable.assign(value)
            return _as_it_is(tracing, trace, args, kwargs)
        if _compat.in_symbolic_scope():
            return _stand_ins(trace, args, kwargs)
        raise


def _as_it_is(tracing: Tracing, trace: Trace, args: Any, kwargs: Any) -> Any:
    found = call_as_it_is(tracing, trace, args, kwargs)
    if found is None:
        raise UnsupportedError(
            f"Function '{trace.name}' can't be traced anew, nor written as it is."
        )
    return found[0]


def as_text(value: Any, why: str) -> Any:
    """Returns text for handles; other values as they are.

    Raises:
        UnsupportedError: Nobody knows the handles now; it says `why`.
    """
    if str(getattr(value, "dtype", "")) != HANDLE:
        return value
    if _compat.is_traced(value):
        raise UnsupportedError(why)
    return seen(value)


def has_words(values: Any) -> bool:
    """Whether there is an array of text in a structure."""
    return any(map(_is_words, keras.tree.flatten(values)))


def called_with_words(layer: Any, arguments: Any, keywords: Any) -> Any:
    """Calls a layer with arrays of text, by handles; returns text for handles."""
    with POOL.scope():
        args, kwargs = keras.tree.map_structure(_without_words, (arguments, keywords))
        return shown(layer(*args, **kwargs))


def _is_words(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "USO"


def _without_words(value: Any) -> Any:
    return as_handles(host_array(value)) if _is_words(value) else value


def as_handles(value: Any) -> Any:
    """Returns handles for text; other values as they are."""
    if is_text(value):
        return keras.ops.convert_to_tensor(POOL.handles(value))
    return value


def _row_counts(value: Any) -> Iterator[int]:
    """The lengths of the first axes of tensors, as far as their shapes tell."""
    if isinstance(value, composites.RaggedTensor):
        yield value.nested_row_splits[0].shape[0] - 1
    elif isinstance(value, composites.SparseTensor):
        yield 1
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _row_counts(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _row_counts(item)
    elif hasattr(value, "shape"):
        yield value.shape[0] if len(value.shape) else 0


def _stand_ins(trace: Trace, args: Any, kwargs: Any) -> Any:
    """Zeros for results, where only their shapes are asked for."""
    batch = next(_row_counts((*args, *kwargs.values())), 1)
    found = []
    for spec in structure.flat_specs(trace.output_spec):
        dims = spec.shape.dims or ()
        shape = [batch if not i and d is None else d or 1 for i, d in enumerate(dims)]
        dtype = HANDLE if spec.dtype.name == "string" else spec.dtype.name
        found.append(keras.ops.zeros(shape, dtype))
    return structure.rebuilt(trace.output_spec, iter(found))


def symbolic(spec: Any, text: str = "string") -> Any:
    """`KerasTensor`s for the tensors of a signature, text as this dtype.

    Raises:
        UnsupportedError: Nobody knows the parts of a composite tensor.
    """
    if isinstance(spec, ir.TensorSpec):
        dims = spec.shape.dims
        dtype = spec.dtype.name
        return keras.KerasTensor(
            (None,) if dims is None else dims,
            dtype=text if dtype == "string" else dtype,
            name=spec.name or None,
        )
    if isinstance(spec, ir.TypeSpec):
        parts = [symbolic(one, text) for one in structure.flat_specs(spec)]
        if len(parts) != spec.component_count:
            raise UnsupportedError(f"No layer gives a {structure.describe(spec)}.")
        return structure.rebuilt(spec, iter(parts))
    if isinstance(spec, list | tuple):
        return type(spec)(symbolic(item, text) for item in spec)
    if isinstance(spec, Mapping):
        return {key: symbolic(item, text) for key, item in spec.items()}
    return spec
