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
    """Bidirectional with Keras 2's rule for masks, of any two layers."""

    def compute_output_shape(
        self, sequences_shape: Any, initial_state_shape: Any = None
    ) -> Any:
        """Asks both layers; Keras 3 takes the backward one for a mirror."""
        layers = self.forward_layer, self.backward_layer
        found = [layer.compute_output_shape(sequences_shape) for layer in layers]
        states: list[Any] = []
        if self.return_state:
            states = [state for outputs in found for state in outputs[1:]]
            found = [outputs[0] for outputs in found]
        if self.merge_mode == "concat":
            first, second = found
            found = [(*first[:-1], first[-1] + second[-1])]
        elif self.merge_mode is not None:
            del found[1]
        shapes = (*found, *states)
        return shapes if len(shapes) > 1 else shapes[0]

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
    (the moments of BatchNormalization) is another thing. It also runs the layer's
    `call` alone, without regularizing its output, hands masks on as they came, and
    takes one tensor only.

    Args:
        layer: What is applied.
        asks_networks: Whether a model inside is called once more for the shape of its
            result, as tf.keras does: statistics move twice, losses count twice.
        **keywords: Of the layer.
    """

    def __init__(
        self, layer: Any, *, asks_networks: bool = True, **keywords: Any
    ) -> None:
        super().__init__(layer, **keywords)
        self.asks_networks = asks_networks

    def get_config(self) -> dict[str, Any]:
        """Returns the config; what is as in tf.keras isn't said."""
        config = super().get_config()
        return config if self.asks_networks else {**config, "asks_networks": False}

    def build(self, input_shape: Any) -> None:
        if not self.layer.built:
            self.layer.build(_map_shapes(_without_steps, input_shape))
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        steps = _shapes_in(input_shape)[0][1]
        inner = _map_shapes(_without_steps, input_shape)
        return _map_shapes(
            lambda shape: (shape[0], steps, *shape[1:]),
            self.layer.compute_output_shape(inner),
        )

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        steps = keras.tree.flatten(inputs)[0].shape[1]
        names = inspect.signature(self.layer.call).parameters
        kwargs = {"training": training} if "training" in names else {}
        if getattr(self.layer, "stateful", False) and steps is not None:
            return self._by_steps(inputs, mask, steps, kwargs)
        if "mask" in names and mask is not None:
            kwargs["mask"] = _map_tensors(_joined, mask)
        rows = _map_tensors(_joined, inputs)
        outputs = self.layer(rows, **kwargs)
        if self._is_asked() and (training or self._adds_losses()):
            self.layer(rows, **kwargs)
        return _map_tensors(lambda value: _split(value, inputs), outputs)

    def _is_asked(self) -> bool:
        return self.asks_networks and _compat.is_network(self.layer)

    def _adds_losses(self) -> bool:
        return any(inner.activity_regularizer for inner in _compat.all_layers(self))

    def _by_steps(
        self, inputs: Any, mask: Any, steps: int, kwargs: dict[str, Any]
    ) -> Any:
        """Calls a layer that keeps its state from step to step.

        The layer sees no mask: its result at a masked step is that of the step before.
        Keras 2 asks it for the shape of its result first, which moves its state on.
        """
        self.layer(_step_of(inputs, 0), **kwargs)
        found: list[Any] = []
        for step in range(steps):
            now = self.layer(_step_of(inputs, step), **kwargs)
            if mask is not None:
                before = found[-1] if found else _map_tensors(ops.zeros_like, now)
                now = _where(mask[:, step], now, before)
            found.append(now)
        return keras.tree.map_structure(lambda *parts: ops.stack(parts, 1), *found)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Returns the layer's own masks of the steps, or one mask per step."""
        if isinstance(mask, (list, tuple, dict)):
            masks = [item for item in keras.tree.flatten(mask) if item is not None]
            mask = mask if masks else None
        if getattr(self.layer, "stateful", False) or not hasattr(
            self.layer, "compute_mask"
        ):
            return mask
        inner = None if mask is None else _map_tensors(_joined, mask)
        found = self.layer.compute_mask(_map_tensors(_joined, inputs), inner)
        if found is not None:
            return _map_tensors(lambda value: _split(value, inputs), found)
        if mask is None or isinstance(mask, (list, tuple, dict)):
            return None
        axes = tuple(range(2, len(mask.shape)))
        return ops.any(mask, axis=axes) if axes else mask


def _map_tensors(function: Any, structure: Any) -> Any:
    """Maps tensors, and leaves `None` as it is."""
    return keras.tree.map_structure(
        lambda value: None if value is None else function(value), structure
    )


@registered
class JoinedSteps(keras.Operation):
    """Puts the steps of all samples into one axis."""

    def call(self, tensor: Any) -> Any:
        return ops.reshape(tensor, (-1, *ops.shape(tensor)[2:]))

    def compute_output_spec(self, tensor: Any) -> Any:
        return keras.KerasTensor((None, *tensor.shape[2:]), dtype=tensor.dtype)


@registered
class SplitSteps(keras.Operation):
    """Takes the steps of some inputs out of the first axis again."""

    def call(self, tensor: Any, inputs: Any) -> Any:
        return ops.reshape(tensor, (-1, ops.shape(inputs)[1], *ops.shape(tensor)[1:]))

    def compute_output_spec(self, tensor: Any, inputs: Any) -> Any:
        shape = (*inputs.shape[:2], *tensor.shape[1:])
        return keras.KerasTensor(shape, dtype=tensor.dtype)


def _joined(tensor: Any) -> Any:
    return JoinedSteps()(tensor)


def _split(tensor: Any, inputs: Any) -> Any:
    return SplitSteps()(tensor, keras.tree.flatten(inputs)[0])


def _step_of(inputs: Any, step: int) -> Any:
    return keras.tree.map_structure(lambda value: value[:, step], inputs)


def _where(mask: Any, new: Any, old: Any) -> Any:
    def choose(new: Any, old: Any) -> Any:
        rest = (1,) * (len(new.shape) - len(mask.shape))
        return ops.where(ops.reshape(mask, (*ops.shape(mask), *rest)), new, old)

    return keras.tree.map_structure(choose, new, old)


def _is_shape(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        item is None or isinstance(item, int) for item in value
    )


def _map_shapes(function: Any, shapes: Any) -> Any:
    if _is_shape(shapes):
        return function(tuple(shapes))
    if isinstance(shapes, dict):
        return {key: _map_shapes(function, item) for key, item in shapes.items()}
    return [_map_shapes(function, item) for item in shapes]


def _shapes_in(shapes: Any) -> list[tuple[int | None, ...]]:
    found: list[tuple[int | None, ...]] = []
    _map_shapes(found.append, shapes)
    return found


def _without_steps(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    if len(shape) < 3:
        raise ValueError(
            f"TimeDistributed takes tensors of three axes or more, and got {shape}."
        )
    return (shape[0], *shape[2:])
