"""TensorFlow's graph language as plain frozen Python values.

This module knows no protobuf, no file, no Keras and no JAX. `serde` is the only
place where these values meet TensorFlow's messages. Readers build them from a
file; a tracer builds the same values from a computation.

Names are TensorFlow's. An attribute value (`AttrValue`) is a Python value whose
type says which field of the `AttrValue` message it stands for:

| Python                | message field |
|-----------------------|---------------|
| `bytes`               | `s`           |
| `bool`                | `b`           |
| `int`                 | `i`           |
| `float`               | `f`           |
| `DataType`            | `type`        |
| `TensorShape`         | `shape`       |
| `TensorValue`         | `tensor`      |
| `FunctionRef`         | `func`        |
| `AttrPlaceholder`     | `placeholder` |
| `tuple` of the above  | `list`        |
| `None`                | none is set   |

Source: TensorFlow `core/framework/{attr_value,function,graph,node_def,op_def}.proto`
and `core/protobuf/{meta_graph,saved_object_graph,struct}.proto`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regraft import dtypes
from regraft.errors import FormatError, LimitError, MismatchError

# Elements that a constant may have which its file does not hold one by one.
MAX_REPEATED = 1 << 28

Array = np.ndarray[Any, Any]


class Absent(enum.Enum):
    """The value of a field that a message does not have; `None` is a value."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent.ABSENT


class DataType(int):
    """A number of TensorFlow's `DataType` enum."""

    __slots__ = ()

    @property
    def is_reference(self) -> bool:
        """Whether this is a type of TensorFlow 1's mutable references."""
        return self > dtypes.REFERENCE_OFFSET

    @property
    def name(self) -> str:
        """Name of the element type, such as `"float32"`; `""` for `DT_INVALID`."""
        return dtypes.from_number(self).name if self else ""

    def __repr__(self) -> str:
        row = dtypes.BY_NUMBER.get(self % dtypes.REFERENCE_OFFSET)
        return f"DataType({int(self) if row is None else row.name!r})"

    @classmethod
    def of(cls, name: str) -> DataType:
        """Returns the number of a dtype name."""
        return cls(dtypes.from_name(name).number)


NO_TYPE = DataType(0)


@dataclass(frozen=True, slots=True)
class TensorShape:
    """A shape whose rank (`dims is None`) or lengths (`None`) may be unknown."""

    dims: tuple[int | None, ...] | None = None
    dim_names: tuple[str, ...] = ()

    @property
    def rank(self) -> int | None:
        return None if self.dims is None else len(self.dims)

    @property
    def is_fully_defined(self) -> bool:
        return self.dims is not None and None not in self.dims

    def is_compatible_with(self, shape: tuple[Any, ...]) -> bool:
        """Whether a tensor of `shape` may stand where this shape is asked for.

        Lengths that are no integers (symbolic ones) and `None` fit everything.
        """
        if self.dims is None:
            return True
        return len(self.dims) == len(shape) and all(
            mine is None or not isinstance(theirs, int) or mine == theirs
            for mine, theirs in zip(self.dims, shape, strict=True)
        )

    def __str__(self) -> str:
        if self.dims is None:
            return "<unknown rank>"
        return f"({', '.join('?' if d is None else str(d) for d in self.dims)})"


@dataclass(frozen=True, eq=False, slots=True)
class TensorValue:
    """A tensor that stands inside a graph.

    Attributes:
        dtype: Element type.
        shape: Its shape, fully defined.
        flat: One-dimensional values. With fewer elements than the shape has, the
            last one repeats.
        packed: Whether the values are written as one run of bytes.
        opaque: Serialized messages of elements without NumPy type (resource
            handles and variants).
        version_number: Of the message; 0 in all files seen.
    """

    dtype: DataType
    shape: TensorShape
    flat: Array
    packed: bool = True
    opaque: tuple[bytes, ...] = ()
    version_number: int = 0

    def numpy(self) -> Array:
        """Returns the values in the tensor's shape; strings as `bytes` objects.

        Raises:
            FormatError: The values do not fill the shape.
            LimitError: A few values stand for more than memory should hold.
        """
        shape = _known(self.shape)
        count = math.prod(shape)
        if self.flat.size == count:
            return self.flat.reshape(shape)
        if self.packed or self.flat.size > count:
            raise FormatError(
                "Invalid tensor constant",
                expected=f"{count} elements of {self.dtype.name}",
                received=self.flat.size,
            )
        if count > MAX_REPEATED:
            raise LimitError(
                "Constant repeats its last value too often",
                expected=f"at most {MAX_REPEATED} elements",
                received=count,
            )
        if self.flat.size <= 1:
            empty: Any = b"" if self.flat.dtype == object else 0
            last = self.flat[-1] if self.flat.size else empty
            return np.broadcast_to(np.asarray(last, self.flat.dtype), shape)
        out = np.full(count, self.flat[-1], self.flat.dtype)
        out[: self.flat.size] = self.flat
        return out.reshape(shape)

    @classmethod
    def from_numpy(cls, array: Any) -> TensorValue:
        """Returns the constant for an array (strings: an array of `bytes`)."""
        array = np.asarray(array)
        row = dtypes.from_numpy(array.dtype)
        if row.name == "string":
            array = as_bytes(array)
        return cls(
            dtype=DataType(row.number),
            shape=TensorShape(array.shape),
            flat=array.reshape(-1),
            packed=row.name != "string",
        )


def as_bytes(array: Array) -> Array:
    """Returns an object array of `bytes` for an array of any kind of text.

    Raises:
        MismatchError: It holds something else.
    """
    out = np.empty(array.shape, object)
    out.reshape(-1)[:] = [_encoded(item) for item in array.reshape(-1).tolist()]
    return out


def _encoded(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        return item
    raise MismatchError(f"Expected text, received {type(item).__name__}.")


def _known(shape: TensorShape) -> tuple[int, ...]:
    dims = shape.dims
    if dims is None or any(d is None or d < 0 for d in dims):
        raise FormatError(
            "Invalid tensor constant", expected="a defined shape", received=shape
        )
    return tuple(d for d in dims if d is not None)


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """The name of a function, with attributes of the call."""

    name: str
    attrs: Mapping[str, AttrValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttrPlaceholder:
    """An attribute that the caller of a function gives (not used by Keras)."""

    name: str


AttrValue = (
    bytes
    | bool
    | int
    | float
    | DataType
    | TensorShape
    | TensorValue
    | FunctionRef
    | AttrPlaceholder
    | tuple[Any, ...]
    | None
)


@dataclass(frozen=True, slots=True)
class FullType:
    """TensorFlow's `FullTypeDef`, which is kept but means nothing here."""

    type_id: int
    args: tuple[FullType, ...] = ()
    attr: str | int | None = None


@dataclass(frozen=True, slots=True)
class ArgDef:
    """An input or output of an op: one tensor, or a list of them.

    It is a list when `number_attr` (all of one type) or `type_list_attr` is set.
    """

    name: str
    type: DataType = NO_TYPE
    type_attr: str = ""
    number_attr: str = ""
    type_list_attr: str = ""
    is_ref: bool = False
    description: str = ""
    handle_data: tuple[tuple[DataType, TensorShape], ...] = ()
    full_type: FullType | None = None

    @property
    def is_list(self) -> bool:
        return bool(self.number_attr or self.type_list_attr)


@dataclass(frozen=True, slots=True)
class AttrDef:
    """An attribute of an op; `default` is `ABSENT` where it must be given."""

    name: str
    type: str
    default: AttrValue | Absent = ABSENT
    description: str = ""
    minimum: int | None = None
    allowed_values: AttrValue | Absent = ABSENT

    @property
    def is_type(self) -> bool:
        return self.type in ("type", "list(type)")


@dataclass(frozen=True, slots=True)
class OpDef:
    """The signature of an op, or of a function."""

    name: str
    inputs: tuple[ArgDef, ...] = ()
    outputs: tuple[ArgDef, ...] = ()
    attrs: tuple[AttrDef, ...] = ()
    control_outputs: tuple[str, ...] = ()
    is_stateful: bool = False
    is_commutative: bool = False
    is_aggregate: bool = False
    allows_uninitialized_input: bool = False
    is_distributed_communication: bool = False
    summary: str = ""
    description: str = ""
    deprecation: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a graph.

    `inputs` in a function: `argument`, `node:output_name:index`, `^node`; in a main
    graph: `node`, `node:index`, `^node`.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attrs: Mapping[str, AttrValue] = field(default_factory=dict)
    device: str = ""
    original_node_names: tuple[str, ...] = ()
    original_func_names: tuple[str, ...] = ()
    full_type: FullType | None = None
    has_debug_info: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a graph (`FunctionDef`).

    Attributes:
        signature: Its arguments and results; its name is the function's.
        nodes: The body, in any order.
        ret: Per result name, the tensor of the body that is returned.
        control_ret: Per control output, the node that must have run.
        attrs: Attributes of the function.
        arg_attrs: Attributes of arguments, by position.
        resource_arg_unique_ids: Arguments with equal numbers are one resource.
    """

    signature: OpDef
    nodes: tuple[Node, ...] = ()
    ret: Mapping[str, str] = field(default_factory=dict)
    control_ret: Mapping[str, str] = field(default_factory=dict)
    attrs: Mapping[str, AttrValue] = field(default_factory=dict)
    arg_attrs: Mapping[int, Mapping[str, AttrValue]] = field(default_factory=dict)
    resource_arg_unique_ids: Mapping[int, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.signature.name


@dataclass(frozen=True, slots=True)
class Versions:
    """Who wrote a graph and who may read it."""

    producer: int = 0
    min_consumer: int = 0
    bad_consumers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """A main graph with the functions that it may call."""

    nodes: tuple[Node, ...] = ()
    functions: Mapping[str, Function] = field(default_factory=dict)
    versions: Versions | None = None
    gradients: tuple[tuple[str, str], ...] = ()
    registered_gradients: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor of a main graph that a signature names.

    Attributes:
        name: `node:index`; empty for a composite tensor.
        dtype: Element type.
        shape: Its shape.
        sparse: Names of values, indices and dense shape of a sparse tensor.
        components: Parts of a composite tensor.
        type_spec: What the parts make up.
    """

    name: str
    dtype: DataType
    shape: TensorShape | None = None
    sparse: tuple[str, str, str] | None = None
    components: tuple[TensorInfo, ...] = ()
    type_spec: TypeSpec | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """A `SignatureDef`: inputs and outputs of a main graph, by name."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method_name: str = ""
    defaults: Mapping[str, TensorValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """A main graph with what a SavedModel says about it.

    Attributes:
        tags: Words by which a reader chooses it.
        graph: Nodes and functions.
        op_defs: The ops that it uses, as its writer knew them.
        signatures: By name.
        collections: TensorFlow 1's collections, by name.
        assets: File name (inside `assets/`) per tensor name.
        saver: Names of the tensors and op that restore variables: file name
            tensor, save tensor, restore op.
        tensorflow_version: Of the writer.
    """

    tags: tuple[str, ...]
    graph: Graph
    op_defs: Mapping[str, OpDef] = field(default_factory=dict)
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    collections: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    assets: tuple[tuple[str, str], ...] = ()
    saver: tuple[str, str, str] | None = None
    tensorflow_version: str = ""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape, element type and label of a tensor argument."""

    shape: TensorShape
    dtype: DataType
    name: str = ""

    def __str__(self) -> str:
        label = f" '{self.name}'" if self.name else ""
        return f"{self.dtype.name}{self.shape}{label}"


@dataclass(frozen=True, slots=True)
class BoundedTensorSpec:
    """A `TensorSpec` with bounds."""

    shape: TensorShape
    dtype: DataType
    name: str = ""
    minimum: TensorValue | None = None
    maximum: TensorValue | None = None


class TypeSpecClass(enum.IntEnum):
    """Kinds of composite tensors."""

    UNKNOWN = 0
    SPARSE_TENSOR_SPEC = 1
    INDEXED_SLICES_SPEC = 2
    RAGGED_TENSOR_SPEC = 3
    TENSOR_ARRAY_SPEC = 4
    DATA_DATASET_SPEC = 5
    DATA_ITERATOR_SPEC = 6
    OPTIONAL_SPEC = 7
    PER_REPLICA_SPEC = 8
    VARIABLE_SPEC = 9
    ROW_PARTITION_SPEC = 10
    REGISTERED_TYPE_SPEC = 12
    EXTENSION_TYPE_SPEC = 13


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """A composite tensor argument: ragged, sparse, a variable …."""

    kind: TypeSpecClass | int
    state: StructuredValue
    class_name: str = ""
    num_flat_components: int = 0

    @property
    def label(self) -> str:
        """What it is called."""
        if isinstance(self.kind, TypeSpecClass):
            return self.class_name or self.kind.name
        return self.class_name or f"type {self.kind}"

    @property
    def component_count(self) -> int:
        """How many tensors it is made of, also where an old file doesn't say."""
        if self.num_flat_components:
            return self.num_flat_components
        state = self.state if isinstance(self.state, tuple) else ()
        if self.kind is TypeSpecClass.SPARSE_TENSOR_SPEC:
            return 3
        if self.kind is TypeSpecClass.RAGGED_TENSOR_SPEC:
            is_full = len(state) > 2 and isinstance(state[2], int)
            return state[2] + 1 if is_full else 0
        if isinstance(self.kind, TypeSpecClass) and self.kind not in _LIBRARIES:
            return 0
        return _count_specs(self.state)


# Types of libraries say in their state what they are made of, tensor by tensor.
_LIBRARIES = (TypeSpecClass.REGISTERED_TYPE_SPEC, TypeSpecClass.EXTENSION_TYPE_SPEC)


def _count_specs(state: StructuredValue) -> int:
    """Returns how many tensors a state describes, at any depth."""
    if isinstance(state, TensorSpec):
        return 1
    if isinstance(state, TypeSpec):
        return state.component_count
    if isinstance(state, NamedTupleValue):
        return sum(_count_specs(value) for _, value in state.items)
    if isinstance(state, dict):
        return sum(map(_count_specs, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(_count_specs, state))
    return 0


@dataclass(frozen=True, slots=True)
class NamedTupleValue:
    """A named tuple, whose class is not known here."""

    name: str
    items: tuple[tuple[str, StructuredValue], ...]


@dataclass(frozen=True, eq=False, slots=True)
class NumpyValue:
    """A NumPy array that was an argument (as opposed to a tensor)."""

    tensor: TensorValue


# A `StructuredValue` is a plain Python value: None, bool, int, float, str, list,
# tuple, dict with text keys, or one of the classes above. Recursive, hence Any.
StructuredValue = Any


class JitCompile(enum.IntEnum):
    """Whether a `tf.function` asked for XLA."""

    DEFAULT = 0
    ON = 1
    OFF = 2


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """The Python signature of a `tf.function`.

    Attributes:
        fullargspec: `NamedTupleValue("FullArgSpec", …)` as of Python's `inspect`.
        is_method: Whether a first argument `self` was dropped.
        input_signature: What the function was restricted to; `None` if nothing.
        jit_compile: Whether XLA was asked for.
    """

    fullargspec: StructuredValue = ABSENT
    is_method: bool = False
    input_signature: StructuredValue = ABSENT
    jit_compile: JitCompile = JitCompile.DEFAULT


@dataclass(frozen=True, slots=True)
class ConcreteFunction:
    """How one trace is called from Python (`SavedConcreteFunction`).

    Attributes:
        name: Of the `Function` that it runs.
        bound_inputs: Object nodes of the captures: the function's last arguments.
        input_signature: `(args, kwargs)` as canonicalized.
        output_signature: Structure of the results.
    """

    name: str
    bound_inputs: tuple[int, ...]
    input_signature: StructuredValue
    output_signature: StructuredValue


def function_refs(attrs: Mapping[str, Any]) -> Iterator[FunctionRef]:
    """Yields the functions that attributes name, as often as they do."""
    for value in attrs.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, FunctionRef):
                yield item


def functions_of(nodes: Iterable[Node]) -> frozenset[str]:
    """Returns the functions that nodes name in their attributes."""
    return frozenset(ref.name for node in nodes for ref in function_refs(node.attrs))
