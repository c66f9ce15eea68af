"""Operations of networks that Keras 2 has no words for, as layers with a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import keras

from regraft.model.dialects.describe_topology import unsaid_operations

Call = Callable[..., Any]


class OperationLayer(keras.layers.Layer):
    """An operation as a layer that is called with tensors alone.

    Args:
        operation: The operation.
    """

    def __init__(self, operation: keras.Operation) -> None:
        super().__init__(name=operation.name, autocast=False)
        self.operation = operation
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Stands for the signature; what runs is a recorded call.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("An operation is called as its network has it.")


def operation_layers(model: keras.Model) -> dict[int, OperationLayer]:
    """Returns a layer for each operation that needs one, by its `id`."""
    return {id(each): OperationLayer(each) for each in unsaid_operations(model)}


def tensors_alone(
    original: Call,
    operation: keras.Operation,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[Call, Any]:
    """Returns a call of an operation that takes tensors alone, and these tensors.

    Arrays that a network holds are part of the call.
    """
    tensors = [x for x in keras.tree.flatten((args, kwargs)) if is_traced(x)]

    def run(_: keras.layers.Layer, inputs: Any) -> Any:
        given = iter(inputs if isinstance(inputs, list) else [inputs])
        filled, named = keras.tree.map_structure(
            lambda x: next(given) if is_traced(x) else x, (args, kwargs)
        )
        return original(operation, *filled, **named)

    return run, tensors[0] if len(tensors) == 1 else tensors


def is_traced(value: Any) -> bool:
    """Whether a value is computed in the trace."""
    return isinstance(value, jax.core.Tracer)


def is_tensor(value: Any) -> bool:
    """Whether a value is an array of the trace."""
    return isinstance(value, jax.Array)
