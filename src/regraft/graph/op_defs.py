"""The signatures of TensorFlow's ops: inputs, outputs, attributes, defaults.

The data are facts that `tools/extract_op_defs.py` reads from an installed
TensorFlow. A SavedModel brings the signatures of the ops that it uses, as its
writer knew them; those win.
"""

from __future__ import annotations

import functools
import importlib.resources
import lzma
from collections.abc import Iterator, Mapping

from regraft.graph import ir
from regraft.graph.serde import op_def_from_proto
from regraft.storage import proto
from regraft.storage.proto import messages


@functools.cache
def _protos() -> Mapping[str, messages.Message]:
    packed = importlib.resources.files("regraft.graph").joinpath("op_defs.binpb.xz")
    ops = proto.parse(messages.OpList, lzma.decompress(packed.read_bytes()))
    return {op.name: op for op in ops.op}


@functools.cache
def builtin(name: str) -> ir.OpDef | None:
    """Returns the signature of an op in TensorFlow 2.21; `None` if it has none."""
    found = _protos().get(name)
    return None if found is None else op_def_from_proto(found)


def builtin_names() -> tuple[str, ...]:
    """Returns the names of all ops of TensorFlow 2.21, sorted."""
    return tuple(_protos())


class OpDefs(Mapping[str, ir.OpDef]):
    """Signatures by op name: a file's own first, TensorFlow 2.21's else."""

    def __init__(self, own: Mapping[str, ir.OpDef] | None = None) -> None:
        self._own = dict(own or {})

    def __getitem__(self, name: str) -> ir.OpDef:
        found = self._own.get(name) or builtin(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._own or (
            isinstance(name, str) and builtin(name) is not None
        )

    def __iter__(self) -> Iterator[str]:
        return iter({**self._own, **dict.fromkeys(_protos())})

    def __len__(self) -> int:
        return len({**self._own, **dict.fromkeys(_protos())})

    def attr_type(self, op: str, attr: str) -> str:
        """Returns the kind of an attribute; what a file says of it counts last."""
        for op_def in (builtin(op), self._own.get(op)):
            for row in op_def.attrs if op_def is not None else ():
                if row.name == attr:
                    return row.type
        return ""

    def default(self, op: str, attr: str) -> ir.AttrValue | ir.Absent:
        """Returns what an attribute is where a node doesn't say it.

        An old file's signature may lack attributes that the op has had since.
        """
        for op_def in (self._own.get(op), builtin(op)):
            for row in op_def.attrs if op_def is not None else ():
                if row.name == attr and not isinstance(row.default, ir.Absent):
                    return row.default
        return ir.ABSENT
