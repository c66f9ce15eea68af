"""Recurrent layers that Keras 2 had and Keras 3 has not."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from regraft import _compat
from regraft.model.keras2.registration import registered


def _sequences_mask(sequences: Any, initial_state: Any, mask: Any) -> Any:
    """The mask of the sequences, also where states go in beside them.

    Keras 3 looks at masks of a call's only tensor alone.
    """
    if mask is None and initial_state is not None:
        return _compat.keras_mask(sequences)
    return mask


class _AsKeras2(keras.layers.Layer):
    """Reads sequences, their mask and initial states as Keras 2 does.

    Put before the layer in a class' bases.
    """

    return_sequences: bool
    go_backwards: bool

    def __init__(self, *args: Any, time_major: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.time_major = time_major

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        super().build(self._swapped_shape(sequences_shape))

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        mask = _sequences_mask(sequences, initial_state, mask)
        if mask is not None:
            mask = self._swapped(mask)
        result = super().call(
            self._swapped(sequences),
            initial_state=initial_state,
            mask=mask,
            training=training,
        )
        output, *states = result if isinstance(result, (list, tuple)) else [result]
        if mask is not None and initial_state is not None:
            output = self._empty_until_seen(output, mask)
        if self.return_sequences:
            output = self._swapped(output)
        return [output, *states] if states else output

    def _empty_until_seen(self, output: Any, mask: Any) -> Any:
        """Zeros where no step was seen yet; Keras 3 repeats the initial state there."""
        if len(mask.shape) > 2:
            mask = ops.any(mask, axis=tuple(range(2, len(mask.shape))))
        steps = ops.cast(mask, "int32")
        if self.return_sequences:
            seen = ops.cumsum(ops.flip(steps, 1) if self.go_backwards else steps, 1)
        else:
            seen = ops.sum(steps, 1)
        rest = (1,) * (len(output.shape) - len(seen.shape))
        seen = ops.reshape(seen > 0, (*ops.shape(seen), *rest))
        return ops.where(seen, output, ops.zeros_like(output))

    def compute_output_shape(
        self, sequences_shape: Any, initial_state_shape: Any = None
    ) -> Any:
        shape = super().compute_output_shape(
            self._swapped_shape(sequences_shape), initial_state_shape
        )
        if not self.return_sequences:
            return shape
        if isinstance(shape[0], (list, tuple)):
            return [self._swapped_shape(shape[0]), *shape[1:]]
        return self._swapped_shape(shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "time_major": self.time_major}

    def _swapped(self, tensor: Any) -> Any:
        return ops.swapaxes(tensor, 0, 1) if self.time_major else tensor

    def _swapped_shape(self, shape: Any) -> Any:
        return (shape[1], shape[0], *shape[2:]) if self.time_major else shape


@registered
class LSTM(_AsKeras2, keras.layers.LSTM):
    """LSTM with Keras 2's order of axes and rule for masks."""


@registered
class GRU(_AsKeras2, keras.layers.GRU):
    """GRU with Keras 2's order of axes and rule for masks."""


@registered
class SimpleRNN(_AsKeras2, keras.layers.SimpleRNN):
    """SimpleRNN with Keras 2's order of axes and rule for masks."""


@registered
class RNN(_AsKeras2, keras.layers.RNN):
    """RNN with Keras 2's order of axes and rule for masks."""


@registered
class Bidirectional(keras.layers.Bidirectional):
    """Bidirectional with Keras 2's rule for masks."""

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        mask = _sequences_mask(sequences, initial_state, mask)
        return super().call(
            sequences, initial_state=initial_state, mask=mask, training=training
        )


TIME_MAJOR: dict[str, type[keras.layers.Layer]] = {
    "LSTM": LSTM,
    "GRU": GRU,
    "SimpleRNN": SimpleRNN,
    "RNN": RNN,
}
_KERAS_3: dict[type[keras.layers.Layer], type[keras.layers.Layer]] = {
    keras.layers.LSTM: LSTM,
    keras.layers.GRU: GRU,
    keras.layers.SimpleRNN: SimpleRNN,
    keras.layers.RNN: RNN,
    keras.layers.Bidirectional: Bidirectional,
}


def mask_sequences_beside_states(layer: keras.layers.Layer) -> None:
    """Gives a recurrent layer Keras 2's rule for masks.

    That a layer needs it is known only when it is called, and other layers and the
    file's shared objects may refer to it by then: it stays the same object.
    """
    chosen = _KERAS_3.get(type(layer))
    if chosen is None:
        return
    layer.__class__ = chosen
    if isinstance(layer, Bidirectional):
        mask_sequences_beside_states(layer.forward_layer)
        mask_sequences_beside_states(layer.backward_layer)
    else:
        layer.time_major = False


_WEIGHTS = ("kernel", "recurrent", "bias")
_FLAGS = ("return_sequences", "return_state", "go_backwards", "stateful")


class _Cell:
    """One step of a cuDNN layer, which has the weights itself.

    It is no layer, so that the weights stay where Keras 2 had them.
    """

    def __init__(self, step: Any, units: int, states: int, dtype: str) -> None:
        self._step = step
        self.compute_dtype = dtype
        self.state_size = [units] * states
        self.output_size = units

    def call(self, inputs: Any, states: Any, **kwargs: Any) -> Any:
        return self._step(inputs, states)

    __call__ = call


class _CuDNN(keras.layers.RNN):
    """A recurrent layer with a bias for the input and one for the state."""

    gates: int
    state_count: int

    def __init__(
        self,
        units: int,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        dtype = keras.dtype_policies.get(kwargs.get("dtype")).compute_dtype
        cell = _Cell(self._step, int(units), self.state_count, dtype)
        super().__init__(cell, **kwargs)
        self.units = int(units)
        given = {
            "kernel": (kernel_initializer, kernel_regularizer, kernel_constraint),
            "recurrent": (
                recurrent_initializer,
                recurrent_regularizer,
                recurrent_constraint,
            ),
            "bias": (bias_initializer, bias_regularizer, bias_constraint),
        }
        for name, (initializer, regularizer, constraint) in given.items():
            setattr(self, f"{name}_initializer", keras.initializers.get(initializer))
            setattr(self, f"{name}_regularizer", keras.regularizers.get(regularizer))
            setattr(self, f"{name}_constraint", keras.constraints.get(constraint))

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        wide = self.units * self.gates
        self.kernel = self._weight("kernel", "kernel", (sequences_shape[-1], wide))
        self.recurrent_kernel = self._weight(
            "recurrent_kernel", "recurrent", (self.units, wide)
        )
        self.bias = self._weight("bias", "bias", (2 * wide,))
        super().build(sequences_shape)

    def _weight(self, name: str, kind: str, shape: tuple[int, ...]) -> Any:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=getattr(self, f"{kind}_initializer"),
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def _step(self, inputs: Any, states: Any) -> Any:
        raise NotImplementedError

    def _projected(self, inputs: Any, state: Any) -> tuple[list[Any], list[Any]]:
        wide = self.units * self.gates
        bias = ops.convert_to_tensor(self.bias)
        x = ops.matmul(inputs, self._matrix(self.kernel)) + bias[:wide]
        h = ops.matmul(state, self._matrix(self.recurrent_kernel)) + bias[wide:]
        return ops.split(x, self.gates, axis=-1), ops.split(h, self.gates, axis=-1)

    def _matrix(self, kernel: Any) -> Any:
        """The gates' matrices; cuDNN reads each gate's values row by row of units."""
        size = kernel.shape[0]
        gates = ops.split(ops.convert_to_tensor(kernel), self.gates, axis=-1)
        rows = [ops.reshape(gate, (self.units, size)) for gate in gates]
        return ops.concatenate([ops.transpose(gate) for gate in rows], axis=-1)

    def get_config(self) -> dict[str, Any]:
        config = keras.layers.Layer.get_config(self)
        config["units"] = self.units
        config.update({flag: getattr(self, flag) for flag in _FLAGS})
        for name in _WEIGHTS:
            for kind in ("initializer", "regularizer", "constraint"):
                key = f"{name}_{kind}"
                config[key] = getattr(keras, f"{kind}s").serialize(getattr(self, key))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        return cls(**config)


@registered
class CuDNNLSTM(_CuDNN):
    """LSTM with the weights of cuDNN's, on any device."""

    gates, state_count = 4, 2

    def __init__(
        self, units: int, unit_forget_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(units, **kwargs)
        self.unit_forget_bias = unit_forget_bias

    def _step(self, inputs: Any, states: Any) -> Any:
        x, h = self._projected(inputs, states[0])
        i, f, o = (ops.sigmoid(x[n] + h[n]) for n in (0, 1, 3))
        carry = f * states[1] + i * ops.tanh(x[2] + h[2])
        output = o * ops.tanh(carry)
        return output, [output, carry]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unit_forget_bias": self.unit_forget_bias}


@registered
class CuDNNGRU(_CuDNN):
    """GRU with the weights of cuDNN's, on any device."""

    gates, state_count = 3, 1

    def _step(self, inputs: Any, states: Any) -> Any:
        state = states[0]
        x, h = self._projected(inputs, state)
        z, r = (ops.sigmoid(x[n] + h[n]) for n in (0, 1))
        output = z * state + (1 - z) * ops.tanh(x[2] + r * h[2])
        return output, [output]


@registered
class TimeDistributed(keras.layers.TimeDistributed):
    """Applies a layer to all time steps of all samples as one batch.

    Keras 3 calls the layer once per step, so that what a layer takes from its batch
    (the moments of BatchNormalization) is another thing.
    """

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if getattr(self.layer, "stateful", False):
            return super().call(inputs, training=training, mask=mask)
        steps = inputs.shape[1]
        kwargs: dict[str, Any] = {}
        names = inspect.signature(self.layer.call).parameters
        if "training" in names:
            kwargs["training"] = training
        if "mask" in names and mask is not None:
            kwargs["mask"] = ops.reshape(mask, (-1, *mask.shape[2:]))
        flat = ops.reshape(inputs, (-1, *inputs.shape[2:]))
        outputs = self.layer.call(flat, **kwargs)
        return ops.reshape(outputs, (-1, steps, *outputs.shape[1:]))
