"""`save_weights` and `load_weights`: a model's weights, without what it is."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import keras

from regraft import _compat
from regraft.filepaths import (
    format_of,
    is_checkpoint,
    may_overwrite,
    open_model,
    require_h5py,
    target_of,
)
from regraft.loading.read import read_checkpoint
from regraft.loading.weights import assign_weights
from regraft.model.dialects.without_config import traces_for_configs
from regraft.options import LoadOptions, SaveOptions
from regraft.saving import hdf5, saved_model
from regraft.saving.describe import check_built, describe
from regraft.storage.hdf5_file import is_keras3_weights_file


def save_weights(
    model: keras.Model,
    filepath: Any,
    overwrite: bool = True,
    save_format: str | None = None,
    options: SaveOptions | None = None,
) -> None:
    """Saves the weights of a model as Keras 2's `save_weights` does.

    Keras 2 and `regraft.load_weights` give them to a model with the same layers.
    Subclassed models can be saved, too.

    Args:
        model: A built Keras 3 model on any backend.
        filepath: `str`, `Path`, or an `h5py.File` open for writing. For a checkpoint,
            the prefix of its files: `ckpt` for `ckpt.index`. New parent directories
            are made.
        overwrite: Whether to replace what is there; if `False`, asks.
        save_format: `"tf"`, a checkpoint of TensorFlow, which also has the state of
            the optimizer and of metrics that the model holds; or `"h5"`, an HDF5 file
            of the layers' weights. By default `"tf"`, unless the path ends in `.h5`,
            `.hdf5` or `.keras`, or is an `h5py.File`. A path that ends in
            `.weights.h5` goes to Keras' own `save_weights` by default.
        options: See `SaveOptions`; of those `alignment_bytes` and `progress` are for a
            checkpoint.

    Raises:
        ValueError: The model is not built, or two layers have the same name in HDF5.
        ImportError: h5py is not installed and the format is HDF5.
    """
    target = target_of(filepath)
    named = target if isinstance(target, str) else ""
    if save_format is None and named.endswith(".weights.h5"):
        _compat.keras_save_weights(model, target, overwrite=overwrite)
        return
    if save_format is None and named.endswith(".keras"):
        save_format = "h5"
    save_format = format_of(filepath, save_format)
    if save_format == "keras":
        raise ValueError("Weights are saved with `save_format` 'tf' or 'h5'.")
    check_built(model)
    written = f"{named}.index" if save_format == "tf" else filepath
    if not overwrite and not may_overwrite(written):
        return
    if save_format == "tf":
        with traces_for_configs(model, []):
            parts = describe(model, include_optimizer=True, traced=True)
            saved_model.write_weights(target, parts, options or SaveOptions())
        return
    require_h5py()
    hdf5.write_weights(target, model)


def load_weights(
    model: keras.Model,
    filepath: Any,
    *,
    by_name: bool = False,
    skip_mismatch: bool = False,
    options: LoadOptions | None = None,
) -> None:
    """Gives a built model the weights of a SavedModel, HDF5 file or checkpoint.

    Args:
        model: A built model with the same layers as the one in the file.
        filepath: As for `load_model`; an HDF5 file may hold weights alone. Or what
            `save_weights` of Keras 2 was given for a checkpoint: `ckpt` for
            `ckpt.index`. Layers are matched by their order there, as Keras 2 does,
            and the optimizer of a compiled model gets its state from it, too. In one of
            `tf.train.Checkpoint(net=model, …)` the object that fits the model is found.
        by_name: Whether only layers with the same name in the file get their weights
            from it, and all others are left alone. For HDF5 alone.
        skip_mismatch: Whether a variable without a value of its shape in the file
            keeps the one it has, with a warning, instead of being an error.
        options: See `LoadOptions`.

    A file of Keras 3's `save_weights` goes to Keras' own loader.

    Raises:
        OSError: There is no such file or directory.
        MismatchError: A variable has no value in the file, or of another shape.
        NotImplementedError: `by_name` with a SavedModel.
    """
    options = options or LoadOptions()
    target = target_of(filepath)
    if isinstance(target, str) and is_keras3_weights_file(target):
        keywords = {"by_name": True} if by_name else {}
        _compat.keras_load_weights(model, target, skip_mismatch, **keywords)
        return
    checkpoint = isinstance(target, str) and is_checkpoint(target)
    if checkpoint:
        opened: Any = nullcontext(read_checkpoint(target, options))
    else:
        opened = open_model(target, options)
    with opened as description:
        for skipped in assign_weights(
            model,
            description,
            skip_mismatch=skip_mismatch,
            by_name=by_name,
            optimizer=checkpoint,
        ):
            warnings.warn(f"Skipped loading of {skipped}", stacklevel=2)
