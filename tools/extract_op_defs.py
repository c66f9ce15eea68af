"""Writes the signatures of all ops that the installed TensorFlow knows.

They are facts: names, arguments, attributes, defaults. Run where TensorFlow is:

    python tools/extract_op_defs.py

It writes `src/regraft/graph/op_defs.binpb.xz`: a serialized `OpList`, sorted by
name, without documentation.
"""

from __future__ import annotations

import lzma
import pathlib

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


def main() -> None:
    """Writes the file."""
    ops = sorted(op_list().op, key=lambda op: op.name)
    public = [stripped(op) for op in ops if not op.name.startswith("_")]
    data = op_def_pb2.OpList(op=public).SerializeToString(deterministic=True)
    TARGET.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    print(f"TensorFlow {tf.__version__}: {len(public)} ops, {len(data)} bytes")


if __name__ == "__main__":
    main()
