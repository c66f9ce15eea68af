"""Keras 2's layers that stand for one TensorFlow call each.

A file names a TensorFlow symbol; `SYMBOLS` is the list of those that mean something
here. Shapes and what is computed from them stay concrete, so that a reshape to a
computed shape compiles; see `_Static`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from regraft.errors import UnsupportedError
from regraft.model.keras2 import op_layers_array, op_layers_math, op_layers_nn
from regraft.model.keras2.registration import registered

SYMBOLS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {**op_layers_array.SYMBOLS, **op_layers_math.SYMBOLS, **op_layers_nn.SYMBOLS}
)

# Where a KerasTensor keeps what is known of its values: an array of integers, with
# a stand-in where a dimension is open.
_STATIC = "_regraft_static"
# Two numbers that no real dimension has: what differs between them is unknown.
_STAND_INS = (1_000_003, 1_000_033)


def symbol(name: str) -> Callable[..., Any]:
    """Returns the function that a TensorFlow symbol stands for.

    Raises:
        UnsupportedError: The symbol is not on the list.
    """
    plain = name.removeprefix("tf.")
    for candidate in (plain, f"math.{plain}", plain.removeprefix("compat.v1.")):
        if candidate in SYMBOLS:
            return SYMBOLS[candidate]
    raise UnsupportedError(
        f"Regraft has no operation for the TensorFlow symbol tf.{plain}. Pass a layer "
        "of your own for it in `custom_objects={'TFOpLambda': …}`."
    )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _replace(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replace(item, convert) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_replace(item, convert) for item in value)
    return convert(value)


def _evaluated_now() -> AbstractContextManager[Any]:
    """Computes concrete values at once, also while a step is being traced."""
    if keras.backend.backend() != "jax":
        return nullcontext()
    import jax  # only where a JAX trace may be under way

    return jax.ensure_compile_time_eval()  # type: ignore[no-any-return]


class _Traced(keras.Operation):
    """A function of tensors alone; everything else in it stays as it is."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def call(self, *tensors: Any) -> Any:
        return self._function(*tensors)


@registered
class TFOpLambda(keras.layers.Layer):
    """A call of a TensorFlow symbol.

    Args:
        function: The symbol without `tf.`, such as `"math.multiply"`.
    """

    # A list of one tensor is not the tensor, for `concat` and `stack`.
    preserves_input_structure = True

    def __init__(self, function: str, **kwargs: Any) -> None:
        kwargs["autocast"] = False
        super().__init__(**kwargs)
        self.function = function
        self._target = symbol(function)
        self.built = True

    # A layer's own `__call__` refuses constants among its arguments and casts.
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("training", None)  # a model hands it to every layer
        return keras.Operation.__call__(self, *args, **kwargs)

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        return keras.Operation.symbolic_call(self, *args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("name", None)
        given = [leaf for leaf in _leaves((args, kwargs)) if hasattr(leaf, "dtype")]
        if given and all(isinstance(leaf, np.ndarray) for leaf in given):
            with _evaluated_now():
                result = self._target(*args, **kwargs)
                return keras.tree.map_structure(_host, result)
        return self._target(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        known = [
            leaf
            for leaf in _leaves((args, kwargs))
            if isinstance(leaf, keras.KerasTensor) and hasattr(leaf, _STATIC)
        ]
        if not known and self._target not in _SHAPES:
            return self._spec(args, kwargs)
        first, second = (self._trial(args, kwargs, n) for n in _STAND_INS)
        return keras.tree.map_structure(_merged, first, second)

    def _trial(self, args: Any, kwargs: Any, number: int) -> Any:
        """The result if every open dimension had the length `number`."""

        def fixed(leaf: Any) -> Any:
            if not isinstance(leaf, keras.KerasTensor):
                return leaf
            if hasattr(leaf, _STATIC):
                known = getattr(leaf, _STATIC)
                return np.where(known == _STAND_INS[0], number, known).astype(
                    leaf.dtype
                )
            shape = tuple(number if n is None else n for n in leaf.shape)
            return keras.KerasTensor(shape, dtype=leaf.dtype)

        args, kwargs = _replace(list(args), fixed), _replace(kwargs, fixed)
        if self._target in _SHAPES:
            return self._target(*args, **_unnamed(kwargs))
        if any(isinstance(leaf, keras.KerasTensor) for leaf in _leaves((args, kwargs))):
            return self._spec(args, kwargs)
        return self.call(*args, **kwargs)

    def _spec(self, args: Any, kwargs: Any) -> Any:
        def is_symbolic(leaf: Any) -> bool:
            return isinstance(leaf, keras.KerasTensor)

        symbolic = [leaf for leaf in _leaves((args, kwargs)) if is_symbolic(leaf)]

        def call(*tensors: Any) -> Any:
            values = iter(tensors)
            filled = _replace(
                (list(args), kwargs), lambda x: next(values) if is_symbolic(x) else x
            )
            return self.call(*filled[0], **filled[1])

        return _Traced(call).compute_output_spec(*symbolic)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "function": self.function}


_SHAPES = (op_layers_array.shape, op_layers_array.size, op_layers_array.rank)


def _unnamed(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != "name"}


def _host(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value) if hasattr(value, "dtype") else value


def _merged(first: Any, second: Any) -> Any:
    """One symbolic result out of two trials."""
    shape = tuple(
        a if a == b else None for a, b in zip(first.shape, second.shape, strict=True)
    )
    spec = keras.KerasTensor(shape, dtype=str(first.dtype))
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        same = first == second if first.shape == second.shape else None
        if same is not None:
            setattr(spec, _STATIC, np.where(same, first, _STAND_INS[0]))
    return spec


@registered
class SlicingOpLambda(TFOpLambda):
    """A subscript, such as `x[:, 1:]`, of a symbolic tensor."""
