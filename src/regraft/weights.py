"""`load_weights`: the weights of a file for a model that is there."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import keras

from regraft import _compat
from regraft.filepaths import is_checkpoint, open_model, target_of
from regraft.loading.build import assign_weights
from regraft.loading.read import read_checkpoint
from regraft.options import LoadOptions
from regraft.storage.hdf5_file import is_keras3_weights_file


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
            `ckpt.index`. Layers are matched by their order there, as Keras 2 does.
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
    if isinstance(target, str) and is_checkpoint(target):
        opened: Any = nullcontext(read_checkpoint(target, options))
    else:
        opened = open_model(target, options)
    with opened as description:
        for skipped in assign_weights(
            model, description, skip_mismatch=skip_mismatch, by_name=by_name
        ):
            warnings.warn(f"Skipped loading of {skipped}", stacklevel=2)
