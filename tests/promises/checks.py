"""What a model that Regraft loaded owes to the one that tf_keras saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

import regraft
from peer import Peer

Found = dict[str, Any]


def saved(peer: Peer, case: str, path: Path, **keywords: Any) -> Found:
    """Lets tf_keras save a case; what it says of the model."""
    return peer.call("promises_more.save", case, str(path), **keywords)


def file_of(folder: Path, save_format: str) -> Path:
    """Returns a place for a model whose ending says the format: `"tf"` or `"h5"`."""
    return folder / ("m.h5" if save_format == "h5" else "m")


def assert_same_weights(model: keras.Model, theirs: Found) -> None:
    ours = [v for v in model.weights if not v.path.endswith("seed_generator_state")]
    assert len(ours) == len(theirs["weights"])
    for variable, (name, trainable, value) in zip(ours, theirs["weights"], strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value, err_msg=name)
        is_trainable = any(variable is other for other in model.trainable_weights)
        assert is_trainable == trainable, (name, is_trainable, trainable)


def assert_same_outputs(
    model: keras.Model, theirs: Found, *, atol: float = 1e-6, **call: Any
) -> None:
    inputs = theirs["inputs"]
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    ours = keras.tree.flatten(model(*arguments, **call))
    expected = keras.tree.flatten(theirs["outputs"])
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-5, atol=atol)


def assert_same_losses(model: keras.Model, theirs: Found) -> None:
    """Call `assert_same_outputs` before: losses are those of the last call.

    A model's own activity regularizer and its last layer's are one loss here.
    """
    ours = sorted(float(keras.ops.sum(loss)) for loss in model.losses)
    if len(ours) == len(theirs["losses"]):
        np.testing.assert_allclose(ours, theirs["losses"], rtol=1e-5)
    np.testing.assert_allclose(sum(ours), sum(theirs["losses"]), rtol=1e-5)


def assert_same_step(model: keras.Model, theirs: Found) -> None:
    x, y = theirs["batch"]
    model.reset_metrics()
    loss = np.ravel(model.train_on_batch(x, y))[0]
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    ours = [v for v in model.weights if not v.path.endswith("seed_generator_state")]
    for variable, value in zip(ours, theirs["after"], strict=True):
        np.testing.assert_allclose(np.asarray(variable), value, rtol=1e-5, atol=1e-6)


def assert_same(model: keras.Model, theirs: Found, **call: Any) -> None:
    """Weights, outputs, losses and, of a compiled model, the next step."""
    assert_same_weights(model, theirs)
    assert_same_outputs(model, theirs, **({"training": False} | call))
    assert_same_losses(model, theirs)
    if "batch" in theirs:
        assert_same_step(model, theirs)


def again(model: keras.Model, path: Path, **keywords: Any) -> keras.Model:
    """Saves with Regraft and loads again."""
    regraft.save_model(model, path)
    return regraft.load_model(path, **keywords)


def assert_saves_to_the_same_bytes(path: Path, folder: Path) -> None:
    """What Regraft saves of its own SavedModel, and saves of that, is the same."""
    first, second = folder / "first", folder / "second"
    regraft.save_model(regraft.load_model(path), first)
    regraft.save_model(regraft.load_model(first), second)
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) > 4
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file
