"""Layers that compute on the host, with NumPy: what reads text or 64-bit numbers.

A `HostLayer` is a pure function of arrays, `compute`. It runs in one of three ways:

* called by itself, on text, arrays or lists: at once;
* in a model whose inputs lead to it: before the compiled step, whose place of the
  layer then only takes the result (`Replay`);
* behind an operation that the backend computes: out of the compiled step, by a call
  back to the host.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.errors import UnsupportedError
from regraft.model.keras2.host_values import (
    POOL,
    Array,
    device_array,
    device_dtype,
    host_array,
    is_text,
    seen,
)
from regraft.model.keras2.registration import registered


class Replay:
    """Results of host layers that are known before a model is called.

    Args:
        results: By `id` of the layer and number of its call.
    """

    def __init__(self, results: Mapping[tuple[int, int], Any]) -> None:
        self._results = results
        self._counts: dict[int, int] = {}

    def take(self, layer: HostLayer) -> Any | None:
        """Returns the result of the next call of a layer; `None` if it isn't known."""
        number = self._counts.get(id(layer), 0)
        self._counts[id(layer)] = number + 1
        return self._results.get((id(layer), number))


_replay: contextvars.ContextVar[Replay | None] = contextvars.ContextVar(
    "replay", default=None
)


def replayed() -> bool:
    """Whether a model with host layers is being called."""
    return _replay.get() is not None


_tracer: contextvars.ContextVar[Any] = contextvars.ContextVar("tracer", default=None)


@contextmanager
def traced_by(trace: Callable[[HostLayer, Any], Any]) -> Iterator[None]:
    """Lets a function write host layers down that are called in this block."""
    token = _tracer.set(trace)
    try:
        yield
    finally:
        _tracer.reset(token)


@contextmanager
def replay(results: Mapping[tuple[int, int], Any]) -> Iterator[None]:
    """Lets host layers that are called in this block take known results."""
    token = _replay.set(Replay(results))
    try:
        yield
    finally:
        _replay.reset(token)


@registered
class InputLayer(keras.layers.InputLayer):
    """An input that the backend has no dtype for: text as handles, 64-bit numbers.

    Attributes:
        file_dtype: What files call its dtype.
    """

    file_dtype = "string"

    def __init__(self, *args: Any, dtype: Any = "string", **kwargs: Any) -> None:
        super().__init__(*args, dtype=device_dtype(dtype), **kwargs)
        self.file_dtype = dtype

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dtype": self.file_dtype}


def file_dtype(tensor: keras.KerasTensor) -> str:
    """Returns what files call the dtype of a model's input or output."""
    operation = _compat.maker(tensor)
    if isinstance(operation, InputLayer):
        return operation.file_dtype
    if isinstance(operation, HostLayer) and operation.gives_text:
        return "string"
    return str(keras.backend.standardize_dtype(tensor.dtype))


def widen(layer: keras.layers.InputLayer) -> None:
    """Makes an input of 64-bit numbers one of what the backend has for them.

    Host layers read the exact numbers; the others get what they always got.
    """
    held = device_dtype(layer.dtype)
    if type(layer) is keras.layers.InputLayer and held != layer.dtype:
        file_dtype = str(layer.dtype)
        layer.__class__ = InputLayer
        layer.file_dtype = file_dtype
        _compat.set_input_dtype(layer, held)


class HostLayer(keras.layers.Layer):
    """A layer of Keras 2 that Keras 3 has on TensorFlow alone.

    Attributes:
        several: Whether its input is a list of arrays.
        finishes_on_device: Whether the compiled step makes its output of what
            `compute` returns.
        reads_sparse: Whether `compute` takes sparse tensors, as `CompositeRows`.
    """

    several = False
    finishes_on_device = False
    reads_sparse = False

    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("autocast", None)
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    # ----------------------------------------------------------- to override

    @property
    def gives_text(self) -> bool:
        """Whether its output is text."""
        return False

    def compute(self, inputs: Any) -> Any:
        """Returns the output for NumPy arrays; text is an array of `bytes`.

        What is finished on the device may be a list of arrays.
        """
        raise NotImplementedError

    def output_shape_of(self, shape: Any) -> tuple[int | None, ...]:
        """Returns the shape of the output for that of the input."""
        raise NotImplementedError

    # --------------------------------------------------------------- calling

    def build(self, input_shape: Any = None) -> None:
        """Does nothing: the layer has no variables."""
        self.built = True

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Returns no mask, as in Keras 2."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.output_shape_of(input_shape)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        shape = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), inputs)
        return keras.KerasTensor(self.output_shape_of(shape), self.device_dtype)

    @property
    def device_dtype(self) -> str:
        """Dtype of the output on the backend."""
        return device_dtype("string" if self.gives_text else self.compute_dtype)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        leaves = keras.tree.flatten(inputs)
        if replayed() or any(
            isinstance(leaf, keras.KerasTensor) or _compat.is_traced(leaf)
            for leaf in leaves
        ):
            return super().__call__(inputs, *args, **kwargs)
        with POOL.scope():
            out = self.compute(self._given(inputs))
        self.built = True
        return out if is_text(out) else _tensor(out)

    def _given(self, inputs: Any) -> Any:
        if self.several:
            return [host_array(item) for item in inputs]
        return host_array(inputs)

    def call(self, inputs: Any) -> Any:
        here = _replay.get()
        known = None if here is None else here.take(self)
        if known is not None:
            return known
        if any(_compat.is_traced(leaf) for leaf in keras.tree.flatten(inputs)):
            trace = _tracer.get() or HostLayer._called_back
            return trace(self, inputs)
        return self._on_device(self.compute(keras.tree.map_structure(seen, inputs)))

    def _on_device(self, computed: Any) -> Any:
        if isinstance(computed, list):
            return [self._on_device(part) for part in computed]
        return keras.ops.convert_to_tensor(device_array(computed, self.name))

    def _called_back(self, inputs: Any) -> Any:
        """Computes out of a compiled step."""
        shape = self.output_shape_of(
            keras.tree.map_structure(lambda tensor: tuple(tensor.shape), inputs)
        )
        if any(length is None for length in shape):
            raise UnsupportedError(
                f"Layer '{self.name}' of class {type(self).__name__} gives as many "
                "tokens as its longest text has, and gets its text from layers that "
                "are compiled, which need one length. Set its "
                "`output_sequence_length`, or compile the model with "
                "`run_eagerly=True`."
            )
        dtype = self.device_dtype

        def on_host(*arrays: Any) -> Array:
            leaves = [seen(np.asarray(array)) for array in arrays]
            packed = keras.tree.pack_sequence_as(inputs, leaves)
            out = self.compute(packed)
            if isinstance(out, list):
                out = np.concatenate(out, axis=1)
            return np.asarray(device_array(out, self.name), dtype)

        return _compat.call_host(on_host, shape, dtype, keras.tree.flatten(inputs))


def _tensor(array: Array) -> Any:
    """A tensor of the backend; NumPy's where it can't hold the numbers."""
    try:
        return keras.ops.convert_to_tensor(device_array(array, ""))
    except UnsupportedError:
        return array


def encoded(
    indices: Array,
    mode: str,
    depth: int,
    dtype: str,
    *,
    owner: str,
    weights: Array | None = None,
    idf: Array | None = None,
) -> Array:
    """Returns indices as Keras 2 encodes them: as they are, or counted per row.

    Args:
        indices: Numbers from 0 on; those from `depth` on don't count.
        mode: `"int"`, `"one_hot"`, `"multi_hot"`, `"count"` or `"tf_idf"`.
        depth: Length of a row of the result.
        dtype: Of the result.
        owner: Name of the layer, for messages.
        weights: What each index counts, in `"count"` mode.
        idf: Weights of the columns, in `"tf_idf"` mode.
    """
    if mode == "int":
        return indices.astype(dtype)
    if not indices.ndim:
        indices = indices[None]
    if mode == "one_hot" and indices.shape[-1] != 1:
        indices = indices[..., None]
    if indices.ndim > 2:
        raise UnsupportedError(
            f"Layer '{owner}' encodes rows of numbers (output_mode={mode!r}), which "
            f"Keras 2 has for at most two dimensions. Received: {indices.ndim}."
        )
    rows = (
        indices.reshape(-1, indices.shape[-1]) if indices.ndim == 2 else indices[None]
    )
    numbers = np.arange(rows.shape[0])[:, None]
    numbers = np.broadcast_to(numbers, rows.shape)
    kept = (rows >= 0) & (rows < depth)
    out = np.zeros(
        (rows.shape[0], depth), "float64" if dtype == "float64" else "float32"
    )
    if mode in ("one_hot", "multi_hot"):
        out[numbers[kept], rows[kept]] = 1
    else:
        counted: Any = 1
        if weights is not None:
            counted = weights.reshape(rows.shape)[kept].astype(out.dtype)
        np.add.at(out, (numbers[kept], rows[kept]), counted)
    if mode == "tf_idf" and idf is not None:
        out = out * idf.astype(out.dtype)
    return (out if indices.ndim == 2 else out[0]).astype(dtype)


def encoded_shape(shape: Any, mode: str, depth: int) -> tuple[int | None, ...]:
    """Returns the shape of what `encoded` gives."""
    shape = tuple(shape)
    if mode == "int":
        return shape
    if mode == "one_hot" and shape and shape[-1] != 1:
        return (*shape, depth)
    return (*shape[:-1], depth)
