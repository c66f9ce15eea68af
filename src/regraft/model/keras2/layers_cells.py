"""Cells of recurrent layers that Keras 2 or `tf.nn` had and Keras 3 has not."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regraft.errors import UnsupportedError
from regraft.model.keras2.registration import registered

_GATES = ("input", "forget", "output")


@registered
class PeepholeLSTMCell(keras.layers.LSTMCell):
    """An LSTM cell whose gates see the carry, each unit its own."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        for gate in _GATES:
            name = f"{gate}_gate_peephole_weights"
            weight = self.add_weight(
                shape=(self.units,), name=name, initializer=self.kernel_initializer
            )
            setattr(self, name, weight)

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        hidden, carry = states
        x = self._projected(
            *(inputs, self.kernel, self.bias if self.use_bias else None),
            self.get_dropout_mask(inputs) if training and self.dropout else None,
        )
        h = self._projected(
            *(hidden, self.recurrent_kernel, None),
            self.get_recurrent_dropout_mask(hidden)
            if training and self.recurrent_dropout
            else None,
        )
        into, forget, new, out = (ops.add(a, b) for a, b in zip(x, h, strict=True))
        gate = self.recurrent_activation
        kept = gate(forget + self.forget_gate_peephole_weights * carry) * carry
        added = gate(into + self.input_gate_peephole_weights * carry)
        carry = kept + added * self.activation(new)
        opened = gate(out + self.output_gate_peephole_weights * carry)
        output = opened * self.activation(carry)
        return output, [output, carry]

    def _projected(self, values: Any, kernel: Any, bias: Any, masks: Any) -> list[Any]:
        """The four gates' parts, of which each may drop values of its own."""
        kernels = ops.split(ops.convert_to_tensor(kernel), 4, axis=1)
        if not isinstance(masks, list):
            masks = [masks] * 4
        parts = [
            ops.matmul(values if mask is None else values * mask, part)
            for part, mask in zip(kernels, masks, strict=True)
        ]
        if bias is None:
            return parts
        shifts = ops.split(ops.convert_to_tensor(bias), 4, axis=0)
        return [part + shift for part, shift in zip(parts, shifts, strict=True)]


class _CellWrapper(keras.layers.Layer):
    """A cell around a cell, whose states it shares."""

    def __init__(self, cell: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell = cell

    @property
    def state_size(self) -> Any:
        """Of the cell inside."""
        return self.cell.state_size

    @property
    def output_size(self) -> Any:
        """Of the cell inside."""
        return self.cell.output_size

    def get_initial_state(self, batch_size: Any = None) -> Any:
        """Returns that of the cell inside."""
        return self.cell.get_initial_state(batch_size=batch_size)

    def build(self, input_shape: Any) -> None:
        if not self.cell.built:
            self.cell.build(input_shape)
        self.built = True

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        return self.cell(inputs, states, training=training)

    def get_config(self) -> dict[str, Any]:
        cell = keras.saving.serialize_keras_object(self.cell)
        return {**super().get_config(), "cell": cell}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        config = dict(config)
        cell = keras.saving.deserialize_keras_object(
            config.pop("cell"), custom_objects=custom_objects
        )
        return cls(cell, **config)


@registered
class ResidualWrapper(_CellWrapper):
    """Adds what goes into a cell to what comes out."""

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        output, states = super().call(inputs, states, training)
        return keras.tree.map_structure(ops.add, inputs, output), states


@registered
class DeviceWrapper(_CellWrapper):
    """A cell that `tf.nn` puts on a device; here it stays where the model is.

    Args:
        cell: The cell inside.
        device: Kept for a file alone.
        **kwargs: Of every layer.
    """

    def __init__(self, cell: Any, device: Any = None, **kwargs: Any) -> None:
        super().__init__(cell, **kwargs)
        self.device = device

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "device": self.device}


@registered
class DropoutWrapper(_CellWrapper):
    """A cell of `tf.nn` that drops values at each step, where it drops none.

    It drops in inference too, and otherwise at each step, which the loop of a
    recurrent layer can't; its traced functions can.

    Args:
        cell: The cell inside.
        input_keep_prob: Share of the inputs that stay; only 1.
        output_keep_prob: Share of the outputs that stay; only 1.
        state_keep_prob: Share of the states that stay; only 1.
        variational_recurrent: Whether all steps drop the same.
        input_size: Without meaning here.
        seed: Kept for a file alone.
        **kwargs: Of every layer.
    """

    def __init__(
        self,
        cell: Any,
        input_keep_prob: float = 1.0,
        output_keep_prob: float = 1.0,
        state_keep_prob: float = 1.0,
        variational_recurrent: bool = False,
        input_size: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cell, **kwargs)
        shares = {
            "input_keep_prob": float(input_keep_prob),
            "output_keep_prob": float(output_keep_prob),
            "state_keep_prob": float(state_keep_prob),
        }
        for name, share in shares.items():
            if share < 1:
                raise UnsupportedError(
                    f"Cell '{self.name}' drops values at each step, in inference too "
                    f"({name}={share}). Save the model with its traced functions, or "
                    "pass a class for it in `custom_objects={'DropoutWrapper': …}`."
                )
        self._kept = {
            **shares,
            "variational_recurrent": bool(variational_recurrent),
            "input_size": None,
            "seed": seed,
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._kept}


@registered
class StackedRNNCells(keras.layers.StackedRNNCells):
    """Cells in a row, also one alone, whose states Keras 3 takes out of their list."""

    def call(
        self, inputs: Any, states: Any, training: Any = False, **kwargs: Any
    ) -> Any:
        output, after = super().call(inputs, states, training=training, **kwargs)
        return output, ([after] if len(self.cells) == 1 else after)
