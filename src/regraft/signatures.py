"""Signatures to serve: functions over a model, with the specs of their inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from regraft.saving.trace_inputs import SignatureRequest, TensorInput

SERVING_DEFAULT = "serving_default"


def export_signature(
    model_or_fn: keras.Model | Callable[..., Any],
    input_signature: Mapping[str, Any] | Sequence[Any],
) -> SignatureRequest:
    """Makes a signature to pass in `save_model(…, signatures={…})`.

    Args:
        model_or_fn: A model, or a pure function of Keras operations over one. Its
            result is a tensor, a list, or a dict whose keys name the outputs.
        input_signature: The inputs, by name or in order: each has a `shape` (`None`
            for an unknown length) and a `dtype`, and in a list also a `name`, as
            `keras.InputSpec` and `keras.KerasTensor` have; or a pair of shape and
            dtype. In a list without names the function's own argument names count.

    Raises:
        TypeError: `model_or_fn` can't be called, or an input has no shape.
        ValueError: Two inputs have one name, or one has none.

    >>> import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> signature = export_signature(
    ...     lambda x: {"score": keras.ops.sigmoid(model(x))},
    ...     {"x": keras.InputSpec(shape=(None, 3), dtype="float32")},
    ... )
    >>> sorted(signature.inputs)
    ['x']
    """
    if not callable(model_or_fn):
        raise TypeError(
            "Invalid `model_or_fn`: expected a model or a function. "
            f"Received: {model_or_fn!r}"
        )
    inputs = _inputs(model_or_fn, input_signature)
    if isinstance(model_or_fn, keras.Model):
        return SignatureRequest(_of_model(model_or_fn, list(inputs)), inputs)
    if isinstance(input_signature, Mapping):
        return SignatureRequest(model_or_fn, inputs)
    return SignatureRequest(_positional(model_or_fn, list(inputs)), inputs)


def _inputs(
    function: Callable[..., Any], input_signature: Mapping[str, Any] | Sequence[Any]
) -> dict[str, TensorInput]:
    if isinstance(input_signature, Mapping):
        named = [(str(name), spec) for name, spec in input_signature.items()]
    else:
        names = _argument_names(function)
        named = [
            (getattr(spec, "name", None) or _at(names, index), spec)
            for index, spec in enumerate(input_signature)
        ]
    found: dict[str, TensorInput] = {}
    for name, spec in named:
        if name in found:
            raise ValueError(f"Two inputs of the signature have the name '{name}'.")
        found[name] = _tensor_input(name, spec)
    return found


def _argument_names(function: Callable[..., Any]) -> list[str]:
    if isinstance(function, keras.Model):
        return [str(tensor.name) for tensor in getattr(function, "inputs", None) or ()]
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]


def _at(names: Sequence[str], index: int) -> str:
    if index >= len(names):
        raise ValueError(
            f"Input {index} of the signature has no name. Pass the inputs as a dict."
        )
    return names[index]


def _tensor_input(name: str, spec: Any) -> TensorInput:
    if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[0], tuple | list):
        shape, dtype = spec
    else:
        shape, dtype = getattr(spec, "shape", None), getattr(spec, "dtype", None)
    if shape is None:
        raise TypeError(
            f"Invalid spec of input '{name}': expected a shape and a dtype, as "
            f"`keras.InputSpec` has. Received: {spec!r}"
        )
    dtype = keras.backend.standardize_dtype(dtype or keras.config.floatx())
    return TensorInput(tuple(shape), dtype, name)


def _of_model(model: keras.Model, names: Sequence[str]) -> Callable[..., Any]:
    """Calls a model on tensors by name, and names what it returns as Keras does."""

    def call(**tensors: Any) -> Any:
        given = [tensors[name] for name in names]
        results = model(given[0] if len(given) == 1 else given, training=False)
        outputs = getattr(model, "output_names", None)
        if isinstance(results, Mapping) or not outputs:
            return results
        listed = results if isinstance(results, list | tuple) else [results]
        return dict(zip(outputs, listed, strict=True))

    return call


def _positional(
    function: Callable[..., Any], names: Sequence[str]
) -> Callable[..., Any]:
    def call(**tensors: Any) -> Any:
        return function(*(tensors[name] for name in names))

    return call


def requested(signatures: Any) -> dict[str, SignatureRequest] | None:
    """Reads the `signatures` argument of `save_model`.

    Raises:
        ValueError: One was not made by `export_signature`.
    """
    if signatures is None:
        return None
    named = (
        dict(signatures)
        if isinstance(signatures, Mapping)
        else {SERVING_DEFAULT: signatures}
    )
    for name, signature in named.items():
        if not isinstance(signature, SignatureRequest):
            raise ValueError(
                f"Invalid signature '{name}': expected what `regraft.export_signature("
                f"function, input_signature)` returns. Received: {signature!r}"
            )
    return named
