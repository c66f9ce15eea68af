"""Lookup tables that the functions of a layer write."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from regraft.graph.runtime.context import Table


class KeptTables:
    """The tables of one layer by name. Keras looks for nothing in it."""

    def __init__(self) -> None:
        self._by_name: dict[str, Table] = {}

    def keep(self, name: str, table: Table) -> None:
        """Keeps a table, and gives it a variable that stands for it."""
        if table.variable is None:
            table.variable = keras.Variable(
                "zeros", (), "uint32", trainable=False, autocast=False, name="table"
            )
        self._by_name[name] = table

    def items(self) -> Iterator[tuple[str, Table]]:
        """Yields names and tables."""
        yield from self._by_name.items()

    def variables(self) -> list[keras.Variable]:
        """Returns what stands for them."""
        return [table.variable for table in self._by_name.values()]


def tables_of(layer: object) -> Iterator[tuple[str, Table]]:
    """Yields the tables that the functions of a layer write, by name."""
    found = getattr(layer, "tables", None)
    if isinstance(found, KeptTables):
        yield from found.items()
