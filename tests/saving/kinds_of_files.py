"""A model in each kind of file that a test names."""

from __future__ import annotations

from pathlib import Path

import keras

import regraft


def save_as(model: keras.Model, name: str, folder: Path) -> Path:
    """Saves a model in a kind of file; returns where.

    Args:
        model: The model.
        name: "Keras 3.h5" is what Keras writes itself, "both.h5" an HDF5 file of the
            dialect of that name; without ending it is a SavedModel.
        folder: Where it goes.
    """
    path = folder / name
    if name == "Keras 3.h5":
        model.save(path)
        return path
    options = regraft.SaveOptions(dialect=path.stem) if path.suffix else None
    regraft.save_model(model, path, options=options)
    return path
