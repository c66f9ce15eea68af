"""Data of `fit`, `evaluate` and `predict` whose batches are staged on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.errors import MismatchError


class _Wrapped(_compat.DataAdapter):
    """An adapter that changes each batch of another one."""

    def __init__(self, inner: Any, change: Callable[[Any], Any]) -> None:
        self._inner = inner
        self._change = change

    def _changed(self, batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            yield keras.utils.pack_x_y_sample_weight(self._change(x), y, weight)

    def get_numpy_iterator(self) -> Iterator[Any]:
        return self._changed(self._inner.get_numpy_iterator())

    def get_jax_iterator(self) -> Iterator[Any]:
        return self._changed(self._inner.get_jax_iterator())

    def get_torch_dataloader(self) -> Iterator[Any]:
        return self.get_numpy_iterator()

    @property
    def num_batches(self) -> Any:
        return self._inner.num_batches

    @property
    def batch_size(self) -> Any:
        return self._inner.batch_size

    @property
    def has_partial_batch(self) -> Any:
        return self._inner.has_partial_batch

    @property
    def partial_batch_size(self) -> Any:
        return self._inner.partial_batch_size

    def on_epoch_begin(self) -> None:
        self._inner.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._inner.on_epoch_end()


class StagedBatches(_Wrapped):
    """The batches of any adapter, staged."""


class ArrayBatches(_Wrapped):
    """Rows of arrays: Keras shuffles and cuts their numbers, not the arrays.

    Args:
        arrays: One per input.
        stage: Makes a staged input of the rows of a batch.
        arguments: Of Keras' adapter.
    """

    def __init__(
        self, arrays: list[Any], stage: Callable[[list[Any]], Any], **arguments: Any
    ) -> None:
        counts = {len(array) if array.ndim else -1 for array in arrays}
        if len(counts) != 1 or -1 in counts:
            raise MismatchError(
                "All inputs need the same number of samples. Received shapes: "
                f"{[array.shape for array in arrays]}"
            )
        rows = np.arange(counts.pop(), dtype="int32")

        def change(numbers: Any) -> Any:
            places = np.asarray(keras.ops.convert_to_numpy(numbers))
            return stage([array[places] for array in arrays])

        super().__init__(_compat.get_data_adapter(rows, **arguments), change)


class IterableBatches(_compat.DataAdapter):
    """Anything that can be iterated once per epoch, as `tf.data` can."""

    def __init__(self, data: Iterable[Any]) -> None:
        self._data = data

    def get_numpy_iterator(self) -> Iterator[Any]:
        for batch in self._data:
            yield tuple(batch) if isinstance(batch, list) else batch

    def get_jax_iterator(self) -> Iterator[Any]:
        return self.get_numpy_iterator()

    def get_torch_dataloader(self) -> Iterator[Any]:
        return self.get_numpy_iterator()

    @property
    def num_batches(self) -> int | None:
        try:
            return len(self._data)  # type: ignore[arg-type]
        except TypeError:
            return None

    @property
    def batch_size(self) -> None:
        return None

    @property
    def has_partial_batch(self) -> None:
        return None

    @property
    def partial_batch_size(self) -> None:
        return None


# ---------------------------------------------------------- what users give


def matched(structure: Any, given: Any) -> list[Any]:
    """Returns one value per tensor of a model's inputs, however they were given."""
    if isinstance(structure, keras.KerasTensor):
        structure = [structure]
    if isinstance(structure, Mapping):
        if isinstance(given, Mapping):
            pairs = [(item, _entry(given, key)) for key, item in structure.items()]
        else:
            pairs = list(zip(structure.values(), _items(given, structure), strict=True))
        by_key = dict(zip(structure, pairs, strict=True))
        return [
            value for key in sorted(by_key) for value in _leaf_or_matched(*by_key[key])
        ]
    if isinstance(given, Mapping):
        pairs = [(item, _entry(given, item.name)) for item in structure]
    elif len(structure) == 1 and isinstance(structure[0], keras.KerasTensor):
        wrapped = isinstance(given, list | tuple) and len(given) == 1
        if (
            wrapped
            and np.ndim(given[0])
            and len(structure[0].shape) <= np.ndim(given[0])
        ):
            given = given[0]
        pairs = [(structure[0], given)]
    else:
        pairs = list(zip(structure, _items(given, structure), strict=True))
    return [value for pair in pairs for value in _leaf_or_matched(*pair)]


def _leaf_or_matched(structure: Any, given: Any) -> list[Any]:
    if isinstance(structure, keras.KerasTensor):
        return [given]
    return matched(structure, given)


def _entry(given: Mapping[str, Any], key: Any) -> Any:
    if key not in given:
        raise MismatchError(
            f"The model has an input '{key}'. Received: {', '.join(map(str, given))}"
        )
    return given[key]


def _items(given: Any, structure: Any) -> Any:
    if not isinstance(given, list | tuple) or len(given) != len(structure):
        raise MismatchError(
            f"The model takes {len(structure)} inputs as a list, or by name as a dict. "
            f"Received: {type(given).__name__}"
            + (f" of {len(given)}" if hasattr(given, "__len__") else "")
        )
    return given


def are_arrays(x: Any) -> bool:
    """Whether data is arrays or lists, not something that gives batches."""
    return (
        isinstance(x, list | tuple | Mapping | str | bytes)
        or (hasattr(x, "shape") and hasattr(x, "dtype"))
        or hasattr(x, "__array__")
    )


def target_arrays(value: Any) -> Any:
    """Targets or weights that may be lists of numbers."""
    if isinstance(value, list | tuple) and not any(
        hasattr(leaf, "shape") for leaf in keras.tree.flatten(value)
    ):
        return np.asarray(value)
    return value


def adapter(
    x: Any, y: Any, sample_weight: Any, steps: Any, shuffle: bool, class_weight: Any
) -> Any:
    """Returns an adapter of something that gives batches.

    Raises:
        ValueError: It does not, or it gives its own targets and weights.
    """
    known = isinstance(x, keras.utils.PyDataset | Iterator)
    if isinstance(x, Iterator):
        shuffle = False
        x = (batch if isinstance(batch, tuple) else (batch,) for batch in x)
    if not known:
        module = type(x).__module__.partition(".")[0]
        known = module in ("torch", "grain", "tensorflow")
        shuffle = False
    if known:
        return _compat.get_data_adapter(
            x,
            y=y,
            sample_weight=sample_weight,
            steps_per_epoch=steps,
            shuffle=shuffle,
            class_weight=class_weight,
        )
    if not isinstance(x, Iterable):
        raise ValueError(f"Unrecognized data type: {type(x).__name__}")
    if y is not None or sample_weight is not None or class_weight is not None:
        raise ValueError(
            "A data set gives its own targets and sample weights: pass no `y`, "
            "`sample_weight` or `class_weight`."
        )
    return IterableBatches(x)
