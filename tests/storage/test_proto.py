"""Schemas and parsing of TensorFlow's protocol buffers."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.errors import FormatError, LimitError, TruncatedError
from regraft.storage import proto
from regraft.storage.proto import messages
from regraft.storage.proto.wire import write_varint

PROJECT = Path(__file__).resolve().parents[2]


def small_saved_model() -> messages.SavedModel:
    model = messages.SavedModel(saved_model_schema_version=1)
    meta_graph = model.meta_graphs.add()
    meta_graph.meta_info_def.tags.append("serve")
    meta_graph.signature_def["serving_default"].method_name = "predict"
    meta_graph.signature_def["b"].inputs["x"].dtype = messages.DT_FLOAT
    meta_graph.collection_def["c"].int64_list.value.extend([1, -1, 2**62])
    node = meta_graph.graph_def.node.add(name="n", op="Const")
    node.attr["dtype"].type = messages.DT_INT32
    node.attr["value"].tensor.tensor_content = b"\0\1\2\3"
    saved = meta_graph.object_graph_def.nodes.add()
    saved.user_object.identifier = "_tf_keras_layer"
    return model


def fault_offset(data: bytes) -> int | None:
    """Position of the fault; -1 where there is none."""
    try:
        proto.parse(messages.SavedModel, data)
    except FormatError as error:
        return error.offset_bytes
    return -1


def nested_lists(depth: int) -> bytes:
    # Built from the inside out, then turned round: linear in the depth.
    pieces = []
    length = 0
    for _ in range(depth):
        for tag in (b"\x0a", b"\x9a\x03"):  # ListValue.values, list_value
            piece = tag + write_varint(length)
            pieces.append(piece)
            length += len(piece)
    return b"".join(reversed(pieces))


def test_what_is_serialized_is_parsed_again():
    model = small_saved_model()
    data = proto.serialize(model)
    assert proto.parse(messages.SavedModel, data) == model
    assert proto.serialize(proto.parse(messages.SavedModel, memoryview(data))) == data


def test_maps_are_serialized_in_the_order_of_their_keys():
    def with_keys(keys):
        graph = messages.SavedObjectGraph()
        for key in keys:
            graph.concrete_functions[key].bound_inputs.append(1)
        return proto.serialize(graph)

    assert with_keys("abc") == with_keys("cab")


def test_text_format_is_parsed_again():
    model = small_saved_model()
    text = proto.serialize_text(model)
    assert "dtype: DT_FLOAT" in text
    assert proto.parse_text(messages.SavedModel, text.encode()) == model


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            b"\x9a\x03\x05",
            TruncatedError,
            "StructuredValue can't be parsed: Value of 5 bytes ends after its "
            "message, which has 0 left. At: object 'StructuredValue.list_value', "
            "byte 3, file 'f.pb'.",
        ),
        (
            b"\x6a\x02\xff\xff",
            FormatError,
            "StructuredValue can't be parsed: String is not UTF-8. "
            "At: object 'StructuredValue.string_value', byte 2, file 'f.pb'.",
        ),
        (
            b"\x00",
            FormatError,
            "StructuredValue can't be parsed: Field number 0 is invalid. "
            "At: object 'StructuredValue', byte 0, file 'f.pb'.",
        ),
        (
            b"\x0f",
            FormatError,
            "StructuredValue can't be parsed: Wire type 7 is invalid. "
            "At: object 'StructuredValue.none_value', byte 1, file 'f.pb'.",
        ),
        (
            b"\x60" + b"\xff" * 10,
            FormatError,
            "StructuredValue can't be parsed: Varint has more than 64 bits. "
            "At: object 'StructuredValue.int64_value', byte 1, file 'f.pb'.",
        ),
    ],
)
def test_fault_is_named_with_its_place(data, error, message):
    with pytest.raises(FormatError) as caught:
        proto.parse(messages.StructuredValue, data, path="f.pb")
    assert type(caught.value) is error
    assert str(caught.value) == message


@pytest.mark.parametrize("depth", [60, 1000, 100_000])
def test_deep_nesting_is_a_limit_error(depth):
    with pytest.raises(LimitError, match="More than 100 levels"):
        proto.parse(messages.StructuredValue, nested_lists(depth))


def test_nesting_that_tensorflow_reads_is_read():
    value = proto.parse(messages.StructuredValue, nested_lists(40))
    assert value.list_value.values[0].WhichOneof("kind") == "list_value"


def test_deep_nesting_in_text_is_a_limit_error():
    text = b"list_value { values {" * 100_000
    with pytest.raises(LimitError, match="nested too deep"):
        proto.parse_text(messages.StructuredValue, text, path="f.pbtxt")


def test_brackets_in_strings_and_comments_are_not_nesting():
    text = b'string_value: "' + b"{" * 1000 + b'"  # ' + b"{" * 1000
    value = proto.parse_text(messages.StructuredValue, text)
    assert value.string_value == "{" * 1000


@pytest.mark.parametrize("text", [b'\\"' * 200_000, b"'" * 200_001, b'"\\' * 200_000])
def test_broken_strings_in_text_take_linear_time(text):
    with pytest.raises(FormatError):
        proto.parse_text(messages.StructuredValue, b"string_value: " + text)


def test_too_long_a_message_is_a_limit_error():
    with pytest.raises(LimitError, match=r"Expected: at most 3 bytes\. Received: 4"):
        proto.parse(messages.SavedModel, b"\x08\x01\x08\x01", max_bytes=3)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_a_format_error(data):
    for parse in (proto.parse, proto.parse_text):
        with contextlib.suppress(FormatError):
            parse(messages.SavedModel, data, path="f")


def test_any_single_changed_byte_gives_a_message_or_a_format_error():
    data = proto.serialize(small_saved_model())
    for position in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            mutant = bytearray(data)
            mutant[position] ^= change
            assert fault_offset(mutant) is not None


def test_every_truncation_gives_a_message_or_a_truncated_error():
    data = proto.serialize(small_saved_model())
    for length in range(len(data)):
        with contextlib.suppress(TruncatedError):
            proto.parse(messages.SavedModel, data[:length])


def test_compiled_schemas_are_current():
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("grpcio-tools is not installed.")
    script = PROJECT / "tools" / "compile_schemas.py"
    finished = subprocess.run([sys.executable, script, "--check"], check=False)
    assert finished.returncode == 0, "Run tools/compile_schemas.py."
