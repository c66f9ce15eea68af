"""Names that Keras 3 refuses, and the ones that stand in for them.

Keras 3 accepts no `/` in a layer's name and no name twice in a model. The stand-in
is unique in its model, and the layer keeps the file's name in `_regraft_name`.
"""

from __future__ import annotations

from collections.abc import Iterable

import keras

ORIGINAL = "_regraft_name"
_MOST_NUMBERS = 10_000
_MOST_DIGITS = 6


def stand_in(name: str, taken: Iterable[str]) -> str:
    """Returns a name that Keras 3 accepts and that nothing in `taken` has.

    >>> stand_in("block/conv", {"block__conv"})
    'block__conv_1'
    """
    plain = name.replace("/", "__")
    taken = set(taken)
    candidate, number = plain, 0
    while candidate in taken:
        number += 1
        candidate = f"{plain}_{number}"
    return candidate


def stand_ins(names: Iterable[str]) -> list[str]:
    """Returns stand-ins in order; a name that needs none keeps its own."""
    names = list(names)
    acceptable = {name for name in names if "/" not in name}
    taken: set[str] = set()
    found = []
    for name in names:
        if name in acceptable and name not in taken:
            candidate = name
        else:
            candidate = stand_in(name, taken | acceptable)
        taken.add(candidate)
        found.append(candidate)
    return found


def without_count(name: str) -> tuple[str, int]:
    """Splits a name as Keras gives it into the part for the class and the count.

    >>> without_count("dense_12"), without_count("dense")
    (('dense', 12), ('dense', 0))
    """
    kind, _, count = name.rpartition("_")
    if kind and count.isdecimal() and len(count) < _MOST_DIGITS:
        return kind, int(count)
    return name, 0


def reserve_names(names: Iterable[str]) -> None:
    """Keeps Keras from giving one of these names to something it names itself."""
    highest: dict[str, int] = {}
    for prefix, count in map(without_count, names):
        highest[prefix] = max(highest.get(prefix, 0), count + 1)
    for prefix, wanted in highest.items():
        # Each call counts one further.
        while wanted <= _MOST_NUMBERS and keras.backend.get_uid(prefix) < wanted:
            pass


def remember_name(layer: keras.layers.Layer, name: str) -> None:
    """Keeps the file's name of a layer that goes by a stand-in."""
    if layer.name != name:
        setattr(layer, ORIGINAL, name)


class LayerFinder:
    """`get_layer` of a model whose layers have other names in the file.

    Args:
        model: Whose `get_layer` it becomes.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def __call__(
        self, name: str | None = None, index: int | None = None
    ) -> keras.layers.Layer:
        """Finds a layer by the file's name, by Keras' own, or by its index."""
        if name is not None and index is None:
            for layer in self._model.layers:
                if original_name(layer) == name:
                    return layer
        found: keras.layers.Layer = type(self._model).get_layer(
            self._model, name, index
        )
        return found


def original_name(layer: keras.layers.Layer) -> str:
    """Returns the name that a layer has in a file."""
    return getattr(layer, ORIGINAL, layer.name)
