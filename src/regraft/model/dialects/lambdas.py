"""Functions in the configs of `Lambda` layers, of which most are Python bytecode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from regraft.errors import UnknownNameError, UnsafeFileError, UnsupportedError
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.objects import array_value, function_name, is_entry
from regraft.model.dialects.registry import find_custom

Config = dict[str, Any]


def translate_lambda(config: Config, context: BuildContext) -> None:
    """Puts live functions into a `Lambda`'s config, from any dialect.

    A function is the caller's: under its own name, or under the layer's. Bytecode is
    run only where the caller turned safe mode off.

    Raises:
        UnsafeFileError: The function is bytecode, and safe mode is on.
        UnsupportedError: It is bytecode of another Python.
        ValueError: Nobody knows the function.
    """
    name = str(config.get("name"))
    kinds = {
        key: config.pop(f"{key}_type", None) for key in ("function", "output_shape")
    }
    for key in ("module", "output_shape_module", "mask_type", "mask_module"):
        config.pop(key, None)
    config["function"] = _function(config["function"], kinds["function"], name, context)
    shape = config.get("output_shape")
    if isinstance(shape, list) and all(n is None or isinstance(n, int) for n in shape):
        config["output_shape"] = tuple(shape)
    elif shape is not None and not isinstance(shape, (tuple, int)):
        kind = kinds["output_shape"]
        config["output_shape"] = _function(shape, kind, name, context)
    arguments = config.pop("arguments", None)
    if isinstance(arguments, Mapping) and arguments:
        config["arguments"] = {key: _argument(item) for key, item in arguments.items()}


def _argument(value: Any) -> Any:
    found = array_value(value)
    return value if found is value else np.array(found)


def _function(spec: Any, kind: str | None, name: str, context: BuildContext) -> Any:
    if callable(spec):
        return spec
    by_layer = context.custom_objects.get(name)
    if callable(by_layer) and not isinstance(by_layer, type):
        return by_layer
    code = _bytecode(spec)
    if code is not None:
        return _from_bytecode(code, name, context)
    called = function_name(spec) if is_entry(spec) else spec
    found = find_custom(called, context) if isinstance(called, str) else None
    if not callable(found):
        raise UnknownNameError(
            f"Unknown function {called!r} of Lambda layer {name!r}. Pass it in "
            f"`custom_objects={{{called!r}: …}}`."
        )
    return found


def _bytecode(spec: Any) -> tuple[Any, Any, Any] | None:
    if isinstance(spec, (list, tuple)) and len(spec) == 3:  # Keras 1 and 2
        return spec[0], spec[1], spec[2]
    if isinstance(spec, Mapping) and spec.get("class_name") == "__lambda__":
        inner = spec["config"]
        return inner["code"], inner["defaults"], inner["closure"]
    return None


def _from_bytecode(code: Any, name: str, context: BuildContext) -> Any:
    if context.safe_mode:
        raise UnsafeFileError(
            f"Lambda layer {name!r} holds Python bytecode, which loading does not run. "
            f"Pass its function in `custom_objects={{{name!r}: …}}`, or, if you trust "
            "the file, load it with `safe_mode=False`"
        )
    inner = dict(zip(("code", "defaults", "closure"), code, strict=True))
    entry = {"class_name": "__lambda__", "config": inner}
    try:
        made = keras.layers.Lambda.from_config({"function": entry}, safe_mode=False)
    # What `marshal` and base64 raise; each Python writes bytecode in its own way.
    except (EOFError, TypeError, ValueError) as error:
        raise UnsupportedError(
            f"Lambda layer {name!r} holds bytecode that this Python can't read "
            f"({type(error).__name__}: {error}): another version wrote it. Pass its "
            f"function in `custom_objects={{{name!r}: …}}`."
        ) from error
    return made.function
