"""Lookup tables, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.errors import FormatError, MismatchError
from regraft.graph import ir
from regraft.graph.runtime.context import Context, Table
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel, register

_NAMES = ("container", "use_node_name_sharing")


def _table(
    ctx: Context,
    name: str,
    key_dtype: str,
    value_dtype: str,
    value_shape: Any = (),
    *,
    filled: bool = True,
) -> Table:
    found = ctx.resources.tables.get(name)
    if found is None:
        dims = value_shape.dims if isinstance(value_shape, ir.TensorShape) else ()
        shape = tuple(dim or 0 for dim in dims or ())
        found = Table(key_dtype, value_dtype, shape, filled=filled)
        ctx.resources.tables[name] = found
    return found


@kernel("HashTableV2", "HashTable", ignored=_NAMES)
def hash_table_v2(
    ctx: Context, *, shared_name: str, key_dtype: str, value_dtype: str, node_name: str
) -> Table:
    """A table by its name, which an op of initialization fills."""
    name = shared_name or node_name
    return _table(ctx, name, key_dtype, value_dtype, filled=False)


@kernel("MutableHashTableV2", "MutableHashTable", ignored=_NAMES)
def mutable_hash_table_v2(
    ctx: Context, *, shared_name: str, key_dtype: str, value_dtype: str, node_name: str
) -> Table:
    """A table by its name."""
    return _table(ctx, shared_name or node_name, key_dtype, value_dtype)


@kernel(
    "MutableHashTableOfTensorsV2",
    "MutableHashTableOfTensors",
    ignored=_NAMES,
)
def mutable_hash_table_of_tensors_v2(
    ctx: Context,
    *,
    shared_name: str,
    key_dtype: str,
    value_dtype: str,
    value_shape: Any,
    node_name: str,
) -> Table:
    """A table of vectors by its name."""
    return _table(ctx, shared_name or node_name, key_dtype, value_dtype, value_shape)


@kernel(
    "MutableDenseHashTableV2",
    ignored=(*_NAMES, "initial_num_buckets", "max_load_factor"),
)
def mutable_dense_hash_table_v2(
    ctx: Context,
    empty_key: Any,
    deleted_key: Any,
    *,
    shared_name: str,
    key_dtype: str,
    value_dtype: str,
    value_shape: Any,
    node_name: str,
) -> Table:
    """A table by its name."""
    del empty_key, deleted_key
    return _table(ctx, shared_name or node_name, key_dtype, value_dtype, value_shape)


@kernel("AnonymousHashTable")
def anonymous_hash_table(*, key_dtype: str, value_dtype: str) -> Table:
    """A new table, which an op of initialization fills."""
    return Table(key_dtype, value_dtype, filled=False)


@kernel("AnonymousMutableHashTable")
def anonymous_mutable_hash_table(*, key_dtype: str, value_dtype: str) -> Table:
    """A new table."""
    return Table(key_dtype, value_dtype)


@kernel("LookupTableFindV2", "LookupTableFind", host=True, ignored=("Tin", "Tout"))
def lookup_table_find_v2(table_handle: Table, keys: Any, default_value: Any) -> Any:
    """The value of each key."""
    return table_handle.find(keys, default_value)


def _insert(table_handle: Table, keys: Any, values: Any) -> None:
    table_handle.insert(keys, values)


def _import(table_handle: Table, keys: Any, values: Any) -> None:
    table_handle.entries.clear()
    table_handle.insert(keys, values)


for _op in ("LookupTableInsertV2", "LookupTableInsert"):
    register(_op, _insert, host=True, ignored=("Tin", "Tout"))
for _op in ("LookupTableImportV2", "LookupTableImport"):
    register(_op, _import, host=True, ignored=("Tin", "Tout"))
for _op in ("InitializeTableV2", "InitializeTable"):
    register(_op, _insert, host=True, ignored=("Tkey", "Tval"))


@kernel(
    "LookupTableExportV2",
    "LookupTableExport",
    host=True,
    ignored=("Tkeys", "Tvalues"),
)
def lookup_table_export_v2(table_handle: Table) -> tuple[Any, Any]:
    """All keys and their values."""
    return table_handle.columns()


@kernel("LookupTableSizeV2", "LookupTableSize", host=True)
def lookup_table_size_v2(table_handle: Table) -> Any:
    """Number of entries."""
    return np.int64(len(table_handle.entries))


@kernel("LookupTableRemoveV2", host=True, ignored=("Tin",))
def lookup_table_remove_v2(table_handle: Table, keys: Any) -> None:
    """Removes entries."""
    table_handle.remove(keys)


def asset_lines(ctx: Context, filename: Any) -> list[bytes]:
    """Returns the lines of an asset; only files of the SavedModel itself are read.

    Raises:
        MismatchError: The SavedModel has no such asset.
    """
    name = values.scalar(np.asarray(filename))
    text = name.decode() if isinstance(name, bytes) else str(name)
    content = ctx.resources.assets.get(text)
    if content is None:
        content = ctx.resources.assets.get(text.rsplit("/", 1)[-1])
    if content is None:
        raise MismatchError(f"The SavedModel has no asset '{text}'.")
    lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return lines if lines[-1] else lines[:-1]


# `key_index` and `value_index`: a column, the whole line, or the line's number.
_WHOLE_LINE = -2
_LINE_NUMBER = -1


@kernel("InitializeTableFromTextFileV2", "InitializeTableFromTextFile", host=True)
def initialize_table_from_text_file_v2(
    ctx: Context,
    table_handle: Table,
    filename: Any,
    *,
    key_index: int,
    value_index: int,
    vocab_size: int,
    delimiter: str,
    offset: int,
) -> None:
    """Fills a table from the lines of an asset."""
    lines = asset_lines(ctx, filename)
    if vocab_size >= 0:
        lines = lines[:vocab_size]
    keys = _column(lines, key_index, delimiter, table_handle.key_dtype, offset)
    found = _column(lines, value_index, delimiter, table_handle.value_dtype, offset)
    table_handle.insert(keys, found)


def _column(
    lines: list[bytes], index: int, delimiter: str, dtype: str, offset: int
) -> Any:
    if index == _LINE_NUMBER:
        # Numbers begin with the offset; no line is left out for it.
        numbers = np.arange(offset, offset + len(lines))
        return numbers.astype(values.numpy_dtype(dtype))
    if index != _WHOLE_LINE:
        rows = [line.split(delimiter.encode()) for line in lines]
        if any(len(row) <= index for row in rows):
            raise FormatError(f"A line of an asset has no column {index}")
        lines = [row[index] for row in rows]
    if dtype == "string":
        return ir.as_bytes(np.array(lines, object))
    found = values.numpy_dtype(dtype)
    # Not by way of floats, which don't hold long ids.
    number = int if np.issubdtype(found, np.integer) else float
    try:
        return np.array([number(line) for line in lines], found)
    except (ValueError, OverflowError) as error:
        raise FormatError(f"A line of an asset holds no {dtype}: {error}") from None
