"""Configs of Keras objects; see `regraft._compat`."""

from __future__ import annotations

import copy
import inspect
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.legacy.saving import json_utils
from keras.src.legacy.saving import saving_utils as legacy_saving_utils
from keras.src.legacy.saving.saving_options import keras_option_scope
from keras.src.saving import serialization_lib
from keras.src.utils import tracking


def config_of(target: Any) -> dict[str, Any]:
    """Returns `target.get_config()`, without the warning that Keras causes.

    Keras 3.12 to 3.15: `Variable.numpy()`, which an optimizer's config takes its
    learning rate with, warns with NumPy 2, as `Variable.__array__` takes no `copy`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
        return dict(target.get_config())


def serialize(target: Any) -> Any:
    """Returns Keras' serialized form; see `config_of`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
        return keras.saving.serialize_keras_object(target)


def objects_in_scope() -> dict[str, Any]:
    """Returns what `keras.saving.custom_object_scope` makes known around here.

    Keras 3.12 to 3.15: it is shown by one name at a time.
    """
    return dict(global_state.get_global_attribute("custom_objects_scope_dict", {}))


_SHARED = "shared_objects/id_to_obj_map"
_SERIALIZED = "shared_objects/id_to_config_map"


@contextmanager
def object_sharing(*, recorded: bool = True) -> Iterator[None]:
    """Lets Keras' configs say which objects are one, and lets Keras heed it.

    Keras 3.12 to 3.15: `ObjectSharingScope` is not exported; scopes don't nest.

    Args:
        recorded: Whether what is serialized inside is remembered, by its address. A
            layer that serializes another one while it is built (`Bidirectional`)
            lets it go, and the next one at that address would be taken for it.
    """
    if global_state.get_global_attribute(_SHARED) is not None:
        yield
        return
    with serialization_lib.ObjectSharingScope():
        if not recorded:
            global_state.set_global_attribute(_SERIALIZED, None)
        yield


def record_shared(obj: Any, identity: int) -> None:
    """Makes an object known under its id in configs, see `object_sharing`."""
    serialization_lib.record_object_after_deserialization(obj, identity)


def shared_object(identity: int) -> Any:
    """Returns an object that was made before, see `object_sharing`."""
    return serialization_lib.get_shared_object(identity)


def _plain_list(tracked: tracking.TrackedList, memo: dict[int, Any]) -> list[Any]:
    return copy.deepcopy(list(tracked), memo)


@contextmanager
def _plain_copies() -> Iterator[None]:
    """Lets a layer's config be copied that holds a list which the layer was given.

    Keras 3.12 to 3.15: such a list is a `TrackedList`, whose copy is one of the layer
    and all that it knows; `Solarization` and others can't be copied, nor models of
    them saved.
    """
    tracking.TrackedList.__deepcopy__ = _plain_list
    try:
        yield
    finally:
        del tracking.TrackedList.__deepcopy__


def hdf5_metadata(model: keras.Model, *, include_optimizer: bool) -> dict[str, Any]:
    """Returns the attributes that Keras 3 itself gives an HDF5 file of a model.

    Keras 3.12 to 3.15: they can be had only with the whole file, weights and all.
    The function takes the optimizer out of the model's own compile arguments, which
    are put back here.
    """
    config = model.get_compile_config() if model.compiled else None
    kept = dict(model._compile_config.config) if config else {}
    try:
        with keras_option_scope(use_legacy_config=True), _plain_copies():
            metadata = legacy_saving_utils.model_metadata(model, include_optimizer)
        return dict(json.loads(json.dumps(metadata, default=json_utils.get_json_type)))
    finally:
        if config:
            model._compile_config.config.update(kept)


def function_config(target: Any) -> dict[str, Any]:
    """Returns the config of a loss or metric with all arguments of its function.

    Keras 3.12 to 3.15: `get_config` of `Huber` leaves `delta` out, those of
    `CosineSimilarity` and `SparseCategoricalCrossentropy` the axis; the arguments are
    in `_fn_kwargs`.
    """
    return {**function_arguments(target), **config_of(target)}


def function_arguments(target: Any) -> dict[str, Any]:
    """Returns the arguments of a loss' or metric's function; see `function_config`."""
    taken = inspect.signature(type(target)).parameters
    arguments = getattr(target, "_fn_kwargs", None) or {}
    return {key: value for key, value in arguments.items() if key in taken}
