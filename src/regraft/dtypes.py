"""One table of element types: TensorFlow's `DataType`, NumPy's, Keras' names.

Source: TensorFlow `core/framework/types.proto`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from regraft.errors import FormatError, UnsupportedError

# Inside of a Keras model, numbers of this dtype may stand for text: "handles".
HANDLE = "uint32"


class DType(NamedTuple):
    """A row of the table.

    Attributes:
        name: TensorFlow's and Keras' name, such as `"bfloat16"`.
        number: Value of TensorFlow's `DataType` enum.
        numpy: NumPy type of one element; `None` where NumPy has none
            (`resource`, `variant`); `object` (bytes) for strings.
    """

    name: str
    number: int
    numpy: np.dtype | None


def _row(name: str, number: int, numpy: object) -> DType:
    return DType(name, number, None if numpy is None else np.dtype(numpy))  # type: ignore[call-overload]


_ROWS = (
    _row("float32", 1, np.float32),
    _row("float64", 2, np.float64),
    _row("int32", 3, np.int32),
    _row("uint8", 4, np.uint8),
    _row("int16", 5, np.int16),
    _row("int8", 6, np.int8),
    _row("string", 7, object),
    _row("complex64", 8, np.complex64),
    _row("int64", 9, np.int64),
    _row("bool", 10, np.bool_),
    _row("qint8", 11, np.int8),
    _row("quint8", 12, np.uint8),
    _row("qint32", 13, np.int32),
    _row("bfloat16", 14, ml_dtypes.bfloat16),
    _row("qint16", 15, np.int16),
    _row("quint16", 16, np.uint16),
    _row("uint16", 17, np.uint16),
    _row("complex128", 18, np.complex128),
    _row("float16", 19, np.float16),
    _row("resource", 20, None),
    _row("variant", 21, None),
    _row("uint32", 22, np.uint32),
    _row("uint64", 23, np.uint64),
    _row("float8_e5m2", 24, ml_dtypes.float8_e5m2),
    _row("float8_e4m3fn", 25, ml_dtypes.float8_e4m3fn),
    _row("float8_e4m3fnuz", 26, ml_dtypes.float8_e4m3fnuz),
    _row("float8_e4m3b11fnuz", 27, ml_dtypes.float8_e4m3b11fnuz),
    _row("float8_e5m2fnuz", 28, ml_dtypes.float8_e5m2fnuz),
    _row("int4", 29, ml_dtypes.int4),
    _row("uint4", 30, ml_dtypes.uint4),
    _row("int2", 31, ml_dtypes.int2),
    _row("uint2", 32, ml_dtypes.uint2),
    _row("float4_e2m1fn", 33, ml_dtypes.float4_e2m1fn),
)

BY_NAME = {row.name: row for row in _ROWS}
BY_NUMBER = {row.number: row for row in _ROWS}
# Quantized types share a NumPy type with a plain one; the plain one (listed in
# the names below) is what an array of that type means.
_BY_NUMPY = {
    row.numpy: row
    for row in _ROWS
    if row.numpy is not None and not row.name.startswith(("q", "quint"))
}

# A reference type of TensorFlow 1 (`DT_FLOAT_REF`) is its base type plus 100.
REFERENCE_OFFSET = 100


def from_number(number: int) -> DType:
    """Returns the row of a `DataType` number; a reference type as its base.

    Raises:
        FormatError: TensorFlow knows no such number.
    """
    base = number - REFERENCE_OFFSET if number > REFERENCE_OFFSET else number
    try:
        return BY_NUMBER[base]
    except KeyError:
        raise FormatError(
            "Invalid DataType",
            expected="a number of types.proto",
            received=int(number),
        ) from None


def from_name(name: str) -> DType:
    """Returns the row of a dtype name.

    Raises:
        UnsupportedError: No dtype has that name.
    """
    try:
        return BY_NAME[name]
    except KeyError:
        raise UnsupportedError(f"Unknown dtype name {name!r}.") from None


@functools.cache
def name_of(dtype: Any) -> str:
    """Returns the name of a dtype, which NumPy makes anew whenever it is asked."""
    return str(dtype)


def from_numpy(dtype: np.dtype | type) -> DType:
    """Returns the row of a NumPy dtype; any byte or text type is `string`.

    Raises:
        UnsupportedError: TensorFlow has no such element type.
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "OSU":
        return BY_NAME["string"]
    try:
        return _BY_NUMPY[dtype.newbyteorder("=")]
    except KeyError:
        raise UnsupportedError(
            f"TensorFlow has no dtype for NumPy's {dtype}."
        ) from None
