"""`save_model` and `load_model`: the promise of `tf.keras.models`, kept."""

from __future__ import annotations

import dataclasses
import gc
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from regraft import _compat
from regraft.blame import ran_foreign_code
from regraft.errors import (
    FormatError,
    MismatchError,
    RegraftError,
    UnsupportedError,
)
from regraft.filepaths import (
    check_exists,
    format_of,
    is_keras_archive,
    may_overwrite,
    open_model,
    require_h5py,
    target_of,
)
from regraft.graph.runtime.context import kept_on_the_host
from regraft.loading.build import build_model
from regraft.loading.loaded import LoadedModel, load_saved_model
from regraft.loading.read import holds_keras_model
from regraft.loading.report import LoadReport, load_report
from regraft.loading.step_by_step import run_step_by_step
from regraft.loading.verify import check_file
from regraft.model.description import ModelDescription
from regraft.model.dialects.context import Note
from regraft.model.dialects.without_config import configs_needed, traces_for_configs
from regraft.model.keras2 import host_models
from regraft.options import LoadOptions, SaveOptions
from regraft.other_backends import trace_elsewhere, traces_here
from regraft.saving.describe import SavedModelParts, check_built, describe
from regraft.saving.function_names import alias_names, check_aliases
from regraft.saving.hdf5 import write_model
from regraft.saving.saved_model import write_saved_model
from regraft.saving.trace_inputs import SignatureRequest
from regraft.saving.trace_layers import trace_model
from regraft.saving.traces import ModelTraces
from regraft.signatures import requested
from regraft.storage.filesystem import is_remote
from regraft.storage.saved_model_directory import is_saved_model_directory

# What says nothing about the file: the disk, and warnings that are to be errors.
_NOT_ABOUT_THE_FILE = (OSError, ImportError, Warning)
# What `SaveOptions` can say about an HDF5 file.
_HDF5_OPTIONS = ("dialect", "progress")


def save_model(
    model: keras.Model,
    filepath: Any,
    overwrite: bool = True,
    include_optimizer: bool = True,
    save_format: str | None = None,
    signatures: Any = None,
    options: SaveOptions | None = None,
    save_traces: bool = True,
) -> None:
    """Saves a model as a TensorFlow SavedModel or a Keras HDF5 file.

    The file holds the model's configuration, its weights, its compile arguments and
    its optimizer's whole state.

    Args:
        model: A built Keras 3 model on any backend.
        filepath: `str`, `Path`, or an `h5py.File` open for writing. New parent
            directories are made.
        overwrite: Whether to replace what is there; if `False`, asks.
        include_optimizer: Whether compile arguments and the optimizer's state go
            along.
        save_format: `"tf"` or `"h5"`. By default `"tf"`, unless the path ends in
            `.h5` or `.hdf5`, or is an `h5py.File`. A path that ends in `.keras`
            goes to Keras' own saver.
        signatures: What to serve from a SavedModel: what `export_signature` returns,
            or a function that takes what the model takes; or several by name. By
            default `serving_default`, which calls the model.
        options: See `SaveOptions`. For HDF5 `dialect` and `progress` alone have a
            meaning.
        save_traces: Whether each layer's traced call and loss functions go along.

    Raises:
        ValueError: The model is not built, or an argument doesn't go with HDF5.
        NotImplementedError: A subclassed model as HDF5; or a layer whose config can't
            be written, in HDF5 or without its functions.
        ImportError: h5py is not installed and the format is HDF5.
    """
    save_format = format_of(filepath, save_format)
    if save_format == "keras":
        _compat.keras_save_model(model, filepath, overwrite=overwrite)
        _warn(_lost_functions(model, "no `.keras` file is loaded without them"))
        return
    if save_format == "h5":
        _check_hdf5_arguments(signatures, options)
        require_h5py()
    elif signatures is not None and not save_traces:
        raise ValueError("`signatures` are functions: they need `save_traces=True`.")
    options = options or SaveOptions()
    aliases = options.function_aliases or {}
    if (aliases or options.save_debug_info) and not save_traces:
        raise ValueError(
            "`function_aliases` and `save_debug_info` are about functions: they need "
            "`save_traces=True`."
        )
    check_built(model)
    requests = requested(signatures, model)
    check_aliases(aliases, model, requests)
    if not overwrite and not may_overwrite(filepath):
        return
    target = target_of(filepath)
    # All that is made lives in calls that have returned when the block ends.
    with _collected_later(), kept_on_the_host():
        if save_format == "h5":
            with configs_needed(model):
                parts = describe(model, include_optimizer=include_optimizer)
            write_model(target, parts, options)
            notes = parts.notes
        else:
            notes = _write(
                target, model, include_optimizer, save_traces, options, requests
            )
    if save_format == "h5" or not save_traces:
        notes = [*notes, *_lost_functions(model)]
    notes = [*notes, *_left_functions(model)]
    _warn(notes)


def _warn(notes: Iterable[Note]) -> None:
    for note in notes:
        warnings.warn(f"{note.object_path}: {note.text}", stacklevel=3)


def _lost_functions(model: keras.Model, needed: str = "") -> list[Note]:
    """Says of layers without their class what a file without functions lacks."""
    found = [
        layer
        for layer in _compat.all_layers(model)
        if hasattr(layer, "saved_class_name")
    ]
    if not found:
        return []
    missing = {
        f"the {layer.lacks or f'class {layer.saved_class_name!r}'}" for layer in found
    }
    needed = needed or f"who loads it needs {', '.join(sorted(missing))}"
    return [
        Note(
            f"layer '{found[0].name}'" + (" and others" if found[1:] else ""),
            "it runs from the functions of the file that it came from, which this file "
            f"doesn't hold: {needed}. Save a SavedModel with `save_traces=True`",
        )
    ]


def _left_functions(model: keras.Model) -> list[Note]:
    """Says which functions beside `call`, of a file without its classes, are lost."""
    return [
        Note(
            f"layer '{layer.name}'",
            f"its functions {', '.join(map(repr, names))} are left out: pass those "
            "that are to be kept in `signatures`",
        )
        for layer in _compat.all_layers(model)
        if (names := getattr(layer, "saved_function_names", ()))
    ]


def _write(
    target: Any,
    model: keras.Model,
    include_optimizer: bool,
    save_traces: bool,
    options: SaveOptions,
    requests: Any,
) -> list[Note]:
    """Writes a SavedModel; returns what did not go over exactly."""
    notes: list[Note] = []

    def traces() -> ModelTraces | None:
        with _compat.kept_losses(model):
            return _traces_or_note(parts, requests)

    def aliases(made: ModelTraces) -> Mapping[str, str]:
        return alias_names(options.function_aliases or {}, requests, made)

    if save_traces:
        with traces_for_configs(model, notes):
            parts = describe(model, include_optimizer=include_optimizer, traced=True)
            write_saved_model(target, parts, options, traces, aliases)
        return notes + parts.notes
    # Without functions, what the model is made of must have its config.
    with configs_needed(model):
        parts = describe(model, include_optimizer=include_optimizer)
    with traces_for_configs(model, notes):
        write_saved_model(target, parts, options)
    return parts.notes


def _traces_or_note(parts: SavedModelParts, requests: Any) -> ModelTraces | None:
    """Returns what a model computes; `None`, with a note, where that can't be said."""
    try:
        traces = _traces(parts.model, requests)
    except UnsupportedError as error:
        if requests:
            raise
        text = f"It is saved without functions. {error}"
        parts.notes.append(Note(parts.model.name, text))
        return None
    parts.notes.extend(Note(*note) for note in traces.notes)
    return traces


@contextmanager
def _collected_later() -> Iterator[None]:
    """Lets Python look for garbage after the block.

    Saving and loading make a great many small objects that live to the end. Each
    time their number grows by a quarter, Python would walk through all that JAX and
    Keras have: a third of a save's time in all, a fifth of a load's.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    *,
    options: LoadOptions | None = None,
    safe_mode: bool = True,
) -> keras.Model:
    """Loads a model from a SavedModel directory or an HDF5 file of any Keras.

    Of a file `….json`, the text of `to_json()`, and of an HDF5 file with a config alone
    it makes a model with new weights: `regraft.load_weights` gives it those of another
    file.

    Nothing of the file is run, imported or opened besides it.

    Args:
        filepath: `str`, `Path`, or an open `h5py.File`. A `.keras` file goes to
            Keras' own loader.
        custom_objects: Classes and functions by the name that the file gives them,
            with or without its package.
        compile: Whether to compile the model as the file says, with the
            optimizer's state.
        options: See `LoadOptions`. `verify=True` compares the model with the
            functions in the file.
        safe_mode: `False` lets the bytecode of `Lambda` layers be loaded and run.

    Returns:
        A live, trainable model. `regraft.load_report(model)` says what came back.

    Raises:
        OSError: There is no such file or directory, or the directory is no
            SavedModel.
        ValueError: It holds no Keras model, or a class that nobody knows; also
            `FormatError` (broken file) and `MismatchError` (also where
            verification finds a difference), its children.
        NotImplementedError: `UnsupportedError`: the file is right, but Keras 3 and
            Regraft can't do what it asks for.
    """
    options = options or LoadOptions()
    target = target_of(filepath)
    if is_keras_archive(target):
        model = _compat.keras_load_model(
            target, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode
        )
        return accept_text(model)
    with _collected_later(), open_model(target, options) as description:
        model = _build(description, custom_objects, compile, safe_mode, options)
    if options.verify and (differing := load_report(model).differing):
        raise MismatchError(
            f"What was rebuilt from '{target}' computes otherwise than the functions "
            "that the file holds:\n"
            + "\n".join(f"  {line}" for line in differing)
            + "\nLoad it without `LoadOptions(verify=True)` to use it nevertheless."
        )
    return model


def _build(
    description: ModelDescription,
    custom_objects: Mapping[str, Any] | None,
    compile: bool,
    safe_mode: bool,
    options: LoadOptions,
) -> keras.Model:
    try:
        return build_model(
            description,
            custom_objects=custom_objects,
            compile=compile,
            safe_mode=safe_mode,
            options=options,
        )
    except (RegraftError, *_NOT_ABOUT_THE_FILE):
        raise
    # Keras and Python raise what they like for a config whose values make no sense.
    except Exception as error:
        if (custom_objects or _has_registered_classes()) and ran_foreign_code(error):
            raise
        if isinstance(error, NotImplementedError):
            raise UnsupportedError(
                f"Keras can't build what '{description.path}' describes: {error}"
            ) from error
        raise FormatError(
            f"The file describes no model that Keras can build "
            f"({type(error).__name__}: {error})",
            path=description.path,
        ) from error


def verify_file(filepath: Any) -> LoadReport:
    """Checks a file as `LoadOptions(verify=True)` does, and returns what was found.

    Args:
        filepath: As for `load_model`, but no `.keras` file.

    Returns:
        The load report; its `differing` names what computes otherwise than the
        file's traces. Of a SavedModel without a Keras model the tensors alone are
        checked.

    Raises:
        FormatError: The file is broken.
    """
    options = LoadOptions(verify=True)
    target = target_of(filepath)
    if is_keras_archive(target):
        raise ValueError(f"'{target}' is a `.keras` file: it holds nothing to compare.")
    if is_saved_model_directory(target) and not holds_keras_model(target):
        return LoadReport(target, "no Keras model", tensors_checked=check_file(target))
    with open_model(target, options) as description:
        return load_report(_build(description, None, True, True, options))


def accept_text(model: keras.Model) -> keras.Model:
    """Lets a model of your own take text, if layers of a loaded model read it.

    Models that `load_model` gives take text already; this is for a new model around
    their layers or those of `load(…).as_layer()`, and for one that Keras itself loaded.
    Where a layer runs functions that can't be compiled, the model runs step by step.

    Args:
        model: Functional or Sequential. It is changed in place.

    Returns:
        The model.
    """
    host_models.accept_text(model)
    run_step_by_step(model)
    return model


def load(
    path: str | os.PathLike[str],
    tags: Sequence[str] | str | None = None,
    options: LoadOptions | None = None,
) -> LoadedModel:
    """Opens any SavedModel, also of TensorFlow 1 and TF Hub, to call it.

    Args:
        path: The directory.
        tags: Of the meta graph that is wanted; by default the one for serving.
        options: See `LoadOptions`.

    Returns:
        An object with `signatures`, `variables`, `as_layer(signature=…)` and, of
        TensorFlow 2, the tracked objects and functions as attributes.

    Raises:
        OSError: There is no SavedModel.
        FormatError: It is broken.
        ValueError: No meta graph has these tags.
    """
    target = os.fspath(path)
    if not is_remote(target) and not is_saved_model_directory(target):
        check_exists(target)
    return load_saved_model(target, tags, options or LoadOptions())


# -------------------------------------------------------------------- arguments


def _traces(
    model: keras.Model, signatures: Mapping[str, SignatureRequest] | None
) -> ModelTraces:
    if traces_here():
        return trace_model(model, signatures=signatures)
    if signatures:
        raise UnsupportedError(
            "`signatures` are traced on JAX, and this process has Keras on "
            f"{keras.backend.backend()}. Load the saved model with KERAS_BACKEND=jax "
            "and give the signatures there."
        )
    return trace_elsewhere(model)


def _check_hdf5_arguments(signatures: Any, options: Any) -> None:
    if signatures is not None:
        raise ValueError(
            "`signatures` go with a SavedModel (`save_format='tf'`) alone: an HDF5 "
            "file holds no functions."
        )
    if options is None:
        return
    defaults = SaveOptions()
    changed = [
        name.name
        for name in dataclasses.fields(SaveOptions)
        if getattr(options, name.name, None) != getattr(defaults, name.name)
    ]
    # Those of TensorFlow are for a SavedModel, whatever they say.
    ours = isinstance(options, SaveOptions)
    if not set(changed) <= set(_HDF5_OPTIONS) or not (changed or ours):
        raise ValueError(
            "`options` go with a SavedModel (`save_format='tf'`); for HDF5 only "
            f"SaveOptions({', '.join(f'{name}=…' for name in _HDF5_OPTIONS)}) have a "
            f"meaning. Received: {options}"
        )


def _has_registered_classes() -> bool:
    """Whether anybody but Regraft registered something with Keras."""
    return any(
        not name.startswith("Regraft") for name in keras.saving.get_custom_objects()
    )
