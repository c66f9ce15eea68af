"""Signatures to serve: functions over a model, with the specs of their inputs."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from regraft.saving.trace_inputs import (
    SignatureRequest,
    TensorInput,
    layer_output_names,
)

SERVING_DEFAULT = "serving_default"


def export_signature(
    model_or_fn: keras.Model | Callable[..., Any],
    input_signature: Mapping[str, Any] | Sequence[Any],
) -> SignatureRequest:
    """Makes a signature to pass in `save_model(…, signatures={…})`.

    Args:
        model_or_fn: A model, a layer, or a pure function of Keras operations over
            one. Its result is a tensor, a list, or a dict whose keys name the
            outputs. A function's others are `output_0`, `output_1`, …, as
            TensorFlow names them; a model's are named as Keras names them.
        input_signature: The inputs, by name or in order: each has a `shape` (`None`
            for an unknown length) and a `dtype`, and in a list also a `name`, as
            `keras.InputSpec` and `keras.KerasTensor` have; or a pair of shape and
            dtype. In a list without names the function's own argument names count.
            An argument may be a dict or a list of inputs: those without a name are
            `argument`, `argument_1`, …, dicts by sorted keys.

    Raises:
        TypeError: `model_or_fn` can't be called, or not with such inputs, or an
            input has no shape.
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
    arguments = _arguments(model_or_fn, input_signature)
    inputs = {}
    for leaf in keras.tree.flatten(list(arguments.values())):
        if leaf.name in inputs:
            raise ValueError(
                f"Two inputs of the signature have the name '{leaf.name}'."
            )
        inputs[leaf.name] = leaf
    if isinstance(model_or_fn, keras.Layer):
        return SignatureRequest(_of_layer(model_or_fn, list(inputs)), inputs)
    by_name = isinstance(input_signature, Mapping)
    _check_arguments(model_or_fn, arguments, by_name)
    return SignatureRequest(_of_function(model_or_fn, arguments, by_name), inputs)


def _arguments(
    function: Callable[..., Any], input_signature: Mapping[str, Any] | Sequence[Any]
) -> dict[str, Any]:
    """Returns the structure of `TensorInput`s of each argument."""
    if isinstance(input_signature, Mapping):
        named = [(str(name), spec) for name, spec in input_signature.items()]
    else:
        names = _argument_names(function)
        named = [
            (getattr(spec, "name", None) or _at(names, index), spec)
            for index, spec in enumerate(input_signature)
        ]
    found: dict[str, Any] = {}
    for name, spec in named:
        if name in found:
            raise ValueError(f"Two inputs of the signature have the name '{name}'.")
        found[name] = _structure(name, spec)
    return found


def _structure(argument: str, spec: Any) -> Any:
    """Returns a `TensorInput` for each spec in an argument, with TensorFlow's names."""
    if not _is_nested(spec):
        return _tensor_input(argument, spec)
    counter = itertools.count()

    def named(spec: Any) -> Any:
        if isinstance(spec, Mapping):
            done = {key: named(spec[key]) for key in sorted(spec)}
            return {key: done[key] for key in spec}
        if _is_nested(spec):
            return [named(item) for item in spec]
        count = next(counter)
        name = f"{argument}_{count}" if count else argument
        return _tensor_input(getattr(spec, "name", None) or name, spec)

    return named(spec)


def _is_nested(spec: Any) -> bool:
    return isinstance(spec, Mapping | tuple | list) and not _is_pair(spec)


def _is_pair(spec: Any) -> bool:
    """Whether it is a pair of shape and dtype."""
    return (
        isinstance(spec, tuple)
        and len(spec) == 2
        and isinstance(spec[0], tuple | list)
        and all(dim is None or isinstance(dim, int) for dim in spec[0])
    )


def _check_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], by_name: bool
) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # Of a builtin, which says nothing of its arguments.
    try:
        signature.bind(**arguments) if by_name else signature.bind(*arguments.values())
    except TypeError as error:
        raise TypeError(
            f"`model_or_fn` can't be called with {list(arguments)}: {error}."
        ) from error


def _argument_names(function: Callable[..., Any]) -> list[str]:
    if isinstance(function, keras.Model) and getattr(function, "inputs", None):
        return [str(tensor.name) for tensor in function.inputs]
    called = function.call if isinstance(function, keras.Layer) else function
    return [
        parameter.name
        for parameter in inspect.signature(called).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]


def _at(names: Sequence[str], index: int) -> str:
    if index >= len(names):
        raise ValueError(
            f"Input {index} of the signature has no name. Pass the inputs as a dict."
        )
    return names[index]


def _tensor_input(name: str, spec: Any) -> TensorInput:
    if _is_pair(spec):
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


def _of_layer(
    layer: keras.Layer, names: Sequence[str]
) -> Callable[..., Mapping[str, Any]]:
    """Calls a layer on tensors by name, and names what it returns as Keras does."""
    takes_training = "training" in inspect.signature(layer.call).parameters
    is_model = isinstance(layer, keras.Model)
    kwargs = {"training": False} if takes_training or is_model else {}

    def call(**tensors: Any) -> Mapping[str, Any]:
        given = [tensors[name] for name in names]
        results = layer(given[0] if len(given) == 1 else given, **kwargs)
        outputs = layer_output_names(layer) if is_model else None
        if isinstance(results, Mapping) or not outputs:
            return _named_outputs(results, first=1)
        listed = results if isinstance(results, list | tuple) else [results]
        return dict(zip(outputs, listed, strict=True))

    return call


def _of_function(
    function: Callable[..., Any], arguments: Mapping[str, Any], by_name: bool
) -> Callable[..., Mapping[str, Any]]:
    def call(**tensors: Any) -> Mapping[str, Any]:
        given = {
            name: keras.tree.map_structure(lambda leaf: tensors[leaf.name], structure)
            for name, structure in arguments.items()
        }
        results = function(**given) if by_name else function(*given.values())
        return _named_outputs(results, first=0)

    return call


def _named_outputs(results: Any, first: int) -> Mapping[str, Any]:
    """Names what a function returned.

    Raises:
        ValueError: It is no tensor, no list and no dict of tensors by name.
    """
    if isinstance(results, Mapping):
        named = dict(results)
    else:
        listed = results if isinstance(results, list | tuple) else [results]
        named = {f"output_{first + i}": value for i, value in enumerate(listed)}
    for name, value in named.items():
        if not isinstance(name, str) or not _is_array(value):
            raise ValueError(
                "A function of a signature returns a tensor, a list of tensors, or a "
                f"dict of tensors by name. Received: {value!r} for {name!r}."
            )
    return named


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") or isinstance(value, bool | int | float)


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
