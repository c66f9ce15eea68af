"""Variables: TensorFlow 2's resources and TensorFlow 1's references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from regraft.graph import ir
from regraft.graph.runtime.context import Context, HostVariable
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.gather import gather, gather_nd, scatter, scatter_nd
from regraft.graph.runtime.registry import kernel, register


def _named(
    ctx: Context, name: str, node_name: str, dtype: str, shape: ir.TensorShape
) -> Any:
    found = ctx.resources.variables.get(name or node_name)
    if found is None:
        found = HostVariable(dtype=dtype, shape=shape.dims or ())
        ctx.resources.variables[name or node_name] = found
    return found


@kernel("VarHandleOp", ignored=("container", "debug_name", "allowed_devices"))
def var_handle_op(
    ctx: Context, *, shared_name: str, dtype: str, shape: ir.TensorShape, node_name: str
) -> Any:
    """A variable by its name."""
    return _named(ctx, shared_name, node_name, dtype, shape)


@kernel("VariableV2", "Variable", ignored=("container",))
def variable_v2(
    ctx: Context, *, shared_name: str, dtype: str, shape: ir.TensorShape, node_name: str
) -> Any:
    """A variable of TensorFlow 1 by its name."""
    return _named(ctx, shared_name, node_name, dtype, shape)


def _value(ctx: Context, variable: Any) -> Any:
    value = ctx.read(variable)
    # Keras may hand out a cast value under mixed precision; a trace casts itself.
    if values.dtype_of(value) != values.device_dtype(variable.dtype):
        return values.cast(value, variable.dtype)
    return value


@kernel("ReadVariableOp", ignored=("dtype",))
def read_variable_op(ctx: Context, resource: Any) -> Any:
    """The value of a variable."""
    return _value(ctx, resource)


@kernel("VariableShape")
def variable_shape(ctx: Context, input: Any, *, out_type: str) -> Any:
    """Shape of a variable."""
    del ctx
    return values.integers(input.shape, out_type)


@kernel("VarIsInitializedOp")
def var_is_initialized_op(ctx: Context, resource: Any) -> Any:
    """Whether a variable has a value."""
    del ctx
    return np.bool_(getattr(resource, "is_initialized", True))


@kernel("IsVariableInitialized", ignored=("dtype",))
def is_variable_initialized(ctx: Context, ref: Any) -> Any:
    """Whether a variable of TensorFlow 1 has a value."""
    return var_is_initialized_op(ctx, ref)


@kernel("DestroyResourceOp", ignored=("ignore_lookup_error",))
def destroy_resource_op(resource: Any) -> None:
    """Nothing: Python frees what nobody uses."""
    del resource


def write(ctx: Context, variable: Any, value: Any) -> None:
    """Replaces a variable's value, through which no gradient flows from then on.

    As in TensorFlow, where a gradient ends at each reading of a variable: what is read
    after a write has the gradient of the variable itself, not of what was written.
    """
    if not values.is_host(value) and "float" in values.dtype_of(value):
        written = ops.stop_gradient(value)
        if getattr(variable, "trainable", False):
            before = _value(ctx, variable)
            written = written + (before - ops.stop_gradient(before))
        value = written
    ctx.assign(variable, value)


@kernel("AssignVariableOp", writes=True, ignored=("dtype", "validate_shape"))
def assign_variable_op(ctx: Context, resource: Any, value: Any) -> None:
    """Replaces a variable's value."""
    write(ctx, resource, value)


def _changed(function: Callable[..., Any]) -> Callable[..., None]:
    def kernel_function(ctx: Context, resource: Any, value: Any) -> None:
        write(ctx, resource, function(_value(ctx, resource), value))

    return kernel_function


for _op, _function in (
    ("AssignAddVariableOp", xp.add),
    ("AssignSubVariableOp", xp.subtract),
):
    register(_op, _changed(_function), writes=True, ignored=("dtype",))


@kernel("Assign", writes=True, ignored=("validate_shape", "use_locking"))
def assign(ctx: Context, ref: Any, value: Any) -> Any:
    """Replaces the value of a TensorFlow 1 variable."""
    write(ctx, ref, value)
    return ref


def _changed_ref(function: Callable[..., Any]) -> Callable[..., Any]:
    def kernel_function(ctx: Context, ref: Any, value: Any) -> Any:
        write(ctx, ref, function(_value(ctx, ref), value))
        return ref

    return kernel_function


for _op, _function in (("AssignAdd", xp.add), ("AssignSub", xp.subtract)):
    register(_op, _changed_ref(_function), writes=True, ignored=("use_locking",))


@kernel("ResourceGather", ignored=("validate_indices", "dtype", "Tindices"))
def resource_gather(
    ctx: Context, resource: Any, indices: Any, *, batch_dims: int
) -> Any:
    """Rows of a variable."""
    return gather(_value(ctx, resource), indices, batch_dims, batch_dims)


@kernel("ResourceGatherNd", ignored=("dtype", "Tindices"))
def resource_gather_nd(ctx: Context, resource: Any, indices: Any) -> Any:
    """Entries of a variable by their full index."""
    return gather_nd(_value(ctx, resource), indices)


SCATTERS = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Min": "min",
    "Max": "max",
    "Update": "update",
}


def _scattering(how: str, by_rows: bool, is_ref: bool) -> Callable[..., Any]:
    change = scatter if by_rows else scatter_nd

    def kernel_function(ctx: Context, resource: Any, indices: Any, updates: Any) -> Any:
        write(ctx, resource, change(_value(ctx, resource), indices, updates, how))
        return resource if is_ref else None

    return kernel_function


for _op, _how in SCATTERS.items():
    _options: dict[str, Any] = {"writes": True, "ignored": ("dtype", "Tindices")}
    register(f"ResourceScatter{_op}", _scattering(_how, True, False), **_options)
    _options["ignored"] += ("use_locking",)
    register(f"Scatter{_op}", _scattering(_how, True, True), **_options)
    if _how in ("add", "sub", "min", "max", "update"):
        _options["ignored"] += ("bad_indices_policy",)
        register(f"ResourceScatterNd{_op}", _scattering(_how, False, False), **_options)
        register(f"ScatterNd{_op}", _scattering(_how, False, True), **_options)
