"""The JSON dialect of Keras' metadata, decoded into Python values and back.

Plain JSON has no tuples, tensor shapes or type specs. Keras 2 writes them as

* `{"class_name": "__tuple__", "items": […]}`,
* `{"class_name": "TensorShape", "items": […] | null}` (`null`: unknown rank),
* `{"class_name": "TypeSpec", "type_spec": "tf.TensorSpec", "serialized": [shape,
  dtype, name]}`,
* `{"class_name": "__ellipsis__"}` and `{"class_name": "__bytes__", "value": …}`.

Source: format.md of this project's documentation; files that TensorFlow 2.0 to
2.21 wrote.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regraft.errors import FormatError, LimitError

# Keras' own metadata of 1,000 layers takes about 4 MB.
_MAX_JSON_BYTES = 1 << 28
_MAX_DEPTH = 200


@dataclass(frozen=True)
class TensorShape:
    """A shape; `dims` is `None` where even the rank is unknown."""

    dims: tuple[int | None, ...] | None


@dataclass(frozen=True)
class TypeSpec:
    """A type of a value, such as `tf.TensorSpec`, with its serialized fields."""

    name: str
    serialized: Any

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """Shape of a tensor, ragged or sparse spec; `None` for unknown rank.

        A SavedModel says that it is one, HDF5 has a plain list.
        """
        for item in self._fields():
            if isinstance(item, TensorShape):
                return item.dims
            if isinstance(item, list):
                return tuple(item)
        return None

    @property
    def dtype(self) -> str | None:
        """Name of the dtype, the first text among the fields."""
        for item in self._fields():
            if isinstance(item, str):
                return item
        return None

    @property
    def label(self) -> str | None:
        """Name that the model's author gave the input, if any."""
        fields = self._fields()
        last = fields[-1] if len(fields) > 2 else None
        return last if isinstance(last, str) else None

    def _fields(self) -> list[Any]:
        return (
            list(self.serialized) if isinstance(self.serialized, list | tuple) else []
        )


def parse_json(text: str | bytes, *, path: str, object_path: str) -> Any:
    """Parses JSON text from a file.

    Raises:
        FormatError: The text is not JSON.
        LimitError: It is larger or deeper nested than any Keras writes.
    """
    if len(text) > _MAX_JSON_BYTES:
        raise LimitError(
            "JSON text is too long",
            path=path,
            object_path=object_path,
            expected=f"at most {_MAX_JSON_BYTES} bytes",
            received=len(text),
        )
    try:
        value = json.loads(text)
    except RecursionError:
        raise _too_deep(path, object_path) from None
    except ValueError as error:  # also UnicodeDecodeError, and integers too long
        raise FormatError(
            f"Invalid JSON ({error})", path=path, object_path=object_path
        ) from None
    _check_depth(value, path, object_path)
    return value


def _check_depth(value: Any, path: str, object_path: str) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for container in level
            if isinstance(container, dict | list)
            for item in (
                container.values() if isinstance(container, dict) else container
            )
        ]
        if not level:
            return
    raise _too_deep(path, object_path)


def _too_deep(path: str, object_path: str) -> LimitError:
    return LimitError(
        "JSON is nested too deeply",
        path=path,
        object_path=object_path,
        expected=f"at most {_MAX_DEPTH} levels",
    )


def decode(value: Any) -> Any:
    """Turns Keras' JSON spellings into tuples, shapes and specs, at every depth."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    class_name = value.get("class_name")
    special = _SPECIAL.get(class_name) if isinstance(class_name, str) else None
    if special is not None and "config" not in value:
        return special(value)
    return {key: decode(item) for key, item in value.items()}


def _decode_tensor_shape(value: Mapping[str, Any]) -> TensorShape:
    items = value.get("items")
    return TensorShape(tuple(items) if isinstance(items, list) else None)


def _items(value: Mapping[str, Any]) -> list[Any]:
    items = value.get("items")
    return items if isinstance(items, list) else []


_SPECIAL: dict[str, Any] = {
    "__tuple__": lambda value: tuple(decode(item) for item in _items(value)),
    "TensorShape": _decode_tensor_shape,
    "TypeSpec": lambda value: TypeSpec(
        str(value.get("type_spec")), decode(value.get("serialized"))
    ),
    "__ellipsis__": lambda value: Ellipsis,
    "__bytes__": lambda value: str(value.get("value", "")).encode(
        "utf-8", "surrogateescape"
    ),
}


# Marks what stands in the place of a config that could not be written.
NO_CONFIG = "regraft_has_no_config"


def has_config(config: Any) -> bool:
    """Whether a layer's config is one, and not what stands for one."""
    return not (isinstance(config, Mapping) and config.get(NO_CONFIG))


def plain(value: Any) -> Any:
    """Turns decoded shapes into tuples, as layers' constructors take them."""
    if isinstance(value, TensorShape):
        return value.dims
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def spelled_shapes(value: Any) -> Any:
    """Turns decoded shapes back into what they were decoded from."""
    if isinstance(value, TensorShape):
        return encode(value)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(spelled_shapes(item) for item in value)
    if isinstance(value, dict):
        return {key: spelled_shapes(item) for key, item in value.items()}
    return value


_PLAIN = (str, int, float, type(None))


def encode(value: Any) -> Any:
    """Turns a Python value into what `json.dumps` takes, in Keras' spelling."""
    # Most of what metadata hold comes first.
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, (dict, Mapping)):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, TensorShape):
        dims = value.dims
        return {"class_name": "TensorShape", "items": dims and list(dims)}
    if isinstance(value, TypeSpec):
        return {
            "class_name": "TypeSpec",
            "type_spec": value.name,
            "serialized": encode(value.serialized),
        }
    if isinstance(value, tuple):
        return {"class_name": "__tuple__", "items": [encode(item) for item in value]}
    return _encode_other(value)


def _encode_other(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return [encode(item) for item in value]
    if hasattr(value, "tolist"):  # an array or number of NumPy's or of a backend's
        return encode(value.tolist())
    if value is Ellipsis:
        return {"class_name": "__ellipsis__"}
    if isinstance(value, bytes):
        return {
            "class_name": "__bytes__",
            "value": value.decode("utf-8", "surrogateescape"),
        }
    raise TypeError(
        f"Cannot write {value!r} of type {type(value).__name__} into a model's "
        "metadata. Return plain numbers, texts, lists and dicts from `get_config()`."
    )


def dump(value: Any) -> str:
    """Returns the JSON text of a value, the same text for the same value."""
    return json.dumps(encode(value))


def checksum(value: Any) -> int:
    """Returns a number that tells two JSON values apart, however they are spelled."""
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())
