"""TensorFlow's counter-based generator: the numbers that a seed gives there, exactly.

Philox-4x32-10 turns a key of two words and a counter of four into four random words.
One group of numbers is made of what one counter gives; the next group has the next
one. Words are `int32`, whose products wrap around as those of unsigned words do: every
backend multiplies, shifts and compares these, on the device and traced, and NumPy does
where all is known.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011), §4.3; the
layout of seeds, groups and distributions as TensorFlow's ops show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import values

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
# The key under which a seed is the counter.
_SEED_KEY = (0x3EC8F720, 0x02461E29)
# What each number may take of the counters, where it isn't known how many it will.
_RESERVED = 64
# How many counters it does take at most: more than a few are never needed.
_DRAWN = 8
# Known numbers of up to this many are made where they are known.
_MAX_KNOWN = 1 << 16
_FRACTION_BITS = {"float16": 10, "bfloat16": 7, "float32": 23}
_LEAST_UNIFORM = 1e-7
_BOUND = 2.0

Words = tuple[Any, ...]


def _word(number: int) -> Any:
    """Returns 32 bits as `int32`."""
    return np.array([number & 0xFFFFFFFF], np.uint32).view(np.int32)


def _halves(word: Any) -> tuple[Any, Any]:
    return word & 0xFFFF, word >> 16 & 0xFFFF


@dataclass(frozen=True)
class Stream:
    """A key and a counter: where random words come from.

    Attributes:
        key: Two words.
        counter: Four words, lowest first.
    """

    key: Words
    counter: Words

    @property
    def is_known(self) -> bool:
        """Whether all words are NumPy's."""
        return values.is_host([*self.key, *self.counter])

    def on_device(self) -> Stream:
        """Returns the stream with words of the backend."""
        return Stream(
            tuple(map(values.to_tensor, self.key)),
            tuple(map(values.to_tensor, self.counter)),
        )

    def words(self, skipped: Any) -> Words:
        """Returns the four words of each counter that comes so much later."""
        counter = list(_advanced(self.counter, skipped))
        key = list(self.key)
        for number in range(_ROUNDS):
            if number:
                key = [k + _like(s, k) for k, s in zip(key, _KEY_STEPS, strict=True)]
            low, high = zip(
                *(
                    _product(m, c)
                    for m, c in zip(_MULTIPLIERS, counter[::2], strict=True)
                ),
                strict=True,
            )
            counter = [
                high[1] ^ counter[1] ^ key[0],
                low[1],
                high[0] ^ counter[3] ^ key[1],
                low[0],
            ]
        return tuple(counter)


def _like(number: int, word: Any) -> Any:
    """Returns 32 bits for arithmetic with a word."""
    known = _word(number)
    return known if values.is_host(word) else values.to_tensor(known)


def _product(factor: int, word: Any) -> tuple[Any, Any]:
    """Returns the low and the high word of a product of two words."""
    low, high = _halves(word)
    least = low * _like(factor & 0xFFFF, word)
    cross = high * _like(factor & 0xFFFF, word)
    other = low * _like(factor >> 16, word)
    (_, carried), (one, more), (two, rest) = map(_halves, (least, cross, other))
    middle = carried + one + two
    most = high * _like(factor >> 16, word)
    return word * _like(factor, word), most + more + rest + (middle >> 16)


def _advanced(counter: Words, skipped: Any) -> Words:
    """Returns a counter of 128 bits so much later."""
    first = counter[0] + skipped
    found = [first]
    carry = _flipped(first) < _flipped(counter[0])
    for word in counter[1:]:
        one = carry.astype(np.int32) if values.is_host(carry) else _as_word(carry)
        found.append(word + one)
        carry = carry & (found[-1] == 0)
    return tuple(found)


def _as_word(truth: Any) -> Any:
    return ops.cast(truth, "int32")


def _flipped(word: Any) -> Any:
    """Returns a word that is in the order of unsigned ones."""
    return word ^ _like(1 << 31, word)


# ------------------------------------------------------------ where streams begin


def stream_of_seed(seed: Any) -> Stream:
    """Returns the stream of a seed of two numbers."""
    if values.is_host(seed):
        numbers = np.asarray(seed).reshape(-1).astype(np.int64)
        parts = [_word(int(n) >> shift) for n in numbers[:2] for shift in (0, 32)]
    else:
        flat = ops.reshape(values.to_tensor(seed), (-1,))
        parts = []
        for part in (flat[:1], flat[1:2]):
            # More bits than the backend has are those of the sign.
            wide = values.dtype_of(part).endswith("64")
            parts += [_low(part), _low(part >> (32 if wide else 31))]
    start = Stream(tuple(map(_word, _SEED_KEY)), tuple(parts))
    start = start if values.is_host(parts) else start.on_device()
    mixed = start.words(_like(0, parts[0]))
    return Stream(mixed[:2], (mixed[0] * 0, mixed[0] * 0, *mixed[2:]))


def _low(number: Any) -> Any:
    """Returns the lowest 32 bits of a whole number."""
    if values.dtype_of(number) in ("int64", "uint64"):
        number = ops.cast(number, "int64")
        half = ops.convert_to_tensor(np.int64(1 << 31))
        bits = ops.convert_to_tensor(np.int64(0xFFFFFFFF))
        number = ((number + half) & bits) - half
    return ops.cast(number, "int32")


def stream_of_state(key: Any, counter: Any) -> Stream:
    """Returns the stream of a key and a counter as ops hand them on.

    Seeds on their way to where they are needed, as `as_key_and_counter` packs them,
    are told by their sign.
    """
    if not values.is_host([key, counter]):
        key, counter = values.to_tensor(key), values.to_tensor(counter)
        if values.dtype_of(key).startswith("int"):
            return stream_of_seed(ops.concatenate([key, counter[:1]]))
        parts = [
            word
            for value in (key[:1], counter[:1], counter[1:2])
            for word in (_low(value), _high(value))
        ]
        return Stream(tuple(parts[:2]), tuple(parts[2:]))
    numbers = [
        int(n) & 0xFFFFFFFFFFFFFFFF
        for value in (key, counter)
        for n in np.asarray(value).reshape(-1)
    ]
    parts = [_word(n >> shift) for n in numbers[:3] for shift in (0, 32)]
    return Stream(tuple(parts[:2]), tuple(parts[2:]))


def _high(number: Any) -> Any:
    if not values.dtype_of(number).endswith("64"):
        return ops.zeros_like(_low(number))
    return _low(number >> 32)


def as_key_and_counter(seed: Any) -> tuple[Any, Any]:
    """Returns a seed's key and counter, which are of 64 bits.

    Where the backend has none, or they are not known yet, it is the seed itself that is
    handed on: two signed numbers, by which `stream_of_state` tells it.
    """
    if not values.is_host(seed):
        flat = ops.reshape(values.to_tensor(seed), (-1,))
        return flat[:1], ops.concatenate([flat[1:2], ops.zeros_like(flat[:1])])
    stream = stream_of_seed(seed)
    words = np.concatenate([*stream.key, *stream.counter]).view(np.uint64)
    return words[:1], words[1:]


# ------------------------------------------------------------ numbers of words

Group = Callable[[Stream, Any], Sequence[Any]]


def _filled(shape: tuple[Any, ...], size: int, stream: Stream, group: Group) -> Any:
    """Returns the numbers of groups, one after another, as an array.

    Args:
        shape: Its shape, of numbers or symbols.
        size: How many numbers a group has.
        stream: Where the words come from.
        group: Returns the numbers of the groups at some places, in their order.
    """
    count = math.prod(shape)
    if not isinstance(count, int):
        return _filled_symbolically(shape, size, stream.on_device(), group)
    values.checked(shape)
    places = np.arange(-(-count // size), dtype=np.int32)
    if stream.is_known and count <= _MAX_KNOWN:
        flat = np.stack(list(group(stream, places)), axis=-1).reshape(-1)
        return flat[:count].reshape(shape)
    found = group(stream.on_device(), ops.convert_to_tensor(places))
    flat = ops.reshape(ops.stack(list(found), axis=-1), (-1,))
    return ops.reshape(flat[:count], shape)


def _filled_symbolically(
    shape: tuple[Any, ...], size: int, stream: Stream, group: Group
) -> Any:
    """Makes each number's whole group: nobody knows how many numbers there are."""
    place = ops.arange(math.prod(shape), dtype="int32")
    chosen, *others = group(stream, place // size)
    for number, other in enumerate(others, 1):
        chosen = ops.where(place % size == number, other, chosen)
    return ops.reshape(chosen, shape)


def _as_float(number: Any, dtype: str) -> Any:
    """Returns numbers as floats, at least of single precision."""
    dtype = "float64" if dtype == "float64" else "float32"
    return values.cast(number, dtype)


def _size(dtype: str) -> int:
    return 2 if dtype == "float64" else 4


def _fractions(words: Words, dtype: str) -> list[Any]:
    """Returns numbers from 0 to below 1 of the lowest bits of words."""
    if dtype == "float64":
        found = []
        for high, low in (words[:2], words[2:]):
            parts = (high & 0xFFFFF, *reversed(_halves(low)))
            one, two, three = (_as_float(part, dtype) for part in parts)
            found.append(one * 2.0**-20 + two * 2.0**-36 + three * 2.0**-52)
        return found
    bits = _FRACTION_BITS[dtype]
    mask = (1 << bits) - 1
    return [_as_float(word & mask, dtype) * np.float32(2.0**-bits) for word in words]


def _normals(words: Words, dtype: str) -> list[Any]:
    """Returns normal numbers by Box's and Muller's method."""
    wide = "float64" if dtype == "float64" else "float32"
    found = []
    uniform = _fractions(words, wide)
    for first, second in zip(uniform[::2], uniform[1::2], strict=True):
        known = values.is_host(first)
        maximum, log, sqrt, sin, cos = (
            (np.maximum, np.log, np.sqrt, np.sin, np.cos)
            if known
            else (ops.maximum, ops.log, ops.sqrt, ops.sin, ops.cos)
        )
        least = _as_float(np.array(_LEAST_UNIFORM), wide)
        turn = _as_float(np.array(2 * math.pi), wide)
        if not known:
            least, turn = values.to_tensor(least), values.to_tensor(turn)
        radius = sqrt(log(maximum(first, least)) * -2)
        found += [sin(second * turn) * radius, cos(second * turn) * radius]
    return found


def _truncated(stream: Stream, place: Any, dtype: str) -> list[Any]:
    """Returns the first normal numbers of each group that are within the bounds."""
    size = _size(dtype)
    first = place * (size * _RESERVED)
    drawn = [
        number
        for later in range(_DRAWN)
        for number in _normals(stream.words(first + later), dtype)
    ]
    known = values.is_host(first)
    absolute, where = (np.abs, np.where) if known else (ops.abs, ops.where)
    found: list[Any] = [drawn[0] * 0] * size
    rank = place * 0
    for number in drawn:
        inside = absolute(number) < _BOUND
        for order in range(size):
            found[order] = where(inside & (rank == order), number, found[order])
        rank = where(inside, rank + 1, rank)
    return found


def uniform(shape: tuple[Any, ...], dtype: str, stream: Stream) -> Any:
    """Returns numbers from 0 to below 1."""
    found = _filled(
        shape, _size(dtype), stream, lambda s, place: _fractions(s.words(place), dtype)
    )
    return values.cast(found, dtype)


def normal(shape: tuple[Any, ...], dtype: str, stream: Stream) -> Any:
    """Returns numbers of the standard normal distribution."""
    found = _filled(
        shape, _size(dtype), stream, lambda s, place: _normals(s.words(place), dtype)
    )
    return values.cast(found, dtype)


def truncated_normal(shape: tuple[Any, ...], dtype: str, stream: Stream) -> Any:
    """Returns numbers of the standard normal distribution, none beyond 2."""
    found = _filled(
        shape, _size(dtype), stream, lambda s, place: _truncated(s, place, dtype)
    )
    return values.cast(found, dtype)


def any_integers(shape: tuple[Any, ...], dtype: str, stream: Stream) -> Any:
    """Returns whole numbers of all bits; `None` where the backend has too few."""
    if not dtype.endswith("64"):
        found = _filled(shape, 4, stream, Stream.words)
        return _retyped(found, dtype)
    if not _is_known(shape, stream):
        return None
    low, high = (
        found.view(np.uint32).astype(np.uint64)
        for found in (
            _filled((*shape, 2), 4, stream, Stream.words)[..., part] for part in (0, 1)
        )
    )
    return (low | high << np.uint64(32)).view(dtype)


def integers(
    shape: tuple[Any, ...], dtype: str, stream: Stream, low: Any, high: Any
) -> Any:
    """Returns numbers from `low` to below `high`; `None` where bits are missing."""
    if values.is_traced([low, high]):
        return None
    first, last = int(values.static(low)), int(values.static(high))
    unsigned = "uint64" if dtype.endswith("64") else "uint32"
    words = any_integers(shape, unsigned, stream)
    if words is None or (last - first > 1 << 30 and not values.is_host(words)):
        return None
    if values.is_host(words):
        rest = (words % np.array(last - first, unsigned)).astype(dtype)
        return np.asarray(rest + np.array(first, dtype))
    bits = ops.cast(words, "int32")
    span = last - first
    rest = ((bits >> 1 & 0x7FFFFFFF) % span * 2 + (bits & 1)) % span
    return ops.cast(rest + first, values.device_dtype(dtype))


def _is_known(shape: tuple[Any, ...], stream: Stream) -> bool:
    count = math.prod(shape)
    return stream.is_known and isinstance(count, int) and 2 * count <= _MAX_KNOWN


def _retyped(words: Any, dtype: str) -> Any:
    if values.is_host(words):
        return words.view(dtype)
    return words if dtype == "int32" else ops.cast(words, dtype)
