"""The readers of the matrix: each opens an example and is compared with it."""

from __future__ import annotations

import itertools
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from interop.examples import Example
from peer import Peer, PeerError, fresh_process

# The columns of the matrix, and how much looser each is than its row's tolerance: steps
# and gradients are measured against the largest change of a weight.
COLUMNS: Mapping[str, float] = {
    "tf_keras": 1,
    "tf_keras trains": 20,
    "tf.saved_model": 1,
    "training=": 20,
    "gradients": 10,
    "TF 1": 1,
    "C++": 1,
    "saved_model_cli": 1,
    "TFLite": 1,
    "ONNX": 1,
    "OpenVINO": 1,
    "TF.js": 1,
    "Regraft": 1,
}


# What is this near in float64 is the same computation: rounding parts it in float32.
EXACT = 1e-8
# tf_keras computes `1 - momentum` of a normalization in float32, whatever its dtype.
EXACT_IN_TF_KERAS_TRAINING = 1e-7


@dataclass(frozen=True)
class Cell:
    """What became of an example in a reader.

    Attributes:
        difference: The largest one, as a share of the largest number expected;
            `None` where the reader gave no numbers.
        note: Why not, or what else there is to say.
        in_float64: The difference where both compute in float64; measured where
            rounding may be what keeps float32 apart.
        rounding: How far Keras' own outputs in float32 are from those in float64;
            measured of such outputs.
    """

    difference: float | None
    note: str = ""
    in_float64: float | None = None
    rounding: float | None = None

    def holds(self, tolerance: float, exact: float = EXACT) -> bool:
        if self.difference is None:
            return False
        if self.in_float64 is not None and self.in_float64 <= exact:
            return True
        # Two computations are as far apart as both are from the exact one.
        return self.difference <= max(tolerance, 3 * (self.rounding or 0.0))


class Peers:
    """The peers' processes, each started when it is first asked.

    Args:
        onnx: Python with tf2onnx and onnxruntime.
        tensorflowjs: Python with tensorflowjs; beside it stand Node's modules.
    """

    def __init__(
        self, onnx: str | None = None, tensorflowjs: str | None = None
    ) -> None:
        self.tensorflow = Peer(environment=_FEW_THREADS)
        self.openvino = Peer(blocked=("tensorflow", "tf_keras", "keras"))
        self.onnx = (
            None if onnx is None else Peer(python=onnx, environment=_FEW_THREADS)
        )
        self.tensorflowjs = (
            None
            if tensorflowjs is None
            else Peer(python=tensorflowjs, environment=_FEW_THREADS)
        )
        self.node_modules = (
            ""
            if tensorflowjs is None
            else str(Path(tensorflowjs).parents[1] / "node_modules")
        )

    def has(self, reader: str) -> bool:
        """Whether there is an environment for a reader."""
        return getattr(self, reader, self.tensorflow) is not None

    def close(self) -> None:
        for peer in (self.tensorflow, self.openvino, self.onnx, self.tensorflowjs):
            if peer is not None:
                peer.close()


_FEW_THREADS = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


@contextmanager
def peers(**pythons: str | None) -> Iterator[Peers]:
    found = Peers(**pythons)
    try:
        yield found
    finally:
        found.close()


def worst(got: Any, expected: Any) -> float:
    """Returns the largest difference as a share of the largest number expected."""
    if isinstance(expected, Mapping):
        if got.keys() != expected.keys():
            raise AssertionError(f"Got {sorted(got)}, expected {sorted(expected)}.")
        got, expected = [got[key] for key in expected], list(expected.values())
    if len(got) != len(expected):
        raise AssertionError(f"Got {len(got)} arrays, expected {len(expected)}.")
    found = 0.0
    for ours, theirs in zip(got, expected, strict=True):
        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if ours.shape != theirs.shape:
            raise AssertionError(f"Got shape {ours.shape}, expected {theirs.shape}.")
        if theirs.size:
            scale = float(np.abs(theirs).max()) or 1.0
            found = max(found, float(np.abs(ours - theirs).max()) / scale)
    return float("inf") if np.isnan(found) else found


def changes(
    after: Mapping[str, np.ndarray],
    before: Mapping[str, np.ndarray],
    all_of: Any = None,
) -> dict[str, np.ndarray]:
    names = after if all_of is None else all_of
    return {n: np.asarray(after[n], np.float64) - before[n] for n in names}


def worst_change(
    after: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    before: Mapping[str, np.ndarray],
) -> float:
    """Like `worst`, of what a step changes: a share of the largest change of all."""
    if set(after) != set(expected):
        odd = sorted(set(after) ^ set(expected))[:4]
        raise AssertionError(f"These variables are not on both sides: {odd}.")
    ours, theirs = changes(after, before), changes(expected, before)
    scale = max((float(np.abs(c).max()) for c in theirs.values() if c.size), default=0)
    return max(
        (
            float(np.abs(ours[name] - theirs[name]).max()) / (scale or 1.0)
            for name in theirs
            if theirs[name].size
        ),
        default=0.0,
    )


def _relative(got: float, expected: float) -> float:
    return abs(got - expected) / max(abs(expected), 1e-6)


def _differ(live: list[list[np.ndarray]]) -> bool:
    pairs = zip(*live, strict=True)
    return any(not np.array_equal(first, second) for first, second in pairs)


# Readers: an example and the peers → cells by column


def read_tf_keras(example: Example, ask: Peers) -> dict[str, Cell]:
    found = ask.tensorflow.call(
        "interop.tf_keras",
        *(str(example.path), example.given, example.targets, keras.config.floatx()),
    )
    predicts = Cell(worst(found["outputs"], example.outputs))
    trains = _relative(found["evaluated"], example.evaluated)
    if example.is_random:
        if not _differ(found["live"]):
            return {
                "tf_keras": predicts,
                "tf_keras trains": Cell(None, "training is not random"),
            }
        changed = changes(found["weights"], found["before"], _trainable(example))
        if not all(np.any(value) for value in changed.values()):
            return {
                "tf_keras": predicts,
                "tf_keras trains": Cell(None, "a step leaves weights as they were"),
            }
    else:
        trains = max(
            trains,
            _relative(found["loss"], example.stepped["loss"]),
            worst_change(found["weights"], example.stepped["weights"], example.before),
        )
    return {"tf_keras": predicts, "tf_keras trains": Cell(trains)}


def _trainable(example: Example) -> list[str]:
    return [path for path, g in example.gradients.items() if np.any(g)]


def read_saved_model(example: Example, ask: Peers) -> dict[str, Cell]:
    found = ask.tensorflow.call(
        "interop.saved_model", str(example.path), example.given, example.inputs
    )
    calls = max(
        worst(found["outputs"], example.outputs),
        worst(found["signature"], example.served),
    )
    if worst(found["variables"], example.before) > 0:
        return {"tf.saved_model": Cell(None, "variables differ")}
    if _relative(found["regularization"], example.regularization) > 1e-5:
        return {"tf.saved_model": Cell(None, "regularization_losses differ")}
    if example.is_random:
        trains = Cell(0.0) if _differ(found["live"]) else Cell(None, "is not random")
    else:
        state = {name: found["state"][name] for name in example.trained["state"]}
        trains = Cell(
            max(
                worst(found["live"][0], example.trained["outputs"]),
                worst_change(state, example.trained["state"], example.before),
            )
        )
    missing = [name for name, value in found["gradients"].items() if value is None]
    missing = [name for name in missing if np.any(example.gradients[name])]
    if missing:
        gradients = Cell(None, f"no gradient of {missing[0]}")
    else:
        given = {
            name: np.zeros_like(example.gradients[name]) if value is None else value
            for name, value in found["gradients"].items()
        }
        nothing = {name: 0.0 for name in given}
        gradients = Cell(worst_change(given, example.gradients, nothing))
    return {"tf.saved_model": Cell(calls), "training=": trains, "gradients": gradients}


def _simple(column: str, peer: str, function: str) -> Callable[..., dict[str, Cell]]:
    def read(example: Example, ask: Peers) -> dict[str, Cell]:
        found = getattr(ask, peer).call(
            f"interop.{function}", str(example.path), example.inputs
        )
        return {column: Cell(worst(found, example.served))}

    return read


def _nearest(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Returns what `worst` does, in the order that fits best."""
    shapes = [array.shape for array in expected]
    orders = [
        order
        for order in itertools.permutations(found)
        if [array.shape for array in order] == shapes
    ]
    return min((worst(order, expected) for order in orders), default=float("inf"))


# Beyond this, a reader computes something else.
_WRONG = 0.05


def _converter(
    column: str, peer: str, function: str, otherwise: str = "", note: str = ""
) -> Callable[..., dict[str, Cell]]:
    """Returns a reader that is asked for no more than it does for tf_keras' file.

    Args:
        column: Of the matrix.
        peer: Which process is asked.
        function: What it runs.
        otherwise: What it runs where it fails with both files.
        note: What that is.
    """

    def convert(
        example: Example, ask: Peers, path: Path, function: str = function
    ) -> float:
        rest = (ask.node_modules,) if peer == "tensorflowjs" else ()
        process = getattr(ask, peer)
        found = process.call(f"interop.{function}", str(path), example.inputs, *rest)
        if isinstance(found, list):  # OpenVINO keeps no names of outputs.
            return _nearest(found, list(example.served.values()))
        return worst(found, example.served)

    def read(example: Example, ask: Peers) -> dict[str, Cell]:
        if getattr(ask, peer) is None:
            return {}
        failure: PeerError | None = None
        ours = float("inf")
        try:
            ours = convert(example, ask, example.path)
        except PeerError as error:
            failure = error
        if ours <= _WRONG:
            return {column: Cell(ours)}
        with tempfile.TemporaryDirectory(prefix="regraft-interop-") as folder:
            try:
                ask.tensorflow.call("interop.save_again", str(example.path), folder)
                theirs = convert(example, ask, Path(folder))
            except PeerError as error:
                if failure is not None and otherwise:
                    with suppress(PeerError):
                        ours = convert(example, ask, example.path, otherwise)
                if ours <= _WRONG:
                    return {column: Cell(ours, note)}
                if failure is not None:
                    return {column: Cell(None, _both(failure, error))}
                theirs = float("inf")
            except AssertionError:
                theirs = float("inf")
        if failure is not None:
            raise failure
        if theirs > _WRONG:
            return {
                column: Cell(
                    None, "computes another function; so it does of tf_keras' own file"
                )
            }
        return {column: Cell(ours)}

    return read


def _both(ours: PeerError, theirs: PeerError) -> str:
    first, second = _short(ours), _short(theirs)
    same = "so does tf_keras' own file"
    return f"{first}; {same}" if first == second else f"{first}; {same}: {second}"


def _short(error: Exception) -> str:
    """Returns the line of an error that says what is wrong."""
    text = getattr(error, "message", "") or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # TensorFlow ends an error of a graph with the node that it came from.
    at = next((i for i, line in enumerate(lines) if line.startswith("[[")), 1)
    # OpenVINO begins with lines that only say where in its own sources it was.
    if lines and lines[0].startswith("Exception from src/"):
        lines = [
            line
            for line in lines
            if not line.startswith(("Exception from src/", "Check '"))
        ] or lines
        at = 1
    line = lines[max(at - 1, 0)] if lines else type(error).__name__
    return line if len(line) <= 240 else f"{line[:240]}…"


def read_lite(example: Example, ask: Peers) -> dict[str, Cell]:
    cells = _converter("TFLite", "tensorflow", "lite")(example, ask)
    if cells["TFLite"].difference is None:
        # Not every interpreter can run these; the converter's answer is enough.
        path = str(example.path)
        ask.tensorflow.call("interop.lite_with_select_ops", path)
        note = "converts with TensorFlow's own ops, which tf_keras' own file needs too"
        return {"TFLite": Cell(None, note)}
    return cells


_FRESH = """\
import os, pickle, sys
os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
import regraft

path, given, results = sys.argv[1:]
with open(given, "rb") as file:
    given, targets = pickle.load(file)
model = regraft.load_model(path)

def weights():
    # Layers inside of revived ones may have one path.
    held = [v for v in model.weights if "seed" not in v.path]
    return {f"{i} {v.path}": np.asarray(v.value) for i, v in enumerate(held)}

def flat(outputs):
    return [np.asarray(x, np.float32) for x in keras.tree.flatten(outputs)]

found = {"outputs": flat(model.predict(given, verbose=0)), "before": weights()}
found["evaluated"] = float(
    np.ravel(model.evaluate(given, targets, batch_size=64, verbose=0))[0]
)
calls = [flat(model(given, training=True)) for _ in range(2)]
for variable, value in zip(
    [v for v in model.weights if "seed" not in v.path], found["before"].values()
):
    variable.assign(value)
found["live"] = calls
found["loss"] = float(np.ravel(model.train_on_batch(given, targets))[0])
found["weights"] = weights()
with open(results, "wb") as file:
    pickle.dump(found, file)
"""


def read_regraft(example: Example, ask: Peers) -> dict[str, Cell]:
    with tempfile.TemporaryDirectory(prefix="regraft-interop-") as folder:
        given, results = os.path.join(folder, "given"), os.path.join(folder, "results")
        with open(given, "wb") as file:
            pickle.dump((example.given, example.targets), file)
        fresh_process(_FRESH, str(example.path), given, results)
        with open(results, "rb") as file:
            found = pickle.load(file)
    difference = max(
        worst(found["outputs"], example.outputs),
        _relative(found["evaluated"], example.evaluated),
    )
    if example.is_random:
        if not _differ(found["live"]):
            return {"Regraft": Cell(None, "training is not random")}
        return {"Regraft": Cell(difference)}
    # Layers inside of revived ones have other paths.
    after, expected = (
        dict(enumerate(held.values()))
        for held in (found["weights"], example.stepped["weights"])
    )
    before = dict(enumerate(example.before.values()))
    step = worst_change(after, expected, before)
    return {"Regraft": Cell(max(difference, step))}


READERS: Mapping[str, tuple[tuple[str, ...], Callable[..., dict[str, Cell]]]] = {
    "tf_keras": (("tf_keras", "tf_keras trains"), read_tf_keras),
    "saved_model": (("tf.saved_model", "training=", "gradients"), read_saved_model),
    "session": (("TF 1",), _simple("TF 1", "tensorflow", "session")),
    "c_api": (("C++",), _simple("C++", "tensorflow", "c_api")),
    "command_line": (
        ("saved_model_cli",),
        _simple("saved_model_cli", "tensorflow", "command_line"),
    ),
    "lite": (("TFLite",), read_lite),
    "onnx": (
        ("ONNX",),
        _converter(
            *("ONNX", "onnx", "onnx", "onnx_as_converted"),
            note="without tf2onnx's optimizer, which fails; "
            "so it does with tf_keras' own file",
        ),
    ),
    "openvino": (("OpenVINO",), _converter("OpenVINO", "openvino", "openvino")),
    "tensorflowjs": (("TF.js",), _converter("TF.js", "tensorflowjs", "tensorflowjs")),
    "regraft": (("Regraft",), read_regraft),
}


def read(name: str, example: Example, ask: Peers) -> dict[str, Cell]:
    """Returns the cells of a reader; what it raises becomes their note."""
    columns, function = READERS[name]
    try:
        return function(example, ask)
    except (PeerError, RuntimeError, AssertionError) as error:
        return {column: Cell(None, _short(error)) for column in columns}
