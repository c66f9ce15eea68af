"""FarmHash's `farmhashna::Hash64`, the hash of TensorFlow's fingerprints."""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = ["fingerprint64", "fingerprint_cat64"]

_M = (1 << 64) - 1
_BLOCK = struct.Struct("<8Q")
_K0 = 0xC3A5C85C97CB3127
_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _half(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _right(value: int, by: int) -> int:
    return (value >> by | value << (64 - by)) & _M if by else value


def _mixed(value: int) -> int:
    return value ^ value >> 47


def _hash_16(u: int, v: int, multiplier: int) -> int:
    a = (u ^ v) * multiplier & _M
    a ^= a >> 47
    b = (v ^ a) * multiplier & _M
    b ^= b >> 47
    return b * multiplier & _M


def _up_to_16(data: bytes) -> int:
    size = len(data)
    if size >= 8:
        multiplier = _K2 + size * 2
        a = (_word(data, 0) + _K2) & _M
        b = _word(data, size - 8)
        c = (_right(b, 37) * multiplier + a) & _M
        d = (_right(a, 25) + b) * multiplier & _M
        return _hash_16(c, d, multiplier)
    if size >= 4:
        multiplier = _K2 + size * 2
        a = _half(data, 0)
        return _hash_16(size + (a << 3), _half(data, size - 4), multiplier)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return _mixed((y * _K2 ^ z * _K0) & _M) * _K2 & _M
    return _K2


def _up_to_32(data: bytes) -> int:
    size = len(data)
    multiplier = _K2 + size * 2
    a = _word(data, 0) * _K1 & _M
    b = _word(data, 8)
    c = _word(data, size - 8) * multiplier & _M
    d = _word(data, size - 16) * _K2 & _M
    return _hash_16(
        (_right((a + b) & _M, 43) + _right(c, 30) + d) & _M,
        (a + _right((b + _K2) & _M, 18) + c) & _M,
        multiplier,
    )


def _up_to_64(data: bytes) -> int:
    size = len(data)
    multiplier = _K2 + size * 2
    a = _word(data, 0) * _K2 & _M
    b = _word(data, 8)
    c = _word(data, size - 8) * multiplier & _M
    d = _word(data, size - 16) * _K2 & _M
    y = (_right((a + b) & _M, 43) + _right(c, 30) + d) & _M
    z = _hash_16(y, (a + _right((b + _K2) & _M, 18) + c) & _M, multiplier)
    e = _word(data, 16) * multiplier & _M
    f = _word(data, 24)
    g = (y + _word(data, size - 32)) * multiplier & _M
    h = (z + _word(data, size - 24)) * multiplier & _M
    return _hash_16(
        (_right((e + f) & _M, 43) + _right(g, 30) + h) & _M,
        (e + _right((f + a) & _M, 18) + g) & _M,
        multiplier,
    )


def _weak_32(words: Sequence[int], a: int, b: int) -> tuple[int, int]:
    w, x, y, z = words
    a = (a + w) & _M
    b = _right((b + a + z) & _M, 21)
    c = a
    a = (a + x + y) & _M
    b = (b + _right(a, 44)) & _M
    return (a + z) & _M, (b + c) & _M


def fingerprint64(data: bytes) -> int:
    """Returns FarmHash64 of `data`."""
    size = len(data)
    if size <= 16:
        return _up_to_16(data)
    if size <= 32:
        return _up_to_32(data)
    if size <= 64:
        return _up_to_64(data)
    return _longer(data)


def _longer(data: bytes) -> int:
    size = len(data)
    seed = 81
    x = (seed * _K2 + _word(data, 0)) & _M
    y = (seed * _K1 + 113) & _M
    z = _mixed((y * _K2 + 113) & _M) * _K2 & _M
    v0 = v1 = w0 = w1 = 0
    end = (size - 1) // 64 * 64
    # A model's graph has megabytes: rotations are written out, and digits beyond 64 are
    # cut off only where they would come back.
    mask, k1 = _M, _K1
    for a, b, c, d, e, f, g, h in _BLOCK.iter_unpack(memoryview(data)[:end]):
        t = x + y + v0 + b & mask
        x = (t >> 37 | t << 27) * k1 & mask ^ w1
        t = y + v1 + g & mask
        y = (t >> 42 | t << 22) * k1 + v0 + f & mask
        t = z + w0 & mask
        z = (t >> 33 | t << 31) * k1 & mask
        s = v1 * k1 + a & mask
        t = x + w0 + s + d & mask
        u = s + b + c & mask
        v0 = u + d & mask
        v1 = (t >> 21 | t << 43) + (u >> 44 | u << 20) + s & mask
        s = z + w1 + e & mask
        t = y + c + s + h & mask
        u = s + f + g & mask
        w0 = u + h & mask
        w1 = (t >> 21 | t << 43) + (u >> 44 | u << 20) + s & mask
        z, x = x, z
    multiplier = (_K1 + ((z & 0xFF) << 1)) & _M
    last = _BLOCK.unpack_from(data, size - 64)
    w0 = (w0 + ((size - 1) & 63)) & _M
    v0 = (v0 + w0) & _M
    w0 = (w0 + v0) & _M
    x = _right((x + y + v0 + last[1]) & _M, 37) * multiplier & _M
    y = _right((y + v1 + last[6]) & _M, 42) * multiplier & _M
    x ^= w1 * 9 & _M
    y = (y + v0 * 9 + last[5]) & _M
    z = _right((z + w0) & _M, 33) * multiplier & _M
    v0, v1 = _weak_32(last[:4], v1 * multiplier & _M, (x + w0) & _M)
    w0, w1 = _weak_32(last[4:], (z + w1) & _M, (y + last[2]) & _M)
    z, x = x, z
    return _hash_16(
        (_hash_16(v0, w0, multiplier) + _mixed(y) * _K0 + z) & _M,
        (_hash_16(v1, w1, multiplier) + x) & _M,
        multiplier,
    )


def fingerprint_cat64(one: int, other: int) -> int:
    """Returns the hash of two hashes, as TensorFlow joins them."""
    multiplier = 0xC6A4A7935BD1E995
    result = one ^ multiplier
    result ^= _mixed(other * multiplier & _M) * multiplier & _M
    result = result * multiplier & _M
    result = _mixed(result) * multiplier & _M
    return _mixed(result)
