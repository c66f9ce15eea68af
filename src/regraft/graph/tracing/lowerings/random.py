"""Random numbers: TensorFlow draws new ones in each call, whatever the key is.

A key is no tensor here; equations that only make keys out of keys are passed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.elementwise import cast
from regraft.graph.tracing.registry import NOT_LOWERED, lowering
from regraft.graph.tracing.values import Dim, Value

NOT_LOWERED["threefry2x32"] = "it is one generator's arithmetic on a raw key"
NOT_LOWERED["rng_bit_generator"] = "it is one generator's arithmetic on a raw key"


@lowering(
    "random_wrap", "random_seed", "random_split", "random_fold_in", "random_clone"
)
def make_key(g: Graph, *values: Value) -> Value:
    """Makes a key."""
    return Value("key", g.shape_of(), key=True)


@lowering("random_unwrap")
def random_unwrap(g: Graph, key: Value) -> Value:
    """The numbers inside of a key, which nothing in TensorFlow depends on."""
    shape = tuple(int(d) for d in g.shape_of())
    return Value.of(np.zeros(shape, np.dtype(g.dtype_of())), g.dtype_of())


_PART = 16


@lowering("random_bits")
def random_bits(
    g: Graph, key: Value, *, bit_width: int, shape: tuple[Dim, ...]
) -> Value | None:
    """Random bits, drawn in parts that 32-bit integers hold on any device."""
    size, dtype = g.shape_tensor(g.shape_of()), g.dtype_of()
    found = None
    for start in range(0, bit_width, _PART):
        high = np.int32(1 << min(_PART, bit_width - start))
        drawn = g.op(
            "RandomUniformInt", size, np.int32(0), high, Tout="int32", shape=shape
        )
        part = cast(g, drawn, dtype)
        if found is not None:
            shift = np.asarray(_PART, dtype)
            found = g.op("LeftShift", found, shift, T=dtype, shape=shape)
            part = g.op("BitwiseOr", found, part, T=dtype, shape=shape)
        found = part
    return found


@lowering("random_gamma")
def random_gamma(g: Graph, key: Value, alpha: Value, *, log_space: bool) -> Value:
    """One gamma-distributed number per `alpha`."""
    empty = np.zeros(0, np.int32)
    # TensorFlow draws none in bfloat16.
    wide = cast(g, alpha, "float32") if alpha.dtype == "bfloat16" else alpha
    drawn = g.op("RandomGamma", empty, wide, shape=g.shape_of())
    drawn = g.op("Log", drawn, shape=g.shape_of()) if log_space else drawn
    return cast(g, drawn, alpha.dtype)


def uniform(g: Graph, shape: tuple[Dim, ...], dtype: str) -> Any:
    """Returns random numbers in [0, 1)."""
    return g.op("RandomUniform", g.shape_tensor(shape), dtype=dtype, shape=shape)
