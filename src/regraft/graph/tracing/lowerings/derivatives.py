"""Functions whose derivative their author wrote.

TensorFlow derives the ops of a graph. To make it find the author's derivative, the
results are hidden from it, and a term is added that is zero: the derivative as the
linear function that it is, applied to `x - stop_gradient(x)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.registry import lowering
from regraft.graph.tracing.values import Value

Arrays = Sequence[Any]


@lowering("custom_vjp_call", "custom_jvp_call")
def custom_derivative(g: Graph, *operands: Value, call_jaxpr: Any) -> Any:
    """A function with a derivative of its own."""
    equation = g.equation
    # Nobody derives what is written down flat: signatures.
    if g.is_flat or _is_of_jax(equation, call_jaxpr):
        return g.inline(call_jaxpr, operands)
    specs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars]
    try:
        closed = jax.make_jaxpr(_derivable(equation, call_jaxpr))(*specs)
    # What the author's code raises, and JAX where the derivative isn't linear.
    except Exception:
        g.tracing.lost_derivatives.add(_name(call_jaxpr))
        return g.inline(call_jaxpr, operands)
    return g.inline(closed, operands)


def _is_of_jax(equation: Any, closed: Any) -> bool:
    """Whether JAX says how its own function derives; TensorFlow knows that as well.

    What a caller wraps in `jax.custom_gradient` has its place in JAX too.
    """
    if equation.primitive.name != "custom_jvp_call":
        return False
    place = getattr(closed.jaxpr.debug_info, "func_filename", None) or ""
    return "/jax/_src/" in place.replace("\\", "/")


def _name(closed: Any) -> str:
    return str(getattr(closed.jaxpr.debug_info, "func_name", "function"))


def _is_float(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.inexact))


def _derivable(equation: Any, call_jaxpr: Any) -> Callable[..., list[Any]]:
    """Returns a function that computes the same and derives as the author says."""
    primal = core.jaxpr_as_fun(call_jaxpr)
    alone = call_jaxpr.jaxpr.replace(
        constvars=[],
        invars=equation.invars,
        outvars=equation.outvars,
        eqns=[equation],
    )
    whole = core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))
    slope = _along if equation.primitive.name == "custom_jvp_call" else _transposed

    def derivable(*operands: Any) -> list[Any]:
        places = [i for i, x in enumerate(operands) if _is_float(x)]
        fixed = [jax.lax.stop_gradient(x) if _is_float(x) else x for x in operands]

        def of_floats(*floats: Any) -> list[Any]:
            given = list(fixed)
            for i, value in zip(places, floats, strict=True):
                given[i] = value
            return [y for y in whole(*given) if _is_float(y)]

        zeros = [operands[i] - fixed[i] for i in places]
        terms = iter(slope(of_floats, [fixed[i] for i in places], zeros))
        return [
            jax.lax.stop_gradient(y) + _finite(next(terms)) if _is_float(y) else y
            for y in primal(*operands)
        ]

    return derivable


def _along(function: Callable[..., Any], at: Arrays, tangents: Arrays) -> Arrays:
    """Returns the derivative of a function along tangents."""
    found: Arrays = jax.jvp(function, tuple(at), tuple(tangents))[1]
    return found


def _transposed(function: Callable[..., Any], at: Arrays, tangents: Arrays) -> Arrays:
    """Returns the same where the author says only what cotangents become."""
    results, back = jax.vjp(function, *at)
    found: Arrays = jax.linear_transpose(back, results)(tuple(tangents))[0]
    return found


def _finite(term: Any) -> Any:
    """Returns zeros where zero times an infinite derivative is no number."""
    return jnp.where(jnp.isfinite(term), term, jnp.zeros_like(term))
