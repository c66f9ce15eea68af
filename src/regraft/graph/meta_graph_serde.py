"""`MetaGraphDef` → `ir.MetaGraph`, and signatures ↔ `ir`.

Source: TensorFlow `core/protobuf/meta_graph.proto`.
"""

from __future__ import annotations

from typing import Any

from regraft.graph import ir
from regraft.graph.serde import (
    check_function_names,
    graph_from_proto,
    op_defs_from_proto,
)
from regraft.graph.struct_serde import type_spec_from_proto
from regraft.graph.tensor_serde import (
    shape_from_proto,
    shape_to_proto,
    tensor_from_proto,
    tensor_to_proto,
)
from regraft.storage.proto import messages, parse
from regraft.storage.saved_model_directory import asset_files


def tensor_info_from_proto(proto: Any) -> ir.TensorInfo:
    """Reads a `TensorInfo`."""
    kind = proto.WhichOneof("encoding")
    sparse = None
    if kind == "coo_sparse":
        coo = proto.coo_sparse
        sparse = (
            coo.values_tensor_name,
            coo.indices_tensor_name,
            coo.dense_shape_tensor_name,
        )
    composite = proto.composite_tensor if kind == "composite_tensor" else None
    return ir.TensorInfo(
        name=proto.name,
        dtype=ir.DataType(proto.dtype),
        shape=(
            shape_from_proto(proto.tensor_shape)
            if proto.HasField("tensor_shape")
            else None
        ),
        sparse=sparse,
        components=(
            tuple(tensor_info_from_proto(c) for c in composite.components)
            if composite is not None
            else ()
        ),
        type_spec=(
            type_spec_from_proto(composite.type_spec) if composite is not None else None
        ),
    )


def tensor_info_to_proto(info: ir.TensorInfo, proto: Any = None) -> Any:
    """Writes the `TensorInfo` of a plain tensor."""
    proto = messages.TensorInfo() if proto is None else proto
    proto.name = info.name
    proto.dtype = info.dtype
    if info.shape is not None:
        proto.tensor_shape.CopyFrom(shape_to_proto(info.shape))
    return proto


def signature_from_proto(proto: Any) -> ir.Signature:
    """Reads a `SignatureDef`."""
    return ir.Signature(
        inputs={k: tensor_info_from_proto(v) for k, v in proto.inputs.items()},
        outputs={k: tensor_info_from_proto(v) for k, v in proto.outputs.items()},
        method_name=proto.method_name,
        defaults={k: tensor_from_proto(v) for k, v in proto.defaults.items()},
    )


def signature_to_proto(signature: ir.Signature, proto: Any = None) -> Any:
    """Writes a `SignatureDef`, into `proto` if given."""
    proto = messages.SignatureDef() if proto is None else proto
    proto.method_name = signature.method_name
    for name, info in signature.inputs.items():
        tensor_info_to_proto(info, proto.inputs[name])
    for name, info in signature.outputs.items():
        tensor_info_to_proto(info, proto.outputs[name])
    for name, value in signature.defaults.items():
        proto.defaults[name].CopyFrom(tensor_to_proto(value))
    return proto


def _collection(proto: Any) -> tuple[Any, ...]:
    kind = proto.WhichOneof("kind")
    return () if kind is None else tuple(getattr(proto, kind).value)


def initializer_of(data: bytes) -> str:
    """Returns the op that gives a variable of a collection its first value.

    Raises:
        FormatError: These are not the bytes of a `VariableDef`.
    """
    found = parse(messages.VariableDef, data, path="a collection of variables")
    return str(found.initializer_name)


def meta_graph_from_proto(proto: Any) -> ir.MetaGraph:
    """Reads a `MetaGraphDef`, apart from its object graph; functions lazily.

    Raises:
        FormatError: Two functions have one name.
    """
    info = proto.meta_info_def
    graph = graph_from_proto(proto.graph_def)
    check_function_names(graph.functions, len(proto.graph_def.library.function))
    saver = None
    if proto.HasField("saver_def"):
        saver = (
            proto.saver_def.filename_tensor_name,
            proto.saver_def.save_tensor_name,
            proto.saver_def.restore_op_name,
        )
    return ir.MetaGraph(
        tags=tuple(info.tags),
        graph=graph,
        op_defs=op_defs_from_proto(info.stripped_op_list),
        signatures={
            name: signature_from_proto(s) for name, s in proto.signature_def.items()
        },
        collections={
            name: _collection(value) for name, value in proto.collection_def.items()
        },
        assets=tuple((a.tensor_info.name, a.filename) for a in asset_files(proto)),
        saver=saver,
        tensorflow_version=info.tensorflow_version,
    )
