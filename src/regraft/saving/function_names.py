"""What a SavedModel says about its functions besides what they compute.

`MetaInfoDef.function_aliases` gives functions names that a caller knows;
`debug/saved_model_debug_info.pb` says which source line made a node, under keys
`node@function`, as TensorFlow's own loader reads them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping

import keras

from regraft import _compat
from regraft.saving.trace_inputs import SignatureRequest
from regraft.saving.traces import LayerTraces, ModelTraces
from regraft.storage.proto import messages


def check_aliases(
    aliases: Mapping[str, object],
    model: keras.Model,
    requests: Mapping[str, SignatureRequest] | None,
) -> None:
    """Checks that each alias is of a function that will be saved.

    Raises:
        TypeError: One is neither a signature nor a layer.
        ValueError: One is not part of what is saved.
    """
    known = {id(request) for request in (requests or {}).values()}
    known |= {id(layer) for layer in _compat.all_layers(model)}
    for alias, target in aliases.items():
        if not isinstance(target, SignatureRequest | keras.Layer):
            raise TypeError(
                f"Invalid `function_aliases['{alias}']`: expected what "
                "`export_signature` returns, or a layer of the model. "
                f"Received: {target!r}"
            )
        if id(target) not in known:
            raise ValueError(
                f"`function_aliases['{alias}']` names what is not saved: a signature "
                "must be in `signatures`, a layer in the model."
            )


def alias_names(
    aliases: Mapping[str, object],
    requests: Mapping[str, SignatureRequest] | None,
    traces: ModelTraces,
) -> dict[str, str]:
    """Returns the alias of each concrete function, by the function's name.

    Raises:
        ValueError: A layer could not be traced.
    """
    names = {id(request): name for name, request in (requests or {}).items()}
    found = {}
    for alias, target in aliases.items():
        if isinstance(target, SignatureRequest):
            found[traces.signatures[names[id(target)]].function.name] = alias
            continue
        if id(target) not in traces.layers:
            raise ValueError(
                f"`function_aliases['{alias}']` is a layer that has no functions."
            )
        for traced in traces.layers[id(target)].call.concrete_functions:
            found[traced.name] = alias
    return found


def debug_info(model: keras.Model, traces: ModelTraces) -> messages.GraphDebugInfo:
    """Returns where in Python the `call` stands that made each node of a layer.

    A body that equal layers share, or that a layer shares with the one it stands in,
    belongs to the innermost.
    """
    info = messages.GraphDebugInfo()
    files: dict[str, int] = {}
    for layer in reversed(_compat.all_layers(model)):
        place = _place(type(layer))
        found = traces.layers.get(id(layer))
        if place is None or found is None:
            continue
        path, line = place
        index = files.setdefault(path, len(files))
        for name in _function_names(found):
            for node in traces.functions[name].nodes:
                key = f"{node.name}@{name}"
                if key not in info.traces:
                    frame = info.traces[key].file_line_cols.add()
                    frame.file_index, frame.line, frame.func = index, line, "call"
    info.files.extend(files)
    return info


def _place(cls: type) -> tuple[str, int] | None:
    """File and line of a layer's `call`, `None` where Python has no source of it."""
    call = inspect.unwrap(cls.call)  # type: ignore[attr-defined]
    code = getattr(call, "__code__", None)
    return None if code is None else (code.co_filename, code.co_firstlineno)


def _function_names(traces: LayerTraces) -> Iterator[str]:
    saved = (traces.call, traces.conditional_losses, traces.all_conditional_losses)
    seen = set()
    for function in saved:
        for traced in function.concrete_functions:
            if traced.name not in seen:
                seen.add(traced.name)
                yield traced.name
