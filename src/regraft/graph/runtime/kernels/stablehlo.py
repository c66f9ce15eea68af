"""`XlaCallModule`: a StableHLO module inside a graph, run by JAX.

JAX models reach SavedModels this way. The module goes back through JAX's own
deserializer, so it needs Keras to run on JAX, and lengths that are known.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.native import raw_native
from regraft.graph.runtime.registry import kernel

_IGNORED = (
    "Tin",
    "dim_args_spec",
    "has_token_input_output",
    "disabled_checks",
    "use_shardy_partitioner",
)


@kernel("XlaCallModule", ignored=_IGNORED, limits="JAX only; no gradient")
def xla_call_module(
    inputs: list[Any],
    *,
    version: int,
    module: Any,
    Sout: tuple[ir.TensorShape, ...],
    Tout: tuple[str, ...],
    platforms: tuple[str, ...],
    function_list: tuple[ir.FunctionRef, ...],
) -> list[Any]:
    """The results of a StableHLO module."""
    if keras.backend.backend() != "jax":
        raise UnsupportedError("A StableHLO module runs on Keras' JAX backend only.")
    if function_list or any(not shape.is_fully_defined for shape in Sout):
        raise UnsupportedError(
            "A StableHLO module that calls TensorFlow functions, or whose results have "
            "lengths that depend on its inputs."
        )
    tensors = [values.to_tensor(item) for item in inputs]

    def stand_in(*args: Any) -> list[Any]:
        del args
        return [
            ops.zeros(shape.dims, values.device_dtype(dtype))
            for shape, dtype in zip(Sout, Tout, strict=True)
        ]

    # Everything about the call is that of a function with the same arguments and
    # results; only what it computes is the module's.
    names = tuple(name.lower() for name in platforms) or None
    jitted = raw_native("jit")(stand_in, keep_unused=True)
    template = raw_native("export")(jitted, platforms=names)(*tensors)
    code = module.encode() if isinstance(module, str) else module
    exported = dataclasses.replace(
        template, mlir_module_serialized=code, calling_convention_version=version
    )
    return list(exported.call(*tensors))
