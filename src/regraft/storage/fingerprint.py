"""`fingerprint.pb`: hashes by which TensorFlow knows a SavedModel again.

What is left out of them, and the order of the rest, was settled by comparing with
TensorFlow 2.21, whose fingerprints have version 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from regraft.storage.farmhash import fingerprint64, fingerprint_cat64
from regraft.storage.map_order import (
    serialized,
    sorted_function,
    sorted_graph,
    sorted_message,
)
from regraft.storage.proto import messages

VERSION = 4

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_STRING = 7
# The number that TensorFlow appends to the names of functions.
_NUMBER = re.compile(r"(?:^|_)([+-]?\d+)$")
_MAX_NUMBER = (1 << 63) - 1


def fingerprint_of(
    saved_model: messages.SavedModel, index: bytes, content: bytes | None = None
) -> messages.FingerprintDef | None:
    """Returns the fingerprint of a SavedModel, the same for equal ones.

    Args:
        saved_model: What `saved_model.pb` holds.
        index: What `variables/variables.index` holds.
        content: The bytes of `saved_model.pb`, where they are known already.

    Returns:
        `None` where TensorFlow makes none either: a traced function of the object
        graph whose name doesn't end in a number.
    """
    graph: Any = saved_model.meta_graphs[0]
    objects = _objects_hash(graph.object_graph_def)
    if objects is None:
        return None
    hashes = (
        fingerprint64(serialized(saved_model, content)),
        _program_hash(graph.graph_def),
        _signatures_hash(graph.signature_def),
        objects,
        fingerprint64(index),
    )
    found = messages.FingerprintDef(
        saved_model_checksum=hashes[0],
        graph_def_program_hash=hashes[1],
        signature_def_hash=hashes[2],
        saved_object_graph_hash=hashes[3],
        checkpoint_hash=hashes[4],
        uuid=str(_joined(hashes) << 64 | _joined(reversed(hashes))),
    )
    found.version.producer = VERSION
    return found


def _joined(hashes: Iterable[int]) -> int:
    result = 0
    for item in hashes:
        result = fingerprint_cat64(result, item)
    return result


def _program_hash(graph_def: Any) -> int:
    """Hashes the main graph without numbers of functions and without texts."""
    graph = messages.GraphDef()
    graph.node.MergeFrom(graph_def.node)
    for node in graph.node:
        if node.op in _CALLS:
            function = node.attr["f"].func
            function.name = _split(function.name)[0]
            if "config_proto" in node.attr:
                node.attr["config_proto"].s = b""
        elif node.op == "Const" and node.attr["dtype"].type == _STRING:
            node.attr["value"].Clear()
    # TensorFlow empties these two, but they are there.
    graph.library.SetInParent()
    graph.versions.SetInParent()
    return fingerprint64(sorted_graph(graph))


def _signatures_hash(signatures: Any) -> int:
    def hashes() -> Iterator[int]:
        for name in sorted(signatures, key=str.encode):
            yield fingerprint64(name.encode())
            yield fingerprint64(sorted_message(signatures[name]))

    return _joined(hashes())


def _objects_hash(objects: Any) -> int | None:
    """Hashes the traced functions, in the order of their numbers."""
    concrete = objects.concrete_functions
    functions: dict[int, tuple[str, str]] = {}
    for name in sorted(concrete):
        label, number = _split(name)
        if number is None:
            return None
        functions.setdefault(number, (label, name))

    def hashes() -> Iterator[int]:
        for _, (label, name) in sorted(functions.items()):
            yield fingerprint64(label.encode())
            yield fingerprint64(sorted_function(concrete[name]))

    return _joined(hashes())


def _split(name: str) -> tuple[str, int | None]:
    """Returns the name of a function without its number, and the number."""
    found = _NUMBER.search(name)
    if found is None or (number := int(found[1])) > _MAX_NUMBER:
        return name, None
    return name.removesuffix(str(number)), number
