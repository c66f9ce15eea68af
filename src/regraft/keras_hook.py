"""`install()`: Keras' own `save` and `load_model` open and write TensorFlow's files.

After it, `model.save("model")`, `keras.saving.save_model`, `keras.models.load_model`,
`model.save_weights` and `model.load_weights` do what they did in `tf.keras`, in Keras
3's order of arguments; the keywords of the TensorFlow era are accepted too. What Keras
3 does itself (`.keras` files, `.weights.h5`, …) still goes to Keras.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from regraft import api
from regraft.filepaths import is_checkpoint, target_of
from regraft.storage.saved_model_directory import is_saved_model_directory
from regraft.weights import load_weights, save_weights

_ERA_KEYWORDS = (
    "include_optimizer",
    "save_format",
    "signatures",
    "options",
    "save_traces",
)
_PLACES = (
    (keras.saving, "save_model"),
    (keras.models, "save_model"),
    (keras.saving, "load_model"),
    (keras.models, "load_model"),
    (keras.Model, "save"),
    (keras.Model, "load_weights"),
    (keras.Model, "save_weights"),
)
_originals: dict[tuple[Any, str], Callable[..., Any]] = {}


def install() -> None:
    """Hooks Regraft into Keras' savers and loaders; a second call does nothing."""
    if _originals:
        return
    for owner, name in _PLACES:
        _originals[owner, name] = getattr(owner, name)
        setattr(owner, name, _wrap(name, _originals[owner, name]))


def uninstall() -> None:
    """Puts Keras' own functions back."""
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def _wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    hooks: dict[str, Callable[..., Any]] = {
        "save_model": _save,
        "save": _save,
        "load_model": _load,
        "load_weights": _load_weights,
        "save_weights": _save_weights,
    }
    hook = hooks[name]

    @functools.wraps(original)
    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        return hook(original, *arguments, **keywords)

    return wrapped


def _save(
    original: Callable[..., Any],
    model: keras.Model,
    filepath: Any,
    overwrite: bool = True,
    zipped: bool | None = None,
    **keywords: Any,
) -> None:
    era = {key: keywords.pop(key) for key in _ERA_KEYWORDS if key in keywords}
    if keywords:
        original(model, filepath, overwrite=overwrite, zipped=zipped, **keywords)
        return
    name = target_of(filepath)
    if zipped is not None or (isinstance(name, str) and name.endswith(".keras")):
        original(model, filepath, overwrite=overwrite, zipped=zipped)
        return
    api.save_model(model, filepath, overwrite, **era)


def _load(
    original: Callable[..., Any],
    filepath: Any,
    custom_objects: Any = None,
    compile: bool = True,
    safe_mode: bool = True,
    options: Any = None,
) -> Any:
    return api.load_model(
        filepath, custom_objects, compile, options=options, safe_mode=safe_mode
    )


def _save_weights(
    original: Callable[..., Any],
    model: keras.Model,
    filepath: Any,
    overwrite: bool = True,
    *sharded: Any,
    **keywords: Any,
) -> None:
    name = target_of(filepath)
    keras_3 = isinstance(name, str) and name.endswith((".weights.h5", ".weights.json"))
    if sharded or "max_shard_size" in keywords or (keras_3 and not keywords):
        original(model, filepath, overwrite, *sharded, **keywords)
        return
    save_weights(model, filepath, overwrite, **keywords)


def _load_weights(
    original: Callable[..., Any],
    model: keras.Model,
    filepath: Any,
    skip_mismatch: bool = False,
    **keywords: Any,
) -> Any:
    name = target_of(filepath)
    if isinstance(name, str) and (
        is_saved_model_directory(name)
        or is_checkpoint(name)
        or name.endswith((".h5", ".hdf5"))
    ):
        return load_weights(model, name, skip_mismatch=skip_mismatch, **keywords)
    return original(model, filepath, skip_mismatch, **keywords)
