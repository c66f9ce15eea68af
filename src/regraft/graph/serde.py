"""TensorFlow's messages ↔ `ir`, in pairs: `X_from_proto` and `X_to_proto`.

This is the only module where the two meet. Messages come from
`regraft.storage.proto`; they are typed `Any` here because protobuf makes their
classes at run time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from regraft.errors import FormatError
from regraft.graph import ir
from regraft.graph.tensor_serde import (
    shape_from_proto,
    shape_to_proto,
    tensor_from_proto,
    tensor_to_proto,
)
from regraft.storage.proto import messages

_EMPTY: Mapping[str, Any] = MappingProxyType({})


# Attributes


def attr_from_proto(proto: Any) -> ir.AttrValue:
    """Reads an `AttrValue`."""
    kind = proto.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(proto, kind)
    if kind in ("s", "i", "f", "b"):
        return value
    if kind == "list":
        return _attr_list(value)
    return _READ_ATTR[kind](value)


def _attr_list(value: Any) -> tuple[ir.AttrValue, ...]:
    items: list[ir.AttrValue] = [*value.s, *value.i, *value.f, *value.b]
    items += [ir.DataType(t) for t in value.type]
    items += [shape_from_proto(s) for s in value.shape]
    items += [tensor_from_proto(t) for t in value.tensor]
    items += [function_ref_from_proto(f) for f in value.func]
    return tuple(items)


def function_ref_from_proto(proto: Any) -> ir.FunctionRef:
    """Reads a `NameAttrList`."""
    return ir.FunctionRef(proto.name, attrs_from_proto(proto.attr))


def attrs_from_proto(attrs: Any) -> Mapping[str, ir.AttrValue]:
    """Reads a map of attributes."""
    if not attrs:
        return _EMPTY
    return {name: attr_from_proto(value) for name, value in attrs.items()}


_READ_ATTR: dict[str, Any] = {
    "type": ir.DataType,
    "shape": shape_from_proto,
    "tensor": tensor_from_proto,
    "func": function_ref_from_proto,
    "placeholder": ir.AttrPlaceholder,
}


def attr_to_proto(value: ir.AttrValue, proto: Any = None) -> Any:
    """Writes an `AttrValue`, into `proto` if given."""
    proto = messages.AttrValue() if proto is None else proto
    if value is None:
        return proto
    if isinstance(value, tuple):
        proto.list.SetInParent()
        for item in value:
            _put(proto.list, item, repeated=True)
        return proto
    _put(proto, value, repeated=False)
    return proto


# Order matters: `bool` and `DataType` are `int`s too.
_KINDS: tuple[tuple[type, str], ...] = (
    (bytes, "s"),
    (bool, "b"),
    (ir.DataType, "type"),
    (int, "i"),
    (float, "f"),
    (ir.TensorShape, "shape"),
    (ir.TensorValue, "tensor"),
    (ir.FunctionRef, "func"),
    (ir.AttrPlaceholder, "placeholder"),
)


def _field_of(value: Any) -> str:
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    raise TypeError(f"{type(value).__name__} is no attribute value.")


def _put(proto: Any, value: Any, *, repeated: bool) -> None:
    name = _field_of(value)
    if name == "func":
        target = proto.func.add() if repeated else proto.func
        target.name = value.name
        target.SetInParent()
        attrs_to_proto(value.attrs, target.attr)
        return
    if name == "placeholder":
        proto.placeholder = value.name
        return
    if name in ("shape", "tensor"):
        write = shape_to_proto if name == "shape" else tensor_to_proto
        if repeated:
            getattr(proto, name).append(write(value))
        else:
            getattr(proto, name).CopyFrom(write(value))
    elif repeated:
        getattr(proto, name).append(value)
    else:
        setattr(proto, name, value)


def attrs_to_proto(attrs: Mapping[str, ir.AttrValue], target: Any) -> None:
    """Writes a map of attributes into the map field `target`."""
    for name, value in attrs.items():
        attr_to_proto(value, target[name])


# Ops


def _full_type_from_proto(proto: Any) -> ir.FullType:
    which = proto.WhichOneof("attr")
    return ir.FullType(
        proto.type_id,
        tuple(_full_type_from_proto(a) for a in proto.args),
        None if which is None else getattr(proto, which),
    )


def _full_type_to_proto(value: ir.FullType, proto: Any) -> None:
    proto.SetInParent()
    proto.type_id = value.type_id
    if value.attr is not None:
        setattr(proto, "s" if isinstance(value.attr, str) else "i", value.attr)
    for arg in value.args:
        _full_type_to_proto(arg, proto.args.add())


def _arg_def_from_proto(proto: Any) -> ir.ArgDef:
    has_full = proto.HasField("experimental_full_type")
    return ir.ArgDef(
        name=proto.name,
        type=ir.DataType(proto.type),
        type_attr=proto.type_attr,
        number_attr=proto.number_attr,
        type_list_attr=proto.type_list_attr,
        is_ref=proto.is_ref,
        description=proto.description,
        handle_data=tuple(
            (ir.DataType(h.dtype), shape_from_proto(h.shape)) for h in proto.handle_data
        ),
        full_type=(
            _full_type_from_proto(proto.experimental_full_type) if has_full else None
        ),
    )


def _arg_def_to_proto(arg: ir.ArgDef, proto: Any) -> None:
    proto.name = arg.name
    proto.type = arg.type
    proto.type_attr = arg.type_attr
    proto.number_attr = arg.number_attr
    proto.type_list_attr = arg.type_list_attr
    proto.is_ref = arg.is_ref
    proto.description = arg.description
    for dtype, shape in arg.handle_data:
        data = proto.handle_data.add(dtype=dtype)
        data.shape.SetInParent()
        shape_to_proto(shape, data.shape)
    if arg.full_type is not None:
        _full_type_to_proto(arg.full_type, proto.experimental_full_type)


def _attr_def_from_proto(proto: Any) -> ir.AttrDef:
    def optional(name: str) -> ir.AttrValue | ir.Absent:
        return (
            attr_from_proto(getattr(proto, name))
            if proto.HasField(name)
            else (ir.ABSENT)
        )

    return ir.AttrDef(
        name=proto.name,
        type=proto.type,
        default=optional("default_value"),
        description=proto.description,
        minimum=proto.minimum if proto.has_minimum else None,
        allowed_values=optional("allowed_values"),
    )


def _attr_def_to_proto(attr: ir.AttrDef, proto: Any) -> None:
    proto.name = attr.name
    proto.type = attr.type
    proto.description = attr.description
    for name, value in (
        ("default_value", attr.default),
        ("allowed_values", attr.allowed_values),
    ):
        if not isinstance(value, ir.Absent):
            getattr(proto, name).SetInParent()
            attr_to_proto(value, getattr(proto, name))
    if attr.minimum is not None:
        proto.has_minimum = True
        proto.minimum = attr.minimum


def op_def_from_proto(proto: Any) -> ir.OpDef:
    """Reads an `OpDef`."""
    deprecation = None
    if proto.HasField("deprecation"):
        deprecation = (proto.deprecation.version, proto.deprecation.explanation)
    return ir.OpDef(
        name=proto.name,
        inputs=tuple(_arg_def_from_proto(a) for a in proto.input_arg),
        outputs=tuple(_arg_def_from_proto(a) for a in proto.output_arg),
        attrs=tuple(_attr_def_from_proto(a) for a in proto.attr),
        control_outputs=tuple(proto.control_output),
        is_stateful=proto.is_stateful,
        is_commutative=proto.is_commutative,
        is_aggregate=proto.is_aggregate,
        allows_uninitialized_input=proto.allows_uninitialized_input,
        is_distributed_communication=proto.is_distributed_communication,
        summary=proto.summary,
        description=proto.description,
        deprecation=deprecation,
    )


def op_def_to_proto(op: ir.OpDef, proto: Any = None) -> Any:
    """Writes an `OpDef`, into `proto` if given."""
    proto = messages.OpDef() if proto is None else proto
    proto.name = op.name
    for arg in op.inputs:
        _arg_def_to_proto(arg, proto.input_arg.add())
    for arg in op.outputs:
        _arg_def_to_proto(arg, proto.output_arg.add())
    for attr in op.attrs:
        _attr_def_to_proto(attr, proto.attr.add())
    proto.control_output.extend(op.control_outputs)
    for name in _OP_FLAGS:
        setattr(proto, name, getattr(op, name))
    if op.deprecation is not None:
        proto.deprecation.SetInParent()
        proto.deprecation.version, proto.deprecation.explanation = op.deprecation
    return proto


_OP_FLAGS = (
    "is_stateful",
    "is_commutative",
    "is_aggregate",
    "allows_uninitialized_input",
    "is_distributed_communication",
    "summary",
    "description",
)


# Nodes, functions, graphs


def node_from_proto(proto: Any) -> ir.Node:
    """Reads a `NodeDef`."""
    debug = proto.HasField("experimental_debug_info")
    info = proto.experimental_debug_info
    has_type = proto.HasField("experimental_type")
    return ir.Node(
        name=proto.name,
        op=proto.op,
        inputs=tuple(proto.input),
        attrs=attrs_from_proto(proto.attr),
        device=proto.device,
        original_node_names=tuple(info.original_node_names) if debug else (),
        original_func_names=tuple(info.original_func_names) if debug else (),
        full_type=_full_type_from_proto(proto.experimental_type) if has_type else None,
        has_debug_info=debug,
    )


def node_to_proto(node: ir.Node, proto: Any = None) -> Any:
    """Writes a `NodeDef`, into `proto` if given."""
    proto = messages.NodeDef() if proto is None else proto
    proto.name = node.name
    proto.op = node.op
    proto.input.extend(node.inputs)
    proto.device = node.device
    attrs_to_proto(node.attrs, proto.attr)
    if node.has_debug_info:
        info = proto.experimental_debug_info
        info.SetInParent()
        info.original_node_names.extend(node.original_node_names)
        info.original_func_names.extend(node.original_func_names)
    if node.full_type is not None:
        _full_type_to_proto(node.full_type, proto.experimental_type)
    return proto


def function_from_proto(proto: Any) -> ir.Function:
    """Reads a `FunctionDef`."""
    places = {arg.name: i for i, arg in enumerate(proto.signature.output_arg)}
    return ir.Function(
        signature=op_def_from_proto(proto.signature),
        nodes=tuple(node_from_proto(n) for n in proto.node_def),
        # Messages keep no order of such entries; plans are to be the same each time.
        ret=dict(sorted(proto.ret.items(), key=lambda item: places.get(item[0], 0))),
        control_ret=dict(sorted(proto.control_ret.items())),
        attrs=attrs_from_proto(proto.attr),
        arg_attrs={i: attrs_from_proto(a.attr) for i, a in proto.arg_attr.items()},
        resource_arg_unique_ids=dict(proto.resource_arg_unique_id),
    )


def function_to_proto(function: ir.Function, proto: Any = None) -> Any:
    """Writes a `FunctionDef`, into `proto` if given."""
    proto = messages.FunctionDef() if proto is None else proto
    proto.signature.SetInParent()
    op_def_to_proto(function.signature, proto.signature)
    for node in function.nodes:
        node_to_proto(node, proto.node_def.add())
    proto.ret.update(function.ret)
    proto.control_ret.update(function.control_ret)
    attrs_to_proto(function.attrs, proto.attr)
    for index, attrs in function.arg_attrs.items():
        target = proto.arg_attr[index]
        attrs_to_proto(attrs, target.attr)
    proto.resource_arg_unique_id.update(function.resource_arg_unique_ids)
    return proto


class LazyFunctions(Mapping[str, ir.Function]):
    """The functions of a graph, each read when it is first asked for.

    A file may hold thousands of functions of which a model needs a few.
    """

    def __init__(self, protos: Any) -> None:
        self._protos = {proto.signature.name: proto for proto in protos}
        self._read: dict[str, ir.Function] = {}

    def __getitem__(self, name: str) -> ir.Function:
        found = self._read.get(name)
        if found is None:
            found = self._read[name] = function_from_proto(self._protos[name])
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._protos

    def __iter__(self) -> Iterator[str]:
        return iter(self._protos)

    def __len__(self) -> int:
        return len(self._protos)


def graph_from_proto(proto: Any) -> ir.Graph:
    """Reads a `GraphDef`; its functions lazily."""
    versions = None
    if proto.HasField("versions"):
        v = proto.versions
        versions = ir.Versions(v.producer, v.min_consumer, tuple(v.bad_consumers))
    library = proto.library
    return ir.Graph(
        nodes=tuple(node_from_proto(n) for n in proto.node),
        functions=LazyFunctions(library.function),
        versions=versions,
        gradients=tuple((g.function_name, g.gradient_func) for g in library.gradient),
        registered_gradients=tuple(
            (g.gradient_func, g.registered_op_type)
            for g in library.registered_gradients
        ),
    )


def graph_to_proto(graph: ir.Graph, proto: Any = None) -> Any:
    """Writes a `GraphDef`, into `proto` if given."""
    proto = messages.GraphDef() if proto is None else proto
    for node in graph.nodes:
        node_to_proto(node, proto.node.add())
    proto.library.SetInParent()
    _functions_to_proto(graph.functions.values(), proto.library)
    for name, gradient in graph.gradients:
        proto.library.gradient.add(function_name=name, gradient_func=gradient)
    for gradient, op in graph.registered_gradients:
        proto.library.registered_gradients.add(
            gradient_func=gradient, registered_op_type=op
        )
    if graph.versions is not None:
        proto.versions.SetInParent()
        proto.versions.producer = graph.versions.producer
        proto.versions.min_consumer = graph.versions.min_consumer
        proto.versions.bad_consumers.extend(graph.versions.bad_consumers)
    return proto


def _functions_to_proto(functions: Iterable[ir.Function], library: Any) -> None:
    """Writes functions; those that differ by their name alone are copies of one."""
    first: dict[int, tuple[Any, Any]] = {}
    for function in functions:
        content = (
            replace(function.signature, name=""),
            *(getattr(function, name) for name in _BODY),
        )
        known, original = first.get(id(function.nodes), (None, None))
        if known == content:
            library.function.add().CopyFrom(original)
            library.function[-1].signature.name = function.name
            continue
        written = function_to_proto(function, library.function.add())
        first[id(function.nodes)] = content, written


_BODY = tuple(f.name for f in fields(ir.Function) if f.name != "signature")


def op_defs_from_proto(proto: Any) -> dict[str, ir.OpDef]:
    """Reads an `OpList`."""
    return {op.name: op_def_from_proto(op) for op in proto.op}


def check_function_names(functions: Mapping[str, ir.Function], count: int) -> None:
    """Refuses a library in which two functions have one name.

    Raises:
        FormatError: A name occurs twice.
    """
    if len(functions) != count:
        raise FormatError(
            "Invalid function library", expected="distinct names", received="a repeat"
        )
