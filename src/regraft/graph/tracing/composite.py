"""A composite whose results are known beforehand, as one primitive of JAX.

JAX doesn't look inside of it. What it does is traced only where somebody needs it:
where JAX transforms it, and where its lowering can't write it down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Results = Callable[..., Sequence[tuple[Sequence[Any], Any]]]
"""Shape and dtype of each result, from the operands."""


@dataclass(frozen=True, slots=True)
class Composite:
    """What is computed; equal ones compute the same, so they share JAX's caches.

    Attributes:
        name: Of its lowering.
        params: Parameters of its lowering, by name.
        run: Computes it; it must not hold on to arrays.
        results: See `Results`.
    """

    name: str
    params: tuple[tuple[str, Any], ...]
    run: Callable[..., Sequence[Any]] = field(compare=False)
    results: Results = field(compare=False)


primitive = Primitive("regraft_composite")
primitive.multiple_results = True


def _run(*operands: Any, composite: Composite) -> Sequence[Any]:
    return composite.run(*operands)


def _abstract(*operands: Any, composite: Composite) -> list[Any]:
    results = composite.results(*operands)
    return [jax.core.ShapedArray(tuple(shape), dtype) for shape, dtype in results]


def _batch(
    operands: Sequence[Any], axes: Sequence[Any], *, composite: Composite
) -> tuple[Sequence[Any], list[int]]:
    results = jax.vmap(composite.run, in_axes=tuple(axes))(*operands)
    return results, [0] * len(results)


def _derive(
    operands: Sequence[Any], tangents: Sequence[Any], *, composite: Composite
) -> Any:
    known = tuple(map(ad.instantiate_zeros, tangents))
    return jax.jvp(composite.run, tuple(operands), known)


primitive.def_impl(_run)
primitive.def_abstract_eval(_abstract)
batching.primitive_batchers[primitive] = _batch
ad.primitive_jvps[primitive] = _derive
mlir.register_lowering(primitive, mlir.lower_fun(_run, multiple_results=True))
