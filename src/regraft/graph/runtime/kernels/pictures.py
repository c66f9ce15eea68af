"""Images from the bytes of files: PNG and BMP here, JPEG and GIF by Pillow."""

from __future__ import annotations

import importlib
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.registry import kernel

Array = np.ndarray[Any, Any]

_PNG = b"\x89PNG\r\n\x1a\n"
# Bytes of a pixel's parts: gray, color, palette, gray and alpha, color and alpha.
_PARTS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7: first column and row of each pass, and the steps between.
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
# An image is a file's word: no more pixels than a tensor may have entries.
MAX_PIXELS = 1 << 28


def _wrong(kind: str, what: str) -> MismatchError:
    return MismatchError(f"Invalid {kind}: {what}.")


def _checked(kind: str, height: int, width: int) -> None:
    if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise _wrong(kind, f"an image of {height} rows and {width} columns")


# ------------------------------------------------------------ PNG


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if at + 12 + length > len(data):
            raise _wrong("PNG", "it ends within a part")
        whole = data[at + 4 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        # Parts that an image can do without may be damaged.
        if kind[:1].isupper() and zlib.crc32(whole) != int.from_bytes(check, "big"):
            raise _wrong("PNG", f"part {kind!r} is damaged")
        yield kind, whole[4:]
        at += 12 + length


def _png(data: bytes) -> tuple[Array, bool]:
    """Returns samples of a PNG, 8 or 16 bits each, and whether they have alpha."""
    header, palette, clear, parts = b"", b"", b"", []
    for kind, content in _chunks(data):
        if kind == b"IHDR":
            header = content
        elif kind == b"PLTE":
            palette = content
        elif kind == b"tRNS":
            clear = content
        elif kind == b"IDAT":
            parts.append(content)
        elif kind == b"IEND":
            break
    else:
        raise _wrong("PNG", "it has no end")
    if len(header) != 13:
        raise _wrong("PNG", "it has no header")
    width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    _checked("PNG", height, width)
    if color not in _PARTS or depth not in (1, 2, 4, 8, 16) or interlaced > 1:
        raise _wrong("PNG", f"color type {color} of {depth} bits")
    count = _PARTS[color]
    need = (count * depth * width + 7) // 8 * height + height * 8 + 64
    try:
        raw = zlib.decompressobj().decompress(b"".join(parts), need)
    except zlib.error as error:
        raise _wrong("PNG", str(error)) from None
    out = np.zeros((height, width, count), np.uint16 if depth == 16 else np.uint8)
    at = 0
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        target = out[top::down, left::across]
        if target.size:
            at = _png_rows(raw, at, target, depth)
    return _png_colors(out, depth, color, palette, clear)


def _png_rows(raw: bytes, at: int, target: Array, depth: int) -> int:
    """Fills a part of the image; returns where the next one begins."""
    rows, columns, count = target.shape
    step = max(count * depth // 8, 1)
    length = (columns * count * depth + 7) // 8
    if at + rows * (length + 1) > len(raw):
        raise _wrong("PNG", "it has too few rows")
    before = np.zeros(length, np.uint8)
    for row in range(rows):
        line = np.frombuffer(raw, np.uint8, length, at + 1).copy()
        _unfilter(raw[at], line, before, step)
        at += length + 1
        target[row] = _samples(line, depth)[: columns * count].reshape(columns, count)
        before = line
    return at


def _samples(line: Array, depth: int) -> Array:
    if depth == 8:
        return line
    if depth == 16:
        return line.view(">u2")
    bits = np.unpackbits(line).reshape(-1, depth)
    return bits @ (1 << np.arange(depth - 1, -1, -1, dtype=np.uint8))


def _unfilter(how: int, line: Array, before: Array, step: int) -> None:
    """Undoes in place what makes a row easier to compress."""
    if how == 1:
        for first in range(step):
            np.cumsum(line[first::step], dtype=np.uint8, out=line[first::step])
    elif how == 2:
        line += before
    elif how in (3, 4):
        _unfilter_by_neighbors(how, line, before, step)
    elif how:
        raise _wrong("PNG", f"filter {how}")


def _unfilter_by_neighbors(how: int, line: Array, before: Array, step: int) -> None:
    made = bytearray(line.tobytes())
    above = before.tobytes()
    for i, delta in enumerate(made):
        left = made[i - step] if i >= step else 0
        if how == 3:
            guess = (left + above[i]) >> 1
        else:
            corner = above[i - step] if i >= step else 0
            near = left + above[i] - corner
            to_left, to_above = abs(near - left), abs(near - above[i])
            to_corner = abs(near - corner)
            if to_left <= to_above and to_left <= to_corner:
                guess = left
            else:
                guess = above[i] if to_above <= to_corner else corner
        made[i] = (delta + guess) & 0xFF
    line[:] = np.frombuffer(bytes(made), np.uint8)


def _png_colors(
    out: Array, depth: int, color: int, palette: bytes, clear: bytes
) -> tuple[Array, bool]:
    """Returns gray or color, with alpha where the file has any."""
    if color == 3:
        table = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
        if out.max(initial=0) >= len(table):
            raise _wrong("PNG", "a color that its palette lacks")
        found = table[out[..., 0]]
        if not clear:
            return found, False
        alpha = np.full(len(table), 255, np.uint8)
        alpha[: len(clear)] = np.frombuffer(clear, np.uint8)[: len(table)]
        return np.concatenate([found, alpha[out]], axis=-1), True
    if clear and color in (0, 2):
        key = np.frombuffer(clear[: 2 * out.shape[-1]], ">u2")
        most = 65535 if depth == 16 else 255
        seen = ~(out == key.astype(out.dtype)).all(-1, keepdims=True)
        out = _widened(out, depth)
        return np.concatenate([out, (seen * most).astype(out.dtype)], axis=-1), True
    return _widened(out, depth), color in (4, 6)


def _widened(out: Array, depth: int) -> Array:
    return out * np.uint8(255 // ((1 << depth) - 1)) if depth < 8 else out


# ------------------------------------------------------------ BMP


def _bmp(data: bytes) -> Array:
    """Returns the rows of a BMP, from the top, in the order red, green, blue, alpha."""
    if len(data) < 30:
        raise _wrong("BMP", "it is too short")
    start, _, width, height, _, bits = struct.unpack("<IIiiHH", data[10:30])
    rows, count = abs(height), bits // 8
    _checked("BMP", rows, width)
    if bits not in (8, 24, 32):
        raise UnsupportedError(f"A BMP of {bits} bits for each pixel.")
    length = (width * count + 3) // 4 * 4
    if start + length * rows > len(data):
        raise _wrong("BMP", "it has too few rows")
    flat = np.frombuffer(data, np.uint8, length * rows, start).reshape(rows, length)
    pixels = flat[:, : width * count].reshape(rows, width, count)
    if height > 0:
        pixels = pixels[::-1]
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[count]
    return np.ascontiguousarray(pixels[..., order])


# ------------------------------------------------------------ JPEG and GIF


def _pillow() -> Any:
    try:
        image = importlib.import_module("PIL.Image")
    except ImportError:
        raise UnsupportedError(
            "JPEG and GIF images are read with Pillow. Install it: pip install pillow"
        ) from None
    return image


def _opened(kind: str, data: bytes) -> Any:
    try:
        image = _pillow().open(io.BytesIO(data), formats=[kind])
        _checked(kind, image.height, image.width)
    except (OSError, SyntaxError, ValueError) as error:
        raise _wrong(kind, str(error)) from None
    return image


def _jpeg(data: bytes, channels: int, ratio: int) -> Array:
    image = _opened("JPEG", data)
    if ratio not in (1, 2, 4, 8):
        raise MismatchError(f"A JPEG is made smaller by 1, 2, 4 or 8, not {ratio}.")
    mode = {1: "L", 3: "RGB"}.get(channels)
    if mode is None:
        mode = "L" if image.mode == "L" else "RGB"
    try:
        if image.mode in ("L", "YCbCr", "RGB"):
            image.draft(mode, (image.width // ratio, image.height // ratio))
        found = np.asarray(image.convert(mode))
    except (OSError, SyntaxError, ValueError) as error:
        raise _wrong("JPEG", str(error)) from None
    return found.reshape(*found.shape[:2], -1)


def _gif(data: bytes) -> Array:
    image = _opened("GIF", data)
    frames = []
    try:
        for number in range(getattr(image, "n_frames", 1)):
            _checked("GIF", image.height * (number + 1), image.width)
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise _wrong("GIF", str(error)) from None
    return np.stack(frames)


# ------------------------------------------------------------ kernels


def _kind(data: bytes) -> str:
    for start, name in (
        (_PNG, "PNG"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
    ):
        if data.startswith(start):
            return name
    raise _wrong("image", "it is none of JPEG, PNG, GIF and BMP")


def _png_with(data: bytes, channels: int, dtype: str) -> Array:
    found, has_alpha = _png(data)
    color = found[..., : found.shape[-1] - has_alpha]
    alpha = found[..., -1:] if has_alpha else None
    most = 65535 if found.dtype == np.uint16 else 255
    if channels == 0:
        channels = found.shape[-1]
    if channels <= 2 and color.shape[-1] == 3:
        color = _grayed(color)
    if channels >= 3 and color.shape[-1] == 1:
        color = np.repeat(color, 3, axis=-1)
    if channels in (2, 4):
        full = np.full((*color.shape[:2], 1), most, color.dtype)
        color = np.concatenate([color, full if alpha is None else alpha], axis=-1)
    if dtype == "uint16" and color.dtype == np.uint8:
        return color.astype(np.uint16) * 257
    if dtype == "uint8" and color.dtype == np.uint16:
        return (color >> 8).astype(np.uint8)
    return color


def _grayed(color: Array) -> Array:
    """Returns gray as libpng weighs the colors, in 15 bits."""
    red, green, blue = (color[..., i].astype(np.uint64) for i in range(3))
    half = 16384 if color.dtype == np.uint16 else 0
    gray = (red * 9798 + green * 19235 + blue * 3735 + half) >> 15
    same = (red == green) & (red == blue)
    return np.where(same, red, gray).astype(color.dtype)[..., None]


def _decoded(data: bytes, channels: int, dtype: str, moving: bool) -> Array:
    """Returns the image of a file of any kind, in its own range of numbers."""
    kind = _kind(data)
    if kind == "PNG":
        return _png_with(data, channels, "uint16" if dtype == "uint16" else "uint8")
    if kind == "BMP":
        found = _bmp(data)
        if channels not in (0, found.shape[-1]):
            raise _wrong("BMP", f"{found.shape[-1]} channels, expected {channels}")
        return found
    if kind == "JPEG":
        return _jpeg(data, channels, 1)
    frames = _gif(data)
    return frames if moving else frames[0]


def _in_dtype(image: Array, dtype: str) -> Array:
    if dtype == str(image.dtype):
        return image
    if dtype == "uint16":
        return image.astype(np.uint16) * 256
    most = np.float32(65535 if image.dtype == np.uint16 else 255)
    return image.astype(np.float32) / most


@kernel("DecodePng", host=True, limits="16-bit color as gray differs by up to 1")
def decode_png(contents: Any, *, channels: int, dtype: str) -> Any:
    """The image of a PNG, or of a file of another kind."""
    return _in_dtype(_decoded(contents.item(), channels, dtype, False), dtype)


@kernel("DecodeBmp", host=True)
def decode_bmp(contents: Any, *, channels: int) -> Any:
    """The image of a BMP."""
    return _decoded(contents.item(), channels, "uint8", False)


@kernel("DecodeGif", host=True, limits="needs Pillow")
def decode_gif(contents: Any) -> Any:
    """The images of a GIF; one of another kind of file."""
    found = _decoded(contents.item(), 3, "uint8", True)
    return found if found.ndim == 4 else found[None]


@kernel("DecodeImage", host=True, limits="JPEG and GIF need Pillow")
def decode_image(
    contents: Any, *, channels: int, dtype: str, expand_animations: bool
) -> Any:
    """The image of a file."""
    found = _decoded(contents.item(), channels, dtype, expand_animations)
    return _in_dtype(found, dtype)


_JPEG_IGNORED = (
    "fancy_upscaling",
    "try_recover_truncated",
    "acceptable_fraction",
    "dct_method",
)


@kernel("DecodeJpeg", host=True, ignored=_JPEG_IGNORED, limits="needs Pillow")
def decode_jpeg(contents: Any, *, channels: int, ratio: int) -> Any:
    """The image of a JPEG, or of a file of another kind."""
    data = contents.item()
    if _kind(data) == "JPEG":
        return _jpeg(data, channels, ratio)
    return _decoded(data, channels, "uint8", False)


@kernel(
    "DecodeAndCropJpeg",
    host=True,
    ignored=_JPEG_IGNORED,
    limits="needs Pillow",
)
def decode_and_crop_jpeg(
    contents: Any, crop_window: Any, *, channels: int, ratio: int
) -> Any:
    """A part of the image of a JPEG."""
    top, left, height, width = (int(n) for n in crop_window)
    found = _jpeg(contents.item(), channels, ratio)
    if min(top, left) < 0 or top + height > len(found) or left + width > found.shape[1]:
        raise MismatchError(f"A part outside of an image of shape {found.shape}.")
    return found[top : top + height, left : left + width]


@kernel("ExtractJpegShape", host=True)
def extract_jpeg_shape(contents: Any, *, output_type: str) -> Any:
    """Rows, columns and channels of a JPEG."""
    data = contents.item()
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            shape = [height, width, data[at + 9]]
            return np.array(shape, values.numpy_dtype(output_type))
        at += 2 + length
    raise _wrong("JPEG", "it says no size")
