"""Python signatures of traced functions, as TensorFlow keeps them.

Source: TensorFlow `core/protobuf/saved_object_graph.proto` (`FunctionSpec`).
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from regraft.dtypes import HANDLE, name_of
from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.composites import RaggedTensor, SparseTensor, spec_of
from regraft.graph.runtime.kernels.values import traced_dtype
from regraft.graph.tracing.builder import data_type, shape_of
from regraft.model.state_tree import call_signature
from regraft.saving.trace_calls import POSITIONAL, LayerCall, Leaf

_PLAIN = (bool, int, float, str, type(None))


def expects_training(layer: keras.Layer, below: Sequence[keras.Layer]) -> bool:
    """Whether a layer or one of those below it takes `training`."""
    return any(
        "training" in call_signature(each).parameters for each in (layer, *below)
    )


def call_spec(layer: keras.Layer, takes_training: bool) -> ir.FunctionSpec:
    """Returns the Python signature of a layer's functions."""
    parameters = call_signature(layer).parameters
    args = [p for p in parameters.values() if p.kind in POSITIONAL]
    only = [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
    names = [p.name for p in args]
    defaults = [_default(p) for p in args if p.default is not p.empty]
    keywords = {p.name: _default(p) for p in only if p.default is not p.empty}
    keyword_names = [p.name for p in only]
    if takes_training and "training" not in parameters:
        keyword_names.append("training")
        keywords["training"] = False
    return full_arg_spec(
        names,
        varargs=_name_of(parameters, inspect.Parameter.VAR_POSITIONAL),
        varkw=_name_of(parameters, inspect.Parameter.VAR_KEYWORD),
        defaults=tuple(defaults),
        kwonlyargs=keyword_names,
        kwonlydefaults=keywords,
    )


def _name_of(parameters: Mapping[str, inspect.Parameter], kind: Any) -> str | None:
    return next((p.name for p in parameters.values() if p.kind is kind), None)


def _default(parameter: inspect.Parameter) -> Any:
    if parameter.name == "training" and parameter.default is None:
        return False
    return plain(parameter.default)


def full_arg_spec(
    args: Sequence[str],
    *,
    varargs: str | None = None,
    varkw: str | None = None,
    defaults: tuple[Any, ...] = (),
    kwonlyargs: Sequence[str] = (),
    kwonlydefaults: Mapping[str, Any] | None = None,
) -> ir.FunctionSpec:
    """Returns the signature of a Python function."""
    items: tuple[tuple[str, Any], ...] = (
        ("args", list(args)),
        ("varargs", varargs),
        ("varkw", varkw),
        ("defaults", defaults or None),
        ("kwonlyargs", list(kwonlyargs)),
        ("kwonlydefaults", dict(kwonlydefaults) if kwonlydefaults else None),
        ("annotations", {}),
    )
    return ir.FunctionSpec(
        ir.NamedTupleValue("FullArgSpec", items), input_signature=None
    )


def plain(value: Any) -> Any:
    """Returns a value as a `StructuredValue`.

    Raises:
        UnsupportedError: TensorFlow has no form for it.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    raise UnsupportedError(
        f"it is called with a {type(value).__name__}, which no signature of TensorFlow "
        "holds; it has no function of its own"
    )


def structure(value: Any, specs: Sequence[ir.TensorSpec]) -> Any:
    """Returns a structure with the specs of its tensors.

    Raises:
        UnsupportedError: It holds something that TensorFlow has no form for.
    """
    if isinstance(value, Leaf):
        return specs[value.index]
    if isinstance(value, dict):
        return {str(key): structure(item, specs) for key, item in value.items()}
    if isinstance(value, SparseTensor | RaggedTensor):
        parts = [structure(item, specs) for item in value]
        if all(isinstance(part, ir.TensorSpec) for part in keras.tree.flatten(parts)):
            return spec_of(type(value)(*parts))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = zip(value._fields, value, strict=True)
        items = tuple((name, structure(item, specs)) for name, item in fields)
        return ir.NamedTupleValue(type(value).__name__, items)
    if isinstance(value, list | tuple):
        return type(value)(structure(item, specs) for item in value)
    return plain(value)


_has_text: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "has_text", default=False
)


@contextmanager
def handles_are_text(has_text: bool) -> Iterator[None]:
    """Makes specs of this block say that tensors of handles are text."""
    token = _has_text.set(has_text)
    try:
        yield
    finally:
        _has_text.reset(token)


def tensor_spec(shape: Sequence[Any], dtype: Any, name: str = "") -> ir.TensorSpec:
    """Returns the spec of a tensor; symbolic lengths are unknown ones."""
    dtype = name_of(dtype)
    dtype = "string" if _has_text.get() and dtype == HANDLE else dtype
    return ir.TensorSpec(shape_of(shape), data_type(dtype), name)


def promised_dtypes(call: LayerCall) -> dict[int, str]:
    """Returns the dtypes of a call's tensors where the graph of layers has others.

    JAX has no 64-bit numbers unless asked to; a function keeps the dtype it promised.
    TensorFlow calls a function only with tensors of its very dtypes, and Keras 2 calls
    those of a layer with what the graph of layers hands it.
    """
    try:
        handed = [t.dtype for t in keras.tree.flatten(call.layer.input)]
    except (AttributeError, ValueError):
        # No graph of layers, or several places in it.
        return {}
    pairs = list(
        zip(handed, (name_of(tensor.dtype) for tensor in call.tensors), strict=False)
    )
    if len(pairs) < len(handed) or any(traced_dtype(a) != b for a, b in pairs):
        return {}
    return {i: a for i, (a, b) in enumerate(pairs) if a not in (b, "string")}


def input_signature(
    call: LayerCall,
    takes_training: bool,
    names: Sequence[str],
    promised: Mapping[int, str],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the arguments of a call as TensorFlow canonicalizes them."""
    specs = [
        tensor_spec(tensor.shape, promised.get(i, tensor.dtype), name)
        for i, (tensor, name) in enumerate(zip(call.tensors, names, strict=True))
    ]
    signature = call_signature(call.layer)
    parameters = signature.parameters
    keywords = _name_of(parameters, inspect.Parameter.VAR_KEYWORD)
    kwargs = {
        key: value
        for key, value in call.kwargs.items()
        if key in parameters or (keywords and value is not None)
    }
    bound = signature.bind(*call.args, **kwargs).arguments
    args: list[Any] = []
    extra: dict[str, Any] = {}
    for parameter in parameters.values():
        value = bound.get(parameter.name, parameter.default)
        if parameter.kind in POSITIONAL:
            args.append(_argument(parameter.name, value, call, specs))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            args += [structure(v, specs) for v in bound.get(parameter.name, ())]
        elif parameter.kind is parameter.KEYWORD_ONLY:
            extra[parameter.name] = _argument(parameter.name, value, call, specs)
        else:
            given = bound.get(parameter.name, {})
            extra |= {key: structure(v, specs) for key, v in given.items()}
    if takes_training and "training" not in parameters:
        extra["training"] = call.training
    return tuple(args), extra


def _argument(
    name: str, value: Any, call: LayerCall, specs: Sequence[ir.TensorSpec]
) -> Any:
    if name == "training":
        return call.training
    return None if value is inspect.Parameter.empty else structure(value, specs)
