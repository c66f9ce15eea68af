"""Signatures to serve: functions over a model, with the specs of their inputs."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from regraft.errors import UnsupportedError
from regraft.model.state_tree import call_signature, is_network
from regraft.saving.trace_inputs import (
    Arguments,
    SignatureRequest,
    TensorInput,
    flat_inputs,
    input_names,
    layer_output_names,
    model_inputs,
    packed_inputs,
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
            `argument`, `argument_1`, …, dicts by sorted keys; a model's are those of
            its `serving_default`. A model that takes a dict or a list may also be given
            its parts.

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
        called = Arguments(*_layer_arguments(model_or_fn, arguments))
        function = _of_layer(model_or_fn, arguments)
        return SignatureRequest(function, inputs, model_or_fn, called)
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
    if isinstance(function, keras.Model):
        return _named_as_served(function, found)
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
    if isinstance(function, keras.Layer):
        return [p.name for p in _tensor_parameters(function)]
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]


def _tensor_parameters(layer: keras.Layer) -> list[inspect.Parameter]:
    """Returns the arguments of a layer's call that tensors come by."""
    return [
        parameter
        for parameter in call_signature(layer).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.name != "training"
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


def _served(model: keras.Model) -> tuple[Any, Mapping[str, Any]] | None:
    """Returns what a model is called with, under the names of `serving_default`.

    Returns:
        The structure of its first argument, and those of the others by name; `None`
        if the model doesn't know.
    """
    try:
        inputs = model_inputs(model)
    except UnsupportedError:
        return None
    named = [
        dataclasses.replace(tensor, name=name)
        for tensor, name in zip(
            flat_inputs(inputs), input_names(model, inputs), strict=True
        )
    ]
    return packed_inputs(inputs, named)


def _named_as_served(model: keras.Model, arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a model, where a dict or list has its inputs' names."""
    if len(arguments) != 1 or (served := _served(model)) is None:
        return arguments
    ((name, given),) = arguments.items()
    first, _ = served
    if isinstance(given, TensorInput) or isinstance(first, TensorInput):
        return arguments
    if isinstance(given, Mapping) and isinstance(first, Mapping):
        if given.keys() != first.keys():
            return arguments
        found = {key: _renamed(given[key], first[key]) for key in given}
        return {name: found}
    return {name: _renamed(given, first)}


def _renamed(given: Any, served: Any) -> Any:
    """Returns inputs under the names of others, where they are as many."""
    leaves, others = keras.tree.flatten(given), keras.tree.flatten(served)
    if len(leaves) != len(others):
        return given
    pairs = zip(leaves, others, strict=True)
    named = [dataclasses.replace(leaf, name=other.name) for leaf, other in pairs]
    return keras.tree.pack_sequence_as(given, named)


def _of_layer(
    layer: keras.Layer, arguments: Mapping[str, Any]
) -> Callable[..., Mapping[str, Any]]:
    """Calls a layer on tensors by name, and names what it returns as Keras does."""
    takes_training = "training" in inspect.signature(layer.call).parameters
    is_model = isinstance(layer, keras.Model)
    fixed = {"training": False} if takes_training or is_model else {}

    def call(**tensors: Any) -> Mapping[str, Any]:
        first, rest = _layer_arguments(layer, _filled(arguments, tensors))
        results = layer(first, **rest, **fixed)
        outputs = layer_output_names(layer) if is_model else None
        if isinstance(results, Mapping) or not outputs:
            return _named_outputs(results, first=1)
        listed = results if isinstance(results, list | tuple) else [results]
        return dict(zip(outputs, listed, strict=True))

    return call


def _layer_arguments(
    layer: keras.Layer, given: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Returns how to call a layer with arguments, which may be parts of its first.

    Returns:
        Its first argument, and the others by name.
    """
    values = list(given.values())
    if isinstance(layer, keras.Model) and is_network(layer):
        if len(values) == 1:
            return values[0], {}
        structure = layer.input
        if isinstance(structure, Mapping) and given.keys() == structure.keys():
            return dict(given), {}
        order = [str(tensor.name) for tensor in layer.inputs]
        return ([given[n] for n in order] if given.keys() == {*order} else values), {}
    parameters = _tensor_parameters(layer)
    names = [parameter.name for parameter in parameters]
    if names and given.keys() <= {*names} and names[0] in given:
        rest = {name: value for name, value in given.items() if name != names[0]}
        return given[names[0]], rest
    if len(values) == sum(p.default is p.empty for p in parameters):
        return values[0], dict(zip(names[1:], values[1:], strict=False))
    if len(values) == 1:
        return values[0], {}
    served = _served(layer) if isinstance(layer, keras.Model) else None
    if served and isinstance(served[0], Mapping) and served[0].keys() == given.keys():
        return dict(given), {}
    return values, {}


def _filled(arguments: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arguments with tensors in the places of their inputs."""
    return {
        name: keras.tree.map_structure(lambda leaf: tensors[leaf.name], structure)
        for name, structure in arguments.items()
    }


def _of_function(
    function: Callable[..., Any], arguments: Mapping[str, Any], by_name: bool
) -> Callable[..., Mapping[str, Any]]:
    def call(**tensors: Any) -> Mapping[str, Any]:
        given = _filled(arguments, tensors)
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


def requested(
    signatures: Any, model: keras.Model
) -> dict[str, SignatureRequest] | None:
    """Reads the `signatures` argument of `save_model`.

    Args:
        signatures: One, or several by name: what `export_signature` returns, or a
            function or layer that takes what the model takes.
        model: The model that is saved.

    Raises:
        ValueError: One is neither, or is a function and the model doesn't know what it
            is called with.
    """
    if signatures is None:
        return None
    named = (
        dict(signatures)
        if isinstance(signatures, Mapping)
        else {SERVING_DEFAULT: signatures}
    )
    return {name: _request(name, value, model) for name, value in named.items()}


def _request(name: str, signature: Any, model: keras.Model) -> SignatureRequest:
    if isinstance(signature, SignatureRequest):
        return signature
    if not callable(signature):
        raise ValueError(
            f"Invalid signature '{name}': expected a function or what `regraft."
            f"export_signature(function, input_signature)` returns. Received: "
            f"{signature!r}"
        )
    served = _served(model)
    if served is None:
        raise ValueError(
            f"Signature '{name}' is a function, and model '{model.name}' doesn't know "
            "what it is called with: pass `regraft.export_signature(function, "
            "input_signature)`."
        )
    first, rest = served
    return export_signature(signature, [first, *rest.values()])
