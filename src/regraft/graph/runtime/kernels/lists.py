"""`TensorList`: the value of TensorFlow's lists and arrays of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp

# A list read from a file may ask for any length.
MAX_ITEMS = 1 << 24


class TensorList:
    """An immutable list of tensors of one type.

    It holds either its items one by one (`None` where nothing was put yet), or all
    of them stacked in one tensor, which a traced index can address.

    Attributes:
        dtype: Of the items.
        item_shape: Lengths as far as known (`None` where not), or `None`.
    """

    def __init__(
        self,
        dtype: str,
        item_shape: tuple[Any, ...] | None,
        items: Sequence[Any] | None = None,
        stack: Any = None,
    ) -> None:
        self.dtype = dtype
        self.item_shape = item_shape
        self._items = None if items is None else tuple(items)
        self._stack = stack

    @classmethod
    def reserve(
        cls, dtype: str, item_shape: tuple[Any, ...] | None, count: int
    ) -> TensorList:
        """Returns a list of `count` places where nothing stands yet."""
        if not 0 <= count <= MAX_ITEMS:
            raise UnsupportedError(f"A list of {count} tensors is too long.")
        return cls(dtype, item_shape, [None] * count)

    def __len__(self) -> int:
        if self._items is not None:
            return len(self._items)
        return int(values.shape_of(self._stack)[0])

    def _replaced(self, items: Sequence[Any]) -> TensorList:
        return TensorList(self.dtype, self.item_shape, items)

    @property
    def items(self) -> tuple[Any, ...]:
        """The items one by one."""
        if self._items is not None:
            return self._items
        return tuple(self._stack[i] for i in range(len(self)))

    def shape_of_items(self) -> tuple[Any, ...] | None:
        """Returns the shape of the items, if it is known."""
        if self._stack is not None:
            return values.shape_of(self._stack)[1:]
        for item in self._items or ():
            if item is not None:
                return values.shape_of(item)
        shape = self.item_shape
        return None if shape is None or None in shape else shape

    def narrowed(self, shape: tuple[Any, ...] | None) -> TensorList:
        """Returns the list with more known about the shape of its items."""
        if shape is None:
            return self
        old = self.item_shape
        if old is not None and len(old) == len(shape):
            shape = tuple(
                a if a is not None else b for a, b in zip(old, shape, strict=True)
            )
        return TensorList(self.dtype, shape, self._items, self._stack)

    def zero(self, shape: tuple[Any, ...] | None = None) -> Any:
        """Returns what stands where nothing was put."""
        shape = self.shape_of_items() or shape or ()
        return _zeros(shape, self.dtype)

    @property
    def is_stackable(self) -> bool:
        """Whether the items can be one tensor."""
        return self._stack is not None or self.shape_of_items() is not None

    def stacked(self) -> Any:
        """Returns all items in one tensor; zeros where nothing was put."""
        if self._stack is not None:
            return self._stack
        shape = self.shape_of_items()
        if shape is None:
            raise UnsupportedError("A list of tensors has no known item shape.")
        items = self._items or ()
        if all(item is None for item in items):
            return _zeros((len(items), *shape), self.dtype)
        full = list(items)
        if any(item is None for item in items):
            zero = self.zero()
            full = [zero if item is None else item for item in items]
        if values.is_host(full):
            return xp.stack(full)
        return ops.stack([values.to_tensor(item) for item in full])

    def with_stacked(self, stack: Any) -> TensorList:
        """Returns a list of the same kind with other items."""
        return TensorList(self.dtype, self.item_shape, stack=stack)

    def get(self, index: Any, shape: tuple[Any, ...] | None = None) -> Any:
        """Returns an item."""
        if values.is_traced(index):
            return self._sliced(index)
        place = int(values.static(index))
        self._check(place)
        if self._items is None:
            # Of objects too, a tensor without dimensions.
            return self._stack[place, ...]
        item = self._items[place]
        return self.zero(shape) if item is None else item

    def _sliced(self, index: Any) -> Any:
        """An item at a traced index; a slice is cheaper than a gather."""
        stack = self.stacked()
        rest = values.shape_of(stack)[1:]
        begin = [ops.cast(index, "int32")] + [0] * len(rest)
        begin = ops.stack([ops.cast(b, "int32") for b in begin])
        return ops.reshape(ops.slice(values.to_tensor(stack), begin, (1, *rest)), rest)

    def _check(self, place: int) -> None:
        if not 0 <= place < len(self):
            raise MismatchError(
                f"Item {place} of a list of {len(self)} tensors was asked for."
            )

    def set(self, index: Any, item: Any, *, resize: bool = False) -> TensorList:
        """Returns the list with another item in one place."""
        if values.is_traced(index):
            known = self.narrowed(values.shape_of(item))
            stack = known.stacked()
            item = ops.expand_dims(values.to_tensor(item), 0)
            begin = [index] + [0] * (values.rank_of(stack) - 1)
            begin = ops.stack([ops.cast(b, "int32") for b in begin])
            return known.with_stacked(ops.slice_update(stack, begin, item))
        place = int(values.static(index))
        items = list(self.items)
        if resize and place >= len(items):
            items += [None] * (place + 1 - len(items))
        else:
            self._check(place)
        items[place] = item
        return self._replaced(items)

    def resized(self, count: int) -> TensorList:
        """Returns the list cut or filled to a length."""
        items = list(self.items[:count])
        return self._replaced(items + [None] * (count - len(items)))

    def pushed(self, item: Any) -> TensorList:
        """Returns the list with an item more."""
        return self._replaced([*self.items, item])

    def popped(self) -> TensorList:
        """Returns the list without its last item."""
        return self._replaced(self.items[:-1])

    def put(self, places: Sequence[int], items: Any) -> TensorList:
        """Returns the list with the rows of `items` in some places."""
        new = list(self.items)
        needed = max(places, default=-1) + 1
        new += [None] * (needed - len(new))
        for row, place in enumerate(places):
            new[place] = items[row]
        return self._replaced(new)


def _zeros(shape: tuple[Any, ...], dtype: str) -> Any:
    """Returns what TensorFlow fills with: zeros, and of strings empty ones."""
    if dtype == "string":
        return np.full(shape, b"", object)
    return ops.zeros(shape, values.device_dtype(dtype))


def item_shape(shape: Any) -> tuple[Any, ...] | None:
    """Reads an element shape as ops give it: a vector, or -1 for unknown rank."""
    if values.rank_of(shape) == 0:
        return None
    return tuple(
        None if isinstance(d, int) and d < 0 else d for d in values.dims(shape)
    )
