"""What tracing a model gives: plain data that the writer turns into messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import keras

from regraft.graph import ir
from regraft.graph.runtime.context import Table
from regraft.graph.tracing.function_graph import SharedConstant


@dataclass(frozen=True, eq=False)
class TracedFunction:
    """One trace of a function (`SavedConcreteFunction`).

    Attributes:
        name: Of the `ir.Function`.
        captures: The variables and constants that are its last arguments
            (`bound_inputs`).
        input_signature: `(args, kwargs)` as canonicalized.
        output_signature: Structure of the results.
    """

    name: str
    captures: tuple[keras.Variable | SharedConstant, ...]
    input_signature: ir.StructuredValue
    output_signature: ir.StructuredValue


@dataclass(frozen=True, eq=False)
class SavedFunctionSpec:
    """A Python function with its traces (`SavedFunction`)."""

    concrete_functions: tuple[TracedFunction, ...]
    function_spec: ir.FunctionSpec


@dataclass(frozen=True, eq=False)
class LayerTraces:
    """The functions of one layer, by their role in Keras 2's object graph.

    Attributes:
        call: `__call__`: the output alone.
        conditional_losses: `call_and_return_conditional_losses`: the output and the
            losses that `call` added.
        all_conditional_losses: `call_and_return_all_conditional_losses`: these and
            the activity regularizer's; the same object as `conditional_losses` where
            there is no activity regularizer.
        activity_regularizer: `activity_regularizer_fn`; `None` without.
        regularization_losses: Functions without arguments, one per regularized
            weight of the layer and those below it.
        own_regularization_losses: Those of the weights that the layer itself owns.
        expects_training: Whether the functions take `training`.
    """

    call: SavedFunctionSpec
    conditional_losses: SavedFunctionSpec
    all_conditional_losses: SavedFunctionSpec
    activity_regularizer: SavedFunctionSpec | None = None
    regularization_losses: tuple[SavedFunctionSpec, ...] = ()
    own_regularization_losses: tuple[SavedFunctionSpec, ...] = ()
    expects_training: bool = False


@dataclass(frozen=True, eq=False)
class SignatureTrace:
    """A function that is called with tensors by name.

    Attributes:
        function: The trace; its `input_signature` is `((), {name: TensorSpec})`.
        inputs: Specs by name, sorted as the function's arguments are.
        outputs: Specs by name, sorted as the function's results are.
    """

    function: TracedFunction
    inputs: Mapping[str, ir.TensorSpec]
    outputs: Mapping[str, ir.TensorSpec]

    @property
    def allowed_positional_arguments(self) -> int:
        """How many inputs may be given without a name: the only one."""
        return 1 if len(self.inputs) == 1 else 0


@dataclass(frozen=True, eq=False)
class ModelTraces:
    """All functions of a model.

    Attributes:
        functions: The bodies by name, shared by all that call them.
        layers: By `id` of the layer; the model itself is one of them.
        default_save_signature: `_default_save_signature` of the model.
        signatures: By name, among them `serving_default`.
        notes: Per layer name what could not be traced, and why.
        tables: What functions write besides variables.
    """

    functions: Mapping[str, ir.Function]
    layers: Mapping[int, LayerTraces]
    default_save_signature: SavedFunctionSpec | None
    signatures: Mapping[str, SignatureTrace]
    notes: tuple[tuple[str, str], ...] = field(default=())
    tables: tuple[TableTrace, ...] = ()


@dataclass(frozen=True, eq=False)
class TableTrace:
    """A table that functions write.

    Attributes:
        table: What it holds.
        name: Of the resource; each table has one of its own.
        create: Makes it.
        initialize: Fills it; `None` for an empty one.
    """

    table: Table
    name: str
    create: SavedFunctionSpec
    initialize: SavedFunctionSpec | None

    @property
    def functions(self) -> Iterator[tuple[str, SavedFunctionSpec]]:
        """Names and functions of the object."""
        yield "_create_resource", self.create
        if self.initialize is not None:
            yield "_initialize", self.initialize
