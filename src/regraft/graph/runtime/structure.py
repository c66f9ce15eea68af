"""Python arguments against the structures that a SavedModel says a trace takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.dtypes import HANDLE
from regraft.errors import FormatError, MismatchError
from regraft.graph import ir
from regraft.graph.runtime import composites
from regraft.graph.runtime.kernels import values


def is_tensor_like(value: Any) -> bool:
    """Whether a value can stand for a tensor."""
    return isinstance(value, (np.ndarray, np.generic)) or values.is_backend(value)


def describe(value: Any) -> str:
    """Returns a short text for a value or spec, as error messages show it."""
    if isinstance(value, ir.TypeSpec):
        return composites.described(value)
    if isinstance(value, ir.BoundedTensorSpec):
        return f"{value.dtype.name}{value.shape}"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{k!r}: {describe(v)}" for k, v in value.items())
        return f"{{{inner}}}"
    if isinstance(value, ir.NamedTupleValue):
        inner = ", ".join(f"{k}={describe(v)}" for k, v in value.items)
        return f"{value.name}({inner})"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(describe, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if is_tensor_like(value):
        shape = ", ".join(str(n) for n in np.shape(value))
        return f"{values.dtype_of(np.asarray(value)) if values.is_host(value) else values.dtype_of(value)}({shape})"  # noqa: E501
    return str(value) if isinstance(value, ir.TensorSpec) else repr(value)


def difference(spec: Any, value: Any, place: str) -> str | None:
    """Returns how a value differs from what a trace takes; `None` if it fits."""
    if isinstance(spec, (ir.TensorSpec, ir.BoundedTensorSpec)):
        return _tensor_difference(spec, value, place)
    if isinstance(spec, ir.TypeSpec):
        return _composite_difference(spec, value, place)
    if isinstance(spec, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(spec):
            return _differs(spec, value, place)
        pairs = (
            (f"{place}[{i}]", s, v)
            for i, (s, v) in enumerate(zip(spec, value, strict=True))
        )
        return _first(pairs)
    if isinstance(spec, ir.NamedTupleValue):
        return difference([item for _, item in spec.items], _as_list(value), place)
    if isinstance(spec, Mapping):
        if not isinstance(value, Mapping) or set(value) != set(spec):
            return _differs(spec, value, place)
        return _first((f"{place}[{k!r}]", s, value[k]) for k, s in spec.items())
    if is_tensor_like(value):
        return None if _equals(spec, value) else _differs(spec, value, place)
    return None if _same_constant(spec, value) else _differs(spec, value, place)


def _composite_difference(spec: ir.TypeSpec, value: Any, place: str) -> str | None:
    parts = composites.components(spec, value)
    if parts is None:
        return _differs(spec, value, place)
    specs = composites.component_specs(spec)
    for one, part in zip(specs, parts, strict=False):
        found = _tensor_difference(one, part, f"{place}.{one.name}")
        if found is not None:
            return found
    found = composites.difference(spec, parts)
    return None if found is None else f"{place}: expected {describe(spec)}, not {found}"


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _equals(spec: Any, value: Any) -> bool:
    if spec is None or values.is_traced(value) or np.ndim(value):
        return False
    return bool(values.static(value) == spec)


def _same_constant(spec: Any, value: Any) -> bool:
    if isinstance(spec, bool) or isinstance(value, bool):
        return spec is value or (
            type(spec) in (bool, int) and type(value) in (bool, int) and spec == value
        )
    if isinstance(spec, ir.TensorShape):
        dims = getattr(value, "dims", value)
        return dims is None or tuple(dims) == spec.dims
    if isinstance(spec, ir.DataType) and isinstance(value, str):
        return spec.name == value.removeprefix("tf.")
    return bool(spec == value)


def _differs(spec: Any, value: Any, place: str) -> str:
    return f"{place}: expected {describe(spec)}, received {describe(value)}"


def _first(items: Any) -> str | None:
    for place, spec, value in items:
        found = difference(spec, value, place)
        if found is not None:
            return found
    return None


def _tensor_difference(spec: Any, value: Any, place: str) -> str | None:
    if isinstance(value, (int, float, complex, str, bytes, list, tuple)):
        value = _array(value, spec.dtype.name)
    if value is None or not is_tensor_like(value):
        return _differs(spec, value, place)
    if not spec.shape.is_compatible_with(tuple(value.shape)):
        return _differs(spec, value, place)
    wanted, given = spec.dtype.name, _dtype(value)
    if wanted == given or values.device_dtype(wanted) == given:
        return None
    # Inside of a model numbers stand for its text.
    if wanted == "string" and given == HANDLE and values.is_backend(value):
        return None
    # A number of Python or NumPy's widest kind may be narrowed.
    if values.is_host(value) and _narrows(given, wanted):
        return None
    return _differs(spec, value, place)


def _array(value: Any, dtype: str) -> Any:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # the first of a tensor that is being traced
        return None
    if array.dtype.kind in "SU":
        return ir.as_bytes(array) if dtype == "string" else None
    return array if array.dtype != object else None


def _dtype(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.dtype.kind in "SU":
        return "string"
    return values.dtype_of(np.asarray(value) if values.is_host(value) else value)


def _narrows(given: str, wanted: str) -> bool:
    kinds = {"float64": "float", "int64": "int", "int32": "int"}
    kind = kinds.get(given)
    return kind is not None and (
        kind in wanted or (kind == "int" and "float" in wanted)
    )


def flat_tensors(spec: Any, value: Any) -> Iterator[tuple[Any, str]]:
    """Yields the tensors of a value that fits, in a trace's order, with dtypes."""
    if isinstance(spec, (ir.TensorSpec, ir.BoundedTensorSpec)):
        yield value, spec.dtype.name
    elif isinstance(spec, ir.TypeSpec):
        parts = composites.components(spec, value) or ()
        specs = composites.component_specs(spec)
        for i, item in enumerate(parts):
            yield item, specs[i].dtype.name if specs else ""
    elif isinstance(spec, (list, tuple)):
        for inner, item in zip(spec, value, strict=True):
            yield from flat_tensors(inner, item)
    elif isinstance(spec, ir.NamedTupleValue):
        for (_, inner), item in zip(spec.items, value, strict=True):
            yield from flat_tensors(inner, item)
    elif isinstance(spec, Mapping):
        # TensorFlow flattens dicts by sorted keys.
        for key in sorted(spec):
            yield from flat_tensors(spec[key], value[key])


def flat_specs(spec: Any) -> Iterator[ir.TensorSpec]:
    """Yields the tensors of a structure of specs, in a trace's order."""
    if isinstance(spec, ir.TensorSpec):
        yield spec
    elif isinstance(spec, ir.TypeSpec):
        yield from composites.component_specs(spec)
    elif isinstance(spec, (list, tuple)):
        for inner in spec:
            yield from flat_specs(inner)
    elif isinstance(spec, ir.NamedTupleValue):
        for _, inner in spec.items:
            yield from flat_specs(inner)
    elif isinstance(spec, Mapping):
        for key in sorted(spec):
            yield from flat_specs(spec[key])


def rebuilt(spec: Any, flat: Iterator[Any]) -> Any:
    """Returns a structure with the next flat values in its tensors' places.

    Raises:
        FormatError: There are fewer values.
    """
    if isinstance(spec, (ir.TensorSpec, ir.BoundedTensorSpec)):
        return _following(flat)
    if isinstance(spec, ir.TypeSpec):
        taken = tuple(_following(flat) for _ in range(spec.component_count))
        return composites.rebuilt(spec, taken)
    if isinstance(spec, (list, tuple)):
        return type(spec)(rebuilt(inner, flat) for inner in spec)
    if isinstance(spec, ir.NamedTupleValue):
        return tuple(rebuilt(inner, flat) for _, inner in spec.items)
    if isinstance(spec, Mapping):
        parts = {key: rebuilt(spec[key], flat) for key in sorted(spec)}
        return {key: parts[key] for key in spec}
    return spec


def _following(flat: Iterator[Any]) -> Any:
    for value in flat:
        return value
    raise FormatError(
        "Invalid output signature",
        expected="as many tensors as the function gives",
        received="more",
    )


_PLAIN = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True)
class ArgumentSpec:
    """The Python signature of a traced function.

    Attributes:
        args: Names of positional arguments, without `self`.
        defaults: Of the last ones.
        varargs: Whether more positional arguments are taken.
        varkw: Whether more keyword arguments are taken.
        kwonly: Keyword-only arguments and their defaults (`ABSENT` without).
    """

    args: tuple[str, ...]
    defaults: Mapping[str, Any]
    varargs: bool
    varkw: bool
    kwonly: Mapping[str, Any]

    def signature(self) -> inspect.Signature | None:
        """Returns it as Python's own; `None` where Python has no such signature."""
        empty = inspect.Parameter.empty
        places = [
            *((name, _PLAIN, self.defaults.get(name, empty)) for name in self.args),
            *([("arguments", inspect.Parameter.VAR_POSITIONAL, empty)] * self.varargs),
            *(
                (name, _KEYWORD, empty if default is ir.ABSENT else default)
                for name, default in self.kwonly.items()
            ),
            *([("keywords", inspect.Parameter.VAR_KEYWORD, empty)] * self.varkw),
        ]
        try:
            return inspect.Signature(
                [inspect.Parameter(n, kind, default=d) for n, kind, d in places]
            )
        except ValueError:
            return None

    @classmethod
    def of(cls, spec: ir.FunctionSpec) -> ArgumentSpec:
        """Reads the `FullArgSpec` of a function."""
        full = spec.fullargspec
        fields = dict(full.items) if isinstance(full, ir.NamedTupleValue) else {}
        names = tuple(fields.get("args") or ())
        defaults = tuple(fields.get("defaults") or ())
        kwonly = tuple(fields.get("kwonlyargs") or ())
        kwonly_defaults = fields.get("kwonlydefaults") or {}
        first = len(names) - len(defaults)
        if spec.is_method or names[:1] == ("self",):
            names, first = names[1:], first - 1
        return cls(
            args=names,
            defaults=dict(zip(names[max(first, 0) :], defaults, strict=False)),
            varargs=fields.get("varargs") is not None,
            varkw=fields.get("varkw") is not None,
            kwonly={k: kwonly_defaults.get(k, ir.ABSENT) for k in kwonly},
        )

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns arguments as a trace's signature orders them.

        Raises:
            MismatchError: An argument is missing, given twice, or unknown.
        """
        if len(args) > len(self.args) and not self.varargs:
            raise MismatchError(
                f"Expected at most {len(self.args)} positional arguments "
                f"({', '.join(self.args)}), received {len(args)}."
            )
        rest = dict(kwargs)
        positional = list(args[: len(self.args)])
        for name in self.args[: len(positional)]:
            if name in rest:
                raise MismatchError(f"Argument '{name}' was given twice.")
        for name in self.args[len(positional) :]:
            if name in rest:
                positional.append(rest.pop(name))
            elif name in self.defaults:
                positional.append(self.defaults[name])
            else:
                raise MismatchError(f"Missing argument '{name}'.")
        positional += args[len(self.args) :]
        for name, default in self.kwonly.items():
            if name not in rest and default is not ir.ABSENT:
                rest[name] = default
        unknown = set(rest) - set(self.kwonly)
        if unknown and not self.varkw:
            raise MismatchError(f"Unexpected arguments: {', '.join(sorted(unknown))}.")
        return tuple(positional), rest
