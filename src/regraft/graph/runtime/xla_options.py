"""What XLA is told about compiling a plan."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import Any

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.native import raw_native
from regraft.graph.runtime.plan import Plan

# jaxlib 0.10's XLA hands convolutions and matrix products of the CPU to YNNPACK unless
# this names something else. Its convolutions of few channels take twice the time of
# XLA's own and more (3x3 over 56x56x64: 18 ms, 10 ms), and products beside
# convolutions are slower too; small products alone, as in a recurrent layer, are not.
# What is left to YNNPACK here are sums: naming nothing isn't possible.
_LIBRARY = "xla_cpu_experimental_ynn_fusion_type"
_SUMS_ONLY = "LIBRARY_FUSION_TYPE_REDUCE"
CONVOLUTIONS = frozenset({"Conv2D", "_FusedConv2D", "FusedConv2D", "Conv3D"})


def compiler_options(plans: Iterable[Plan]) -> dict[str, Any]:
    """Returns JAX's `compiler_options` for a plan and those that it calls."""
    if (
        values.backend_is_jax_on_cpu()
        # What the user says goes.
        and _LIBRARY not in os.environ.get("XLA_FLAGS", "")
        and any(step.node.op in CONVOLUTIONS for one in plans for step in one.steps)
        and _knows(_LIBRARY, _SUMS_ONLY)
    ):
        return {_LIBRARY: _SUMS_ONLY}
    return {}


@functools.cache
def _knows(option: str, value: str) -> bool:
    """Whether the installed XLA has an option; names of experiments come and go."""
    jitted = raw_native("jit")(lambda x: x, compiler_options={option: value})
    try:
        jitted.lower(0.0).compile()
    except Exception:  # JAX's own error; it is no name of an option then.
        return False
    return True
