"""Comma-separated values as TensorFlow reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel


@kernel("DecodeCSV", host=True)
def decode_csv(
    records: Any,
    record_defaults: list[Any],
    *,
    OUT_TYPE: tuple[str, ...],
    field_delim: str,
    use_quote_delim: bool,
    na_value: str,
    select_cols: tuple[int, ...],
) -> list[Any]:
    """A tensor per column; what a record leaves out comes from the defaults."""
    lines = [
        list(_fields(line, field_delim.encode(), use_quote_delim))
        for line in records.reshape(-1).tolist()
    ]
    out = []
    for place, dtype in enumerate(OUT_TYPE):
        column = select_cols[place] if select_cols else place
        default = record_defaults[place].reshape(-1)
        column_values = [
            _value(
                _field(line, column, len(OUT_TYPE), select_cols),
                column,
                default,
                na_value.encode(),
                dtype,
            )
            for line in lines
        ]
        array = np.empty(len(lines), values.numpy_dtype(dtype))
        array[:] = column_values
        out.append(array.reshape(records.shape))
    return out


def _field(line: list[bytes], column: int, count: int, selected: Any) -> bytes:
    if not selected and len(line) != count:
        raise MismatchError(
            f"DecodeCSV expects {count} fields in each record, received {len(line)}."
        )
    if column >= len(line):
        raise MismatchError(f"A record has no field {column}.")
    return line[column]


def _value(field: bytes, column: int, default: Any, missing: bytes, dtype: str) -> Any:
    if field in (b"", missing):
        if not default.size:
            raise MismatchError(f"Field {column} is required but missing in a record.")
        return default[0]
    if dtype == "string":
        return field
    try:
        number = int(field) if "int" in dtype else float(field)
        return np.array(number).astype(values.numpy_dtype(dtype), casting="same_kind")
    except (ValueError, OverflowError, TypeError):
        raise MismatchError(
            f"Field {column} of a record is no valid {dtype}: {field!r}"
        ) from None


def _fields(line: bytes, delimiter: bytes, quotes: bool) -> Iterator[bytes]:
    """Yields the fields of one record; a quoted one may hold delimiters."""
    if not line:
        yield b""
        return
    at = 0
    while at <= len(line):
        if quotes and line[at : at + 1] == b'"':
            field, at = _quoted(line, at + 1)
            if at < len(line) and line[at : at + 1] != delimiter:
                raise MismatchError(f"A quoted field goes on behind its end: {line!r}")
        else:
            end = line.find(delimiter, at)
            end = len(line) if end < 0 else end
            field, at = line[at:end], end
            if quotes and b'"' in field:
                raise MismatchError(f"A field without quotes holds one: {line!r}")
        yield field
        at += 1


def _quoted(line: bytes, at: int) -> tuple[bytes, int]:
    """Returns a field from behind its first quote, and the place behind its last."""
    out = []
    while True:
        end = line.find(b'"', at)
        if end < 0:
            raise MismatchError(f"A quoted field has no end: {line!r}")
        out.append(line[at:end])
        if line[end + 1 : end + 2] != b'"':
            return b"".join(out), end + 1
        out.append(b'"')
        at = end + 2
