"""Writes the signatures of all ops that the installed TensorFlow knows.

They are facts: names, arguments, attributes, defaults. Run where TensorFlow is:

    python tools/extract_op_defs.py

It writes `src/regraft/graph/op_defs.binpb.xz`: a serialized `OpList`, sorted by
name, without documentation. With the name of a module it adds to the file what that
module brings, such as `tensorflow_text`, whose ops TensorFlow doesn't have.
"""

from __future__ import annotations

import importlib
import lzma
import pathlib
import sys

import tensorflow as tf  # noqa: TID251
from tensorflow.core.framework import op_def_pb2  # noqa: TID251
from tensorflow.python.client import pywrap_tf_session  # noqa: TID251

TARGET = pathlib.Path(__file__).parent.parent / "src/regraft/graph/op_defs.binpb.xz"


def op_list() -> op_def_pb2.OpList:
    """Returns every registered op."""
    buffer = pywrap_tf_session.TF_GetAllOpList()
    ops = op_def_pb2.OpList()
    ops.ParseFromString(pywrap_tf_session.TF_GetBuffer(buffer))
    return ops


def stripped(op: op_def_pb2.OpDef) -> op_def_pb2.OpDef:
    """Returns an op without documentation and full types."""
    op = op_def_pb2.OpDef.FromString(op.SerializeToString())
    op.ClearField("summary")
    op.ClearField("description")
    for arg in (*op.input_arg, *op.output_arg):
        arg.ClearField("description")
        arg.ClearField("experimental_full_type")
    for attr in op.attr:
        attr.ClearField("description")
    return op


def main(modules: list[str]) -> None:
    """Writes the file."""
    public = {op.name: stripped(op) for op in op_list().op if op.name[:1] != "_"}
    if modules:
        known = op_def_pb2.OpList.FromString(lzma.decompress(TARGET.read_bytes()))
        before = set(public)
        for module in modules:
            importlib.import_module(module)
        brought = [stripped(op) for op in op_list().op if op.name not in before]
        public = {op.name: op for op in [*known.op, *brought] if op.name[:1] != "_"}
    ordered = [public[name] for name in sorted(public)]
    data = op_def_pb2.OpList(op=ordered).SerializeToString(deterministic=True)
    TARGET.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    print(f"TensorFlow {tf.__version__}: {len(ordered)} ops, {len(data)} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
