"""Models with host layers: they take text, and compile what has no text in it.

`accept_text` gives a Functional or Sequential model the class below. Before each call
or step, the host layers that only need the model's inputs run with NumPy on the exact
values (`HostPass`); what the compiled step gets is a dict of numeric arrays, the
*staged* input: the inputs, text as handles, and the results of those layers.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.dtypes import HANDLE
from regraft.errors import MismatchError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime import composites
from regraft.model.keras2.composite_rows import CompositeRows, composite_rows
from regraft.model.keras2.host_data import (
    ArrayBatches,
    StagedBatches,
    adapter,
    are_arrays,
    matched,
    target_arrays,
)
from regraft.model.keras2.host_layers import file_dtype, replay, replayed, widen
from regraft.model.keras2.host_pass import HostPass, graph_of, host_layers, ranked
from regraft.model.keras2.host_values import (
    POOL,
    Array,
    device_array,
    host_array,
    is_text,
    seen,
)
from regraft.model.mixed_class import mixed_class

_PREFIX = "regraft:"


def accept_text(model: keras.Model) -> None:
    """Makes a model, and those inside it, take what its host layers read."""
    for layer in _compat.all_layers(model):
        if graph_of(layer) is not None and _has_text(layer):
            layer.__class__ = mixed_class(HostModel, type(layer))
            for below in _compat.all_layers(graph_of(layer)):
                if isinstance(below, keras.layers.InputLayer):
                    widen(below)


def _has_text(model: keras.Model) -> bool:
    """Whether there is a layer in a model that reads text, or gives it."""
    return bool(host_layers(model)) or any(
        getattr(layer, "has_text", False) for layer in _compat.all_layers(model)
    )


# ---------------------------------------------------------------- the model


def is_staged(inputs: Any) -> bool:
    """Whether an input of a model was made by `HostModel.staged`."""
    return (
        isinstance(inputs, dict)
        and bool(inputs)
        and all(isinstance(key, str) and key.startswith(_PREFIX) for key in inputs)
    )


class HostModel:
    """A Keras model whose host layers run on the host.

    It stands before a class of Keras, whose methods it extends.
    """

    def staged(self, inputs: Any) -> dict[str, Array]:
        """Returns the numeric arrays that the compiled step gets for a batch."""
        return self._staged_flat(self._flat_inputs(inputs))

    def _graph(self) -> keras.Model:
        graph = graph_of(self)
        if graph is None:
            raise UnsupportedError("A model that takes text has not been built.")
        return graph

    def _structure(self) -> Any:
        """What the model is called with: tensors, in lists or dicts."""
        return _compat.structures(self._graph())[0]

    def _flat_inputs(self, inputs: Any) -> list[Array]:
        """Returns a batch, or all data, as one array per input."""
        graph = self._graph()
        given = matched(self._structure(), inputs)
        return [
            _given(tensor, value)
            for tensor, value in zip(graph.inputs, given, strict=True)
        ]

    def _staged_flat(self, flat: list[Array]) -> dict[str, Array]:
        graph = self._graph()
        values = [
            ranked(value, len(tensor.shape))
            for tensor, value in zip(graph.inputs, flat, strict=True)
        ]
        host = HostPass()
        outputs = host.network(graph, values)
        host.reads(outputs)
        staged = {}
        for number, value in enumerate(values):
            name = graph.inputs[number].name
            is_used = id(value) in host.used
            if isinstance(value, CompositeRows):
                value = value.padded()[0] if is_used else _placeholder(value)
            if is_used:
                value = device_array(value, name)
            elif is_text(value):
                value = np.zeros(value.shape, HANDLE)
            else:
                value = _truncated(value)
            staged[f"{_PREFIX}input_{number:04}"] = value
        for number, layer in enumerate(host_layers(self)):
            for call, result in enumerate(host.results.get(id(layer), ())):
                if result is None:
                    continue
                name = f"{_PREFIX}layer_{number:04}_{call:04}"
                if isinstance(result, list):
                    for place, part in enumerate(result):
                        key = f"{name}_{place:04}"
                        staged[key] = device_array(part, layer.name)
                else:
                    staged[name] = device_array(result, layer.name)
        return staged

    def _unstaged(self, staged: dict[str, Any]) -> tuple[Any, Any]:
        """Returns the inputs, and the results of host layers by layer and call."""
        graph = self._graph()
        structure, _ = _compat.structures(graph)
        flat = [
            staged[f"{_PREFIX}input_{number:04}"] for number in range(len(graph.inputs))
        ]
        layers = host_layers(self)
        results: dict[tuple[int, int], Any] = {}
        # In the order of their keys, as a compiled step gets them, too.
        for key, value in sorted(staged.items()):
            kind, *numbers = key.removeprefix(_PREFIX).split("_")
            if kind == "layer":
                number, call, *place = map(int, numbers)
                found = keras.ops.convert_to_tensor(value)
                if place:
                    results.setdefault((id(layers[number]), call), []).append(found)
                else:
                    results[id(layers[number]), call] = found
        return keras.tree.pack_sequence_as(structure, flat), results

    def _shown(self, outputs: Any) -> Any:
        """Returns outputs as the user sees them: text for handles."""
        return shown(outputs)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        if is_staged(inputs):
            inputs, results = self._unstaged(inputs)
            with replay(results):
                return base.__call__(inputs, *args, **kwargs)
        if replayed() or any(
            isinstance(leaf, keras.KerasTensor) or _compat.is_traced(leaf)
            for leaf in keras.tree.flatten(inputs)
        ):
            return base.__call__(inputs, *args, **kwargs)
        with POOL.scope():
            staged = self.staged(inputs)
            return self._shown(self.__call__(staged, *args, **kwargs))

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        if not is_staged(inputs):
            return base.call(inputs, *args, **kwargs)
        inputs, results = self._unstaged(inputs)
        with replay(results):
            return base.call(inputs, *args, **kwargs)

    # -------------------------------------------------- fit, evaluate, predict

    def _batches(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        shuffle: bool = False,
        class_weight: Any = None,
    ) -> Any:
        if x is None or isinstance(x, _compat.DataAdapter):
            return x
        if are_arrays(x):
            return ArrayBatches(
                self._flat_inputs(x),
                self._staged_flat,
                y=target_arrays(y),
                sample_weight=target_arrays(sample_weight),
                batch_size=batch_size,
                steps_per_epoch=steps,
                shuffle=shuffle,
                class_weight=class_weight,
            )
        return StagedBatches(
            adapter(x, y, sample_weight, steps, shuffle, class_weight), self.staged
        )

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> Any:
        base: Any = super()
        with POOL.scope():
            if validation_split and validation_data is None:
                x, y, sample_weight, validation_data = self._split(
                    x, y, sample_weight, validation_split
                )
            if validation_data is not None:
                its_x, its_y, its_weight = keras.utils.unpack_x_y_sample_weight(
                    validation_data
                )
                validation_data = self._batches(
                    its_x,
                    its_y,
                    its_weight,
                    validation_batch_size or batch_size,
                    validation_steps,
                )
            batches = self._batches(
                x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight
            )
            return base.fit(
                batches,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_freq=validation_freq,
            )

    def _split(self, x: Any, y: Any, weight: Any, share: float) -> tuple[Any, ...]:
        """Splits the last part off, as Keras does."""
        if not are_arrays(x):
            raise ValueError(
                "`validation_split` is for arrays and lists; give `validation_data`."
            )
        flat = self._flat_inputs(x)
        count = len(flat[0])
        at = int(np.floor(count * (1.0 - share)))
        if not 0 < at < count:
            raise ValueError(
                f"{count} samples can't be split by validation_split={share}."
            )
        structure = self._structure()

        def part(rows: slice) -> tuple[Any, ...]:
            inputs = keras.tree.pack_sequence_as(structure, [a[rows] for a in flat])
            targets, weights = (
                None
                if value is None
                else keras.tree.map_structure(lambda a: a[rows], target_arrays(value))
                for value in (y, weight)
            )
            return inputs, targets, weights

        return (*part(slice(0, at)), part(slice(at, None)))

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        base: Any = super()
        with POOL.scope():
            batches = self._batches(x, y, sample_weight, batch_size, steps)
            return base.evaluate(
                batches,
                verbose=verbose,
                steps=steps,
                callbacks=callbacks,
                return_dict=return_dict,
                **kwargs,
            )

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        base: Any = super()
        with POOL.scope():
            batches = self._batches(x, batch_size=batch_size, steps=steps)
            return self._shown(
                base.predict(batches, verbose=verbose, steps=steps, callbacks=callbacks)
            )

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        with POOL.scope():
            return base.train_on_batch(
                self.staged(x), target_arrays(y), *args, **kwargs
            )

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        with POOL.scope():
            return base.test_on_batch(self.staged(x), target_arrays(y), *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        base: Any = super()
        with POOL.scope():
            return self._shown(base.predict_on_batch(self.staged(x)))


def shown(outputs: Any) -> Any:
    """Returns outputs as the user sees them: text for handles."""
    return keras.tree.map_structure(_shown_leaf, outputs)


def _shown_leaf(value: Any) -> Any:
    if not hasattr(value, "dtype"):
        return value
    if keras.backend.standardize_dtype(value.dtype) != HANDLE:
        return value
    return seen(value)


def _given(tensor: keras.KerasTensor, value: Any) -> Any:
    """An array for an input of a model, or the rows of a sparse one.

    A dense array or list is taken for a sparse input, too.
    """
    if getattr(tensor, "sparse", False) and not isinstance(value, list):
        dtype = ir.DataType.of(file_dtype(tensor))
        spec = composites.sparse_spec(ir.TensorShape(tuple(tensor.shape)), dtype)
        if isinstance(value, CompositeRows) or composites.components(spec, value):
            return composite_rows(spec, value, tensor.name)
    return checked(tensor, host_array(value))


def _placeholder(value: CompositeRows) -> Array:
    """What stands for a sparse input that only host layers read."""
    return np.zeros((len(value), *[1] * (value.ndim - 1)), "float32")


def _truncated(value: Array) -> Array:
    """An input that only host layers read, in a form that the step can take."""
    if value.dtype.itemsize == 8 and value.dtype.kind in "iu":
        return np.zeros(value.shape, "int32")
    return value


def checked(tensor: keras.KerasTensor, value: Array) -> Array:
    """Returns a value for an input of a model.

    Raises:
        MismatchError: It is text where numbers are wanted, or numbers where text is.
    """
    wants_text = keras.backend.standardize_dtype(tensor.dtype) == HANDLE
    if wants_text != is_text(value):
        raise MismatchError(
            f"Input '{tensor.name}' takes {'text' if wants_text else 'numbers'}. "
            f"Received: {'text' if is_text(value) else value.dtype}"
        )
    return value
