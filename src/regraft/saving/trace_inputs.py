"""What a model is called with and what it gives: specs and names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import keras
import numpy as np
from jax import export

from regraft import _compat
from regraft.errors import UnsupportedError
from regraft.graph.runtime.composites import RaggedTensor, SparseTensor
from regraft.graph.runtime.kernels.values import traced_dtype
from regraft.model.keras2.host_layers import file_dtype
from regraft.model.state_tree import is_network
from regraft.saving.trace_calls import LayerCall, Leaf
from regraft.saving.trace_ways import Way, replaced, split_demands

# Of a model's call Keras remembers the first argument alone.
HOW_TO_TELL = (
    "`signatures=regraft.export_signature(model, [spec, …])` tells all its arguments."
)


@dataclass(frozen=True)
class TensorInput:
    """A tensor that a traced function is called with.

    Attributes:
        shape: Lengths; `None` where unknown.
        dtype: Name.
        name: Of the argument.
        first: What the first length counts, where it is unknown: the `batch`; as many
            as the tensor's `own`, as the `last` tensor has, or one more than the batch,
            as row `splits` are.
    """

    shape: tuple[int | None, ...]
    dtype: str
    name: str = "inputs"
    first: str = "batch"


@dataclass(frozen=True, eq=False)
class Arguments:
    """All that a model is called with, where it takes more than its first argument.

    Attributes:
        first: Structure of the first argument.
        rest: Structures of the others by name.
    """

    first: Any
    rest: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class SignatureRequest:
    """A signature that somebody asks for.

    Attributes:
        function: Called with tensors by name; returns tensors by name.
        inputs: Tensors by name.
        layer: What it calls, where that is a layer as it is.
        called: What it calls the layer with.
    """

    function: Callable[..., Mapping[str, Any]]
    inputs: Mapping[str, TensorInput]
    layer: keras.Layer | None = None
    called: Arguments | None = None


def _length_name(
    letter: str, number: int, axis: int, way: Way, first: str = "batch"
) -> str:
    """Names an unknown length; first ones are the batch, if they count that."""
    if axis == 0 and first == "splits":
        return "2" if way.lengths == "fixed" else "b + 1"
    if way.lengths == "fixed" or (way.lengths == "short" and axis):
        return "1"
    if axis == 0:
        place = number - 1 if first == "last" else number
        return "b" if first == "batch" else f"{letter}{place}_0"
    names = {"equal": letter, "shared": f"{letter}{axis}"}
    name = names.get(way.lengths, f"{letter}{number}_{axis}")
    return name if way.multiple == 1 else f"{way.multiple}*{name}"


def symbolic_inputs(
    inputs: Sequence[TensorInput], way: Way, letter: str = "d"
) -> list[jax.ShapeDtypeStruct]:
    """Returns inputs whose unknown lengths have names.

    Args:
        inputs: The inputs.
        way: What the lengths are called, and what is known of them.
        letter: What the names begin with.
    """
    limits, alike = split_demands(way.demands)
    shapes = [
        [
            replaced(_length_name(letter, number, axis, way, tensor.first), alike)
            if dim is None
            else str(dim)
            for axis, dim in enumerate(tensor.shape)
        ]
        for number, tensor in enumerate(inputs)
    ]
    dtypes = [traced_dtype(tensor.dtype) for tensor in inputs]
    return _specs(shapes, dtypes, way, limits)


def renamed_lengths(
    tensors: Sequence[jax.ShapeDtypeStruct], way: Way
) -> list[jax.ShapeDtypeStruct]:
    """Returns tensors whose unknown lengths have names instead of formulas.

    Args:
        tensors: What is called with them.
        way: What is known of the lengths, under their old names.
    """
    names: dict[str, str] = {}
    batch = str(tensors[0].shape[0]) if tensors and tensors[0].shape else ""
    shapes = [
        [
            str(d)
            if isinstance(d, int)
            else "b"
            if str(d) == batch
            else names.setdefault(str(d), f"n{len(names)}")
            for d in tensor.shape
        ]
        for tensor in tensors
    ]
    limits, _ = split_demands(way.demands)
    known = (_renamed(limit, names) for limit in limits)
    dtypes = [tensor.dtype for tensor in tensors]
    return _specs(shapes, dtypes, way, [limit for limit in known if limit is not None])


def _renamed(limit: str, names: Mapping[str, str]) -> str | None:
    """Puts new names of lengths into a limit; `None` where one has no name."""
    known = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    old = re.compile(rf"(?<!\w)(?:{known})(?!\w)")
    others = set(re.findall(r"[a-z_]\w*", old.sub("", limit)))
    if not names or not others <= {"floordiv", "mod", "min", "max"}:
        return None
    return old.sub(lambda found: names[found[0]], limit)


def _specs(
    shapes: Sequence[Sequence[str]],
    dtypes: Sequence[Any],
    way: Way,
    limits: Sequence[str],
) -> list[jax.ShapeDtypeStruct]:
    """Returns abstract arrays of shapes in one scope of names."""
    lengths = {dim for shape in shapes for dim in shape if not dim.isdigit()} - {"b"}
    bounds = [f"{dim} >= {way.least}" for dim in sorted(lengths) if way.least > 1]
    scope = export.SymbolicScope([*bounds, *limits])
    return [
        jax.ShapeDtypeStruct(export.symbolic_shape(",".join(shape), scope=scope), dtype)
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]


def told_inputs(model: keras.Model, signatures: Mapping[str, SignatureRequest]) -> Any:
    """Returns what a signature calls a model with, or else what it was built for.

    Keras remembers the first argument of a model's call alone.

    Raises:
        UnsupportedError: Neither is known.
    """
    requests = signatures.values()
    told = [r.called for r in requests if r.layer is model and r.called is not None]
    several = [called for called in told if called.rest]
    if several:
        return several[0]
    try:
        return model_inputs(model)
    except UnsupportedError:
        if not told:
            raise
        return told[0].first


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

    def given(tensor: Any) -> Any:
        if isinstance(tensor, SparseTensor | RaggedTensor):
            return _parts(tensor, given)
        if not hasattr(tensor, "shape"):
            return None  # a structure, whose parts come next
        shape = (None,) * len(tensor.shape[: batch.start]) + tuple(tensor.shape[batch])
        return TensorInput(shape, file_dtype(tensor))

    first = keras.tree.traverse(given, symbolic)
    further = getattr(model, "further_inputs", {})
    rest = {k: keras.tree.traverse(given, v) for k, v in further.items()}
    return Arguments(first, rest) if rest else first


def _parts(
    tensor: SparseTensor | RaggedTensor, given: Callable[[Any], Any]
) -> SparseTensor | RaggedTensor:
    """Returns what a sparse or ragged tensor is made of: few lengths are the batch."""
    if isinstance(tensor, SparseTensor):
        # The number of its axes is no size of a batch.
        rank = TensorInput(tuple(tensor.dense_shape.shape), "int64")
        indices = replace(given(tensor.indices), first="own")
        return SparseTensor(indices, replace(given(tensor.values), first="last"), rank)
    counts = ["splits", *["own"] * (len(tensor.nested_row_splits) - 1)]
    return RaggedTensor(
        replace(given(tensor.flat_values), first="own"),
        tuple(
            replace(given(splits), first=count)
            for splits, count in zip(tensor.nested_row_splits, counts, strict=True)
        ),
    )


def saved_inputs(layer: keras.Layer) -> Any:
    """Returns what a layer takes, by name, as far as it tells itself.

    What runs from the functions of a file does, and a network.
    """

    def given(tensor: Any) -> Any:
        if isinstance(tensor, SparseTensor | RaggedTensor):
            return _parts(tensor, given)
        if not hasattr(tensor, "shape"):
            return None
        return TensorInput(tuple(tensor.shape), str(tensor.dtype))

    return keras.tree.traverse(
        given,
        getattr(layer, "saved_inputs", None) or _network_inputs(layer),
    )


def failures_of(layer: keras.Layer) -> tuple[type[Exception], ...]:
    """What says that a layer can't be called with its `saved_inputs`.

    A network may be an attribute that nothing calls: no other way is tried for it.
    """
    if is_network(layer) and not hasattr(layer, "saved_inputs"):
        return (Exception,)
    return ValueError, NotImplementedError


def _network_inputs(layer: keras.Layer) -> Any:
    """The symbolic inputs of a network, as its `call` names them."""
    symbolic = _symbolic(layer, "input") if is_network(layer) else None
    return {} if symbolic is None else {"inputs": symbolic}


def _symbolic(model: keras.Model, side: str) -> Any:
    """Returns the symbolic inputs or outputs of a network; `None` without.

    Where a chain was called first tells nothing of its own ones.
    """
    if isinstance(model, keras.Sequential) and (
        own := getattr(model, f"{side}s", None)
    ):
        return own[0]
    try:
        return getattr(model, side)
    except (AttributeError, ValueError):
        return None


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


def split_arguments(inputs: Any) -> tuple[Any, Mapping[str, Any]]:
    """Returns the structure of a model's first argument, and the others by name."""
    if isinstance(inputs, Arguments):
        return inputs.first, inputs.rest
    return inputs, {}


def flat_inputs(inputs: Any) -> list[TensorInput]:
    """Returns the tensors that a model is called with, in order."""
    first, rest = split_arguments(inputs)
    found: list[TensorInput] = keras.tree.flatten((first, dict(rest)))
    return found


def packed_inputs(inputs: Any, tensors: Sequence[Any]) -> tuple[Any, Mapping[str, Any]]:
    """Returns the arguments of a model with other tensors in the places of its own."""
    first, rest = split_arguments(inputs)
    packed = keras.tree.pack_sequence_as((first, dict(rest)), list(tensors))
    return packed[0], packed[1]


def _built_inputs(model: keras.Model) -> Any:
    config = model.get_build_config() or {}
    shapes = config.get("input_shape")
    by_name = config.get("shapes_dict") or {}
    if shapes is None and not by_name:
        raise UnsupportedError(
            f"Model '{model.name}' doesn't know what it is called with. {HOW_TO_TELL}"
        )
    if shapes is None:
        first, *names = by_name
        shapes = by_name[first]
        rest = {
            name.removesuffix("_shape"): by_name[name]
            for name in names
            if by_name[name] is not None
        }
    else:
        rest = {}
    dtype = model.input_dtype
    given = Arguments(
        _inputs_of(shapes, dtype),
        {name: _inputs_of(each, dtype) for name, each in rest.items()},
    )
    known = keras.tree.flatten(
        (
            _inputs_of(shapes, dtype, batch=True),
            {name: _inputs_of(each, dtype, batch=True) for name, each in rest.items()},
        )
    )
    dtypes = _used_dtypes(model, given, known)
    tensors = zip(flat_inputs(given), dtypes, strict=True)
    first, others = packed_inputs(given, [replace(t, dtype=d) for t, d in tensors])
    return Arguments(first, others) if others else first


def _used_dtypes(
    model: keras.Model, inputs: Any, known: Sequence[TensorInput]
) -> list[str]:
    """Returns a dtype for each input of a model that knows only their shapes.

    What is only ever made an integer is one: ids of an `Embedding` are. So is what
    the model can't compute with otherwise: places and counts.
    """
    trainable = [v.value for v in model.trainable_variables]
    frozen = [v.value for v in model.non_trainable_variables]

    def call(*arrays: Any) -> Any:
        first, rest = packed_inputs(inputs, arrays)
        return model.stateless_call(trainable, frozen, first, **rest)[0]

    for dtypes in _guesses([tensor.dtype for tensor in known]):
        pairs = zip(known, dtypes, strict=True)
        specs = [jax.ShapeDtypeStruct(t.shape, dtype) for t, dtype in pairs]
        try:
            jaxpr = jax.make_jaxpr(call)(*specs).jaxpr
        # The trace that is to come says what is wrong, where no guess is right.
        except Exception:
            continue
        found = []
        for dtype, variable in zip(dtypes, jaxpr.invars, strict=True):
            kinds = _conversions(jaxpr, variable)
            found.append((kinds.pop() if len(kinds) == 1 else None) or dtype)
        return found
    return [tensor.dtype for tensor in known]


# Models of more inputs are guessed to have one kind, or one odd one out.
_COMBINED = 5


def _guesses(dtypes: Sequence[str]) -> Iterator[list[str]]:
    """Yields dtypes that inputs may have: first as they are, then with integers."""
    places = [i for i, dtype in enumerate(dtypes) if not dtype.startswith("int")]
    counts: Sequence[int] = range(len(places) + 1)
    if len(places) > _COMBINED:
        counts = (0, 1, len(places) - 1, len(places))
    for count in counts:
        for chosen in itertools.combinations(places, count):
            yield ["int32" if i in chosen else d for i, d in enumerate(dtypes)]


# What takes parts of its first operand says nothing of their dtype either.
_PARTS = frozenset(
    {
        *("broadcast_in_dim", "dynamic_slice", "gather", "reshape", "rev", "slice"),
        *("split", "squeeze", "transpose"),
    }
)

# What compares whole numbers says nothing of their dtype: a mask of padded ids does.
_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


def _conversions(jaxpr: Any, variable: Any) -> set[str | None]:
    """Returns the integers that a variable is made, and `None` for any other use."""
    found, handed_on = _uses(jaxpr, variable)
    return found | {None} if handed_on else found


def _uses(jaxpr: Any, variable: Any) -> tuple[set[str | None], list[int]]:
    """Returns the same, and which results are the variable or parts of it."""
    found: set[str | None] = set()
    parts = [variable]
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        for place, operand in enumerate(equation.invars):
            if not any(operand is part for part in parts):
                continue
            dtype = str(equation.params.get("new_dtype", ""))
            inner = equation.params.get("jaxpr")
            if name == "convert_element_type" and dtype.startswith("int"):
                found.add(dtype)
            elif name in _PARTS and place == 0:
                parts += equation.outvars
            elif name in ("jit", "pjit") and inner is not None:
                inside, results = _uses(inner.jaxpr, inner.jaxpr.invars[place])
                found |= inside
                parts += [equation.outvars[i] for i in results]
            elif name not in _COMPARISONS or not _is_whole(equation.invars[1 - place]):
                found.add(None)
    results = [
        i for i, out in enumerate(jaxpr.outvars) if any(out is part for part in parts)
    ]
    return found, results


def _is_whole(operand: Any) -> bool:
    """Whether an operand is a constant without a fraction."""
    value = getattr(operand, "val", None)
    return value is not None and bool(np.all(np.asarray(value) == np.trunc(value)))


def _inputs_of(shapes: Any, dtype: str, batch: bool = False) -> Any:
    """Returns tensors of shapes; with the batch that they were built with."""
    if isinstance(shapes, dict):
        return {key: _inputs_of(value, dtype, batch) for key, value in shapes.items()}
    if any(isinstance(shape, list | tuple | dict) for shape in shapes):
        found = [_inputs_of(shape, dtype, batch) for shape in shapes]
        return tuple(found) if isinstance(shapes, tuple) else found
    if not shapes:
        return TensorInput((), dtype)
    # The batch that a model was built with is one of many.
    first = (shapes[0] or 1) if batch else None
    return TensorInput((first, *shapes[1:]), dtype)


def with_lists(records: Sequence[LayerCall], model: keras.Model) -> list[LayerCall]:
    """Returns calls by a network, with lists of tensors where there were tuples.

    Keras 2 calls the layers of a network by its config, which knows lists alone.
    """
    if not any(map(_has_tuples, records)):
        return list(records)
    layer = records[0].layer
    networks = filter(is_network, _compat.all_layers(model))
    if not any(layer is each for network in networks for each in network.layers):
        return list(records)
    return [
        replace(
            record,
            args=tuple(map(_listed, record.args)),
            kwargs={key: _listed(value) for key, value in record.kwargs.items()},
        )
        for record in records
    ]


def _has_tuples(record: LayerCall) -> bool:
    """Whether a tuple, at any depth of an argument, holds tensors."""
    pending: list[Any] = [*record.args, *record.kwargs.values()]
    while pending:
        value = pending.pop()
        if isinstance(value, tuple) and _listed(value) is not value:
            return True
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)
    return False


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if not isinstance(value, list | tuple) or hasattr(value, "_fields"):
        return value
    items = [_listed(item) for item in value]
    holds_tensors = any(isinstance(item, Leaf | list) for item in items)
    return items if isinstance(value, list) or holds_tensors else value


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
    saved: list[str] | None = getattr(model, "signature_names", None)
    if saved is not None:
        return saved
    tensors = _named(model, "input")
    if tensors is None:
        first, rest = split_arguments(inputs)
        names = _place_names(first, "input")
        for name in sorted(rest):
            names += [name] * len(keras.tree.flatten(rest[name]))
        return _unique(names)
    return _unique([_compat.source_name(t) for t in tensors])


def _place_names(structure: Any, side: str) -> list[str]:
    """Returns names of tensors by their places in what a model takes or gives."""
    if isinstance(structure, dict):
        return _path_names(structure)
    if isinstance(structure, list | tuple):
        return _path_names(structure, side)
    return [f"{side}_1"]


def _path_names(structure: Any, path: str = "") -> list[str]:
    """Returns names of the places in a structure, where lists count from one."""
    if isinstance(structure, dict):
        parts = [(str(key), structure[key]) for key in sorted(structure, key=str)]
    elif isinstance(structure, list | tuple):
        parts = [(str(i + 1), item) for i, item in enumerate(structure)]
    else:
        return [] if structure is None else [path]
    prefix = f"{path}_" if path else ""
    return [name for part, item in parts for name in _path_names(item, prefix + part)]


def output_names(model: keras.Model, record: LayerCall) -> list[str]:
    """Returns a name for each output, as Keras 2 names them in a signature."""
    names = layer_output_names(model)
    if names is not None:
        return names
    return _place_names(record.outputs, "output")


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
