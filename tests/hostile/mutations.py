"""Ways in which a model file can be wrong or mean harm, each seeded.

A mutation takes a good SavedModel directory or HDF5 file, already copied, and changes
it in place. The same seed makes the same change.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from regraft.storage.proto import messages

Mutation = Callable[[Path, random.Random], None]

SECRET = "hostile-secret"
JUNK: tuple[Any, ...] = (
    None,
    -1,
    0,
    2**31,
    2**63,
    10**30,
    1e300,
    -0.5,
    True,
    "",
    "x",
    "a" * 5000,
    "../../../etc/passwd",
    "/etc/passwd",
    "\x00",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    [[], {}],
    {"a": 1},
    [1] * 300,
    {"class_name": "Dense", "config": {}},
    {"class_name": "Dense", "config": None},
    {"class_name": ["Dense"], "config": {}},
    {"class_name": "Sequential", "config": {"layers": []}},
    {"class_name": "__lambda__", "config": {"code": "4wAA", "defaults": None}},
    {"class_name": "__tensor__", "config": {"value": [1], "dtype": "float32"}},
    {"class_name": "__tensor__", "config": {"value": "x", "dtype": 7}},
    {"class_name": "__numpy__", "config": {"value": [[1], [2, 3]], "dtype": "O"}},
    {"class_name": "__tuple__", "items": [1, 2]},
    {"class_name": "__bytes__"},
    {"class_name": "TypeSpec", "type_spec": "x", "serialized": []},
    {"class_name": "CompositeTensor", "type_spec": {}},
    {"class_name": "TensorShape", "items": [2**40, 2**40]},
    {"class_name": "function", "config": "system", "module": "os"},
    {"module": "os", "class_name": "system", "config": {"command": "true"}},
    {"module": "builtins", "class_name": "eval", "config": "1"},
)
NUMBERS = (0, 1, -1, 2, 7, 255, 2**16, 2**31 - 1, -(2**31), 2**40, 2**62, -(2**63))
TEXTS = ("", "x", "../x", "/etc/passwd", "\x00", "root", "0", "a" * 4000, "é😀")


# ------------------------------------------------------------------------- bytes


def files_of(path: Path) -> list[Path]:
    """The files of an artifact, in one order."""
    if path.is_file():
        return [path]
    return sorted(item for item in path.rglob("*") if item.is_file())


def truncate(path: Path, rng: random.Random) -> None:
    """Cuts one file at some byte."""
    file = rng.choice([f for f in files_of(path) if f.stat().st_size])
    data = file.read_bytes()
    file.write_bytes(data[: rng.randrange(len(data))])


def flip_bits(path: Path, rng: random.Random) -> None:
    """Changes a few bits of one file."""
    file = rng.choice([f for f in files_of(path) if f.stat().st_size])
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(bytes(data))


def overwrite(path: Path, rng: random.Random) -> None:
    """Writes numbers that are too large over some bytes of one file."""
    file = rng.choice([f for f in files_of(path) if f.stat().st_size])
    data = bytearray(file.read_bytes())
    start = rng.randrange(len(data))
    data[start : start + 8] = struct.pack("<q", rng.choice(NUMBERS))
    file.write_bytes(bytes(data))


def splice(path: Path, rng: random.Random) -> None:
    """Copies one part of a file over another."""
    file = rng.choice([f for f in files_of(path) if f.stat().st_size])
    data = bytearray(file.read_bytes())
    length = rng.randrange(1, min(len(data), 64) + 1)
    source = rng.randrange(len(data))
    target = rng.randrange(len(data))
    data[target : target + length] = data[source : source + length]
    file.write_bytes(bytes(data))


def remove_file(path: Path, rng: random.Random) -> None:
    """Takes one file of a directory away."""
    rng.choice(files_of(path)).unlink()


def empty_file(path: Path, rng: random.Random) -> None:
    """Empties one file."""
    rng.choice(files_of(path)).write_bytes(b"")


def exchange_files(path: Path, rng: random.Random) -> None:
    """Puts one file of a directory in another's place."""
    first, second = rng.choice(files_of(path)), rng.choice(files_of(path))
    second.write_bytes(first.read_bytes())


def link_out(path: Path, rng: random.Random) -> None:
    """Puts a link to a file elsewhere in the place of one file."""
    file = rng.choice(files_of(path))
    secret = path.parent / SECRET
    secret.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(secret)


# -------------------------------------------------------------------- SavedModel


def _saved_model(path: Path) -> Any:
    message = messages.SavedModel()
    message.ParseFromString((path / "saved_model.pb").read_bytes())
    return message


def _write(path: Path, message: Any) -> None:
    (path / "saved_model.pb").write_bytes(message.SerializeToString())


def _fields(message: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every field that is set of a message and of those inside it."""
    stack = [message]
    while stack:
        here = stack.pop()
        for field, value in here.ListFields():
            yield here, field
            if field.message_type is None:
                continue
            if field.message_type.GetOptions().map_entry:
                entries = [value[key] for key in value]
            else:
                entries = value if _is_repeated(value) else [value]
            stack.extend(e for e in entries if hasattr(e, "ListFields"))


def _is_repeated(value: Any) -> bool:
    # Each version of protobuf has another word for it on the field's descriptor.
    return hasattr(value, "append") or hasattr(value, "add")


def _other_scalar(field: Any, rng: random.Random) -> Any:
    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        text = rng.choice(TEXTS)
        return text.encode() if field.type == field.TYPE_BYTES else text
    if kind == field.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    if kind == field.CPPTYPE_ENUM:
        return rng.choice((0, 1, 3, 7, 23, 99, 1000))
    number = rng.choice(NUMBERS)
    if kind in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32):
        number = max(min(number, 2**31 - 1), -(2**31))
    if kind in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64):
        number = abs(number)
    return min(number, 2**63 - 1)


def _change_field(owner: Any, field: Any, rng: random.Random) -> None:
    value = getattr(owner, field.name)
    is_map = field.message_type is not None and (
        field.message_type.GetOptions().map_entry
    )
    if is_map:
        del value[rng.choice(sorted(value))]
    elif _is_repeated(value):
        place = rng.randrange(len(value))
        what = rng.random()
        if what < 0.3:
            del value[place]
        elif what < 0.6:
            value.extend([value[place]])
        elif field.message_type is not None:
            other = rng.randrange(len(value))
            value[place].CopyFrom(
                type(value[other]).FromString(value[other].SerializeToString())
            )
        else:
            value[place] = _other_scalar(field, rng)
    elif field.message_type is not None or rng.random() < 0.2:
        owner.ClearField(field.name)
    else:
        setattr(owner, field.name, _other_scalar(field, rng))


def _spoil_message(message: Any, rng: random.Random, count: int) -> None:
    for _ in range(count):
        found = list(_fields(message))
        # Kinds of fields are chosen first: most fields are attributes of nodes.
        names = sorted({field.full_name for _, field in found})
        name = rng.choice(names)
        owner, field = rng.choice([f for f in found if f[1].full_name == name])
        _change_field(owner, field, rng)


def spoil_saved_model(path: Path, rng: random.Random) -> None:
    """Changes fields anywhere in `saved_model.pb`."""
    message = _saved_model(path)
    _spoil_message(message, rng, rng.choice((1, 1, 2, 5)))
    _write(path, message)


def spoil_object_graph(path: Path, rng: random.Random) -> None:
    """Changes fields of the object graph."""
    message = _saved_model(path)
    _spoil_message(message.meta_graphs[0].object_graph_def, rng, rng.choice((1, 3)))
    _write(path, message)


def spoil_library(path: Path, rng: random.Random) -> None:
    """Changes fields of the functions."""
    message = _saved_model(path)
    _spoil_message(message.meta_graphs[0].graph_def, rng, rng.choice((1, 3, 9)))
    _write(path, message)


def cyclic_objects(path: Path, rng: random.Random) -> None:
    """Leads children of objects to other objects, also to those above."""
    message = _saved_model(path)
    nodes = message.meta_graphs[0].object_graph_def.nodes
    for _ in range(rng.choice((1, 5, 40))):
        node = rng.choice([n for n in nodes if n.children])
        rng.choice(node.children).node_id = rng.randrange(len(nodes))
    _write(path, message)


def objects_elsewhere(path: Path, rng: random.Random) -> None:
    """Gives ids of objects that aren't there."""
    message = _saved_model(path)
    nodes = message.meta_graphs[0].object_graph_def.nodes
    bad = rng.choice((-1, len(nodes), 2**31 - 1, -(2**31)))
    node = rng.choice([n for n in nodes if n.children])
    rng.choice(node.children).node_id = bad
    slots = [s for n in nodes for s in n.slot_variables]
    if slots:
        slot = rng.choice(slots)
        slot.slot_variable_node_id = slot.original_variable_node_id = bad
    _write(path, message)


def calls_without_end(path: Path, rng: random.Random) -> None:
    """Lets functions call themselves, one another, or double at every level."""
    message = _saved_model(path)
    library = message.meta_graphs[0].graph_def.library
    functions = [f for f in library.function if f.signature.input_arg]
    first = rng.choice(functions)
    if rng.random() < 0.5:
        _call(first, rng.choice(functions).signature.name)
    else:
        before = rng.choice(functions).signature.name
        for level in range(200):
            added = library.function.add()
            added.signature.name = f"level_{level}"
            for _ in range(2):
                _call(added, before)
            before = added.signature.name
        _call(first, before)
    _write(path, message)


def _call(function: Any, name: str) -> None:
    node = function.node_def.add()
    node.name = f"call_{len(function.node_def)}"
    node.op = "StatefulPartitionedCall"
    node.attr["f"].func.name = name
    node.attr["Tin"].list.SetInParent()
    node.attr["Tout"].list.SetInParent()
    function.control_ret[node.name] = node.name


def chain_of_functions(path: Path, rng: random.Random) -> None:
    """Makes functions that call one another twenty thousand deep."""
    message = _saved_model(path)
    library = message.meta_graphs[0].graph_def.library
    before = library.function[0].signature.name
    for level in range(20_000):
        added = library.function.add()
        added.signature.name = f"level_{level}"
        _call(added, before)
        before = added.signature.name
    for function in list(library.function[:20]):
        _call(function, before)
    _write(path, message)


def chain_of_nodes(path: Path, rng: random.Random) -> None:
    """Puts thirty thousand nodes into a function, in a chain or in a ring."""
    message = _saved_model(path)
    library = message.meta_graphs[0].graph_def.library
    function = rng.choice([f for f in library.function if f.signature.input_arg])
    before = function.signature.input_arg[0].name
    ring = rng.random() < 0.3
    for place in range(30_000):
        node = function.node_def.add()
        node.name, node.op = f"step_{place}", "Identity"
        node.input.append(before)
        node.attr["T"].type = function.signature.input_arg[0].type
        before = f"step_{place}:output:0"
    if ring:
        function.node_def[-30_000].input[0] = before
    for key in list(function.ret)[:1]:
        function.ret[key] = before
    _write(path, message)


def bomb_constant(path: Path, rng: random.Random) -> None:
    """Lets constants stand for more numbers than any memory holds."""
    message = _saved_model(path)
    functions = message.meta_graphs[0].graph_def.library.function
    found = [n for f in functions for n in f.node_def if n.op == "Const"]
    for node in found:
        tensor = node.attr["value"].tensor
        tensor.ClearField("tensor_shape")
        for size in rng.choice(
            ((2**40,), (2**20, 2**20, 2**20), (2**31, 2**31), (-5,))
        ):
            tensor.tensor_shape.dim.add().size = size
        if rng.random() < 0.5:
            tensor.ClearField("tensor_content")
            tensor.float_val.append(1.0)
            tensor.int_val.append(1)
    _write(path, message)


def names_out(path: Path, rng: random.Random) -> None:
    """Gives assets and names that lead out of the directory."""
    message = _saved_model(path)
    meta = message.meta_graphs[0]
    (path.parent / SECRET).write_text("x")
    asset = meta.asset_file_def.add()
    asset.filename = rng.choice(("../../" + SECRET, "/etc/passwd", "a\x00b", "..", ""))
    asset.tensor_info.name = "x:0"
    node = meta.object_graph_def.nodes.add()
    node.asset.asset_file_def_index = rng.choice((0, 1, -1, 2**31 - 1))
    child = meta.object_graph_def.nodes[0].children.add()
    child.local_name = rng.choice(("../up", "", "a/b", "layer-0", "\u0000"))
    child.node_id = len(meta.object_graph_def.nodes) - 1
    _write(path, message)


def deep_structure(path: Path, rng: random.Random) -> None:
    """Nests the value that describes a function's arguments."""
    message = _saved_model(path)
    graph = message.meta_graphs[0].object_graph_def
    concrete = graph.concrete_functions
    key = rng.choice(sorted(concrete))
    value = concrete[key].canonicalized_input_signature
    value.Clear()
    depth = rng.choice((10, 30, 45))
    for _ in range(depth):
        value = value.tuple_value.values.add()
    value.string_value = "end"
    _write(path, message)


def many_meta_graphs(path: Path, rng: random.Random) -> None:
    """Repeats or empties meta graphs."""
    message = _saved_model(path)
    if rng.random() < 0.5:
        message.meta_graphs.extend([message.meta_graphs[0]] * 3)
    else:
        message.meta_graphs[0].Clear()
    _write(path, message)


# ------------------------------------------------------------------------ metadata


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value can be changed."""
    if place:
        yield place
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield from places(item, (*place, key))


def spoil_json(text: str, rng: random.Random) -> str:
    """Puts values of the wrong kind into a JSON text."""
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        found = list(places(value))
        if not found:
            break
        place = rng.choice(found)
        owner = value
        for key in place[:-1]:
            owner = owner[key]
        what = rng.random()
        if isinstance(owner, dict) and what < 0.15:
            del owner[place[-1]]
        elif isinstance(owner, list) and what < 0.15:
            owner.append(owner[place[-1]])
        elif what < 0.3:  # a value of somewhere else
            other: Any = value
            for key in rng.choice(found):
                other = other[key] if not isinstance(other, int | float) else other
            owner[place[-1]] = json.loads(json.dumps(other))
        else:
            owner[place[-1]] = rng.choice(JUNK)
    return json.dumps(value)


def spoil_text(text: str, rng: random.Random) -> str:
    """Breaks JSON as a text."""
    what = rng.randrange(7)
    if what == 0:
        return "[" * 100_000
    if what == 1:
        return '{"a":' * 50_000 + "1" + "}" * 50_000
    if what == 2:
        return text[: rng.randrange(len(text))]
    if what == 3:
        return text.replace("1", "1" * 5000, 1)
    if what == 4:
        return text.replace("null", "NaN").replace("false", "-Infinity")
    if what == 5:
        return text.replace('"config"', '"class_name": 3, "config"')
    middle = rng.randrange(len(text))
    return text[:middle] + rng.choice(('"', "\\", "\\ud800", "{", "]")) + text[middle:]


def _change_metadata(
    path: Path, rng: random.Random, change: Callable[[str, random.Random], str]
) -> None:
    file = path / "keras_metadata.pb"
    message = messages.KerasSavedMetadata()
    message.ParseFromString(file.read_bytes())
    # The root's text describes the whole model; the others each an object.
    node = message.nodes[0] if rng.random() < 0.6 else rng.choice(message.nodes)
    changed = change(node.metadata, rng)
    node.metadata = changed.encode("utf-8", "replace").decode()
    file.write_bytes(message.SerializeToString())


def spoil_metadata(path: Path, rng: random.Random) -> None:
    """Puts values of the wrong kind into Keras' metadata."""
    _change_metadata(path, rng, spoil_json)


def break_metadata(path: Path, rng: random.Random) -> None:
    """Breaks the JSON of Keras' metadata."""
    _change_metadata(path, rng, spoil_text)


def spoil_metadata_nodes(path: Path, rng: random.Random) -> None:
    """Changes ids, paths and identifiers of Keras' metadata."""
    file = path / "keras_metadata.pb"
    message = messages.KerasSavedMetadata()
    message.ParseFromString(file.read_bytes())
    _spoil_message(message, rng, rng.choice((1, 4)))
    file.write_bytes(message.SerializeToString())


# ---------------------------------------------------------------------------- HDF5


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def spoil_config(path: Path, rng: random.Random) -> None:
    """Puts values of the wrong kind into a config."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(("model_config", "model_config", "training_config"))
        file.attrs[name] = np.bytes_(spoil_json(_text(file.attrs[name]), rng).encode())


def break_config(path: Path, rng: random.Random) -> None:
    """Breaks the JSON of a config."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(("model_config", "training_config"))
        text = spoil_text(_text(file.attrs[name]), rng).encode("utf-8", "replace")
        del file.attrs[name]
        file.attrs.create(name, text, dtype=h5py.string_dtype("utf-8"))


def _attributes(file: Any) -> list[tuple[Any, str]]:
    found = [(file, name) for name in file.attrs]

    def visit(_: str, item: Any) -> None:
        found.extend((item, name) for name in item.attrs)

    file.visititems(visit)
    return found


def spoil_attributes(path: Path, rng: random.Random) -> None:
    """Gives an attribute another kind of value."""
    values = (
        3,
        -1.5,
        np.zeros((3, 2)),
        np.zeros((0,)),
        h5py.Empty("f4"),
        np.bytes_(b""),
        np.array([b"a", b"b"]),
        np.array([b"../x", b"/x"]),
        np.array(["é", ""], dtype=h5py.string_dtype()),
        np.array([1, 2], dtype="i8"),
        np.bool_(True),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array([b"x" * 300] * 50),
    )
    with h5py.File(path, "r+") as file:
        for _ in range(rng.choice((1, 2))):
            owner, name = rng.choice(_attributes(file))
            what = rng.random()
            if what < 0.2 and name in owner.attrs:
                del owner.attrs[name]
            else:
                owner.attrs[name] = rng.choice(values)


def spoil_objects(path: Path, rng: random.Random) -> None:
    """Removes, exchanges, links and reshapes groups and datasets."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(rng.choice((1, 2))):
            name, other = rng.choice(names), rng.choice(names)
            if name not in file:
                continue
            what = rng.randrange(8)
            if what == 6 and other in file and isinstance(file[other], h5py.Group):
                file[other][f"again_{name.replace('/', '_')}"] = file[name]  # a cycle
                continue
            del file[name]
            if what == 1:
                file.create_group(name)
            elif what == 2:
                file[name] = h5py.SoftLink("/" + other)
            elif what == 3:
                file[name] = h5py.ExternalLink(str(path.parent / SECRET), "/")
            elif what == 4:
                shape = rng.choice(((), (0,), (1,), (2, 3), (7, 7, 7)))
                kind = rng.choice(("f4", "f8", "i8", "S4", "u1", "c8", "?"))
                file[name] = np.zeros(shape, kind)
            elif what == 5:
                shape = rng.choice(((2**40,), (2**20, 2**20), (2**62,)))
                file.create_dataset(name, shape, "f4", chunks=True)
            elif what == 7 and other in file:
                file[name] = file[other]


HDF5: dict[str, Mutation] = {
    change.__name__: change
    for change in (
        truncate,
        flip_bits,
        overwrite,
        splice,
        spoil_config,
        break_config,
        spoil_attributes,
        spoil_objects,
    )
}
SAVED_MODEL: dict[str, Mutation] = {
    change.__name__: change
    for change in (
        truncate,
        flip_bits,
        overwrite,
        splice,
        remove_file,
        empty_file,
        exchange_files,
        link_out,
        spoil_saved_model,
        spoil_object_graph,
        spoil_library,
        cyclic_objects,
        objects_elsewhere,
        calls_without_end,
        chain_of_functions,
        chain_of_nodes,
        bomb_constant,
        names_out,
        deep_structure,
        many_meta_graphs,
        spoil_metadata,
        break_metadata,
        spoil_metadata_nodes,
    )
}

# Those that also fit a graph without functions and objects.
OF_ANY_GRAPH = frozenset(
    change.__name__
    for change in (
        truncate,
        flip_bits,
        overwrite,
        splice,
        remove_file,
        empty_file,
        exchange_files,
        link_out,
        spoil_saved_model,
        spoil_library,
        bomb_constant,
        names_out,
        many_meta_graphs,
    )
)
