"""What a model is called with and what it gives: specs and names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import keras
from jax import export

from regraft import _compat
from regraft.errors import UnsupportedError
from regraft.model.keras2.host_layers import file_dtype
from regraft.model.state_tree import is_network
from regraft.saving.trace_calls import LayerCall
from regraft.saving.trace_specs import traced_dtype


@dataclass(frozen=True)
class TensorInput:
    """A tensor that a traced function is called with.

    Attributes:
        shape: Lengths; `None` where unknown.
        dtype: Name.
        name: Of the argument.
    """

    shape: tuple[int | None, ...]
    dtype: str
    name: str = "inputs"


@dataclass(frozen=True, eq=False)
class SignatureRequest:
    """A signature that somebody asks for.

    Attributes:
        function: Called with tensors by name; returns tensors by name.
        inputs: Tensors by name.
    """

    function: Callable[..., Mapping[str, Any]]
    inputs: Mapping[str, TensorInput]


def length_name(number: int, axis: int, lengths: str, multiple: int = 1) -> str:
    """Names an unknown length; all first ones are the batch."""
    if lengths == "fixed":
        return "1"
    if axis == 0:
        return "b"
    name = f"d{axis}" if lengths == "shared" else f"d{number}_{axis}"
    return name if multiple == 1 else f"{multiple}*{name}"


def symbolic_tensors(
    inputs: Sequence[TensorInput], lengths: str, multiple: int
) -> list[jax.ShapeDtypeStruct]:
    """Returns inputs whose unknown lengths have names."""
    scope = export.SymbolicScope()
    specs = []
    for number, tensor in enumerate(inputs):
        names = [
            length_name(number, axis, lengths, multiple) if dim is None else str(dim)
            for axis, dim in enumerate(tensor.shape)
        ]
        shape = export.symbolic_shape(",".join(names), scope=scope)
        specs.append(jax.ShapeDtypeStruct(shape, traced_dtype(tensor.dtype)))
    return specs


def renamed_lengths(
    tensors: Sequence[jax.ShapeDtypeStruct],
) -> list[jax.ShapeDtypeStruct]:
    """Returns tensors whose unknown lengths have names instead of formulas."""
    scope = export.SymbolicScope()
    names: dict[str, str] = {}
    specs = []
    for tensor in tensors:
        dims = [
            str(d) if isinstance(d, int) else names.setdefault(str(d), f"n{len(names)}")
            for d in tensor.shape
        ]
        shape = export.symbolic_shape(",".join(dims), scope=scope)
        specs.append(jax.ShapeDtypeStruct(shape, tensor.dtype))
    return specs


def model_inputs(model: keras.Model) -> Any:
    """Returns the tensors that a model was built for.

    Raises:
        UnsupportedError: The model doesn't know.
    """
    symbolic = _symbolic(model, "input")
    if symbolic is None:
        return _built_inputs(model)
    # The batch that a subclassed model was first called with is one of many.
    batch = slice(0 if is_network(model) else 1, None)
    return keras.tree.map_structure(
        lambda t: TensorInput(
            (None,) * len(t.shape[: batch.start]) + tuple(t.shape[batch]),
            file_dtype(t),
            "inputs",
        ),
        symbolic,
    )


def saved_inputs(layer: keras.Layer) -> Any:
    """Returns what the functions of a file take, from which a layer runs, by name."""
    return keras.tree.map_structure(
        lambda tensor: TensorInput(tuple(tensor.shape), str(tensor.dtype)),
        getattr(layer, "saved_inputs", {}),
    )


def _symbolic(model: keras.Model, side: str) -> Any:
    """Returns the symbolic inputs or outputs of a network; `None` without."""
    try:
        return getattr(model, side)
    except (AttributeError, ValueError):
        found = getattr(model, f"{side}s", None)
    return found[0] if isinstance(model, keras.Sequential) and found else None


def _named(model: keras.Model, side: str) -> list[Any] | None:
    """Returns the symbolic tensors whose names a signature takes; `None` without.

    Those of a subclassed model are what it was called with by chance, unless the
    model itself says what it is called with.
    """
    symbolic = _symbolic(model, side)
    if symbolic is None:
        return None
    tensors = list(keras.tree.flatten(symbolic))
    called = any(_compat.was_recorded(tensor) for tensor in tensors)
    return None if called and not is_network(model) else tensors


def _built_inputs(model: keras.Model) -> Any:
    config = model.get_build_config() or {}
    shapes = config.get("input_shape")
    if shapes is None:
        found = list((config.get("shapes_dict") or {}).values())
        shapes = found[0] if len(found) == 1 else None
    if shapes is None:
        raise UnsupportedError(
            f"Model '{model.name}' doesn't know what it is called with."
        )
    inputs = _inputs_of(shapes, model.input_dtype)
    dtypes = _used_dtypes(model, shapes, inputs)
    return keras.tree.map_structure(
        lambda tensor: replace(tensor, dtype=next(dtypes)), inputs
    )


def _used_dtypes(model: keras.Model, shapes: Any, inputs: Any) -> Iterator[str]:
    """Yields a dtype for each input of a model that knows only their shapes.

    What is only ever made an integer is one: ids of an `Embedding` are.
    """
    tensors = keras.tree.flatten(inputs)
    known = keras.tree.flatten(_inputs_of(shapes, model.input_dtype, batch=True))
    specs = [jax.ShapeDtypeStruct(t.shape, t.dtype) for t in known]
    trainable = [v.value for v in model.trainable_variables]
    frozen = [v.value for v in model.non_trainable_variables]

    def call(*arrays: Any) -> Any:
        given = keras.tree.pack_sequence_as(inputs, list(arrays))
        return model.stateless_call(trainable, frozen, given)[0]

    try:
        jaxpr = jax.make_jaxpr(call)(*specs).jaxpr
    # The trace that is to come says what is wrong, where anything is.
    except Exception:
        yield from (tensor.dtype for tensor in tensors)
        return
    for tensor, variable in zip(tensors, jaxpr.invars, strict=True):
        kinds = _conversions(jaxpr, variable)
        only = kinds.pop() if len(kinds) == 1 else None
        yield only or tensor.dtype


def _conversions(jaxpr: Any, variable: Any) -> set[str | None]:
    """Returns the integers that a variable is made, and `None` for any other use."""
    found: set[str | None] = set()
    if any(out is variable for out in jaxpr.outvars):
        found.add(None)
    for equation in jaxpr.eqns:
        for place, operand in enumerate(equation.invars):
            if operand is not variable:
                continue
            name = equation.primitive.name
            dtype = str(equation.params.get("new_dtype", ""))
            inner = equation.params.get("jaxpr")
            if name == "convert_element_type" and dtype.startswith("int"):
                found.add(dtype)
            elif name in ("jit", "pjit") and inner is not None:
                found |= _conversions(inner.jaxpr, inner.jaxpr.invars[place])
            else:
                found.add(None)
    return found


def _inputs_of(shapes: Any, dtype: str, batch: bool = False) -> Any:
    """Returns tensors of shapes; with the batch of one that they were built with."""
    if isinstance(shapes, dict):
        return {key: _inputs_of(value, dtype, batch) for key, value in shapes.items()}
    if shapes and isinstance(shapes[0], list | tuple):
        return [_inputs_of(shape, dtype, batch) for shape in shapes]
    # The batch that a model was built with is one of many.
    first = (shapes[0] or 1) if batch else None
    return TensorInput((first, *shapes[1:]), dtype)


def with_tuples(records: Sequence[LayerCall]) -> list[LayerCall]:
    """Returns calls of a model, with a tuple of inputs where there was a list.

    Keras 2's `fit` and `predict` make tuples of lists, TensorFlow tells them apart, and
    Keras 2 wants all functions that it revives a model from to agree.
    """
    return [
        replace(record, args=(tuple(record.args[0]), *record.args[1:]))
        if record.args and type(record.args[0]) is list
        else record
        for record in records
    ]


def input_names(model: keras.Model, inputs: Any) -> list[str]:
    """Returns a name for each input, as Keras 2 names them in a signature."""
    tensors = _named(model, "input")
    if tensors is None:
        if isinstance(inputs, dict):
            return sorted(map(str, inputs))
        count = len(keras.tree.flatten(inputs))
        return [f"input_{i + 1}" for i in range(count)]
    return _unique([_compat.source_name(t) for t in tensors])


def output_names(model: keras.Model, record: LayerCall) -> list[str]:
    """Returns a name for each output, as Keras 2 names them in a signature."""
    names = layer_output_names(model)
    if names is not None:
        return names
    if isinstance(record.outputs, dict):
        return sorted(map(str, record.outputs))
    return [f"output_{i + 1}" for i in range(record.output_count)]


def layer_output_names(model: keras.Model) -> list[str] | None:
    """Returns names of the layers that make the outputs; `None` where none is known."""
    tensors = _named(model, "output")
    if tensors is None:
        return None
    return _unique([_compat.source_name(t) for t in tensors])


def _unique(names: Sequence[str]) -> list[str]:
    done: list[str] = []
    for name in names:
        candidate, count = name, 0
        while candidate in done:
            count += 1
            candidate = f"{name}_{count}"
        done.append(candidate)
    return done
