"""Models without their class whose traced functions take what Keras has no tensors for.

Text goes through Keras as handles, as in models with text layers; sparse and ragged
tensors go as their parts. The functions need the text itself, and parts have other
lengths in each batch, so that a model like this runs step by step: `run_eagerly` is on.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.dtypes import HANDLE
from regraft.graph import ir
from regraft.graph.runtime import composites
from regraft.loading.revived_layer import RevivedModel
from regraft.model.keras2.composite_rows import CompositeRows, composite_rows
from regraft.model.keras2.host_data import matched
from regraft.model.keras2.host_models import HostModel, checked, is_staged
from regraft.model.keras2.host_pass import ranked
from regraft.model.keras2.host_values import (
    POOL,
    Array,
    device_array,
    host_array,
)

_INPUT = "regraft:input_{:04}"
_PART = "{}_{}"


class _Composite(keras.KerasTensor):
    """Stands for a sparse or ragged input where Keras looks for tensors."""

    def __init__(self, spec: ir.TypeSpec, name: str) -> None:
        shape = composites.shape_of(spec)
        super().__init__(shape.dims or (None,), name=name)
        self.spec = spec


class RevivedHostModel(HostModel, RevivedModel):
    """A subclassed model of a class that nobody has, whose inputs pass the host."""

    def _structure(self) -> Any:
        """Symbolic tensors for the first argument, handles for text."""
        return _entries(self._traces.first_argument())

    def _tensors(self) -> list[keras.KerasTensor]:
        return list(keras.tree.flatten(self._structure()))

    def _flat_inputs(self, inputs: Any) -> list[Any]:
        given = matched(self._structure(), inputs)
        return [
            composite_rows(tensor.spec, value, tensor.name)
            if isinstance(tensor, _Composite)
            else checked(tensor, host_array(value))
            for tensor, value in zip(self._tensors(), given, strict=True)
        ]

    def _staged_flat(self, flat: list[Any]) -> dict[str, Array]:
        staged = {}
        for number, (tensor, value) in enumerate(
            zip(self._tensors(), flat, strict=True)
        ):
            name = _INPUT.format(number)
            if isinstance(value, CompositeRows):
                # Keras takes the length of the first tensor for the size of the batch.
                staged[name] = np.zeros(len(value), HANDLE)
                for place, part in enumerate(value.parts):
                    staged[_PART.format(name, place)] = device_array(part, tensor.name)
            else:
                staged[name] = device_array(
                    ranked(value, len(tensor.shape)), tensor.name
                )
        return staged

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        past: Any = super(HostModel, self)
        leaves = keras.tree.flatten(inputs)
        if is_staged(inputs) or any(isinstance(x, keras.KerasTensor) for x in leaves):
            return past.__call__(inputs, *args, **kwargs)
        if any(map(_compat.is_traced, leaves)):
            return past.__call__(inputs, *args, **kwargs)
        with POOL.scope():
            return self._shown(past.__call__(self.staged(inputs), *args, **kwargs))

    def call(self, *arguments: Any, training: Any = None, **keywords: Any) -> Any:
        """Runs the trace that takes these arguments, on the text itself."""
        past: Any = super(HostModel, self)
        given, *others = arguments
        if is_staged(given):
            given = self._arguments_of(given)
        return past.call(given, *others, training=training, **keywords)

    def _arguments_of(self, staged: Mapping[str, Any]) -> Any:
        """Returns the first argument as the traces take it."""
        numbers = itertools.count()

        def value(tensor: keras.KerasTensor) -> Any:
            name = _INPUT.format(next(numbers))
            if not isinstance(tensor, _Composite):
                return keras.ops.convert_to_tensor(staged[name])
            parts = [
                keras.ops.convert_to_tensor(staged[_PART.format(name, place)])
                for place in range(tensor.spec.component_count)
            ]
            return composites.rebuilt(tensor.spec, tuple(parts))

        return keras.tree.map_structure(value, self._structure())


def _entries(spec: Any, name: str = "input") -> Any:
    """Symbolic tensors for the tensors of a spec, handles for text."""
    if isinstance(spec, ir.TypeSpec) and composites.component_specs(spec):
        return _Composite(spec, name)
    if isinstance(spec, ir.TensorSpec):
        dims = spec.shape.dims
        dtype = spec.dtype.name
        return keras.KerasTensor(
            (None,) if dims is None else dims,
            dtype=HANDLE if dtype == "string" else dtype,
            name=spec.name or name,
        )
    if isinstance(spec, list | tuple):
        return type(spec)(_entries(item) for item in spec)
    if isinstance(spec, Mapping):
        return {key: _entries(item, str(key)) for key, item in spec.items()}
    return spec
