"""Text, on the host: arrays of `bytes`."""

from __future__ import annotations

import base64
import binascii
import functools
import itertools
import string as ascii_sets
from collections.abc import Callable
from typing import Any

import numpy as np

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph.runtime.kernels import hashing, values
from regraft.graph.runtime.kernels.regex import matches, replaced
from regraft.graph.runtime.registry import kernel

_host = functools.partial(kernel, host=True)


def text(item: bytes) -> str:
    """Returns bytes as text; what is no UTF-8 survives the way back."""
    return item.decode("utf-8", "surrogateescape")


def raw(item: str) -> bytes:
    """Undoes `text`."""
    return item.encode("utf-8", "surrogateescape")


def each(function: Callable[..., Any], *arrays: Any, dtype: Any = object) -> Any:
    """Applies a function to each element (of arrays that broadcast)."""
    arrays = np.broadcast_arrays(*arrays) if len(arrays) > 1 else arrays
    out = np.empty(arrays[0].shape, dtype)
    lists = [a.reshape(-1).tolist() for a in arrays]
    out.reshape(-1)[:] = [function(*items) for items in zip(*lists, strict=True)]
    return out


def _strings(items: Any, shape: Any = None) -> Any:
    items = list(items)
    out = np.empty(len(items), object)
    out[:] = items
    return out if shape is None else out.reshape(shape)


# Regular expressions


def as_bytes(attribute: str | bytes) -> bytes:
    """Returns an attribute that may be text as bytes."""
    return attribute if isinstance(attribute, bytes) else raw(attribute)


def _replace(input: Any, pattern: bytes, rewrite: bytes, replace_global: bool) -> Any:
    return each(lambda s: replaced(pattern, s, rewrite, once=not replace_global), input)


@_host("StaticRegexReplace")
def static_regex_replace(
    input: Any, *, pattern: str | bytes, rewrite: str | bytes, replace_global: bool
) -> Any:
    """Matches replaced."""
    return _replace(input, as_bytes(pattern), as_bytes(rewrite), replace_global)


@_host("RegexReplace")
def regex_replace(
    input: Any, pattern: Any, rewrite: Any, *, replace_global: bool
) -> Any:
    """Matches replaced."""
    return _replace(input, pattern.item(), rewrite.item(), replace_global)


@_host("StaticRegexFullMatch")
def static_regex_full_match(input: Any, *, pattern: str | bytes) -> Any:
    """Whether the whole text matches."""
    return each(lambda s: matches(as_bytes(pattern), s), input, dtype=bool)


@_host("RegexFullMatch")
def regex_full_match(input: Any, pattern: Any) -> Any:
    """Whether the whole text matches."""
    return static_regex_full_match(input, pattern=pattern.item())


# Case, parts, lengths


@_host("StringLower")
def string_lower(input: Any, *, encoding: str) -> Any:
    """Small letters; of ASCII only without an encoding."""
    if encoding:
        return each(lambda s: raw(text(s).lower()), input)
    return each(bytes.lower, input)


@_host("StringUpper")
def string_upper(input: Any, *, encoding: str) -> Any:
    """Capital letters; of ASCII only without an encoding."""
    if encoding:
        return each(lambda s: raw(text(s).upper()), input)
    return each(bytes.upper, input)


@_host("StringStrip")
def string_strip(input: Any) -> Any:
    """Without white space at both ends."""
    return each(lambda s: s.strip(ascii_sets.whitespace.encode()), input)


@_host("StringLength")
def string_length(input: Any, *, unit: str) -> Any:
    """Number of bytes or characters."""
    if unit == "UTF8_CHAR":
        return each(lambda s: sum(b & 0xC0 != 0x80 for b in s), input, dtype=np.int32)
    return each(len, input, dtype=np.int32)


@_host("Substr", ignored=("T",))
def substr(input: Any, pos: Any, len: Any, *, unit: str) -> Any:
    """A part of each text."""

    def part(item: bytes, start: int, count: int) -> bytes:
        whole: Any = text(item) if unit == "UTF8_CHAR" else item
        size = whole.__len__()
        if not -size <= start <= size:
            raise MismatchError(f"Position {start} is outside of a text of {size}.")
        start = start + size if start < 0 else start
        found = whole[start : start + count]
        return raw(found) if unit == "UTF8_CHAR" else found

    return each(part, input, pos, len)


@_host("StringJoin", ignored=("N",))
def string_join(inputs: list[Any], *, separator: str) -> Any:
    """Texts joined element by element."""
    return each(lambda *parts: raw(separator).join(parts), *inputs)


@_host("ReduceJoin")
def reduce_join(
    inputs: Any, reduction_indices: Any, *, keep_dims: bool, separator: str
) -> Any:
    """Texts joined along axes."""
    rank = inputs.ndim
    axes = [int(a) % rank for a in reduction_indices.reshape(-1)]
    if not axes:
        return inputs
    rest = [i for i in range(rank) if i not in axes]
    # The axis that is named last is joined last.
    moved = inputs.transpose([*rest, *reversed(axes)])
    shape = moved.shape[: len(rest)]
    rows = moved.reshape(int(np.prod(shape)), -1).tolist()
    joined = _strings((raw(separator).join(row) for row in rows), shape)
    if keep_dims:
        full = [1 if i in axes else n for i, n in enumerate(inputs.shape)]
        return joined.reshape(full)
    return joined


@_host("UnsortedSegmentJoin", ignored=("Tindices", "Tnumsegments"))
def unsorted_segment_join(
    inputs: Any, segment_ids: Any, num_segments: Any, *, separator: str
) -> Any:
    """Texts of each segment joined."""
    parts: list[list[bytes]] = [[] for _ in range(int(num_segments))]
    for item, place in zip(
        inputs.reshape(-1).tolist(), segment_ids.reshape(-1).tolist(), strict=True
    ):
        if place >= 0:
            parts[place].append(item)
    return _strings(raw(separator).join(p) for p in parts)


@_host("StringFormat", ignored=("T", "summarize"))
def string_format(inputs: list[Any], *, template: str, placeholder: str) -> Any:
    """A template with values for its placeholders."""
    out = template
    for item in inputs:
        shown = (
            '"' + text(item.item()) + '"'
            if item.dtype == object and not item.ndim
            else str(item.tolist()).replace(",", "")
        )
        out = out.replace(placeholder, shown, 1)
    return _strings([raw(out)], ())


# Splits


def _split_result(rows: list[list[bytes]]) -> tuple[Any, Any, Any]:
    indices = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
    shape = [len(rows), max((len(row) for row in rows), default=0)]
    return (
        np.array(indices, np.int64).reshape(-1, 2),
        _strings(part for row in rows for part in row),
        np.array(shape, np.int64),
    )


@_host("StringSplitV2")
def string_split_v2(input: Any, sep: Any, *, maxsplit: int) -> tuple[Any, Any, Any]:
    """Parts of each text, as Python's `split` gives them; sparse."""
    separator = sep.item()
    if separator:
        return _split_result([s.split(separator, maxsplit) for s in input.tolist()])
    return _split_result([s.split(None, maxsplit) for s in input.tolist()])


@_host("StringSplit")
def string_split(
    input: Any, delimiter: Any, *, skip_empty: bool
) -> tuple[Any, Any, Any]:
    """Parts of each text between any of the delimiter's bytes; sparse."""
    signs = delimiter.item()
    rows = []
    for item in input.tolist():
        if not signs:
            parts = [bytes([b]) for b in item]
        else:
            for sign in signs[1:]:
                item = item.replace(bytes([sign]), signs[:1])
            parts = item.split(signs[:1])
        rows.append([p for p in parts if p or not skip_empty])
    return _split_result(rows)


@_host("StringNGrams", ignored=("Tsplits",))
def string_n_grams(
    data: Any,
    data_splits: Any,
    *,
    separator: str,
    ngram_widths: tuple[int, ...],
    left_pad: str,
    right_pad: str,
    pad_width: int,
    preserve_short_sequences: bool,
) -> tuple[Any, Any]:
    """Runs of neighbouring texts, joined; ragged."""
    splits = data_splits.tolist()
    out: list[bytes] = []
    ends = [0]
    for first, last in itertools.pairwise(splits):
        row = data[first:last].tolist()
        before = len(out)
        for width in ngram_widths:
            pads = width - 1 if pad_width < 0 else min(pad_width, width - 1)
            padded = [raw(left_pad)] * pads + row + [raw(right_pad)] * pads
            count = len(padded) - width + 1
            out += [raw(separator).join(padded[i : i + width]) for i in range(count)]
        if preserve_short_sequences and len(out) == before and row:
            pads = 0 if pad_width < 0 else pad_width
            padded = [raw(left_pad)] * pads + row + [raw(right_pad)] * pads
            out.append(raw(separator).join(padded))
        ends.append(len(out))
    return _strings(out), np.array(ends, data_splits.dtype)


# Numbers


@_host("StringToNumber")
def string_to_number(string_tensor: Any, *, out_type: str) -> Any:
    """The numbers that texts spell."""
    numpy = values.numpy_dtype(out_type)
    read: Callable[[str], Any] = int if "int" in out_type else float

    def number(item: bytes) -> Any:
        try:
            return read(item.decode().strip())
        except ValueError:
            raise MismatchError(f"{item!r} is no {out_type}.") from None

    return each(number, string_tensor, dtype=numpy)


@_host("AsString", ignored=("T",))
def as_string(
    input: Any,
    *,
    precision: int,
    scientific: bool,
    shortest: bool,
    width: int,
    fill: str,
) -> Any:
    """Numbers as text."""
    kind = input.dtype.kind
    flags = fill + (str(width) if width > -1 else "")

    def one(item: Any) -> bytes:
        if kind == "b":
            return b"true" if item else b"false"
        if kind == "O":
            return bytes(item)
        if kind in "iu":
            return (f"%{flags}d" % item).encode()
        digits = f".{precision}" if precision > -1 else ""
        sign = "e" if scientific else "g" if shortest else "f"
        if kind == "c":
            real, imag = (f"%{flags}{digits}{sign}" % p for p in (item.real, item.imag))
            return f"({real},{imag})".encode()
        return (f"%{flags}{digits}{sign}" % item).encode()

    return each(one, input)


# Hashes


@_host("StringToHashBucketFast")
def string_to_hash_bucket_fast(input: Any, *, num_buckets: int) -> Any:
    """FarmHash64 of each text, modulo the number of buckets."""
    return each(lambda s: hashing.fingerprint64(s) % num_buckets, input, dtype=np.int64)


@_host("StringToHashBucketStrong")
def string_to_hash_bucket_strong(
    input: Any, *, num_buckets: int, key: tuple[int, ...]
) -> Any:
    """SipHash of each text, modulo the number of buckets."""
    return each(lambda s: hashing.siphash(s, key) % num_buckets, input, dtype=np.int64)


@_host("StringToHashBucket")
def string_to_hash_bucket(string_tensor: Any, *, num_buckets: int) -> Any:
    """TensorFlow's old hash of each text, modulo the number of buckets."""
    return each(
        lambda s: hashing.hash64(s) % num_buckets, string_tensor, dtype=np.int64
    )


@_host("Fingerprint", ignored=("T",))
def fingerprint(data: Any, method: Any) -> Any:
    """FarmHash64 of each row's bytes."""
    if method.item() != b"farmhash64":
        raise UnsupportedError(f"Fingerprint method {method.item()!r}.")
    rows = [
        hashing.fingerprint64(row.tobytes()) if row.dtype != object else 0
        for row in np.ascontiguousarray(data)
    ]
    return np.array(rows, np.uint64).view(np.uint8).reshape(-1, 8)


# Encodings


@_host("EncodeBase64")
def encode_base64(input: Any, *, pad: bool) -> Any:
    """Web-safe base64."""

    def one(item: bytes) -> bytes:
        encoded = base64.urlsafe_b64encode(item)
        return encoded if pad else encoded.rstrip(b"=")

    return each(one, input)


@_host("DecodeBase64")
def decode_base64(input: Any) -> Any:
    """Undoes web-safe base64."""

    def one(item: bytes) -> bytes:
        try:
            return base64.urlsafe_b64decode(item + b"=" * (-len(item) % 4))
        except binascii.Error as error:
            raise MismatchError(f"{item[:40]!r} is no base64: {error}.") from None

    return each(one, input)


@_host("DecodeRaw")
def decode_raw(bytes: Any, *, out_type: str, little_endian: bool) -> Any:
    """The bytes of texts as numbers."""
    numpy = np.dtype(values.numpy_dtype(out_type))
    source = numpy if little_endian else numpy.newbyteorder(">")
    rows = [np.frombuffer(b, source).astype(numpy) for b in bytes.reshape(-1).tolist()]
    stacked = np.stack(rows) if rows else np.zeros((0, 0), numpy)
    return stacked.reshape(*bytes.shape, -1)


@_host("DecodePaddedRaw")
def decode_padded_raw(
    input_bytes: Any, fixed_length: Any, *, out_type: str, little_endian: bool
) -> Any:
    """The bytes of texts, cut or filled to a length, as numbers."""
    size = int(fixed_length)
    same = each(lambda s: s[:size].ljust(size, b"\0"), input_bytes)
    return decode_raw(same, out_type=out_type, little_endian=little_endian)


# Unicode

_ERRORS = {"strict": "strict", "replace": "replace", "ignore": "ignore"}


def _codec(name: str) -> str:
    return {"UTF-16-BE": "utf-16-be", "UTF-32-BE": "utf-32-be"}.get(name, name.lower())


def _decoded(
    item: bytes, encoding: str, errors: str, replacement: int, control: bool
) -> list[str]:
    try:
        found = list(item.decode(_codec(encoding), _ERRORS[errors]))
    except UnicodeDecodeError as error:
        raise MismatchError(f"{item[:40]!r} is no {encoding}: {error}.") from None
    out = []
    for sign in found:
        code = ord(sign)
        is_control = (code < 0x20 and sign not in "\t\n\r") or 0x7F <= code < 0xA0
        if sign == "\ufffd" or (control and is_control):
            if errors != "ignore":
                out.append(chr(replacement))
        else:
            out.append(sign)
    return out


@_host("UnicodeTranscode")
def unicode_transcode(
    input: Any,
    *,
    input_encoding: str,
    output_encoding: str,
    errors: str,
    replacement_char: int,
    replace_control_characters: bool,
) -> Any:
    """Texts in another encoding."""

    def one(item: bytes) -> bytes:
        signs = _decoded(
            item, input_encoding, errors, replacement_char, replace_control_characters
        )
        return "".join(signs).encode(_codec(output_encoding), "replace")

    return each(one, input)


def _decode_all(
    input: Any, encoding: str, errors: str, replacement: int, control: bool
) -> tuple[list[list[str]], Any, Any]:
    rows = [
        _decoded(item, encoding, errors, replacement, control)
        for item in input.reshape(-1).tolist()
    ]
    splits = np.cumsum([0, *map(len, rows)])
    codes = np.array([ord(sign) for row in rows for sign in row], np.int32)
    return rows, splits, codes


@_host("UnicodeDecode")
def unicode_decode(
    input: Any,
    *,
    input_encoding: str,
    errors: str,
    replacement_char: int,
    replace_control_characters: bool,
    Tsplits: str,
) -> tuple[Any, Any]:
    """Code points of each text; ragged."""
    _, splits, codes = _decode_all(
        input, input_encoding, errors, replacement_char, replace_control_characters
    )
    return splits.astype(values.numpy_dtype(Tsplits)), codes


@_host("UnicodeDecodeWithOffsets")
def unicode_decode_with_offsets(
    input: Any,
    *,
    input_encoding: str,
    errors: str,
    replacement_char: int,
    replace_control_characters: bool,
    Tsplits: str,
) -> tuple[Any, Any, Any]:
    """Code points of each text and where they begin; ragged."""
    rows, splits, codes = _decode_all(
        input, input_encoding, errors, replacement_char, replace_control_characters
    )
    starts: list[int] = []
    for row in rows:
        lengths = [len(sign.encode(_codec(input_encoding))) for sign in row]
        starts += np.cumsum([0, *lengths])[:-1].tolist()
    offsets = np.array(starts, np.int64)
    return splits.astype(values.numpy_dtype(Tsplits)), codes, offsets


@_host("UnicodeEncode", ignored=("Tsplits",))
def unicode_encode(
    input_values: Any,
    input_splits: Any,
    *,
    errors: str,
    output_encoding: str,
    replacement_char: int,
) -> Any:
    """Texts of code points; ragged."""
    codes = input_values.tolist()
    wrong = "" if errors == "ignore" else chr(replacement_char)

    def sign(code: int) -> str:
        valid = 0 <= code < 0xD800 or 0xE000 <= code <= 0x10FFFF
        if not valid and errors == "strict":
            raise MismatchError(f"{code} is no code point.")
        return chr(code) if valid else wrong

    splits = input_splits.tolist()
    return _strings(
        "".join(map(sign, codes[a:b])).encode(_codec(output_encoding))
        for a, b in itertools.pairwise(splits)
    )
