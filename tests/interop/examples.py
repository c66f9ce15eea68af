"""A model of the matrix, saved, with all that a reader has to agree with."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np

import regraft
from interop.models import Row, calibrate

LEARNING_RATE = 0.01


@dataclass
class Example:
    """A saved model and what it does.

    Attributes:
        path: The SavedModel.
        inputs: Arrays by the names of the signature.
        given: The same as the model's argument.
        targets: Random ones, in the structure of the outputs.
        outputs: Flat, in inference.
        served: The same by the names of the signature.
        regularization: Sum of the weight regularizers' losses.
        gradients: By path of the variable: of the sum of the squared outputs, in
            inference.
        is_random: Whether training draws random numbers.
        trained: In training: `outputs` and `state` (non-trainable variables by path);
            empty where that is random.
        evaluated: Loss of `evaluate`.
        stepped: `loss` and `weights` (by path) of one `train_on_batch`; without
            `weights` where that is random.
        before: Weights by path, before that step.
        notes: What the save warned of.
    """

    path: Path
    inputs: dict[str, np.ndarray]
    given: Any
    targets: Any
    outputs: list[np.ndarray] = field(default_factory=list)
    served: dict[str, np.ndarray] = field(default_factory=dict)
    regularization: float = 0.0
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    is_random: bool = False
    trained: dict[str, Any] = field(default_factory=dict)
    evaluated: float = 0.0
    stepped: dict[str, Any] = field(default_factory=dict)
    before: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def flat(outputs: Any) -> list[np.ndarray]:
    """Returns the arrays of a structure, as `floatx`; of dicts by sorted keys."""
    dtype = keras.config.floatx()
    return [np.asarray(value, dtype) for value in keras.tree.flatten(outputs)]


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {v.path: np.asarray(v.value) for v in model.weights if "seed" not in v.path}


def make_example(row: Row, folder: Path | None = None, *, trains: bool = True) -> Any:
    """Makes, compiles and saves a model, and takes note of all that it does.

    Args:
        row: Of the matrix.
        folder: Where to save it.
        trains: Whether to compute what training does (which costs a compilation).
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    model, inputs, given = made(row)
    calibrate(model, given)
    model.compile(keras.optimizers.SGD(LEARNING_RATE), "mse")
    outputs = model(given, training=False)
    rng = np.random.default_rng(5)
    targets = keras.tree.map_structure(
        lambda x: rng.normal(size=x.shape).astype("float32"), outputs
    )
    path = Path(folder or tempfile.mkdtemp(prefix="regraft-interop-")) / "model"
    example = Example(path, inputs, given, targets, flat(outputs))
    example.served = _served(model, outputs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
        regraft.save_model(model, path)
    example.notes = [str(each.message) for each in caught]
    example.before = weights(model)
    example.regularization = float(
        sum(v.regularizer(v) for v in model.trainable_weights if v.regularizer)
    )
    if trains:
        _training(model, example)
        example.gradients = _gradients(model, given)
        example.evaluated = float(
            np.ravel(model.evaluate(given, targets, batch_size=64, verbose=0))[0]
        )
        loss = np.ravel(model.train_on_batch(given, targets))[0]
        example.stepped["loss"] = float(loss)
        if not example.is_random:
            example.stepped["weights"] = weights(model)
    return example


def made(row: Row) -> tuple[keras.Model, dict[str, np.ndarray], Any]:
    """Returns a row's model, inputs by name, and what the model is called with."""
    parts = row.make()
    model, inputs = parts[0], _as_floatx(parts[1])
    given = parts[2] if len(parts) > 2 else None
    if given is not None:
        given = _as_floatx(given)
    else:
        arrays = list(inputs.values())
        given = arrays if len(arrays) > 1 else arrays[0]
    return model, inputs, given


def _as_floatx(arrays: Any) -> Any:
    dtype = keras.config.floatx()
    return keras.tree.map_structure(
        lambda x: x.astype(dtype) if x.dtype == "float32" else x, arrays
    )


def _served(model: keras.Model, outputs: Any) -> dict[str, np.ndarray]:
    """Names outputs as tf_keras does."""
    arrays = flat(outputs)
    if getattr(model, "outputs", None):
        names = [t._keras_history.operation.name for t in model.outputs]
    else:
        paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(outputs)[0]]
        names = [_path_name(path) for path in paths]
    return dict(zip(names, arrays, strict=True))


def _path_name(path: Any) -> str:
    """Names a place in a structure as tf_keras does: lists count from one."""
    steps = [str(s.idx + 1) if hasattr(s, "idx") else str(s.key) for s in path]
    if not path or hasattr(path[0], "idx"):
        steps = ["output", *(steps or ["1"])]
    return "_".join(steps)


def _training(model: keras.Model, example: Example) -> None:
    trainable = [v.value for v in model.trainable_variables]
    frozen = [v.value for v in model.non_trainable_variables]

    def run() -> Any:
        return model.stateless_call(trainable, frozen, example.given, training=True)

    outputs, state = run()
    # Seeds are variables: the second call starts where the first one ended.
    frozen = state
    again, _ = run()
    pairs = zip(flat(outputs), flat(again), strict=True)
    example.is_random = not all(np.array_equal(a, b) for a, b in pairs)
    if not example.is_random:
        paths = [v.path for v in model.non_trainable_variables]
        values = [np.asarray(value) for value in state]
        example.trained = {
            "outputs": flat(outputs),
            "state": {
                path: value
                for path, value in zip(paths, values, strict=True)
                if "seed" not in path
            },
        }


def _gradients(model: keras.Model, given: Any) -> dict[str, np.ndarray]:
    frozen = [v.value for v in model.non_trainable_variables]

    @jax.jit
    def total(trainable: Any) -> Any:
        outputs, _ = model.stateless_call(trainable, frozen, given, training=False)
        wide = keras.config.floatx()
        return sum((x.astype(wide) ** 2).sum() for x in jax.tree.leaves(outputs))

    found = jax.grad(total)([v.value for v in model.trainable_variables])
    paths = [v.path for v in model.trainable_variables]
    return {p: np.asarray(g) for p, g in zip(paths, found, strict=True)}
