"""Rows of `kernels/pictures.py`; the files are made here, JPEG and GIF by hand."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from graph.cases.case import Case, integers


def _bytes(data: bytes) -> Any:
    out = np.empty((), object)
    out[()] = data
    return out


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def _filtered(rows: Any, step: int) -> bytes:
    """Rows with each of the five filters in turn."""
    rows = rows.astype(np.int64)
    out = b""
    before = np.zeros(rows.shape[1], np.int64)
    for number, row in enumerate(rows):
        left = np.concatenate([np.zeros(step, np.int64), row])[: len(row)]
        corner = np.concatenate([np.zeros(step, np.int64), before])[: len(row)]
        near = left + before - corner
        to = [np.abs(near - v) for v in (left, before, corner)]
        paeth = np.where(
            (to[0] <= to[1]) & (to[0] <= to[2]),
            left,
            np.where(to[1] <= to[2], before, corner),
        )
        guess = (0 * left, left, before, (left + before) // 2, paeth)[number % 5]
        out += bytes([number % 5]) + ((row - guess) % 256).astype(np.uint8).tobytes()
        before = row
    return out


_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def _png(
    image: Any, color: int, depth: int, *others: bytes, interlaced: bool = False
) -> bytes:
    height, width, count = image.shape
    data = b""
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        part = image[top::down, left::across]
        if not part.size:
            continue
        flat = part.reshape(len(part), -1)
        if depth == 16:
            rows = flat.astype(">u2").view(np.uint8).reshape(len(part), -1)
        elif depth == 8:
            rows = flat.astype(np.uint8)
        else:
            bits = np.unpackbits(flat.astype(np.uint8)[..., None], axis=-1)
            rows = np.packbits(bits[..., 8 - depth :].reshape(len(part), -1), axis=-1)
        data += _filtered(rows, max(count * depth // 8, 1))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            *others,
            _chunk(b"IDAT", zlib.compress(data)),
            _chunk(b"IEND", b""),
        )
    )


def _bmp(image: Any, from_below: bool = True) -> bytes:
    height, width, count = image.shape
    order = [2, 1, 0, 3][:count] if count > 1 else [0]
    rows = image[::-1] if from_below else image
    flat = rows[..., order].astype(np.uint8).reshape(height, -1)
    flat = np.pad(flat, [[0, 0], [0, -flat.shape[1] % 4]])
    start = 54 + (1024 if count == 1 else 0)
    head = struct.pack("<2sIHHI", b"BM", start + flat.size, 0, 0, start)
    high = height if from_below else -height
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, high, 1, 8 * count, 0, flat.size, 0, 0, 0, 0
    )
    table = bytes(v for i in range(256) for v in (i, i, i, 0)) if count == 1 else b""
    return head + info + table + flat.tobytes()


_COLOR = integers(0, 256, 11, 9, 3)
_ALPHA = integers(0, 256, 7, 10, 4)
_GRAY = integers(0, 256, 6, 13, 1)
_WIDE = integers(0, 65536, 6, 5, 3)
_TABLE = _chunk(b"PLTE", integers(0, 256, 16, 3).astype(np.uint8).tobytes())
_CLEAR = _chunk(b"tRNS", bytes([0, 128, 255]))

_PNGS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "color": (_png(_COLOR, 2, 8), {}),
    "color-as-gray": (_png(_COLOR, 2, 8), {"channels": 1}),
    "color-and-alpha": (_png(_ALPHA, 6, 8), {}),
    "alpha-dropped": (_png(_ALPHA, 6, 8), {"channels": 3}),
    "alpha-added": (_png(_COLOR, 2, 8), {"channels": 4}),
    "gray": (_png(_GRAY, 0, 8), {}),
    "gray-as-color": (_png(_GRAY, 0, 8), {"channels": 3}),
    "gray-and-alpha": (_png(integers(0, 256, 5, 4, 2), 4, 8), {}),
    "four-bits": (_png(integers(0, 16, 5, 7, 1), 0, 4), {}),
    "one-bit": (_png(integers(0, 2, 5, 11, 1), 0, 1), {"channels": 1}),
    "palette": (_png(integers(0, 16, 5, 7, 1), 3, 4, _TABLE), {}),
    "palette-with-alpha": (_png(integers(0, 16, 5, 8, 1), 3, 8, _TABLE, _CLEAR), {}),
    "interlaced": (_png(_COLOR, 2, 8, interlaced=True), {}),
    "sixteen-bits": (_png(_WIDE, 2, 16), {"dtype": "uint16"}),
    "sixteen-bits-to-eight": (_png(_WIDE, 2, 16), {}),
    "eight-bits-to-sixteen": (_png(_COLOR, 2, 8), {"dtype": "uint16"}),
}

ROWS = [
    *(
        Case("DecodePng", {"contents": _bytes(data)}, attrs, label)
        for label, (data, attrs) in _PNGS.items()
    ),
    *(
        Case("DecodeBmp", {"contents": _bytes(data)}, {}, label)
        for label, data in (
            ("color", _bmp(_COLOR)),
            ("from-above", _bmp(_COLOR, from_below=False)),
            ("alpha", _bmp(_ALPHA)),
            ("gray", _bmp(_GRAY)),
        )
    ),
    *(
        Case("DecodeImage", {"contents": _bytes(data)}, attrs, label)
        for label, data, attrs in (
            ("png", _png(_COLOR, 2, 8), {"channels": 3}),
            ("bmp", _bmp(_COLOR), {}),
            ("float", _png(_COLOR, 2, 8), {"dtype": "float32"}),
            ("sixteen", _png(_WIDE, 2, 16), {"dtype": "uint16"}),
        )
    ),
    Case("DecodeJpeg", {"contents": _bytes(_png(_COLOR, 2, 8))}, {}, "a-png"),
    Case(
        "ExtractJpegShape",
        {
            "contents": _bytes(
                b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\0\x2a\0\x17\x03"
                b"\x01\x22\0\x02\x11\x01\x03\x11\x01"
                b"\xff\xda\0\x0c\x03\x01\0\x02\x11\x03\x11\0\x3f\0\xff\xd9"
            )
        },
    ),
]
