"""Random numbers: TensorFlow's distributions from Keras' generators.

Stateful ops draw from the run's `SeedGenerator`, whose state is a variable like any
other: the numbers differ from TensorFlow's; the distributions don't. Stateless ones,
and those of `tf.random.Generator`, draw TensorFlow's own numbers (`philox`) where these
are uniform, normal or whole; others are drawn by the seed that they are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import philox, values
from regraft.graph.runtime.kernels.native import raw_native
from regraft.graph.runtime.kernels.philox import (
    Stream,
    as_key_and_counter,
    stream_of_seed,
    stream_of_state,
)
from regraft.graph.runtime.registry import kernel, register

_SEEDS = ("seed", "seed2", "T")
Draw = Callable[[tuple[Any, ...], str, Any], Any]


class _Key(keras.random.SeedGenerator):
    """A seed that is known already, where Keras wants a generator."""

    def __init__(self, key: Any) -> None:
        # Not calling Keras: it would make a variable for the state.
        self._regraft_key = key

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def next(self, ordered: bool = True) -> Any:
        return self._regraft_key


def next_key(ctx: Context) -> _Key:
    """Returns the run's next seed, as Keras wants it."""
    variable = ctx.seed_variable
    state = ctx.read(variable)
    step = ops.convert_to_tensor(np.array([0, 1], np.uint32))
    ctx.assign(variable, ops.add(state, ops.cast(step, state.dtype)))
    return _Key(state)


def _float_dtype(dtype: str) -> str:
    return values.device_dtype(dtype)


def random_uniform(shape: tuple[Any, ...], key: Any) -> Any:
    """Returns numbers from 0 to below 1."""
    return keras.random.uniform(shape, dtype="float32", seed=key)


def _uniform(shape: tuple[Any, ...], dtype: str, key: _Key) -> Any:
    return keras.random.uniform(shape, dtype=_float_dtype(dtype), seed=key)


def _normal(shape: tuple[Any, ...], dtype: str, key: _Key) -> Any:
    return keras.random.normal(shape, dtype=_float_dtype(dtype), seed=key)


def _truncated(shape: tuple[Any, ...], dtype: str, key: _Key) -> Any:
    return keras.random.truncated_normal(shape, dtype=_float_dtype(dtype), seed=key)


def _integers(
    shape: tuple[Any, ...], dtype: str, key: _Key, low: Any, high: Any
) -> Any:
    device = values.device_dtype(dtype)
    if values.is_traced([low, high]):
        part = keras.random.uniform(shape, dtype="float32", seed=key)
        span = ops.cast(high - low, "float32")
        return ops.minimum(low + ops.cast(part * span, device), high - 1)
    first, last = int(values.static(low)), int(values.static(high))
    return keras.random.randint(shape, first, last, dtype=device, seed=key)


def _any_integers(shape: tuple[Any, ...], dtype: str, key: _Key) -> Any:
    device = values.device_dtype(dtype)
    info = np.iinfo(device)
    half = keras.random.randint(shape, 0, 1 << 16, dtype="int32", seed=key)
    other = keras.random.randint(
        shape, 0, 1 << 16, dtype="int32", seed=_Key(key.next() + 1)
    )
    del info
    return ops.cast(ops.add(ops.left_shift(half, 16), other), device)


DISTRIBUTIONS: dict[str, Draw] = {
    "Uniform": _uniform,
    "StandardNormal": _normal,
    "TruncatedNormal": _truncated,
}


def _stateful(draw: Draw) -> Callable[..., Any]:
    def kernel_function(ctx: Context, shape: Any, *, dtype: str) -> Any:
        return draw(values.dims(shape), dtype, next_key(ctx))

    return kernel_function


for _op, _draw in (
    ("RandomUniform", _uniform),
    ("RandomStandardNormal", _normal),
    ("TruncatedNormal", _truncated),
):
    register(_op, _stateful(_draw), static=("shape",), ignored=_SEEDS, random=True)


@kernel("RandomUniformInt", static=("shape",), ignored=(*_SEEDS, "Tout"), random=True)
def random_uniform_int(ctx: Context, shape: Any, minval: Any, maxval: Any) -> Any:
    """Whole numbers from `minval` to below `maxval`."""
    dtype = values.dtype_of(minval)
    return _integers(values.dims(shape), dtype, next_key(ctx), minval, maxval)


@kernel("RandomShuffle", ignored=("seed", "seed2"), random=True)
def random_shuffle(ctx: Context, value: Any) -> Any:
    """The rows in any order."""
    return keras.random.shuffle(values.to_tensor(value), seed=next_key(ctx))


@kernel("RandomGamma", static=("shape",), ignored=("seed", "seed2", "S"), random=True)
def random_gamma(ctx: Context, shape: Any, alpha: Any) -> Any:
    """Numbers of gamma distributions."""
    alpha = values.to_tensor(alpha)
    full = (*values.dims(shape), *values.shape_of(alpha))
    dtype = values.dtype_of(alpha)
    return keras.random.gamma(full, alpha, dtype=dtype, seed=next_key(ctx))


@kernel("Multinomial", static=("num_samples",), ignored=_SEEDS, random=True)
def multinomial(
    ctx: Context, logits: Any, num_samples: Any, *, output_dtype: str
) -> Any:
    """Classes drawn by their unnormalized log probabilities."""
    return _categorical(logits, num_samples, output_dtype, next_key(ctx))


def _categorical(logits: Any, count: Any, dtype: str, key: _Key) -> Any:
    return keras.random.categorical(
        values.to_tensor(logits),
        int(values.scalar(count)),
        dtype=values.device_dtype(dtype),
        seed=key,
    )


# Stateless ops: the seed is an input


def _key(seed: Any) -> _Key:
    """Returns the key of a seed of two numbers."""
    if values.is_host(seed):
        flat = np.asarray(seed).reshape(-1).astype(np.int64)
        words = (flat & 0xFFFFFFFF).astype(np.uint32)
        return _Key(ops.convert_to_tensor(np.resize(words, 2)))
    return _Key(ops.cast(ops.reshape(seed, (-1,))[:2], "uint32"))


def _counter_key(key: Any, counter: Any) -> _Key:
    """Returns the key for a generator's key and counter."""
    if values.is_host([key, counter]):
        word = np.asarray(key).reshape(-1)[:1].astype(np.uint64)
        first = np.asarray(counter).reshape(-1)[:1].astype(np.uint64)
        mixed = np.concatenate([word >> np.uint64(32) ^ first, word])
        return _Key(ops.convert_to_tensor((mixed & 0xFFFFFFFF).astype(np.uint32)))
    key = ops.reshape(values.to_tensor(key), (-1,))[:1]
    counter = ops.reshape(values.to_tensor(counter), (-1,))[:1]
    return _Key(ops.cast(ops.concatenate([counter, key]), "uint32"))


Exact = Callable[[tuple[Any, ...], str, Stream], Any]


def _full_int(shape: tuple[Any, ...], dtype: str, stream: Stream) -> Any:
    found = philox.any_integers(shape, dtype, stream)
    return _any_integers(shape, dtype, _stream_key(stream)) if found is None else found


def _ranged(
    shape: tuple[Any, ...], dtype: str, stream: Stream, low: Any, high: Any
) -> Any:
    found = philox.integers(shape, dtype, stream, low, high)
    if found is not None:
        return found
    return _integers(shape, dtype, _stream_key(stream), low, high)


def _stream_key(stream: Stream) -> _Key:
    """Returns a seed for draws that are not TensorFlow's."""
    parts = [values.to_tensor(word) for word in (stream.key[0], stream.counter[2])]
    return _Key(ops.cast(ops.concatenate(parts), "uint32"))


def _stateless(draw: Exact) -> Callable[..., Any]:
    def kernel_function(shape: Any, seed: Any, *, dtype: str) -> Any:
        return draw(values.dims(shape), dtype, stream_of_seed(seed))

    return kernel_function


def _stateless_v2(draw: Exact) -> Callable[..., Any]:
    def kernel_function(
        shape: Any, key: Any, counter: Any, alg: Any, *, dtype: str
    ) -> Any:
        del alg
        return draw(values.dims(shape), dtype, stream_of_state(key, counter))

    return kernel_function


for _name, _exact in (
    ("StatelessRandomUniform", philox.uniform),
    ("StatelessRandomNormal", philox.normal),
    ("StatelessTruncatedNormal", philox.truncated_normal),
    ("StatelessRandomUniformFullInt", _full_int),
):
    register(
        _name, _stateless(_exact), static=("shape",), ignored=("T", "Tseed", "Tshape")
    )
    register(
        f"{_name}V2", _stateless_v2(_exact), static=("shape",), ignored=("Tshape",)
    )


@kernel("StatelessRandomUniformInt", static=("shape",), ignored=("T", "Tseed"))
def stateless_random_uniform_int(
    shape: Any, seed: Any, minval: Any, maxval: Any, *, dtype: str
) -> Any:
    """Whole numbers from `minval` to below `maxval`."""
    return _ranged(values.dims(shape), dtype, stream_of_seed(seed), minval, maxval)


@kernel("StatelessRandomUniformIntV2", static=("shape",), ignored=("Tshape",))
def stateless_random_uniform_int_v2(
    shape: Any,
    key: Any,
    counter: Any,
    alg: Any,
    minval: Any,
    maxval: Any,
    *,
    dtype: str,
) -> Any:
    """Whole numbers from `minval` to below `maxval`."""
    del alg
    stream = stream_of_state(key, counter)
    return _ranged(values.dims(shape), dtype, stream, minval, maxval)


@kernel("StatelessMultinomial", static=("num_samples",), ignored=("T", "Tseed"))
def stateless_multinomial(
    logits: Any, num_samples: Any, seed: Any, *, output_dtype: str
) -> Any:
    """Classes drawn by their unnormalized log probabilities."""
    return _categorical(logits, num_samples, output_dtype, _key(seed))


@kernel("StatelessRandomGetKeyCounter", ignored=("Tseed",))
def stateless_random_get_key_counter(seed: Any) -> tuple[Any, Any]:
    """A generator's key and counter for a seed of two numbers."""
    return as_key_and_counter(seed)


@kernel("StatelessRandomGetKeyCounterAlg", ignored=("Tseed",))
def stateless_random_get_key_counter_alg(seed: Any) -> tuple[Any, Any, Any]:
    """A generator's key and counter for a seed, and its algorithm's number."""
    return (*as_key_and_counter(seed), np.int32(1))


@kernel("StatelessRandomGetAlg")
def stateless_random_get_alg() -> Any:
    """The number of the generator's algorithm: Philox."""
    return np.int32(1)


# Generators of `tf.random.Generator`: the state is a variable of 64-bit numbers


def _skip(ctx: Context, resource: Any, delta: Any) -> Any:
    """Moves a generator on for some numbers, and returns where it was."""
    state = ctx.read(resource)
    if values.is_host(state) and not values.is_traced(delta):
        count = int(np.asarray(values.static(delta)).astype(np.uint64).item())
        low, high = (int(word) for word in state[:2].view(np.uint64))
        moved = low + (high << 64) + count * _SKIPPED
        new = np.array(state)
        new[:2] = np.array(
            [moved >> shift & 0xFFFFFFFFFFFFFFFF for shift in (0, 64)], np.uint64
        ).view(np.int64)
    else:
        step = ops.cast(values.to_tensor(delta), "int32") * _SKIPPED
        state = values.to_tensor(state)
        zeros = ops.zeros_like(state)[1:]
        moved = ops.concatenate([ops.reshape(ops.cast(step, state.dtype), (1,)), zeros])
        new = ops.add(state, moved)
    ctx.assign(resource, new)
    return state


# Counters that a generator leaves behind for each number, however few it took.
_SKIPPED = 256


def _generator_stream(ctx: Context, resource: Any, shape: tuple[Any, ...]) -> Stream:
    state = _skip(ctx, resource, np.uint64(math.prod(shape)))
    kind = "uint64"
    if values.is_host(state):
        state = state.view(np.uint64)
    else:
        state = ops.cast(state, values.device_dtype(kind))
    return stream_of_state(state[2:3], state[:2])


def _generator_key(ctx: Context, resource: Any, shape: tuple[Any, ...]) -> _Key:
    return _stream_key(_generator_stream(ctx, resource, shape))


def _from_generator(draw: Exact) -> Callable[..., Any]:
    def kernel_function(
        ctx: Context, resource: Any, algorithm: Any, shape: Any, *, dtype: str
    ) -> Any:
        del algorithm
        dims = values.dims(shape)
        return draw(dims, dtype, _generator_stream(ctx, resource, dims))

    return kernel_function


for _op, _exact in (
    ("StatefulUniform", philox.uniform),
    ("StatefulStandardNormalV2", philox.normal),
    ("StatefulTruncatedNormal", philox.truncated_normal),
    ("StatefulUniformFullInt", _full_int),
):
    register(
        _op,
        _from_generator(_exact),
        static=("shape",),
        ignored=("shape_dtype",),
        writes=True,
    )


@kernel("StatefulUniformInt", static=("shape",), ignored=("shape_dtype",), writes=True)
def stateful_uniform_int(
    ctx: Context,
    resource: Any,
    algorithm: Any,
    shape: Any,
    minval: Any,
    maxval: Any,
    *,
    dtype: str,
) -> Any:
    """Whole numbers from `minval` to below `maxval`."""
    del algorithm
    dims = values.dims(shape)
    return _ranged(dims, dtype, _generator_stream(ctx, resource, dims), minval, maxval)


@kernel("RngSkip", writes=True)
def rng_skip(ctx: Context, resource: Any, algorithm: Any, delta: Any) -> None:
    """Moves a generator on."""
    del algorithm
    _skip(ctx, resource, delta)


@kernel("RngReadAndSkip", writes=True)
def rng_read_and_skip(ctx: Context, resource: Any, alg: Any, delta: Any) -> Any:
    """A generator's state, which then moves on."""
    del alg
    return _skip(ctx, resource, delta)


# Counts, and normal numbers between bounds


def _poisson(shape: tuple[Any, ...], dtype: str, key: _Key, rate: Any) -> Any:
    rate = ops.cast(values.to_tensor(rate), "float32")
    drawn = raw_native("poisson")(_jax_key(key), rate, shape)
    return ops.cast(drawn, values.device_dtype(dtype))


def _jax_key(key: _Key) -> Any:
    return raw_native("wrap_key_data")(
        ops.cast(ops.concatenate([key.next()] * 2)[:2], "uint32"), impl="threefry2x32"
    )


@kernel("RandomPoissonV2", static=("shape",), ignored=(*_SEEDS, "S", "R"), random=True)
def random_poisson_v2(ctx: Context, shape: Any, rate: Any, *, dtype: str) -> Any:
    """Numbers of Poisson distributions."""
    full = (*values.dims(shape), *values.shape_of(rate))
    return _poisson(full, dtype, next_key(ctx), rate)


@kernel("RandomPoisson", static=("shape",), ignored=(*_SEEDS, "S"), random=True)
def random_poisson(ctx: Context, shape: Any, rate: Any, *, dtype: str) -> Any:
    """Numbers of Poisson distributions."""
    return random_poisson_v2(ctx, shape, rate, dtype=dtype)


@kernel("StatelessRandomPoisson", static=("shape",))
def stateless_random_poisson(shape: Any, seed: Any, lam: Any, *, dtype: str) -> Any:
    """Numbers of Poisson distributions."""
    return _poisson(values.dims(shape), dtype, _key(seed), lam)


def _binomial(
    shape: tuple[Any, ...], dtype: str, key: _Key, counts: Any, probs: Any
) -> Any:
    counts, probs = (ops.cast(values.to_tensor(v), "float32") for v in (counts, probs))
    drawn = keras.random.binomial(shape, counts, probs, dtype="float32", seed=key)
    return ops.cast(drawn, values.device_dtype(dtype))


@kernel("StatelessRandomBinomial", static=("shape",))
def stateless_random_binomial(
    shape: Any, seed: Any, counts: Any, probs: Any, *, dtype: str
) -> Any:
    """Numbers of binomial distributions."""
    return _binomial(values.dims(shape), dtype, _key(seed), counts, probs)


@kernel("StatefulRandomBinomial", static=("shape",), writes=True)
def stateful_random_binomial(
    ctx: Context,
    resource: Any,
    algorithm: Any,
    shape: Any,
    counts: Any,
    probs: Any,
    *,
    dtype: str,
) -> Any:
    """Numbers of binomial distributions."""
    del algorithm
    dims = values.dims(shape)
    key = _generator_key(ctx, resource, dims)
    return _binomial(dims, dtype, key, counts, probs)


@kernel("StatelessRandomGammaV2", static=("shape",))
def stateless_random_gamma_v2(shape: Any, seed: Any, alpha: Any) -> Any:
    """Numbers of gamma distributions."""
    alpha = values.to_tensor(alpha)
    dtype = values.dtype_of(alpha)
    return keras.random.gamma(values.dims(shape), alpha, dtype=dtype, seed=_key(seed))


@kernel("StatelessRandomGammaV3", static=("shape",))
def stateless_random_gamma_v3(
    shape: Any, key: Any, counter: Any, alg: Any, alpha: Any
) -> Any:
    """Numbers of gamma distributions."""
    del alg
    alpha = values.to_tensor(alpha)
    dtype = values.dtype_of(alpha)
    found = _counter_key(key, counter)
    return keras.random.gamma(values.dims(shape), alpha, dtype=dtype, seed=found)


def _bounded(
    shape: tuple[Any, ...], dtype: str, key: _Key, parameters: Sequence[Any]
) -> Any:
    """Returns normal numbers between bounds, by the inverse of their distribution."""
    mean, deviation, low, high = (
        ops.reshape(v, (*values.shape_of(v), *(1,) * (len(shape) - len(v.shape))))
        if v.shape
        else v
        for v in (values.to_tensor(p) for p in parameters)
    )
    root = float(np.sqrt(2.0))
    first = (1 + ops.erf((low - mean) / deviation / root)) / 2
    last = (1 + ops.erf((high - mean) / deviation / root)) / 2
    part = keras.random.uniform(shape, dtype=values.device_dtype(dtype), seed=key)
    level = first + part * (last - first)
    drawn = mean + deviation * root * ops.erfinv(2 * level - 1)
    return ops.clip(drawn, low, high)


@kernel(
    "ParameterizedTruncatedNormal",
    static=("shape",),
    ignored=("seed", "seed2"),
    random=True,
)
def parameterized_truncated_normal(
    ctx: Context, shape: Any, means: Any, stdevs: Any, minvals: Any, maxvals: Any
) -> Any:
    """Normal numbers between bounds; parameters go by the first axis."""
    parameters = (means, stdevs, minvals, maxvals)
    dtype = values.dtype_of(means)
    return _bounded(values.dims(shape), dtype, next_key(ctx), parameters)


@kernel("StatelessParameterizedTruncatedNormal", static=("shape",))
def stateless_parameterized_truncated_normal(
    shape: Any, seed: Any, means: Any, stddevs: Any, minvals: Any, maxvals: Any
) -> Any:
    """Normal numbers between bounds, whose parameters are broadcast."""
    lengths = values.dims(shape)
    parameters = [
        ops.broadcast_to(values.to_tensor(v), lengths)
        for v in (means, stddevs, minvals, maxvals)
    ]
    return _bounded(lengths, values.dtype_of(means), _key(seed), parameters)


@kernel("StatelessShuffle")
def stateless_shuffle(value: Any, key: Any, counter: Any, alg: Any) -> Any:
    """The rows in any order."""
    del alg
    return keras.random.shuffle(
        values.to_tensor(value), seed=_counter_key(key, counter)
    )
