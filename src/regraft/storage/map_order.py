"""Entries of protobuf's maps in the order in which TensorFlow writes them.

Deterministic serialization sorts a map by its keys. Protobuf's C++ runtime sorts
upwards; its Python runtime puts numbers downwards, and a key before another one that
it begins with. Hashes of whole messages need the C++ order.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from regraft.storage.proto import messages, serialize
from regraft.storage.proto.wire import read_varint, write_varint

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
# First bytes of an `AttrValue` that is a list or refers to a function.
_WITH_FUNCTIONS = (b"\x0a", b"\x52")
_MAX_REMEMBERED = 512

Plan = Mapping[str, Iterator[bool]]
"""By name of a message: whether each of them, in order, has to be sorted."""

_EVERYTHING: Plan = MappingProxyType({})


def serialized(saved_model: messages.SavedModel, content: bytes | None = None) -> bytes:
    """Returns the bytes of a SavedModel with all maps sorted upwards.

    Args:
        saved_model: The SavedModel.
        content: What `serialize` returns for it, where that is known already.
    """
    model: Any = saved_model
    data = serialize(saved_model) if content is None else content
    # Which of the large messages need it; most don't.
    needed: dict[str, list[bool]] = {
        "FunctionDef": [],
        "NodeDef": [],
        "SavedObjectGraph": [],
    }
    for graph in model.meta_graphs:
        needed["NodeDef"] += _nodes_that_differ(graph.graph_def.node)
        for function in graph.graph_def.library.function:
            nodes = _nodes_that_differ(function.node_def)
            differs = any(nodes) or _differs(_function_keys(function))
            needed["FunctionDef"].append(differs)
            needed["NodeDef"] += nodes if differs else ()
        needed["SavedObjectGraph"].append(_objects_differ(graph.object_graph_def))
    if not any(map(any, needed.values())) and not _differs(_other_keys(model)):
        return data
    plan = {name: iter(flags) for name, flags in needed.items()}
    return _sorted_maps(saved_model.DESCRIPTOR, data, plan)


def _nodes_that_differ(nodes: Any) -> list[bool]:
    return [_differs(_node_keys(node)) for node in nodes]


def _differs(groups: Iterable[tuple[Any, ...]]) -> bool:
    return not all(map(_is_sorted_by_all, groups))


def sorted_message(message: messages.Message) -> bytes:
    """Returns the bytes of a small message with all maps sorted upwards."""
    return _sorted_maps(message.DESCRIPTOR, serialize(message))


def sorted_graph(graph: messages.GraphDef) -> bytes:
    """Returns the same of a graph without functions."""
    flags = _nodes_that_differ(graph.node)
    return _sorted_maps(graph.DESCRIPTOR, serialize(graph), {"NodeDef": iter(flags)})


def sorted_function(concrete: messages.SavedConcreteFunction) -> bytes:
    """Returns the same of a traced function of an object graph."""
    if _function_differs(concrete):
        return sorted_message(concrete)
    return serialize(concrete)


@functools.lru_cache(4096)
def _is_sorted_by_all(keys: tuple[Any, ...]) -> bool:
    """Whether both runtimes put these keys into one order."""
    if len(keys) < 2:
        return True
    if not isinstance(keys[0], str):
        return False
    ordered = sorted(map(str.encode, keys))
    pairs = itertools.pairwise(ordered)
    return not any(after.startswith(before) for before, after in pairs)


def _function_keys(function: Any) -> Iterator[tuple[Any, ...]]:
    """Yields the keys of each map."""
    yield tuple(function.attr)
    yield tuple(function.ret)
    yield tuple(function.control_ret)
    yield tuple(function.arg_attr)
    yield tuple(function.resource_arg_unique_id)


def _objects_differ(objects: Any) -> bool:
    return (
        not _is_sorted_by_all(tuple(objects.concrete_functions))
        or any(map(_function_differs, objects.concrete_functions.values()))
        or any(map(_object_differs, objects.nodes))
    )


def _function_differs(concrete: Any) -> bool:
    return _structure_differs(
        concrete.canonicalized_input_signature
    ) or _structure_differs(concrete.output_signature)


def _object_differs(node: Any) -> bool:
    if not _is_sorted_by_all(tuple(node.saveable_objects)):
        return True
    if node.WhichOneof("kind") != "function":
        return False
    return _structure_differs(node.function.function_spec.fullargspec)


def _structure_differs(value: Any) -> bool:
    return _content_differs(value.SerializeToString())


@functools.lru_cache(4096)
def _content_differs(content: bytes) -> bool:
    """Signatures recur: all layers of a kind take and give the same."""
    return _differs(_structure_keys(messages.StructuredValue.FromString(content)))


def _other_keys(saved_model: Any) -> Iterator[tuple[Any, ...]]:
    for graph in saved_model.meta_graphs:
        yield tuple(graph.meta_info_def.function_aliases)
        yield tuple(graph.collection_def)
        yield tuple(graph.signature_def)
        for signature in graph.signature_def.values():
            yield tuple(signature.inputs)
            yield tuple(signature.outputs)
            yield tuple(signature.defaults)


def _node_keys(node: Any) -> Iterator[tuple[Any, ...]]:
    attrs = node.attr
    yield tuple(attrs)
    if "f" in attrs and attrs["f"].func.attr:
        yield tuple(attrs["f"].func.attr)


def _structure_keys(value: Any) -> Iterator[tuple[Any, ...]]:
    kind = value.WhichOneof("kind")
    if kind == "dict_value":
        fields = value.dict_value.fields
        yield tuple(fields)
        for item in fields.values():
            yield from _structure_keys(item)
    elif kind in ("list_value", "tuple_value"):
        for item in getattr(value, kind).values:
            yield from _structure_keys(item)
    elif kind == "named_tuple_value":
        for pair in value.named_tuple_value.values:
            yield from _structure_keys(pair.value)


def _sorted_maps(descriptor: Any, data: bytes, plan: Plan = _EVERYTHING) -> bytes:
    """Sorts all maps of a serialized message, whose fields are in order."""
    parts: list[bytes] = []
    entries: list[tuple[Any, bytes]] = []
    fields = descriptor.fields_by_number
    current = position = 0
    end = len(data)
    while position < end:
        start = position
        tag = data[position]
        position += 1
        if tag > 127:
            tag, position = read_varint(data, start, end)
        number, wire = tag >> 3, tag & 7
        field = fields.get(number)
        if number != current and entries:
            parts += _in_order(entries)
            entries = []
        current = number
        if wire != _LENGTH:
            position = _after(data, position, wire)
            parts.append(data[start:position])
            continue
        size, position = read_varint(data, position, end)
        content, position = data[position : position + size], position + size
        whole = data[start:position]
        if field is not None and _may_hold_maps(field, content, plan):
            inner = _sorted_inside(field.message_type, content, plan)
            if inner != content:
                content = inner
                whole = write_varint(tag) + write_varint(size) + content
        if field is not None and _is_map(field):
            entries.append((_key(content), whole))
        else:
            parts.append(whole)
    return b"".join([*parts, *_in_order(entries)])


def _sorted_inside(descriptor: Any, content: bytes, plan: Plan) -> bytes:
    if len(content) > _MAX_REMEMBERED or _holds(descriptor, tuple(plan)):
        return _sorted_maps(descriptor, content, plan)
    return _remembered(descriptor, content)


@functools.lru_cache(4096)
def _remembered(descriptor: Any, content: bytes) -> bytes:
    """Small messages recur: types, shapes, signatures of functions."""
    return _sorted_maps(descriptor, content)


def _in_order(entries: list[tuple[Any, bytes]]) -> list[bytes]:
    return [whole for _, whole in sorted(entries, key=lambda entry: entry[0])]


def _after(data: bytes, position: int, wire: int) -> int:
    if wire == _VARINT:
        return read_varint(data, position, len(data))[1]
    return position + (8 if wire == _FIXED64 else 4)


def _key(entry: bytes) -> Any:
    """Returns the key of a map's entry: its first field."""
    tag, position = read_varint(entry, 0, len(entry))
    value, position = read_varint(entry, position, len(entry))
    return entry[position : position + value] if tag & 7 == _LENGTH else value


@functools.cache
def _is_map(field: Any) -> bool:
    inner = field.message_type
    return inner is not None and bool(inner.GetOptions().map_entry)


def _may_hold_maps(field: Any, content: bytes, plan: Plan) -> bool:
    """Whether a message may have maps at any depth."""
    inner = field.message_type
    if inner is None or not _reaches_map(inner):
        return False
    if (flags := plan.get(inner.name)) is not None:
        return next(flags)
    # Of an attribute only a reference to a function, or a list of such.
    return inner.name != "AttrValue" or content[:1] in _WITH_FUNCTIONS


@functools.cache
def _reaches_map(descriptor: Any) -> bool:
    return any(message.GetOptions().map_entry for message in _reached(descriptor))


@functools.cache
def _holds(descriptor: Any, names: tuple[str, ...]) -> bool:
    """Whether a message is of one of these kinds, or may hold such at any depth."""
    return any(message.name in names for message in _reached(descriptor))


def _reached(descriptor: Any) -> Iterator[Any]:
    """Yields a kind of messages, and the kinds of all that they may hold."""
    found, pending = {descriptor.full_name}, [descriptor]
    while pending:
        message = pending.pop()
        yield message
        for field in message.fields:
            inner = field.message_type
            if inner is not None and inner.full_name not in found:
                found.add(inner.full_name)
                pending.append(inner)
