"""Models without their class whose traced functions read text.

Text goes through Keras as handles, as in models with text layers. The functions need
the text itself, so that a model like this runs step by step: `run_eagerly` is on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from regraft import _compat
from regraft.dtypes import HANDLE
from regraft.graph import ir
from regraft.loading.revived_layer import RevivedModel
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


class RevivedTextModel(HostModel, RevivedModel):
    """A subclassed model of a class that nobody has, which reads text."""

    def _structure(self) -> Any:
        """Symbolic tensors for the first argument, handles for text."""
        return _entries(self._traces.first_argument())

    def _tensors(self) -> list[keras.KerasTensor]:
        return list(keras.tree.flatten(self._structure()))

    def _flat_inputs(self, inputs: Any) -> list[Array]:
        given = matched(self._structure(), inputs)
        return [
            checked(tensor, host_array(value))
            for tensor, value in zip(self._tensors(), given, strict=True)
        ]

    def _staged_flat(self, flat: list[Array]) -> dict[str, Array]:
        return {
            _INPUT.format(number): device_array(
                ranked(value, len(tensor.shape)), tensor.name
            )
            for number, (tensor, value) in enumerate(
                zip(self._tensors(), flat, strict=True)
            )
        }

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
            flat = [
                keras.ops.convert_to_tensor(given[_INPUT.format(number)])
                for number in range(len(self._tensors()))
            ]
            given = keras.tree.pack_sequence_as(self._structure(), flat)
        return past.call(given, *others, training=training, **keywords)


def _entries(spec: Any) -> Any:
    """Symbolic tensors for the tensors of a spec, handles for text."""
    if isinstance(spec, ir.TensorSpec):
        dims = spec.shape.dims
        name = spec.dtype.name
        return keras.KerasTensor(
            (None,) if dims is None else dims,
            dtype=HANDLE if name == "string" else name,
            name=spec.name or "input",
        )
    if isinstance(spec, list | tuple):
        return type(spec)(_entries(item) for item in spec)
    if isinstance(spec, Mapping):
        return {key: _entries(item) for key, item in spec.items()}
    return spec
