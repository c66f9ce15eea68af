"""Everything a graph is made of is read and written back to the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.vintage import corpus
from regraft.errors import FormatError
from regraft.graph import ir, op_defs
from regraft.graph.meta_graph_serde import (
    meta_graph_from_proto,
    signature_from_proto,
    signature_to_proto,
)
from regraft.graph.serde import (
    function_from_proto,
    function_to_proto,
    graph_to_proto,
    op_def_from_proto,
    op_def_to_proto,
)
from regraft.graph.struct_serde import (
    concrete_function_from_proto,
    concrete_function_to_proto,
    function_spec_from_proto,
    function_spec_to_proto,
    structure_from_proto,
    structure_to_proto,
)
from regraft.graph.tensor_serde import tensor_from_proto, tensor_to_proto
from regraft.storage import proto
from regraft.storage.proto import messages

SAVED_MODELS = [case for case in corpus.cases() if case.format != "model.h5"]


def _meta_graphs(case: corpus.Case, root: Path) -> Iterator[Any]:
    data = (case.path(root) / "saved_model.pb").read_bytes()
    yield from proto.parse(messages.SavedModel, data).meta_graphs


def _same(left: Any, right: Any) -> bool:
    return proto.serialize(left) == proto.serialize(right)


@pytest.mark.parametrize("case", SAVED_MODELS, ids=lambda case: case.id)
def test_graph_keeps_its_bytes(case: corpus.Case, vintage: Path) -> None:
    for message in _meta_graphs(case, vintage):
        meta_graph = meta_graph_from_proto(message)
        assert _same(graph_to_proto(meta_graph.graph), message.graph_def)
        for op in message.meta_info_def.stripped_op_list.op:
            assert _same(op_def_to_proto(meta_graph.op_defs[op.name]), op)
        for name, signature in message.signature_def.items():
            assert _same(signature_to_proto(meta_graph.signatures[name]), signature)
            assert signature_from_proto(signature) == meta_graph.signatures[name]


@pytest.mark.parametrize("case", SAVED_MODELS, ids=lambda case: case.id)
def test_python_signatures_keep_their_bytes(case: corpus.Case, vintage: Path) -> None:
    for message in _meta_graphs(case, vintage):
        objects = message.object_graph_def
        for name, function in objects.concrete_functions.items():
            read = concrete_function_from_proto(name, function)
            assert _same(concrete_function_to_proto(read), function)
        for node in objects.nodes:
            if node.WhichOneof("kind") == "function":
                spec = node.function.function_spec
                read_spec = function_spec_from_proto(spec)
                assert _same(function_spec_to_proto(read_spec), spec)


def test_functions_that_differ_by_their_names_alone_are_written_as_each_is() -> None:
    arguments = (ir.ArgDef("x", ir.DataType.of("float32")),)
    body = (ir.Node("node", "Identity", ("x",)),)
    first = ir.Function(ir.OpDef("first", arguments), body, {"y": "node:output:0"})
    functions = [
        first,
        replace(first, signature=replace(first.signature, name="second")),
        replace(first, ret={"z": "node:output:0"}),
        replace(first, signature=replace(first.signature, is_stateful=True)),
        replace(first, nodes=(*body, ir.Node("other", "NoOp"))),
    ]
    graph = ir.Graph(functions={str(i): each for i, each in enumerate(functions)})
    written = graph_to_proto(graph).library.function
    assert list(map(proto.serialize, written)) == [
        proto.serialize(function_to_proto(each)) for each in functions
    ]


def test_functions_are_read_when_they_are_asked_for(vintage: Path) -> None:
    case = next(c for c in SAVED_MODELS if c.name == "recurrent")
    message = next(_meta_graphs(case, vintage))
    functions = meta_graph_from_proto(message).graph.functions
    name = next(iter(functions))
    assert functions[name] is functions[name]
    assert functions[name].name == name


def test_repeated_function_name_is_refused() -> None:
    message = messages.MetaGraphDef()
    for _ in range(2):
        message.graph_def.library.function.add().signature.name = "f"
    with pytest.raises(FormatError, match="distinct names"):
        meta_graph_from_proto(message)


@pytest.mark.parametrize(
    "value",
    [
        b"text",
        True,
        7,
        1.5,
        ir.DataType.of("float32"),
        ir.TensorShape((None, 3)),
        ir.TensorShape(None),
        ir.FunctionRef("f", {"T": ir.DataType.of("int32")}),
        ir.AttrPlaceholder("T"),
        (1, 2),
        (True,),
        (ir.FunctionRef("f"), ir.FunctionRef("g")),
        (),
        None,
    ],
    ids=repr,
)
def test_attribute_survives_a_node(value: ir.AttrValue) -> None:
    function = ir.Function(
        ir.OpDef("f"), nodes=(ir.Node("n", "NoOp", attrs={"a": value}),)
    )
    again = function_from_proto(function_to_proto(function))
    assert again.nodes[0].attrs["a"] == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        1.5,
        "text",
        [1, [2]],
        (1, (2,)),
        {"b": 1, "a": ir.TensorShape((2,))},
        ir.TensorSpec(ir.TensorShape((None, 2)), ir.DataType.of("float32"), "x"),
        ir.NamedTupleValue("FullArgSpec", (("args", ["self"]), ("varargs", None))),
        ir.TypeSpec(
            ir.TypeSpecClass.RAGGED_TENSOR_SPEC,
            (ir.TensorShape((None, None)), ir.DataType.of("int64"), 1),
            "RaggedTensorSpec",
            2,
        ),
        # What TensorFlow Probability's distributions had before TensorFlow 2.5.
        ir.TypeSpec(275837168, (1, ("distributions", "Deterministic"), {})),
    ],
    ids=repr,
)
def test_structure_survives(value: Any) -> None:
    assert structure_from_proto(structure_to_proto(value)) == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(3, dtype=np.int64),
        np.array([b"a", b"\xff"], object),
        np.array(True),
        np.array([1 + 2j], np.complex64),
        np.zeros((0, 2), np.int32),
    ],
    ids=str,
)
def test_constant_survives(array: Any) -> None:
    message = tensor_to_proto(ir.TensorValue.from_numpy(array))
    again = tensor_from_proto(message).numpy()
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    np.testing.assert_array_equal(again, array)


def test_last_unpacked_value_fills_the_shape() -> None:
    message = messages.TensorProto(dtype=1, float_val=[1.0, 2.0])
    message.tensor_shape.dim.add(size=4)
    value = tensor_from_proto(message).numpy()
    np.testing.assert_array_equal(value, np.array([1, 2, 2, 2], np.float32))


def test_constant_that_does_not_fill_its_shape_is_refused() -> None:
    message = messages.TensorProto(dtype=1, tensor_content=b"\0" * 8)
    message.tensor_shape.dim.add(size=3)
    with pytest.raises(FormatError, match="3 elements of float32"):
        tensor_from_proto(message).numpy()


def test_odd_bytes_of_a_constant_are_refused() -> None:
    message = messages.TensorProto(dtype=1, tensor_content=b"\0" * 7)
    with pytest.raises(FormatError, match="7 bytes"):
        tensor_from_proto(message)


def test_file_signature_of_an_op_wins() -> None:
    own = ir.OpDef("MatMul", attrs=(ir.AttrDef("mine", "int", default=1),))
    table = op_defs.OpDefs({"MatMul": own})
    assert table["MatMul"] is own
    assert table["Relu"].name == "Relu"
    assert table.default("MatMul", "mine") == 1
    assert table.default("MatMul", "transpose_a") is False
    assert "NoSuchOp" not in table


def test_builtin_signatures_survive() -> None:
    names = op_defs.builtin_names()
    assert len(names) > 1500
    for name in names:
        found = op_defs.builtin(name)
        assert found is not None
        message = op_def_to_proto(found)
        assert _same(op_def_to_proto(op_def_from_proto(message)), message)
