"""The hashes by which TensorFlow puts text into buckets.

`fingerprint64` is FarmHash's `farmhashna::Hash64`, `siphash` is SipHash-2-4 with a
128-bit key, `hash64` is TensorFlow's variant of MurmurHash 64A.
"""

from __future__ import annotations

_M = (1 << 64) - 1
_K0 = 0xC3A5C85C97CB3127
_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _half(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _right(value: int, by: int) -> int:
    return (value >> by | value << (64 - by)) & _M if by else value


def _left(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _M


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


def _weak_32(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_word(data, at + 8 * i) for i in range(4))
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
    x = seed
    y = (seed * _K1 + 113) & _M
    z = _mixed((y * _K2 + 113) & _M) * _K2 & _M
    v = (0, 0)
    w = (0, 0)
    x = (x * _K2 + _word(data, 0)) & _M
    end = (size - 1) // 64 * 64
    last = end + ((size - 1) & 63) - 63
    for at in range(0, end, 64):
        x = _right((x + y + v[0] + _word(data, at + 8)) & _M, 37) * _K1 & _M
        y = _right((y + v[1] + _word(data, at + 48)) & _M, 42) * _K1 & _M
        x ^= w[1]
        y = (y + v[0] + _word(data, at + 40)) & _M
        z = _right((z + w[0]) & _M, 33) * _K1 & _M
        v = _weak_32(data, at, v[1] * _K1 & _M, (x + w[0]) & _M)
        w = _weak_32(data, at + 32, (z + w[1]) & _M, (y + _word(data, at + 16)) & _M)
        z, x = x, z
    multiplier = (_K1 + ((z & 0xFF) << 1)) & _M
    at = last
    w = ((w[0] + ((size - 1) & 63)) & _M, w[1])
    v = ((v[0] + w[0]) & _M, v[1])
    w = ((w[0] + v[0]) & _M, w[1])
    x = _right((x + y + v[0] + _word(data, at + 8)) & _M, 37) * multiplier & _M
    y = _right((y + v[1] + _word(data, at + 48)) & _M, 42) * multiplier & _M
    x ^= w[1] * 9 & _M
    y = (y + v[0] * 9 + _word(data, at + 40)) & _M
    z = _right((z + w[0]) & _M, 33) * multiplier & _M
    v = _weak_32(data, at, v[1] * multiplier & _M, (x + w[0]) & _M)
    w = _weak_32(data, at + 32, (z + w[1]) & _M, (y + _word(data, at + 16)) & _M)
    z, x = x, z
    return _hash_16(
        (_hash_16(v[0], w[0], multiplier) + _mixed(y) * _K0 + z) & _M,
        (_hash_16(v[1], w[1], multiplier) + x) & _M,
        multiplier,
    )


def siphash(data: bytes, key: tuple[int, ...]) -> int:
    """Returns SipHash-2-4 of `data` under a key of two 64-bit numbers."""
    k0, k1 = (k & _M for k in key)
    v = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]
    size = len(data)
    whole = size // 8 * 8
    words = [_word(data, at) for at in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (size & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        _sip_rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _sip_rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _sip_rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0] = (v[0] + v[1]) & _M
        v[2] = (v[2] + v[3]) & _M
        v[1] = _left(v[1], 13) ^ v[0]
        v[3] = _left(v[3], 16) ^ v[2]
        v[0] = _left(v[0], 32)
        v[2] = (v[2] + v[1]) & _M
        v[0] = (v[0] + v[3]) & _M
        v[1] = _left(v[1], 17) ^ v[2]
        v[3] = _left(v[3], 21) ^ v[0]
        v[2] = _left(v[2], 32)


def hash64(data: bytes, seed: int = 0xDECAFCAFFE) -> int:
    """Returns TensorFlow's own 64-bit hash, which old graphs use."""
    multiplier = 0xC6A4A7935BD1E995
    size = len(data)
    h = (seed ^ size * multiplier) & _M
    whole = size // 8 * 8
    for at in range(0, whole, 8):
        k = _word(data, at) * multiplier & _M
        k = (k ^ k >> 47) * multiplier & _M
        h = (h ^ k) * multiplier & _M
    if size & 7:
        h = (h ^ int.from_bytes(data[whole:], "little")) * multiplier & _M
    h = (h ^ h >> 47) * multiplier & _M
    return h ^ h >> 47


def fingerprint_cat64(one: int, other: int) -> int:
    """Returns the hash of two hashes, as TensorFlow joins them."""
    multiplier = 0xC6A4A7935BD1E995
    result = one ^ multiplier
    result ^= _mixed(other * multiplier & _M) * multiplier & _M
    result = result * multiplier & _M
    result = _mixed(result) * multiplier & _M
    return _mixed(result)
