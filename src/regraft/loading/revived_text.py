"""Models without their class whose traced functions read text.

Text goes through Keras as handles, as in models with text layers. The functions need
the text itself, so that a model like this runs step by step: `run_eagerly` is on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.dtypes import HANDLE
from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.tracing.tracer import active
from regraft.loading.revived_layer import RevivedModel
from regraft.model.keras2.host_data import matched
from regraft.model.keras2.host_models import HostModel, checked, is_staged
from regraft.model.keras2.host_pass import ranked
from regraft.model.keras2.host_values import (
    POOL,
    Array,
    device_array,
    host_array,
    is_text,
    seen,
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

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configures the model for training, step by step."""
        super().compile(*args, **{**kwargs, "run_eagerly": True, "jit_compile": False})

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        past: Any = super(HostModel, self)
        leaves = keras.tree.flatten(inputs)
        if is_staged(inputs) or any(isinstance(x, keras.KerasTensor) for x in leaves):
            return past.__call__(inputs, *args, **kwargs)
        if any(map(_compat.is_traced, leaves)):
            if active() is not None:
                return past.__call__(inputs, *args, **kwargs)
            raise self._uncompilable()
        with POOL.scope():
            return self._shown(past.__call__(self.staged(inputs), *args, **kwargs))

    def call(self, *arguments: Any, training: Any = None, **keywords: Any) -> Any:
        """Runs the trace that takes these arguments, on the text itself."""
        past: Any = super(HostModel, self)
        staged, *others = arguments
        if not is_staged(staged):
            return past.call(*arguments, training=training, **keywords)
        flat = [staged[_INPUT.format(number)] for number in range(len(self._tensors()))]
        if any(_compat.is_traced(value) for value in flat):
            if _compat.in_symbolic_scope():
                return _stand_ins(self._traces.output_spec(), flat[0].shape[0])
            raise self._uncompilable()
        given = keras.tree.pack_sequence_as(
            self._structure(), [_as_was(value) for value in flat]
        )
        found = past.call(given, *others, training=training, **keywords)
        return keras.tree.map_structure(_as_handles, found)

    def _uncompilable(self) -> UnsupportedError:
        return UnsupportedError(
            f"Model '{self.name}' runs from its traced functions, which read text: it "
            "can't be compiled. Leave `run_eagerly` on, or pass "
            "its class, rewritten for Keras 3, in "
            f"`custom_objects={{{self.saved_class_name!r}: …}}`."
        )

    def compute_output_spec(
        self, *arguments: Any, training: Any = None, **keywords: Any
    ) -> Any:
        """Answers from the trace's output signature; nothing is run."""
        return _entries(self._traces.output_spec())


def _as_was(value: Any) -> Any:
    """Text for handles; other values as they are."""
    if keras.backend.standardize_dtype(value.dtype) == HANDLE:
        return seen(value)
    return value


def _as_handles(value: Any) -> Any:
    if is_text(value):
        return keras.ops.convert_to_tensor(POOL.handles(value))
    return value


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


def _stand_ins(spec: Any, batch: Any) -> Any:
    """Zeros in the shapes of a spec, where only shapes are asked for."""
    if isinstance(spec, ir.TensorSpec):
        dims: Sequence[int | None] = spec.shape.dims or (None,)
        shape = [batch if not i else d or 1 for i, d in enumerate(dims)]
        name = spec.dtype.name
        return keras.ops.zeros(shape, HANDLE if name == "string" else name)
    if isinstance(spec, list | tuple):
        return type(spec)(_stand_ins(item, batch) for item in spec)
    if isinstance(spec, Mapping):
        return {key: _stand_ins(item, batch) for key, item in spec.items()}
    return np.asarray(spec)
