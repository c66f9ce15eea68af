"""Rows of `kernels/table.py`."""

from __future__ import annotations

from typing import Any

from graph.cases.case import Program, i64, texts

_KEYS = texts("a", "b", "c")
_VALUES = i64(10, 20, 30)
_ASKED = texts([["b", "x"], ["c", "a"]])


def _filled(tf: Any, op: str, fill: str, keys: Any, values: Any) -> tuple[Any, Any]:
    table = getattr(tf.raw_ops, op)(
        key_dtype=tf.string, value_dtype=tf.int64, shared_name=f"table_{op}_{fill}"
    )
    return table, getattr(tf.raw_ops, fill)(
        table_handle=table, keys=keys, values=values
    )


def _found(op: str, fill: str, find: str = "LookupTableFindV2") -> Any:
    def build(tf: Any, keys: Any, values: Any, asked: Any) -> Any:
        table, done = _filled(tf, op, fill, keys, values)
        with tf.control_dependencies([done]):
            found = getattr(tf.raw_ops, find)(
                table_handle=table, keys=asked, default_value=tf.constant(-1, tf.int64)
            )
            if find != "LookupTableFindV2":
                return [found]
            return [found, tf.raw_ops.LookupTableSizeV2(table_handle=table)]

    return build


def _emptied(tf: Any, keys: Any, values: Any, asked: Any) -> Any:
    table, done = _filled(tf, "MutableHashTableV2", "LookupTableInsertV2", keys, values)
    with tf.control_dependencies([done]):
        gone = tf.raw_ops.LookupTableRemoveV2(table_handle=table, keys=asked[0])
    with tf.control_dependencies([gone]):
        found = tf.raw_ops.LookupTableFindV2(
            table_handle=table, keys=asked, default_value=tf.constant(-1, tf.int64)
        )
        names, numbers = tf.raw_ops.LookupTableExportV2(
            table_handle=table, Tkeys=tf.string, Tvalues=tf.int64
        )
        order = tf.argsort(numbers)
        return [found, tf.gather(names, order), tf.gather(numbers, order)]


def _vectors(op: str) -> Any:
    def build(tf: Any, keys: Any) -> Any:
        raw = tf.raw_ops
        options: dict[str, Any] = {
            "value_dtype": tf.float32,
            "value_shape": [2],
            "shared_name": f"vectors_{op}",
        }
        if op == "MutableDenseHashTableV2":
            options["empty_key"] = tf.constant(-1, tf.int64)
            options["deleted_key"] = tf.constant(-2, tf.int64)
        else:
            options["key_dtype"] = tf.int64
        table = getattr(raw, op)(**options)
        rows = tf.reshape(tf.range(6.0), [3, 2])
        version = op.removeprefix(op.removesuffix("V2"))
        insert = getattr(raw, f"LookupTableInsert{version}")
        find = getattr(raw, f"LookupTableFind{version}")
        done = insert(table_handle=table, keys=keys, values=rows)
        with tf.control_dependencies([done]):
            return [
                find(
                    table_handle=table,
                    keys=tf.constant([20, 5], tf.int64),
                    default_value=tf.constant([7.0, 8.0]),
                )
            ]

    return build


_INPUTS = (_KEYS, _VALUES, _ASKED)
_TEXT = "text"

ROWS = [
    Program(
        "HashTableV2-InitializeTableV2",
        _found("HashTableV2", "InitializeTableV2"),
        _INPUTS,
        eager_only=_TEXT,
    ),
    Program(
        "HashTableV2-LookupTableImportV2",
        _found("MutableHashTableV2", "LookupTableImportV2"),
        _INPUTS,
        eager_only=_TEXT,
    ),
    Program(
        "MutableHashTableV2-LookupTableInsertV2",
        _found("MutableHashTableV2", "LookupTableInsertV2"),
        _INPUTS,
        eager_only=_TEXT,
    ),
    Program(
        "LookupTableRemoveV2-LookupTableExportV2", _emptied, _INPUTS, eager_only=_TEXT
    ),
    *(
        Program(op, _vectors(op), (_VALUES,), eager_only=_TEXT)
        for op in (
            "MutableHashTableOfTensors",
            "MutableHashTableOfTensorsV2",
            "MutableDenseHashTableV2",
        )
    ),
    Program(
        "HashTable-InitializeTable-LookupTableFind",
        _found("HashTable", "InitializeTable", "LookupTableFind"),
        _INPUTS,
        eager_only=_TEXT,
    ),
]
