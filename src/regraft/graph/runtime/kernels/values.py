"""The values that kernels work on, and the way from one kind to another.

* A NumPy array is *concrete*: it is known while a computation is being traced.
  Strings are object arrays of `bytes`.
* `SymbolicArray` is a NumPy array of lengths, some of which are known only as
  symbols (the batch size of an exported function).
* Everything else that is a tensor belongs to Keras' backend and may be a tracer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft import dtypes
from regraft.errors import LimitError, MismatchError, UnsupportedError
from regraft.graph import ir

Array = np.ndarray[Any, Any]
Tensor = Any

# A graph is a file's word: no tensor that it makes out of nothing may be larger.
MAX_ELEMENTS = 1 << 31

# What JAX keeps of a 64-bit type where it is not told to know them.
_NARROW = {
    "int64": "int32",
    "uint64": "uint32",
    "float64": "float32",
    "complex128": "complex64",
}


class SymbolicArray(np.ndarray[Any, Any]):
    """Integers of which some are symbols."""

    tf_dtype: str = "int32"

    def __array_finalize__(self, source: Any) -> None:
        self.tf_dtype = getattr(source, "tf_dtype", "int32")


def integers(items: Sequence[Any], dtype: str = "int32") -> Array:
    """Returns a vector of lengths: plain if all are known, else symbolic."""
    if all(isinstance(item, (int, np.integer)) for item in items):
        return np.array(items, dtype)
    array = np.empty(len(items), object)
    array[:] = list(items)
    out = array.view(SymbolicArray)
    out.tf_dtype = dtype
    return out


def joined(parts: Sequence[Any], whole: Array) -> Array:
    """Returns what NumPy joined of parts as a symbolic array, if one of them is.

    NumPy keeps no subclass when it joins.
    """
    for part in parts:
        if isinstance(part, SymbolicArray):
            out = whole.view(SymbolicArray)
            out.tf_dtype = part.tf_dtype
            return out
    return whole


def normalized(value: Any) -> Any:
    """Returns a kernel's result as a value: NumPy scalars become arrays."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, (np.generic, int, float, bool, complex)):
        return np.asarray(value)
    if isinstance(value, SymbolicArray):
        return _settled(value)
    if isinstance(value, bytes):
        array = np.empty((), object)
        array[()] = value
        return array
    if is_symbol(value):
        return integers([value]).reshape(())
    return value


def is_symbol(value: Any) -> bool:
    """Whether a value is a length that has only a name."""
    return type(value).__name__ in ("_DimExpr", "_DimPolynomial")


def _settled(value: SymbolicArray) -> Array:
    if all(isinstance(item, (int, np.integer)) for item in value.reshape(-1)):
        return np.array(value.tolist(), value.tf_dtype).reshape(value.shape)
    return value


def is_host(value: Any) -> bool:
    """Whether a value (or each of a list) is NumPy's."""
    if isinstance(value, (list, tuple)):
        return all(is_host(item) for item in value)
    return isinstance(value, (np.ndarray, np.generic, int, float, bool, complex))


def is_backend(value: Any) -> bool:
    """Whether a value is a tensor of Keras' backend, or Keras' symbol for one."""
    return bool(keras.ops.is_tensor(value)) or isinstance(value, keras.KerasTensor)


def is_traced(value: Any) -> bool:
    """Whether a tensor's value is not known now."""
    if isinstance(value, (list, tuple)):
        return any(is_traced(item) for item in value)
    if is_host(value) or not keras.ops.is_tensor(value):
        return False
    if keras.backend.backend() == "jax":
        import jax

        return isinstance(value, jax.core.Tracer)
    return keras.backend.backend() == "tensorflow" and not hasattr(value, "numpy")


def is_differentiated(value: Any) -> bool:
    """Whether derivatives are taken with respect to what a tensor depends on.

    JAX 0.4 to 0.10: only the name of a tracer's class says it, and only outside of
    what is compiled inside.
    """
    return is_traced(value) and type(value).__name__ in _DIFFERENTIATED


_DIFFERENTIATED = frozenset({"JVPTracer", "LinearizeTracer"})


def static(value: Any) -> Any:
    """Returns a value as NumPy's.

    Raises:
        UnsupportedError: It is not known while tracing.
    """
    if isinstance(value, np.ndarray) or not keras.ops.is_tensor(value):
        return value
    if is_traced(value):
        raise UnsupportedError(
            "A shape, axis, table key or text here depends on the values of the "
            "inputs, which are unknown while the function is being compiled. Call "
            "it outside of jit (with `run_eagerly=True` or on concrete arrays)."
        )
    return keras.ops.convert_to_numpy(value)


def has_64_bit() -> bool:
    """Whether the backend keeps 64-bit types."""
    if keras.backend.backend() != "jax":
        return True
    import jax

    return bool(jax.config.read("jax_enable_x64"))


def backend_is_jax_on_cpu() -> bool:
    """Whether XLA's code for the CPU will run what is computed."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"


def may_compile() -> bool:
    """Whether what runs more than once is worth compiling: JAX has not been told no."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return not jax.config.jax_disable_jit  # type: ignore[attr-defined]


def device_dtype(dtype: str) -> str:
    """Returns the type that the backend uses for a dtype."""
    if dtype.startswith(("qint", "quint")):
        dtype = dtype[1:]
    return dtype if has_64_bit() else _NARROW.get(dtype, dtype)


def traced_dtype(dtype: str) -> str:
    """Returns the type in which JAX traces a tensor: text as handles."""
    return dtypes.HANDLE if dtype == "string" else device_dtype(dtype)


def dtype_of(value: Any) -> str:
    """Returns the name of a value's element type."""
    if isinstance(value, SymbolicArray):
        return value.tf_dtype
    if isinstance(value, np.ndarray):
        return dtypes.from_numpy(value.dtype).name
    return str(keras.backend.standardize_dtype(value.dtype))


def numpy_dtype(dtype: str) -> Any:
    """Returns NumPy's type for a dtype name."""
    found = dtypes.from_name(dtype).numpy
    if found is None:
        raise UnsupportedError(f"A {dtype} is no array of numbers.")
    return found


def shape_of(value: Any) -> tuple[Any, ...]:
    """Returns the shape; lengths may be symbols."""
    if isinstance(value, np.ndarray):
        return value.shape
    return tuple(ops.shape(value))


def rank_of(value: Any) -> int:
    """Returns the number of dimensions."""
    return len(value.shape)


def dims(shape: Any) -> tuple[Any, ...]:
    """Returns a static shape or list of axes as a tuple of `int`s or symbols."""
    if isinstance(shape, np.ndarray):
        shape = shape.reshape(-1).tolist()
    return tuple(int(d) if isinstance(d, (int, np.integer)) else d for d in shape)


def checked(lengths: Sequence[Any]) -> tuple[Any, ...]:
    """Returns the shape of what is about to be made.

    Raises:
        LimitError: A graph asks for more than any of its tensors can hold.
    """
    count = 1
    for length in lengths:
        count *= length if isinstance(length, int) else 1
    if count > MAX_ELEMENTS or any(isinstance(n, int) and n < 0 for n in lengths):
        raise LimitError(
            "Invalid shape in a graph",
            expected=f"up to {MAX_ELEMENTS} elements",
            received=tuple(lengths),
        )
    return tuple(lengths)


def widths_for(value: Any, widths: Sequence[Any]) -> list[Any]:
    """Returns the widths of a border that a graph puts around a tensor.

    Raises:
        LimitError: The whole is too large for any tensor; XLA would end the process.
    """
    lengths = shape_of(value)
    checked([n + a + b for n, (a, b) in zip(lengths, widths, strict=True)])
    return list(widths)


def scalar(value: Any) -> Any:
    """Returns a static one-element value as a Python number, `bytes`, or symbol."""
    return np.asarray(value).reshape(-1)[0] if _symbolic(value) else value.item()


def _symbolic(value: Any) -> bool:
    return isinstance(value, SymbolicArray)


def to_tensor(value: Any, dtype: str | None = None) -> Tensor:
    """Returns a value as a tensor of the backend.

    Raises:
        UnsupportedError: It is text, or an integer that the backend cannot hold.
    """
    if not isinstance(value, (np.ndarray, np.generic)):
        return value if dtype is None else ops.cast(value, device_dtype(dtype))
    if isinstance(value, SymbolicArray):
        flat = [ops.convert_to_tensor(item) for item in value.reshape(-1)]
        stacked = ops.reshape(ops.stack(flat), value.shape)
        return ops.cast(stacked, device_dtype(dtype or value.tf_dtype))
    if value.dtype == object:
        raise UnsupportedError("Text cannot enter a compiled computation.")
    name = device_dtype(dtype or dtypes.from_numpy(value.dtype).name)
    numpy = numpy_dtype(name)
    if value.dtype.kind in "iu" and value.dtype != numpy and value.size:
        low, high = value.min(), value.max()
        info = np.iinfo(numpy) if np.dtype(numpy).kind in "iu" else None
        if info is not None and (low < info.min or high > info.max):
            raise UnsupportedError(
                f"{value.dtype} values beyond {name} need 64-bit arithmetic, which "
                "the backend does not have."
            )
    return ops.convert_to_tensor(np.asarray(value, numpy))


def cast(value: Any, dtype: str) -> Any:
    """Returns a value with another element type, where it is."""
    if isinstance(value, SymbolicArray):
        if dtype in ("int32", "int64"):
            out = value.copy()
            out.tf_dtype = dtype
            return out
        return to_tensor(value, dtype)
    if isinstance(value, np.ndarray):
        return value.astype(numpy_dtype(dtype))
    target = device_dtype(dtype)
    return value if dtype_of(value) == target else ops.cast(value, target)


def argument(value: Any, dtype: str) -> Any:
    """Returns a caller's value as one to run on.

    Text and 64-bit numbers that the backend lacks stay on the host.
    """
    if dtype in ("resource", "variant", "") or is_traced(value):
        return value
    if not isinstance(value, np.ndarray) and keras.ops.is_tensor(value):
        return value
    if dtype == "string":
        return ir.as_bytes(np.asarray(value))
    if isinstance(value, SymbolicArray):
        return value
    array = np.asarray(value)
    if array.dtype != numpy_dtype(dtype):
        try:
            array = array.astype(numpy_dtype(dtype))
        except (TypeError, ValueError):
            raise MismatchError(f"Expected {dtype}, received {array.dtype}.") from None
    return array if device_dtype(dtype) != dtype else to_tensor(array)


def new_seed_generator() -> Any:
    """Returns a fresh source of random seeds."""
    return keras.random.SeedGenerator()


def keeping_float64(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a function of Keras that on JAX computes float64 in float64, too."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    exact: Callable[[Any], Any] = getattr(jax.numpy, name)
    return lambda x: exact(x) if dtype_of(x) == "float64" else function(x)
