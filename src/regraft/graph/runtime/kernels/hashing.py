"""The hashes by which TensorFlow puts text into buckets.

`fingerprint64` is FarmHash's `farmhashna::Hash64`, `siphash` is SipHash-2-4 with a
128-bit key, `hash64` is TensorFlow's variant of MurmurHash 64A.
"""

from __future__ import annotations

from regraft.storage.farmhash import fingerprint64, fingerprint_cat64

__all__ = ["fingerprint64", "fingerprint_cat64", "hash64", "siphash"]

_M = (1 << 64) - 1


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _left(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _M


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
