"""Masked CRC32C, the checksum of LevelDB tables and tensor bundles.

Source: github.com/google/leveldb `util/crc32c.h`.
"""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np

_MASK_DELTA = 0xA282EAD8
_UINT32 = 0xFFFFFFFF


def extend(crc32c: int, data: bytes | np.ndarray[Any, Any]) -> int:
    """Returns the CRC32C of all bytes so far and then `data`.

    Args:
        crc32c: CRC32C of the bytes so far, 0 for none.
        data: Bytes, or a C-contiguous array, of which no copy is made.
    """
    return int(google_crc32c.extend(crc32c, data))


def mask(crc32c: int) -> int:
    """Returns the form in which files hold a CRC32C."""
    rotated = (crc32c >> 15) | (crc32c << 17)
    return (rotated + _MASK_DELTA) & _UINT32


def masked(data: bytes | np.ndarray[Any, Any]) -> int:
    """Returns the masked CRC32C of `data`."""
    return mask(extend(0, data))
