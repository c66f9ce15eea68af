"""The order in which a layer was given its attributes.

Keras 2 lists what a layer has in that order. Python's own order is that of the first
time: a constructor that says `self.inner = None`, for `build` to make it, puts that
first.
Keras 3 keeps layers and variables in lists of their own, as they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from regraft import _compat
from regraft._compat.variables import own_variables

Attribute = tuple[str, Any]


def in_order(layer: keras.Layer, attributes: Iterable[Attribute]) -> list[Attribute]:
    """Puts attributes that were set to a layer late where they were set.

    Args:
        layer: Whose they are.
        attributes: By name, in Python's order.
    """
    found = list(attributes)
    ranks = {id(below): i for i, below in enumerate(_compat.sublayers(layer))}
    # A list or dict was there before the first layer in it, at the latest.
    firsts = [min(_ranks_in(value, ranks), default=None) for _, value in found]
    late = []
    lowest = len(ranks)
    for place in reversed(range(len(found))):
        first = firsts[place]
        if first is None:
            continue
        if isinstance(found[place][1], keras.Layer) and first > lowest:
            late.append((first, place))
        lowest = min(lowest, first)
    kept = {place for _, place in late}
    order = [place for place in range(len(found)) if place not in kept]
    for rank, place in sorted(late):
        before = [i for i, p in enumerate(order) if _is_before(firsts[p], rank)]
        order.insert(max(before, default=-1) + 1, place)
    return [found[place] for place in order]


def among(
    layer: keras.Layer, attributes: Iterable[Attribute], layers: Iterable[Attribute]
) -> list[Attribute]:
    """Puts layers that are kept apart among the other attributes.

    A list or dict comes where its first layer was tracked: when it was set, if it had
    one.

    Args:
        layer: Whose they are.
        attributes: All others by name, in the order they were set.
        layers: By name, in the order they were set.
    """
    ranks = {id(below): i for i, below in enumerate(_compat.sublayers(layer))}
    waiting = list(layers)
    found = []
    for name, value in attributes:
        first = min(_ranks_in(value, ranks), default=-1)
        while waiting and ranks.get(id(waiting[0][1]), first) < first:
            found.append(waiting.pop(0))
        found.append((name, value))
    return found + waiting


def _is_before(first: int | None, rank: int) -> bool:
    return first is not None and first < rank


def _ranks_in(value: Any, ranks: dict[int, int]) -> list[int]:
    return [ranks[id(x)] for x in layers_in(value) if id(x) in ranks]


def layers_in(value: Any) -> Iterator[keras.Layer]:
    """Yields a layer, or those in lists and dicts, in the order of Keras 2."""
    if isinstance(value, keras.Layer):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from layers_in(item)
    elif isinstance(value, dict):
        # Source: a dict that is tracked gives its values by the order of their keys.
        for key in sorted(value, key=str):
            yield from layers_in(value[key])


def places_of_variables(
    layer: keras.Layer, groups: Iterable[Sequence[keras.Variable]]
) -> dict[int, int]:
    """Returns the place of each variable of a layer's own, by `id`.

    Trainable ones come first, as in Keras 2.

    Args:
        layer: Whose they are.
        groups: Variables of each of its lists and dicts, which came at once, in Keras
            2's order.
    """
    trained, others = own_variables(layer)
    places = {id(v): place for place, v in enumerate([*trained, *others])}
    for group in groups:
        known = [id(v) for v in group if id(v) in places]
        for first in (True, False):
            kind = [key for key in known if (places[key] < len(trained)) is first]
            spots = sorted(places[key] for key in kind)
            places.update(zip(kind, spots, strict=True))
    return places
