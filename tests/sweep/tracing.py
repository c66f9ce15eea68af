"""Traces models of many layers, and asks TensorFlow what the functions compute.

    python tests/sweep/tracing.py [--match L.GRU] [--each 2]

prints what differs, what is traced for one size or in inference alone, and what can't
be written down. Each model has a branch for each of some configurations, with unknown
batch; its functions are called in inference and in training, with gradients by inputs
and weights, losses, and what a call writes.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # Much is compiled and run but a few times.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    sys.path.insert(0, str(ROOT / "tests"))

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

import regraft  # noqa: E402
from peer import Peer  # noqa: E402
from sweep import models, reverse  # noqa: E402
from sweep.cases import Case  # noqa: E402
from sweep.groups import class_of  # noqa: E402

SIZE = 20
_NOTHING: dict[str, Any] = {"losses": 0.0, "gradients": {}, "by_input": {}, "state": {}}
# Of the largest of several equal numbers of a few bits, each framework takes another.
_TIED = re.compile(r"Max\w*\(.*float16'")
READERS = ("saved_model", "tf_keras")


def groups(cases: Sequence[Case]) -> dict[str, tuple[Case, ...]]:
    """Models to make: of one kind of batch, and random in training or not."""
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        if reverse.refusal(case):
            continue
        words = ["of fixed batch" if case.stateful else "of any batch"]
        words += ["random"] * case.is_random
        words += ["by traces alone"] * reverse.only_keras_3(case)
        kinds.setdefault(", ".join(words), []).append(case)
    found = {}
    for kind, members in kinds.items():
        # Not sorted by class, so that the first groups say something of all.
        random.Random(kind).shuffle(members)
        for start in range(0, len(members), SIZE):
            found[f"{kind} {start // SIZE}"] = tuple(members[start : start + SIZE])
    return found


class Branches:
    """A model with a branch for each case, and what Keras computes with it."""

    def __init__(self, cases: Sequence[Case]) -> None:
        keras.utils.set_random_seed(1)
        self.cases = cases
        rng = models.random_state(cases)
        inputs: list[Any] = []
        outputs: list[Any] = []
        self.owners: list[int] = []
        self.layers: list[keras.Layer] = []
        for index, case in enumerate(cases):
            made, found, layer = self._branch(case, index)
            inputs += made
            outputs += found
            self.owners += [index] * len(found)
            self.layers.append(layer)
        self.input_owners = [i for i, c in enumerate(cases) for _ in c.inputs]
        self.model = keras.Model(models.given(inputs), models.given(outputs))
        models.spread(self.model, rng)
        self.x = models.draw(cases, rng)
        self.weights_of = {
            variable.path: index
            for index, layer in enumerate(self.layers)
            for variable in layer.variables
        }
        self._rng = rng

    def _branch(self, case: Case, index: int) -> tuple[list[Any], list[Any], Any]:
        layer = models.make_layer(keras, case, index)
        batch = models.BATCH if case.stateful else None
        inputs, tensors = [], []
        for number, item in enumerate(case.inputs):
            is_ids = isinstance(item[0], tuple)
            shape, dtype = (item[0], "int32") if is_ids else (item, "float32")
            name = f"case{index:02}_in{number}"
            made = keras.Input(shape, batch_size=batch, dtype=dtype, name=name)
            inputs.append(made)
            if case.masked:
                made = keras.layers.Masking(name=f"case{index}_mask{number}")(made)
            tensors.append(made)
        apart = type(layer).__name__ in ("MultiHeadAttention", "GroupedQueryAttention")
        if len(tensors) == 1:
            result = layer(tensors[0])
        else:
            result = layer(*tensors) if apart else layer(tensors)
        return inputs, list(keras.tree.flatten(result)), layer

    def follow(self) -> dict[str, Any]:
        """What Keras computes; `factors` make a scalar of the outputs."""
        outputs = _listed(self.model(models.given(self.x), training=False))
        factors = [
            self._rng.normal(size=value.shape).astype("float32") for value in outputs
        ]
        found: dict[str, Any] = {"factors": factors}
        for training in (False, True):
            found[str(training)] = self._call(training, factors)
        return found

    def _call(self, training: bool, factors: Sequence[np.ndarray]) -> dict[str, Any]:
        model, x = self.model, self.x
        frozen = [v.value for v in model.non_trainable_variables]
        floats = [i for i, array in enumerate(x) if array.dtype == np.float32]

        def run(trainable: Any, given: Any) -> Any:
            arrays = list(x)
            for place, value in zip(floats, given, strict=True):
                arrays[place] = value
            outputs, state, losses = model.stateless_call(
                *(trainable, frozen, models.given(arrays)),
                training=training,
                return_losses=True,
            )
            outputs = _listed(outputs)
            total = sum(
                (value.astype("float32") * factor).sum()
                for value, factor in zip(outputs, factors, strict=True)
            )
            return total, (outputs, state, losses)

        trainable = [v.value for v in model.trainable_variables]
        if training and all(case.is_random for case in self.cases):
            # No number says anything.
            _, (outputs, _, _) = jax.eval_shape(run, trainable, [x[i] for i in floats])
            zeros = [np.zeros(value.shape, "float32") for value in outputs]
            return {**_NOTHING, "outputs": zeros}
        grads, (outputs, state, losses) = jax.jit(
            jax.grad(run, argnums=(0, 1), has_aux=True)
        )(trainable, [x[i] for i in floats])
        paths = [v.path for v in model.trainable_variables]
        after = zip(model.non_trainable_variables, state, strict=True)
        return {
            "outputs": models.as_arrays(outputs),
            "losses": float(sum(np.sum(np.asarray(v, np.float32)) for v in losses)),
            "gradients": dict(zip(paths, models.as_arrays(grads[0]), strict=True)),
            "by_input": dict(zip(floats, models.as_arrays(grads[1]), strict=True)),
            "state": {
                variable.path: np.asarray(value).astype("float32")
                for variable, value in after
                if "seed_generator" not in variable.path
            },
        }

    def notes(self, said: Sequence[str]) -> Iterator[tuple[int | None, str]]:
        """What a save says of functions, with the case that it is said of."""
        owners = {layer.name: index for index, layer in enumerate(self.layers)}
        for text in said:
            name, _, note = text.partition(": ")
            if name in owners or name == self.model.name:
                yield owners.get(name), note

    def differences(self, found: Any, expected: Any) -> dict[str, str]:
        """By case, what differs; `""` is what belongs to no case alone."""
        texts: dict[str, list[str]] = {}
        for training in (False, True):
            word = "training" if training else "inference"
            for owner, what in self._differing(
                found[str(training)], expected[str(training)], training
            ):
                name = "" if owner is None else self.cases[owner].name
                texts.setdefault(name, []).append(f"{word}: {what}")
        return {name: ", ".join(said) for name, said in texts.items()}

    def _differing(self, found: Any, expected: Any, training: bool) -> Any:
        is_random = any(case.is_random for case in self.cases) and training
        pairs = zip(found["outputs"], expected["outputs"], strict=True)
        for place, (ours, theirs) in enumerate(pairs):
            owner = self.owners[place]
            case = self.cases[owner]
            if training and case.is_random:
                if ours.shape != theirs.shape or not np.isfinite(ours).all():
                    yield (
                        owner,
                        f"output {ours.shape}, not {theirs.shape} or not finite",
                    )
                continue
            yield from self._differs(owner, "output", ours, theirs)
        off = abs(found["losses"] - expected["losses"])
        if not is_random and off > 2e-3 * max(1.0, abs(expected["losses"])):
            yield None, f"losses {found['losses']} not {expected['losses']}"
        for kind in ("gradients", "state"):
            for path, theirs in expected[kind].items():
                owner = self.weights_of.get(path)
                if owner is None or (training and self.cases[owner].is_random):
                    continue
                ours = found[kind].get(path)
                if ours is None:
                    if np.any(theirs):
                        yield owner, f"no {kind} of {path}"
                    continue
                yield from self._differs(owner, f"{kind} {path}", ours, theirs)
        for place, theirs in expected["by_input"].items():
            owner = self.input_owners[place]
            case = self.cases[owner]
            if (training and case.is_random) or _TIED.search(case.name):
                continue
            ours = found["by_input"].get(place)
            if ours is None:
                if np.any(theirs):
                    yield owner, f"no gradient of input {place}"
                continue
            yield from self._differs(owner, "gradient of input", ours, theirs)

    def _differs(self, owner: int, what: str, ours: Any, theirs: Any) -> Any:
        worst = models.worst([ours], [theirs])
        if worst > 5 * models.tolerance(self.cases[owner]):
            yield owner, f"{what} {worst:.2g}"


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


class Sweep:
    """Measures models of cases.

    Args:
        peer: Where TensorFlow runs.
        directory: For the files.
        readers: Who opens them.
    """

    def __init__(
        self, peer: Peer, directory: Path, readers: Sequence[str] = READERS
    ) -> None:
        self._peer = peer
        self._directory = directory
        self._readers = readers

    def measure(self, cases: Sequence[Case]) -> dict[str, dict[str, str]]:
        """What is wrong, by case and kind; nothing where all is right."""
        wrong: dict[str, dict[str, str]] = {case.name: {} for case in cases}
        self._measure(tuple(cases), wrong)
        return wrong

    def _measure(self, cases: tuple[Case, ...], wrong: dict[str, Any]) -> None:
        """One model of all; where something is wrong as a whole, one of each half."""
        keras.utils.clear_session(free_memory=False)
        try:
            found = self._of(cases)
        except Exception as error:
            found = {"": {"error": reverse.text_of(error)}}
        if "" in found and len(cases) > 1:
            half = len(cases) // 2
            self._measure(cases[:half], wrong)
            self._measure(cases[half:], wrong)
            return
        for name, said in found.items():
            wrong[name or cases[0].name] |= said

    def _of(self, cases: tuple[Case, ...]) -> dict[str, dict[str, str]]:
        folder = Path(tempfile.mkdtemp(dir=self._directory))
        found: dict[str, dict[str, str]] = {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                branches = Branches(cases)
                expected = branches.follow()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                regraft.save_model(branches.model, folder / "model")
            for owner, note in branches.notes([str(w.message) for w in caught]):
                name = "" if owner is None else cases[owner].name
                found.setdefault(name, {})["note"] = note
            if "" in found and len(cases) > 1:
                return found
            for reader in self._readers:
                try:
                    got = self._peer.call(
                        "sweep.call_traced",
                        *(reader, str(folder / "model"), branches.x),
                        expected["factors"],
                    )
                except Exception as error:
                    found.setdefault("", {})[reader] = reverse.text_of(error)
                    continue
                if reader == "tf_keras" and any(
                    "trainable=False" in c.name for c in cases
                ):
                    # Its layers count regularizers of frozen weights too.
                    for training in ("False", "True"):
                        got[training]["losses"] = expected[training]["losses"]
                for name, said in branches.differences(got, expected).items():
                    found.setdefault(name, {})[reader] = said
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, help="configs of each class; else all")
    parser.add_argument("--match", default="", help="expression of cases' names")
    parser.add_argument("--skip", type=int, default=0, help="how many models")
    parser.add_argument("--readers", default=",".join(READERS))
    options = parser.parse_args()
    cases = reverse.all_cases()
    if options.each:
        cases = reverse.share(cases, options.each)
    cases = [case for case in cases if re.search(options.match, case.name)]
    peer = Peer()
    with tempfile.TemporaryDirectory(prefix="regraft-sweep-") as directory:
        sweep = Sweep(peer, Path(directory), options.readers.split(","))
        for name, group in list(groups(cases).items())[options.skip :]:
            started = time.monotonic()
            wrong = sweep.measure(group)
            classes = ", ".join(sorted({class_of(case) for case in group}))
            print(f"{name} ({classes}): {time.monotonic() - started:.0f} s", flush=True)
            for key, found in wrong.items():
                for kind, text in found.items():
                    print(f"  {key} · {kind}: {text}", flush=True)
    peer.close()


if __name__ == "__main__":
    main()
