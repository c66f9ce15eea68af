"""Builds the body of one TensorFlow function, node by node."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regraft import dtypes
from regraft.errors import UnsupportedError
from regraft.graph import ir, op_defs
from regraft.graph.tracing.attributes import freeze, guess, handle, splat
from regraft.graph.tracing.library import control_outputs
from regraft.graph.tracing.values import (
    Array,
    Dim,
    Value,
    VariableState,
    held_dtype,
    is_static,
    same_dim,
)

# Each loop writes a list of its own; converters take the loop apart by it.
_APART = frozenset({"TensorListReserve"})

Input = Any  # A `Value`, an array or number, or a list of them.


@dataclass(slots=True)
class _Draft:
    """A node that may still prove to be useless."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: dict[str, ir.AttrValue]
    controls: list[str] = field(default_factory=list)
    needed: tuple[str, ...] = ()


@functools.cache
def data_type(name: str) -> ir.DataType:
    """Returns the number of a dtype."""
    return ir.DataType.of(name)


@functools.cache
def op_def(op: str) -> ir.OpDef:
    """Returns the signature of a TensorFlow op."""
    found = op_defs.builtin(op)
    if found is None:
        raise UnsupportedError(f"TensorFlow has no op '{op}'.")
    return found


@functools.cache
def _attr_defs(op: str) -> Mapping[str, ir.AttrDef]:
    return {attr.name: attr for attr in op_def(op).attrs}


class FunctionBuilder:
    """The body of a function under construction.

    Nodes of ops without state are made once per op, inputs and attributes; nodes
    that no result needs are left out at the end.

    Attributes:
        is_stateful: Whether an op with state was added.
        written: Positions of the arguments that are variables that it writes.
        prefix: Of the names of the nodes that are added next.
    """

    def __init__(self) -> None:
        self._drafts: dict[str, _Draft] = {}
        self._names: dict[str, int] = {}
        self._arguments: list[ir.ArgDef] = []
        self._shapes: dict[int, ir.TensorShape] = {}
        self._known: dict[Any, Value | tuple[Value, ...]] = {}
        self._states: dict[str, VariableState] = {}
        self._readers: dict[str, list[str]] = {}
        self._effects: list[str] = []
        self.is_stateful = False
        self.written: set[int] = set()
        self.prefix = ""

    # Arguments

    def argument(self, name: str, dtype: str, shape: tuple[Dim, ...]) -> Value:
        """Adds an argument that is a tensor."""
        name = self._unique(name)
        self._shapes[len(self._arguments)] = shape_of(shape)
        self._arguments.append(ir.ArgDef(name, data_type(dtype)))
        return Value(dtype, shape, name=name)

    def variable(
        self, name: str, dtype: str, shape: tuple[Dim, ...], identity: Any = None
    ) -> Value:
        """Adds an argument that is a variable; the value is what it holds."""
        name = self._unique(name)
        held = held_dtype(identity, dtype)
        state = VariableState(name, len(self._arguments), identity, held=held)
        self._arguments.append(handle(name, held, shape))
        self._states[name] = state
        self.is_stateful = True
        return Value(dtype, shape, variable=state)

    def _unique(self, name: str) -> str:
        candidate = name
        while candidate in self._names:
            self._names[name] += 1
            candidate = f"{name}_{self._names[name]}"
        self._names[candidate] = 0
        return candidate

    # Nodes

    def op(
        self,
        op: str,
        *inputs: Input,
        shape: tuple[Dim, ...] | None = None,
        name: str | None = None,
        **attrs: Any,
    ) -> Any:
        """Adds a node.

        Args:
            op: Name of the op.
            *inputs: One per input of the op; for a list input a list of them.
                Numbers become constants of the type that the other inputs have.
            shape: Of the first output, where the caller knows it.
            name: Of the node; the op's by default.
            **attrs: What cannot be told from the inputs.

        Returns:
            The output; a tuple of them when the op has several, a list of them for
            one that is a list.
        """
        definition = op_def(op)
        types = self._types(definition, inputs, attrs)
        names = [
            tensor
            for arg, given in zip(definition.inputs, inputs, strict=True)
            for tensor in self._input(arg, given, types)
        ]
        full = self._attrs(definition, inputs, types, attrs)
        key = None
        if not definition.is_stateful and op not in _APART:
            key = (op, tuple(names), freeze(full))
            if (known := self._known.get(key)) is not None:
                return known
        self.is_stateful |= definition.is_stateful
        node = self._node(name or op, op, tuple(names), full)
        outputs = self._outputs(node, definition, types, full)
        if shape is not None:
            first = outputs[0] if isinstance(outputs, tuple) else outputs
            first.shape = shape
        if key is not None:
            self._known[key] = outputs
        return outputs

    def _node(
        self,
        name: str,
        op: str,
        inputs: tuple[str, ...],
        attrs: dict[str, ir.AttrValue],
        controls: Iterable[str] = (),
    ) -> str:
        name = self._unique(self.prefix + name)
        self._drafts[name] = _Draft(name, op, inputs, attrs, list(controls))
        return name

    def _types(
        self, definition: ir.OpDef, inputs: Sequence[Input], attrs: Mapping[str, Any]
    ) -> dict[str, str]:
        """Returns the dtype of each type attribute, given or as inputs have it."""
        rows = _attr_defs(definition.name)
        types: dict[str, str] = {
            name: value for name, value in attrs.items() if rows[name].type == "type"
        }
        guesses: dict[str, str] = {}
        for arg, given in zip(definition.inputs, inputs, strict=True):
            items = given if isinstance(given, list | tuple) else (given,)
            for item in items if arg.type_attr else ():
                if isinstance(item, Value):
                    types.setdefault(arg.type_attr, item.dtype)
                else:
                    guesses.setdefault(arg.type_attr, guess(item))
        return {**guesses, **types}

    def _input(self, arg: ir.ArgDef, given: Input, types: dict[str, str]) -> list[str]:
        if not isinstance(given, list | tuple) or not arg.is_list:
            given = (given,)
        dtype = types.get(arg.type_attr) or (arg.type.name if arg.type else "")
        return [
            self.tensor(item)
            if isinstance(item, Value)
            else self.constant(np.asarray(item), dtype)
            for item in given
        ]

    def _attrs(
        self,
        definition: ir.OpDef,
        inputs: Sequence[Input],
        types: Mapping[str, str],
        given: Mapping[str, Any],
    ) -> dict[str, ir.AttrValue]:
        full: dict[str, Any] = {**types, **given}
        for arg, value in zip(definition.inputs, inputs, strict=True):
            if arg.number_attr:
                full[arg.number_attr] = len(value)
            if arg.type_list_attr:
                full[arg.type_list_attr] = [item.dtype for item in value]
        rows = _attr_defs(definition.name)
        out: dict[str, ir.AttrValue] = {}
        for name, value in full.items():
            converted = _attr(rows[name].type, value)
            default = rows[name].default
            if isinstance(default, ir.Absent) or default != converted:
                out[name] = converted
        return out

    def _outputs(
        self,
        node: str,
        definition: ir.OpDef,
        types: Mapping[str, str],
        attrs: Mapping[str, ir.AttrValue],
    ) -> Any:
        outputs: list[Any] = []
        for arg in definition.outputs:
            if arg.type_list_attr:
                listed: Any = attrs.get(arg.type_list_attr, ())
                outputs.append(
                    [
                        Value(t.name, name=f"{node}:{arg.name}:{i}")
                        for i, t in enumerate(listed)
                    ]
                )
                continue
            dtype = (
                types.get(arg.type_attr)
                or (arg.type.name if arg.type else "")
                or self._default_type(definition, arg.type_attr)
            )
            if arg.number_attr:
                count: Any = attrs.get(arg.number_attr)
                outputs.append(
                    [Value(dtype, name=f"{node}:{arg.name}:{i}") for i in range(count)]
                )
            else:
                outputs.append(Value(dtype, name=f"{node}:{arg.name}:0"))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _default_type(self, definition: ir.OpDef, attr: str) -> str:
        default = _attr_defs(definition.name)[attr].default
        if not isinstance(default, ir.DataType):
            raise TypeError(f"{definition.name} needs the attribute '{attr}'.")
        return default.name

    # Values

    def tensor(self, value: Value) -> str:
        """Returns the name of the tensor that holds a value, making it if needed."""
        if value.name is None:
            if value.constant is not None:
                value.name = self.constant(value.constant, value.dtype)
            elif value.variable is not None:
                return self._read(value)
            elif value.source is not None:
                value.name = self.tensor(self._repeat(value))
            else:
                raise UnsupportedError("A random key is no tensor in TensorFlow.")
        return value.name

    def constant(self, array: Array, dtype: str) -> str:
        """Returns the tensor of a constant."""
        if dtype == "string":
            return self._text(array)
        numpy = dtypes.from_name(dtype).numpy
        array = np.ascontiguousarray(array, dtype=numpy).reshape(np.shape(array))
        key = ("Const", dtype, array.shape, array.tobytes())
        if key not in self._known:
            flat = splat(array)
            number = data_type(dtype)
            tensor = ir.TensorValue(
                number, ir.TensorShape(array.shape), flat, flat.size == array.size
            )
            attrs: dict[str, ir.AttrValue] = {"dtype": number, "value": tensor}
            node = self._node("Const", "Const", (), attrs)
            self._known[key] = Value(dtype, array.shape, name=f"{node}:output:0")
        known = self._known[key]
        return known.name  # type: ignore[union-attr, return-value]

    def _text(self, array: Array) -> str:
        """Returns the tensor of a constant of `bytes`."""
        array = np.asarray(array, object)
        key = ("Const", "string", array.shape, tuple(array.reshape(-1).tolist()))
        if key not in self._known:
            attrs: dict[str, ir.AttrValue] = {
                "dtype": data_type("string"),
                "value": ir.TensorValue.from_numpy(array),
            }
            node = self._node("Const", "Const", (), attrs)
            self._known[key] = Value("string", array.shape, name=f"{node}:output:0")
        return self._known[key].name  # type: ignore[union-attr, return-value]

    def _read(self, value: Value) -> str:
        state: Any = value.variable
        if state.read is None:
            attrs: dict[str, ir.AttrValue] = {"dtype": data_type(state.held)}
            controls = [state.after] if state.after else []
            node = self._node(
                "ReadVariableOp", "ReadVariableOp", (state.resource,), attrs, controls
            )
            self._readers.setdefault(state.resource, []).append(node)
            state.read = self._cast(f"{node}:value:0", state.held, value.dtype)
        return state.read

    def _cast(self, tensor: str, dtype: str, wanted: str) -> str:
        if dtype == wanted:
            return tensor
        attrs: dict[str, ir.AttrValue] = {
            "SrcT": data_type(dtype),
            "DstT": data_type(wanted),
            "Truncate": False,
        }
        return f"{self._node('Cast', 'Cast', (tensor,), attrs)}:y:0"

    def _repeat(self, value: Value) -> Value:
        source = self.broadcastable(value)
        if source.shape is not None and same_shape(source.shape, value.dims):
            return source
        if source.constant is not None and source.constant.ndim == 0:
            return self.op(
                "Fill", self.shape_tensor(value.dims), source, shape=value.shape
            )
        return self.op(
            "BroadcastTo", source, self.shape_tensor(value.dims), shape=value.shape
        )

    def broadcastable(self, value: Value) -> Value:
        """Returns what TensorFlow's broadcasting rules make `value` of.

        Its rank may be lower, its lengths may be 1.
        """
        source = value.source
        if source is None or value.name is not None:
            return value
        rank = value.rank
        source = self.broadcastable(source) if source.rank == 0 else source
        if value.dimensions == tuple(range(rank - source.rank, rank)):
            return source
        lengths: list[Dim] = [1] * rank
        for place, dim in zip(value.dimensions, source.dims, strict=True):
            lengths[place] = dim
        while lengths and lengths[0] is not None and same_dim(lengths[0], 1):
            if 0 in value.dimensions and len(lengths) == rank:
                break
            lengths.pop(0)
        return self.reshape(source, tuple(lengths))

    def reshape(self, value: Value, shape: tuple[Dim, ...]) -> Value:
        """Returns a value in another shape."""
        if value.shape is not None and same_shape(value.shape, shape):
            return value
        if value.constant is not None and is_static(shape):
            return Value.of(value.constant.reshape(shape), value.dtype)
        return self.op("Reshape", value, self.reshape_target(value, shape), shape=shape)

    def reshape_target(self, value: Value, shape: tuple[Dim, ...]) -> Value:
        """Returns a shape for `Reshape`, in which one length may be -1."""
        unknown = [i for i, dim in enumerate(shape) if not isinstance(dim, int)]
        if unknown and 0 not in shape:
            # The one that costs most to compute is left to TensorFlow.
            free = max(unknown, key=lambda i: len(str(shape[i])))
            shape = (*shape[:free], -1, *shape[free + 1 :])
        return self.shape_tensor(shape)

    # Lengths

    def shape_tensor(self, shape: tuple[Dim, ...]) -> Value:
        """Returns a shape as an int32 tensor."""
        if is_static(shape):
            return Value.of(np.asarray(shape, np.int32), "int32")
        dims = [self.dim(d) for d in shape]
        return self.op("Pack", dims, axis=0, shape=(len(shape),))

    def dim(self, dim: Dim) -> Value:
        """Returns a length as an int32 scalar; of a fixed one a constant."""
        if isinstance(dim, int | np.integer):
            return Value.of(np.int32(dim), "int32")
        raise UnsupportedError(f"The length {dim} is not known here.")

    # Variables and effects

    def assign(self, variable: Value, value: Value) -> None:
        """Writes a variable, after all that has read it."""
        state: Any = variable.variable
        current = self._states[state.resource]
        tensor = self._cast(self.tensor(value), variable.dtype, state.held)
        attrs: dict[str, ir.AttrValue] = {"dtype": data_type(state.held)}
        inputs = (state.resource, tensor)
        node = self._node(
            "AssignVariableOp",
            "AssignVariableOp",
            inputs,
            attrs,
            self._controls(current),
        )
        self.wrote(variable, node)

    def _controls(self, state: VariableState) -> list[str]:
        controls = list(self._readers.get(state.resource, ()))
        return [*controls, state.after] if state.after else controls

    def wrote(self, variable: Value, node: str) -> Value:
        """Says that a node writes a variable; returns the value from then on."""
        old: Any = variable.variable
        state = VariableState(
            old.resource, old.index, old.identity, after=node, held=old.held
        )
        self._states[old.resource] = state
        self._readers[old.resource] = []
        self.written.add(old.index)
        if node not in self._effects:
            self._effects.append(node)
        return Value(variable.dtype, variable.shape, variable=state)

    def call(
        self,
        op: str,
        inputs: Sequence[Value | str],
        attrs: dict[str, ir.AttrValue],
        name: str,
        *,
        reads: Sequence[Value] = (),
        writes: Sequence[Value] = (),
        has_effects: bool = False,
        after: Sequence[str] = (),
    ) -> str:
        """Adds a node with effects, such as a call of a function; returns its name.

        Args:
            op: Such as `"PartitionedCall"`.
            inputs: Values, or names of resources.
            attrs: Attributes.
            name: Of the node.
            reads: Variables that the function reads.
            writes: Variables that it writes.
            has_effects: Whether it must run though nobody needs its results.
            after: Nodes that it comes after, and that it needs.
        """
        tensors = tuple(i if isinstance(i, str) else self.tensor(i) for i in inputs)
        for variable in writes:
            # What was asked for before the call must not see what it writes.
            self._read(variable)
        controls = [*after]
        for variable in (*reads, *writes):
            state = self._states[variable.variable.resource]  # type: ignore[union-attr]
            controls += [state.after] if state.after else []
        for variable in writes:
            controls += self._readers.get(variable.variable.resource, ())  # type: ignore[union-attr]
        node = self._node(name, op, tensors, attrs, dict.fromkeys(controls))
        self._drafts[node].needed = tuple(after)
        for variable in reads:
            resource = variable.variable.resource  # type: ignore[union-attr]
            self._readers.setdefault(resource, []).append(node)
        if has_effects:
            self._effects.append(node)
        return node

    def current(self, variable: Value) -> VariableState:
        """Returns the state of a variable now."""
        return self._states[variable.variable.resource]  # type: ignore[union-attr]

    def producer(self, value: Value) -> tuple[str, tuple[str, ...]] | None:
        """Returns op and inputs of the node that makes a value, if one does."""
        draft = self._drafts.get((value.name or "").partition(":")[0])
        return None if draft is None else (draft.op, draft.inputs)

    def is_bool(self, value: Value) -> bool:
        """Whether the node that makes a value was made of booleans."""
        name = (value.name or "").partition(":")[0]
        draft = self._drafts.get(name)
        if draft is None:
            return False
        outputs = op_def(draft.op).outputs
        return len(outputs) == 1 and outputs[0].type == data_type("bool")

    # The end

    def finish(
        self,
        name: str,
        results: Sequence[tuple[str, Value]],
        *,
        keeps_shapes: bool = False,
    ) -> ir.Function:
        """Returns the function.

        Args:
            name: Of the function.
            results: Names of the results and what they are.
            keeps_shapes: Whether it is for arguments of these shapes alone and says
                so: converters take shapes from there.
        """
        ret, outputs = {}, []
        for label, value in results:
            tensor = self.tensor(value)
            if ":" not in tensor:
                same = Value(value.dtype, value.shape, name=tensor)
                tensor = self.tensor(self.op("Identity", same))
            label = self._unique(label)
            ret[label] = tensor
            outputs.append(ir.ArgDef(label, data_type(value.dtype)))
        nodes = self._live_nodes(ret.values())
        control_ret = control_outputs(self._effects)
        signature = ir.OpDef(
            name,
            tuple(self._arguments),
            tuple(outputs),
            control_outputs=tuple(control_ret),
            is_stateful=self.is_stateful,
        )
        shapes = self._shapes if keeps_shapes else {}
        return ir.Function(
            signature,
            nodes,
            ret,
            control_ret,
            arg_attrs={i: {"_output_shapes": (shape,)} for i, shape in shapes.items()},
        )

    def result(self, value: Value) -> Value:
        """Returns a value as a node that says its shape, for readers to name."""
        attrs: dict[str, ir.AttrValue] = {
            "T": data_type(value.dtype),
            "_output_shapes": (shape_of(value.dims),),
        }
        node = self._node("Identity", "Identity", (self.tensor(value),), attrs)
        return Value(value.dtype, value.shape, name=f"{node}:output:0")

    def _live_nodes(self, results: Iterable[str]) -> tuple[ir.Node, ...]:
        live: set[str] = set()
        pending = [tensor.partition(":")[0] for tensor in results] + self._effects
        while pending:
            name = pending.pop()
            if name in live or name not in self._drafts:
                continue
            live.add(name)
            pending += [t.partition(":")[0] for t in self._drafts[name].inputs]
            pending += self._drafts[name].needed
        return tuple(
            ir.Node(
                draft.name,
                draft.op,
                draft.inputs + tuple(f"^{c}" for c in draft.controls if c in live),
                draft.attrs,
            )
            for draft in self._drafts.values()
            if draft.name in live
        )


def same_shape(left: tuple[Dim, ...], right: tuple[Dim, ...]) -> bool:
    """Whether two shapes are equal, as far as can be known."""
    return len(left) == len(right) and all(map(same_dim, left, right))


def _attr(kind: str, value: Any) -> ir.AttrValue:
    """Returns an attribute's value in the type that its op wants."""
    if kind.startswith("list("):
        return tuple(_attr(kind[5:-1], item) for item in value)
    if kind == "type":
        return value if isinstance(value, ir.DataType) else data_type(value)
    if kind == "string":
        return value.encode() if isinstance(value, str) else bytes(value)
    if kind == "shape":
        return value if isinstance(value, ir.TensorShape) else shape_of(value)
    if kind == "func":
        return value if isinstance(value, ir.FunctionRef) else ir.FunctionRef(value)
    convert: Any = {"int": int, "float": float, "bool": bool}.get(kind)
    return value if convert is None else convert(value)


def shape_of(shape: Iterable[Dim]) -> ir.TensorShape:
    """Returns a shape as TensorFlow writes it: unknown where symbolic."""
    return ir.TensorShape(
        tuple(int(d) if isinstance(d, int | np.integer) else None for d in shape)
    )
