"""The message classes of TensorFlow's formats, by name: `messages.SavedModel`.

Nested messages and enums are attributes of the outer class. Enums stand here too
(`messages.DataType.Name(1)`), with their values (`messages.DT_FLOAT`).

They live in a descriptor pool of their own, so that TensorFlow's schemas may be
loaded in the same process. Types for type checkers stand in `messages.pyi`.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

__all__ = ["Message", "pool"]

_PACKAGE = "regraft.tensorflow"


def _load_schemas() -> tuple[DescriptorPool, list[Any]]:
    data = resources.files(__package__).joinpath("regraft_schemas.binpb").read_bytes()
    schemas = descriptor_pb2.FileDescriptorSet.FromString(data)
    pool = DescriptorPool()
    for file in schemas.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool, [
        pool.FindFileByName(file.name)
        for file in schemas.file
        if file.package == _PACKAGE
    ]


def _collect(files: list[Any]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for file in files:
        for descriptor in file.message_types_by_name.values():
            names[descriptor.name] = GetMessageClass(descriptor)
        for enum in file.enum_types_by_name.values():
            names[enum.name] = EnumTypeWrapper(enum)
            names.update((value.name, value.number) for value in enum.values)
    return names


pool, _files = _load_schemas()
_names = _collect(_files)
globals().update(_names)
__all__ += sorted(_names)
