"""`StructuredValue`, `FunctionSpec` and `SavedConcreteFunction` ↔ `ir`.

Source: TensorFlow `core/protobuf/{struct,saved_object_graph}.proto`.
"""

from __future__ import annotations

from typing import Any

from regraft.graph import ir
from regraft.graph.tensor_serde import (
    shape_from_proto,
    shape_to_proto,
    tensor_from_proto,
    tensor_to_proto,
)
from regraft.storage.proto import messages


def structure_from_proto(proto: Any) -> ir.StructuredValue:
    """Reads a `StructuredValue`."""
    kind = proto.WhichOneof("kind")
    if kind is None:
        return ir.ABSENT
    if kind == "none_value":
        return None
    value = getattr(proto, kind)
    if kind in ("float64_value", "int64_value", "string_value", "bool_value"):
        return value
    return _READ[kind](value)


def _items(proto: Any) -> list[ir.StructuredValue]:
    return [structure_from_proto(v) for v in proto.values]


def _named_tuple(proto: Any) -> ir.NamedTupleValue:
    items = tuple((p.key, structure_from_proto(p.value)) for p in proto.values)
    return ir.NamedTupleValue(proto.name, items)


def _tensor_spec(proto: Any) -> ir.TensorSpec:
    return ir.TensorSpec(
        shape_from_proto(proto.shape), ir.DataType(proto.dtype), proto.name
    )


def _bounded_spec(proto: Any) -> ir.BoundedTensorSpec:
    def bound(name: str) -> ir.TensorValue | None:
        return tensor_from_proto(getattr(proto, name)) if proto.HasField(name) else None

    return ir.BoundedTensorSpec(
        shape_from_proto(proto.shape),
        ir.DataType(proto.dtype),
        proto.name,
        bound("minimum"),
        bound("maximum"),
    )


def type_spec_from_proto(proto: Any) -> ir.TypeSpec:
    """Reads a `TypeSpecProto`.

    A number that `struct.proto` doesn't have stays a number: libraries had their own,
    as TensorFlow Probability for its distributions.
    """
    number = proto.type_spec_class
    known = number in ir.TypeSpecClass.__members__.values()
    return ir.TypeSpec(
        ir.TypeSpecClass(number) if known else number,
        structure_from_proto(proto.type_state),
        proto.type_spec_class_name,
        proto.num_flat_components,
    )


_READ: dict[str, Any] = {
    "tensor_shape_value": shape_from_proto,
    "tensor_dtype_value": ir.DataType,
    "tensor_spec_value": _tensor_spec,
    "type_spec_value": type_spec_from_proto,
    "bounded_tensor_spec_value": _bounded_spec,
    "list_value": _items,
    "tuple_value": lambda proto: tuple(_items(proto)),
    "dict_value": lambda proto: {
        key: structure_from_proto(value) for key, value in proto.fields.items()
    },
    "named_tuple_value": _named_tuple,
    "tensor_value": tensor_from_proto,
    "numpy_value": lambda proto: ir.NumpyValue(tensor_from_proto(proto)),
}


def structure_to_proto(value: ir.StructuredValue, proto: Any = None) -> Any:
    """Writes a `StructuredValue`, into `proto` if given."""
    proto = messages.StructuredValue() if proto is None else proto
    if value is ir.ABSENT:
        return proto
    if value is None:
        proto.none_value.SetInParent()
        return proto
    for kind, write in _WRITE:
        if isinstance(value, kind):
            write(value, proto)
            return proto
    raise TypeError(f"{type(value).__name__} is no structured value.")


def _put_items(values: Any, target: Any) -> None:
    target.SetInParent()
    for value in values:
        structure_to_proto(value, target.values.add())


def _put_dict(value: dict[str, Any], proto: Any) -> None:
    proto.dict_value.SetInParent()
    for key, item in value.items():
        field = proto.dict_value.fields[key]
        structure_to_proto(item, field)


def _put_named_tuple(value: ir.NamedTupleValue, proto: Any) -> None:
    proto.named_tuple_value.name = value.name
    proto.named_tuple_value.SetInParent()
    for key, item in value.items:
        pair = proto.named_tuple_value.values.add(key=key)
        pair.value.SetInParent()
        structure_to_proto(item, pair.value)


def _put_spec(value: Any, target: Any) -> None:
    target.SetInParent()
    target.name = value.name
    target.dtype = value.dtype
    target.shape.SetInParent()
    shape_to_proto(value.shape, target.shape)


def _put_bounded(value: ir.BoundedTensorSpec, proto: Any) -> None:
    target = proto.bounded_tensor_spec_value
    _put_spec(value, target)
    for name in ("minimum", "maximum"):
        bound = getattr(value, name)
        if bound is not None:
            getattr(target, name).CopyFrom(tensor_to_proto(bound))


def type_spec_to_proto(value: ir.TypeSpec, proto: Any) -> None:
    """Writes a `TypeSpecProto` into `proto`."""
    proto.SetInParent()
    proto.type_spec_class = value.kind
    proto.type_spec_class_name = value.class_name
    proto.num_flat_components = value.num_flat_components
    if value.state is not ir.ABSENT:
        proto.type_state.SetInParent()
        structure_to_proto(value.state, proto.type_state)


def _setter(field: str) -> Any:
    return lambda value, proto: setattr(proto, field, value)


# Order matters: `bool` and `DataType` are `int`s too.
_WRITE: tuple[tuple[type, Any], ...] = (
    (bool, _setter("bool_value")),
    (ir.DataType, _setter("tensor_dtype_value")),
    (int, _setter("int64_value")),
    (float, _setter("float64_value")),
    (str, _setter("string_value")),
    (ir.TensorShape, lambda v, p: p.tensor_shape_value.CopyFrom(shape_to_proto(v))),
    (ir.TensorSpec, lambda v, p: _put_spec(v, p.tensor_spec_value)),
    (ir.BoundedTensorSpec, _put_bounded),
    (ir.TypeSpec, lambda v, p: type_spec_to_proto(v, p.type_spec_value)),
    (list, lambda v, p: _put_items(v, p.list_value)),
    (tuple, lambda v, p: _put_items(v, p.tuple_value)),
    (dict, _put_dict),
    (ir.NamedTupleValue, _put_named_tuple),
    (ir.TensorValue, lambda v, p: p.tensor_value.CopyFrom(tensor_to_proto(v))),
    (ir.NumpyValue, lambda v, p: p.numpy_value.CopyFrom(tensor_to_proto(v.tensor))),
)


def function_spec_from_proto(proto: Any) -> ir.FunctionSpec:
    """Reads a `FunctionSpec`."""

    def optional(name: str) -> ir.StructuredValue:
        if not proto.HasField(name):
            return ir.ABSENT
        return structure_from_proto(getattr(proto, name))

    return ir.FunctionSpec(
        optional("fullargspec"),
        proto.is_method,
        optional("input_signature"),
        ir.JitCompile(proto.jit_compile if proto.jit_compile in (0, 1, 2) else 0),
    )


def function_spec_to_proto(spec: ir.FunctionSpec, proto: Any = None) -> Any:
    """Writes a `FunctionSpec`, into `proto` if given."""
    proto = messages.FunctionSpec() if proto is None else proto
    proto.is_method = spec.is_method
    proto.jit_compile = spec.jit_compile
    for name in ("fullargspec", "input_signature"):
        value = getattr(spec, name)
        if value is not ir.ABSENT:
            getattr(proto, name).SetInParent()
            structure_to_proto(value, getattr(proto, name))
    return proto


def concrete_function_from_proto(name: str, proto: Any) -> ir.ConcreteFunction:
    """Reads a `SavedConcreteFunction`, whose name is its key in the file."""
    return ir.ConcreteFunction(
        name,
        tuple(proto.bound_inputs),
        structure_from_proto(proto.canonicalized_input_signature),
        structure_from_proto(proto.output_signature),
    )


def concrete_function_to_proto(
    function: ir.ConcreteFunction, proto: Any = None, given: Any = None
) -> Any:
    """Writes a `SavedConcreteFunction`, into `proto` if given.

    Args:
        function: The function.
        proto: Where to.
        given: Its input signature, if that has been written for another one.
    """
    proto = messages.SavedConcreteFunction() if proto is None else proto
    proto.bound_inputs.extend(function.bound_inputs)
    target = proto.canonicalized_input_signature
    if given is None:
        structure_to_proto(function.input_signature, target)
    else:
        target.CopyFrom(given)
    structure_to_proto(function.output_signature, proto.output_signature)
    return proto
