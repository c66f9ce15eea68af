"""Keras 2's convolutions with unshared weights: LocallyConnected1D and 2D.

The three implementations differ in the layout of the one kernel:

1. `[positions, kernel size * channels, filters]`, computed patch by patch;
2. a full matrix between all inputs and all outputs, masked;
3. the entries of that matrix alone, sorted by output and input.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft.errors import LimitError
from regraft.model.keras2.registration import registered

# The most that a layer keeps of what is connected with what.
MAX_BYTES = 2**32


class _LocallyConnected(keras.layers.Layer):
    rank: int

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        implementation: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = int(filters)
        self.kernel_size = self._per_axis(kernel_size)
        self.strides = self._per_axis(strides)
        self.padding = padding
        self.data_format = data_format or keras.config.image_data_format()
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.implementation = int(implementation)
        if self.implementation not in (1, 2, 3):
            raise ValueError(f"Invalid implementation: {implementation}.")
        if padding not in ("valid", "same") or (
            padding == "same" and self.implementation == 1
        ):
            raise ValueError(
                f"Invalid padding {padding!r} for implementation {implementation}."
            )

    def _per_axis(self, value: Any) -> tuple[int, ...]:
        items = (value,) * self.rank if isinstance(value, int) else tuple(value)
        return tuple(int(item) for item in items)

    @property
    def _first(self) -> bool:
        return self.data_format == "channels_first"

    def _spatial(self, shape: Any) -> tuple[int, ...]:
        return tuple(shape[2:]) if self._first else tuple(shape[1:-1])

    def _channels(self, shape: Any) -> int:
        return int(shape[1] if self._first else shape[-1])

    def _joined(self, spatial: tuple[int, ...], channels: int) -> tuple[int, ...]:
        return (channels, *spatial) if self._first else (*spatial, channels)

    def _output_spatial(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        sizes = zip(spatial, self.kernel_size, self.strides, strict=True)
        if self.padding == "same":
            return tuple(math.ceil(n / stride) for n, _, stride in sizes)
        return tuple((n - size) // stride + 1 for n, size, stride in sizes)

    def _connected(
        self, position: tuple[int, ...], spatial: tuple[int, ...]
    ) -> list[range]:
        """The inputs along each axis that one output sees."""
        found = []
        for p, n, size, stride in zip(
            position, spatial, self.kernel_size, self.strides, strict=True
        ):
            start = p * stride - (size // 2 if self.padding == "same" else 0)
            found.append(range(max(0, start), min(n, start + size)))
        return found

    def build(self, input_shape: Any) -> None:
        spatial, channels = self._spatial(input_shape), self._channels(input_shape)
        if None in spatial:
            raise ValueError(
                f"{type(self).__name__} needs inputs of known size; received "
                f"{tuple(input_shape)}."
            )
        positions = self._output_spatial(spatial)
        inputs = self._joined(spatial, channels)
        outputs = self._joined(positions, self.filters)
        self._check_size(positions, inputs, outputs)
        self._output = outputs
        if self.implementation == 1:
            self._patches = self._patch_indices(spatial, positions, inputs)
            shape: tuple[int, ...] = (
                math.prod(positions),
                math.prod(self.kernel_size) * channels,
                self.filters,
            )
        elif self.implementation == 2:
            self._mask = self._matrix_mask(spatial, positions, channels)
            shape = (*inputs, *outputs)
        else:
            mask = self._matrix_mask(spatial, positions, channels)
            # Sorted by output first, as the rows of the transposed matrix are.
            self._entries = np.argwhere(mask.T)[:, ::-1]
            self._matrix_shape = mask.shape
            shape = (len(self._entries),)
        self.kernel = self.add_weight(
            name="kernel",
            shape=shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(*positions, self.filters),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _check_size(
        self,
        positions: tuple[int, ...],
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
    ) -> None:
        """Refuses what a few bytes can ask for and no memory holds."""
        if self.implementation == 1:
            patch = math.prod(self.kernel_size) * self._channels((0, *inputs))
            size_bytes = 8 * (math.prod(inputs) + math.prod(positions) * patch)
        else:
            size_bytes = math.prod(inputs) * math.prod(outputs)
        if size_bytes > MAX_BYTES:
            raise LimitError(
                f"{type(self).__name__} connects more than {MAX_BYTES} bytes can hold",
                received=f"{size_bytes} bytes",
            )

    def _patch_indices(
        self,
        spatial: tuple[int, ...],
        positions: tuple[int, ...],
        inputs: tuple[int, ...],
    ) -> np.ndarray:
        flat = np.arange(math.prod(inputs)).reshape(inputs)
        rows = []
        for position in itertools.product(*map(range, positions)):
            parts = tuple(
                slice(seen.start, seen.stop)
                for seen in self._connected(position, spatial)
            )
            rows.append(flat[(slice(None), *parts) if self._first else parts].ravel())
        return np.stack(rows)

    def _matrix_mask(
        self, spatial: tuple[int, ...], positions: tuple[int, ...], channels: int
    ) -> np.ndarray:
        mask = np.zeros((*spatial, *positions), bool)
        for position in itertools.product(*map(range, positions)):
            seen = self._connected(position, spatial)
            place: Any = (*(slice(p.start, p.stop) for p in seen), *position)
            mask[place] = True
        where = (0, self.rank + 1) if self._first else (self.rank, 2 * self.rank + 1)
        mask = np.expand_dims(mask, where)
        size = self._joined(spatial, channels) + self._joined(positions, self.filters)
        split = self.rank + 1
        return np.broadcast_to(mask, size).reshape(
            math.prod(size[:split]), math.prod(size[split:])
        )

    def call(self, inputs: Any) -> Any:
        flat = ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))
        if self.implementation == 1:
            result = self._by_patches(flat)
        else:
            result = ops.matmul(flat, self._matrix(flat.dtype))
            result = ops.reshape(result, (-1, *self._output))
        if self.bias is not None:
            bias = ops.convert_to_tensor(self.bias)
            if self._first:
                # Keras 2 reads it as if channels came first in it, too.
                bias = ops.reshape(bias, self._output)
            result = result + bias
        return self.activation(result)

    def _by_patches(self, flat: Any) -> Any:
        patches = ops.take(flat, self._patches, axis=1)
        result = ops.einsum("bpk,pkf->bpf", patches, self.kernel)
        if self._first:
            result = ops.swapaxes(result, 1, 2)
        return ops.reshape(result, (-1, *self._output))

    def _matrix(self, dtype: Any) -> Any:
        if self.implementation == 2:
            kernel = ops.reshape(self.kernel, self._mask.shape)
            return kernel * ops.convert_to_tensor(self._mask, dtype=dtype)
        return ops.scatter(self._entries, self.kernel, self._matrix_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        positions = self._output_spatial(self._spatial(input_shape))
        return (input_shape[0], *self._joined(positions, self.filters))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in ("filters", "kernel_size", "strides", "padding", "data_format"):
            config[key] = getattr(self, key)
        config["activation"] = keras.activations.serialize(self.activation)
        config["use_bias"] = self.use_bias
        for name in ("kernel", "bias"):
            for kind in ("initializer", "regularizer", "constraint"):
                module = getattr(keras, f"{kind}s")
                key = f"{name}_{kind}"
                config[key] = module.serialize(getattr(self, key))
        config["implementation"] = self.implementation
        return config


@registered
class LocallyConnected1D(_LocallyConnected):
    """A 1-D convolution whose every position has weights of its own."""

    rank = 1


@registered
class LocallyConnected2D(_LocallyConnected):
    """A 2-D convolution whose every position has weights of its own."""

    rank = 2
