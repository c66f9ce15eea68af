"""The traces that a revived layer can be called through, and which one takes a call."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from regraft.errors import MismatchError
from regraft.graph import ir
from regraft.graph.runtime import composites
from regraft.graph.runtime.saved_functions import SavedFunction, Trace
from regraft.loading.functions import takes_mask


class Candidate:
    """A saved function, and whether its results come with losses."""

    def __init__(self, function: SavedFunction, returns_losses: bool) -> None:
        self.function = function
        self.returns_losses = returns_losses


class CallableTraces:
    """The functions that a layer can be called through, best first."""

    def __init__(self, functions: Mapping[str, SavedFunction]) -> None:
        self._candidates = [
            Candidate(function, name != "__call__")
            for name, function in functions.items()
        ]

    def all(self) -> Iterator[Trace]:
        """Yields the traces by which the layer is called."""
        for candidate in self._candidates[:1]:
            yield from candidate.function.traces

    def written(self) -> list[keras.Variable]:
        """Returns the weights that they write, or may write."""
        found = {id(v): v for trace in self.all() for v in trace.written()}
        return list(found.values())

    def output_spec(self) -> Any:
        """Returns the spec of what the first trace returns, without its losses."""
        for candidate in self._candidates:
            for trace in candidate.function.traces:
                spec = trace.output_spec
                return spec[0] if candidate.returns_losses else spec
        return None

    def leave_out_mask(self) -> bool:
        """Whether they have the argument, and none was made with a mask."""
        functions = [candidate.function for candidate in self._candidates]
        named = any("mask" in function.spec.args for function in functions)
        return named and not any(map(takes_mask, functions))

    def add_losses(self) -> bool:
        """Whether one returns losses beside its outputs."""
        returns = bool(self._candidates) and self._candidates[0].returns_losses
        return returns and any(
            keras.tree.flatten(trace.output_spec[1]) for trace in self.all()
        )

    def argument_names(self) -> Sequence[str]:
        """Returns what the first function calls its arguments."""
        return self._candidates[0].function.argument_names if self._candidates else ()

    def signature(self) -> inspect.Signature | None:
        """Returns the signature of the first function; `None` without names."""
        if not self._candidates or not self._candidates[0].function.spec.args:
            return None
        return self._candidates[0].function.spec.signature()

    def arguments(self) -> dict[str, Any]:
        """Returns the specs of the tensors that the first trace takes, by name."""
        given = self._first_arguments().items()
        return {name: spec for name, spec in given if _is_tensors(spec)}

    def settings(self) -> dict[str, Any]:
        """Returns what else the first trace was made with, where that is no default."""
        if (signature := self.signature()) is None:
            return {}
        usual = {name: p.default for name, p in signature.parameters.items()}
        return {
            name: value
            for name, value in self._first_arguments().items()
            if _is_setting(name, value)
            and value != usual.get(name, inspect.Parameter.empty)
        }

    def setting_names(self) -> set[str]:
        """Returns the arguments, beside the first, that are no tensors in a trace."""
        return {
            name
            for candidate in self._candidates
            for trace in candidate.function.traces
            for name, value in trace.arguments(candidate.function.spec.args).items()
            if _is_setting(name, value)
        }.difference(self.argument_names()[:1])

    def _first_arguments(self) -> dict[str, Any]:
        for candidate in self._candidates[:1]:
            for trace in candidate.function.traces:
                return trace.arguments(candidate.function.spec.args)
        return {}

    def first_argument(self) -> Any:
        """Returns the spec of the first argument, `None` where there is none."""
        for candidate in self._candidates:
            for trace in candidate.function.traces:
                if trace.args:
                    return trace.args[0]
        return None

    def further_arguments(self) -> dict[str, Any]:
        """Returns the specs of tensors beside the first argument, by its names."""
        first = self.argument_names()[:1]
        found = self.arguments().items()
        return {name: spec for name, spec in found if name not in (*first, "mask")}

    def select(
        self, arguments: Sequence[Any], keywords: Mapping[str, Any]
    ) -> tuple[Candidate, Trace, tuple[Any, ...], dict[str, Any]]:
        """Returns the function and trace for a call, and its arguments as bound.

        `training` and `mask` are Keras' own arguments: they are left out where the
        trace doesn't know them, and an unknown `training` is inference.

        Raises:
            NotImplementedError: The file holds no traces of this object.
            MismatchError: No trace takes the arguments.
        """
        if not self._candidates:
            raise NotImplementedError(
                "This layer can't be called: the file holds no traced function of it "
                "(it was saved with `save_traces=False`, or never called). Pass its "
                "class in `custom_objects`."
            )
        first_error: MismatchError | None = None
        for candidate in self._candidates:
            for given in _variants(candidate.function, keywords):
                try:
                    return (candidate, *_select(candidate.function, arguments, given))
                except MismatchError as error:
                    first_error = first_error or error
        raise first_error or MismatchError("No trace takes the arguments.")


def _is_setting(name: str, value: Any) -> bool:
    return name != "training" and isinstance(value, bool | int | float | str)


def _is_tensors(spec: Any) -> bool:
    leaves = keras.tree.flatten(spec)
    return bool(leaves) and all(isinstance(leaf, ir.TensorSpec) for leaf in leaves)


def _variants(
    function: SavedFunction, keywords: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yields the keywords as given, then without what the caller never said."""
    names = function.argument_names
    known = {
        key: value
        for key, value in keywords.items()
        if key in names or key not in ("training", "mask") or function.spec.varkw
    }
    training = known.pop("training", None)
    if training is not None:
        yield {**known, "training": bool(training)}
    elif "training" in names or any("training" in t.kwargs for t in function.traces):
        yield known
        yield {**known, "training": False}
    yield known
    if known.get("mask") is not None:
        rest = {key: value for key, value in known.items() if key != "mask"}
        yield rest if training is None else {**rest, "training": bool(training)}


def _select(
    function: SavedFunction, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[Trace, tuple[Any, ...], dict[str, Any]]:
    try:
        return function.select(arguments, keywords)
    except MismatchError:
        cast = _cast_to(function.traces, arguments)
        if cast is None:
            raise
        return function.select(cast, _cast_named(function, keywords))


def _cast_to(traces: Sequence[Trace], arguments: Sequence[Any]) -> list[Any] | None:
    """Casts tensors to the dtypes of the first trace, as Keras 2's autocast did."""
    specs = traces[0].args if traces else ()
    if len(specs) < len(arguments):
        return None
    try:
        return [
            _cast(spec, _wrapped_as(spec, value))
            for spec, value in zip(specs, arguments, strict=False)
        ]
    except (TypeError, ValueError):
        return None


def _cast_named(function: SavedFunction, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Casts arguments that are given by name likewise."""
    specs = function.traces[0].arguments(function.argument_names)
    return {
        name: _cast(specs[name], value) if name in specs else value
        for name, value in keywords.items()
    }


def _wrapped_as(spec: Any, value: Any) -> Any:
    """Puts one tensor into a list, or takes it out, where the trace has it so."""
    listed = isinstance(value, list | tuple)
    if isinstance(spec, list | tuple) and len(spec) == 1 and not listed:
        return [value] if isinstance(spec, list) else (value,)
    if isinstance(spec, ir.TensorSpec) and listed and len(value) == 1:
        return value[0]
    return value


def _cast(spec: Any, value: Any) -> Any:
    if isinstance(spec, ir.TensorSpec):
        dtype = spec.dtype.name
        if isinstance(value, keras.KerasTensor):
            return keras.KerasTensor(value.shape, dtype=dtype)
        if dtype == "string" or not hasattr(value, "dtype"):
            return value
        return keras.ops.cast(value, dtype)
    if isinstance(spec, ir.TypeSpec):
        return _cast_composite(spec, value)
    if isinstance(spec, list | tuple) and isinstance(value, list | tuple):
        return type(value)(_cast(s, v) for s, v in zip(spec, value, strict=True))
    if isinstance(spec, Mapping) and isinstance(value, Mapping):
        return {key: _cast(spec[key], item) for key, item in value.items()}
    return value


def _cast_composite(spec: ir.TypeSpec, value: Any) -> Any:
    """Casts the values of a sparse or ragged tensor, not where they stand."""
    parts = composites.components(spec, value)
    specs = composites.component_specs(spec)
    if parts is None or not specs:
        return value
    return tuple(
        _cast(one, part) if one.name in ("flat_values", "values") else part
        for one, part in zip(specs, parts, strict=True)
    )
