"""Saves models of many layers in every way, and asks every reader what it opens.

    python tests/sweep/reverse.py [--each 2] [--match L.GRU] [--missing] [--part 1/2]
        [--only-docs]

writes what was measured into `hdf5.json` and `docs/hdf5.md`. Several may run at once,
each with a part of the models.
"""

from __future__ import annotations

import argparse
import fcntl
import inspect
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
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
from pages import write_part  # noqa: E402
from peer import Peer  # noqa: E402
from regraft.model.dialects.keras2_arguments import KERAS_2_ARGUMENTS  # noqa: E402
from sweep import models, values, values_keras3  # noqa: E402
from sweep.cases import Case, Words, generate  # noqa: E402
from sweep.groups import class_of  # noqa: E402

RESULTS = Path(__file__).with_name("hdf5.json")
PAGE = ROOT / "docs" / "hdf5.md"
SIZE = 20

WORDS = Words(
    {**values.BASES, **values_keras3.BASES},
    {**values.VALUES, **values_keras3.VALUES},
)
# How files are written, and who reads them. `own` is what Keras 3 itself saves.
FILES: dict[str, dict[str, Any]] = {
    "traces": {"save_format": "tf"},
    "plain": {"save_format": "tf", "save_traces": False},
    "keras2": {"save_format": "h5"},
    "both": {"save_format": "h5", "options": regraft.SaveOptions(dialect="both")},
    "keras3": {"save_format": "h5", "options": regraft.SaveOptions(dialect="keras3")},
    "own": {},
}
COLUMNS: tuple[tuple[str, str], ...] = (
    *(("tf_keras", file) for file in ("traces", "plain", "keras2", "both")),
    *(("Regraft", file) for file in ("traces", "plain", "keras2", "both", "keras3")),
    *(("Keras 3", file) for file in ("keras2", "both", "keras3", "own")),
)
Outcome = dict[str, dict[str, str]]


def arguments() -> dict[str, set[str]]:
    """The arguments of every layer class of Keras 3."""
    found = {}
    for name, cls in vars(keras.layers).items():
        is_layer = inspect.isclass(cls) and issubclass(cls, keras.layers.Layer)
        if is_layer and cls.__name__ == name:
            parameters = inspect.signature(cls.__init__).parameters
            found[name] = set(parameters) - {"self", "kwargs"}
    return found


def all_cases() -> list[Case]:
    """Configurations of every class that has cases."""
    table = {n: a for n, a in arguments().items() if n not in values_keras3.REASONS}
    return generate(table, WORDS)


def refusal(case: Case) -> str | None:
    """Why Keras 3 itself can't make or train a case."""
    reasons = values_keras3.REFUSED.items()
    return next((why for words, why in reasons if re.search(words, case.name)), None)


def only_keras_3(case: Case) -> bool:
    return class_of(case) not in KERAS_2_ARGUMENTS


def cannot(case: Case) -> dict[str, str]:
    """In which columns a case can't open, and why."""
    found = {}
    if only_keras_3(case):
        words = "Keras 2 has no such layer; its traces run"
        found = dict.fromkeys(values_keras3.ALL_TF_KERAS, words)
    for words, columns, reason in values_keras3.CANNOT:
        if re.search(words, case.name):
            found |= {column: reason for column in columns if column not in found}
    return found


def share(cases: Sequence[Case], count: int) -> list[Case]:
    """The first case of each class, and a seeded choice of others."""
    by_class: dict[str, list[Case]] = {}
    for case in cases:
        if not refusal(case):
            by_class.setdefault(class_of(case), []).append(case)
    found = []
    for name, members in by_class.items():
        others = random.Random(name).sample(members[1:], len(members) - 1)
        found += [members[0], *others[: count - 1]]
    return found


def groups(cases: Sequence[Case]) -> dict[str, tuple[Case, ...]]:
    """Models to make, of cases that open in the same columns."""
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        if refusal(case):
            continue
        words = ["not " + reason for reason in sorted(set(cannot(case).values()))]
        words += ["of fixed batch"] * case.stateful
        words += ["in bfloat16"] * ("dtype='bfloat16'" in case.name)
        kinds.setdefault("; ".join(words) or "of both", []).append(case)
    found = {}
    for kind, members in kinds.items():
        # Not sorted by class, so that the first groups say something of all.
        random.Random(kind).shuffle(members)
        for start in range(0, len(members), SIZE):
            found[f"{kind} {start // SIZE}"] = tuple(members[start : start + SIZE])
    return found


def trains(case: Case) -> bool:
    """Whether Keras 3 makes a case and takes a step with it."""
    try:
        rng = models.random_state((case,))
        model, _ = models.build(keras, (case,))
        x = models.given(models.draw((case,), rng))
        y = models.targets(models.as_arrays(model.predict(x, verbose=0)), rng)
        model.train_on_batch(x, y)
    except Exception:
        return False
    return True


class Sweep:
    """Measures models of cases.

    Args:
        peer: Where tf_keras reads.
        directory: For the files.
        columns: What to measure.
    """

    def __init__(
        self,
        peer: Peer,
        directory: Path,
        columns: Sequence[tuple[str, str]] = COLUMNS,
    ) -> None:
        self._peer = peer
        self._directory = directory
        self._columns = columns

    def measure(self, cases: Sequence[Case]) -> Outcome:
        """What does not open, or not as it was, by case and column; else nothing."""
        wrong: Outcome = {case.name: {} for case in cases}
        self._measure(tuple(cases), self._columns, wrong)
        return wrong

    def _measure(
        self, cases: tuple[Case, ...], columns: Sequence[Any], wrong: Outcome
    ) -> None:
        """One model of all; where it fails as a whole, one of each half."""
        keras.utils.clear_session(free_memory=False)
        jax.clear_caches()  # Of models that no test sees again.
        folder = Path(tempfile.mkdtemp(dir=self._directory))
        again = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    written = _Written(cases, folder, {file for _, file in columns})
                except Exception as error:
                    if len(cases) == 1:
                        raise ValueError(f"{cases[0].name} isn't trained") from error
                    again, columns = [*columns], ()
                for column in columns:
                    try:
                        found = self._read(written, *column)
                    except Exception as error:
                        # The models of cases that can't open fail for one reason.
                        name = "·".join(column)
                        if len(cases) == 1 or all(name in cannot(c) for c in cases):
                            for case in cases:
                                wrong[case.name]["·".join(column)] = text_of(error)
                        else:
                            again.append(column)
                        continue
                    for name, text in found.items():
                        wrong[name]["·".join(column)] = text
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if again:
            half = len(cases) // 2
            self._measure(cases[:half], again, wrong)
            self._measure(cases[half:], again, wrong)

    def _read(self, written: _Written, reader: str, file: str) -> dict[str, str]:
        path = written.save(file)
        if reader == "tf_keras":
            found = self._peer.call("sweep.read", str(path), written.x, written.y)
        elif reader == "Regraft":
            model = regraft.load_model(path)
            found = models.follow(model, written.x, written.y)
        else:
            return written.differences_in_keras(keras.models.load_model(path))
        if not found["compiled"]:
            raise ValueError("not compiled")
        return written.differences(found)


class _Written:
    """A model of some cases after a step, its files, and what it gives next."""

    def __init__(
        self, cases: tuple[Case, ...], folder: Path, files: Collection[str]
    ) -> None:
        self._cases = cases
        self._folder = folder
        self._saved: dict[str, Path | Exception] = {}
        rng = models.random_state(cases)
        self.model, self._branches = models.build(keras, cases)
        # What wrappers make inside trains on although they are made frozen.
        for layer in self.model.layers:
            if not layer.trainable:
                layer.trainable = False
        models.spread(self.model, rng)
        self.x = models.given(models.draw(cases, rng))
        predictions = models.as_arrays(self.model.predict(self.x, verbose=0))
        self.y = models.targets(predictions, rng)
        if self.model.trainable_weights:
            self.model.train_on_batch(self.x, self.y)
        for file in files:
            self._save(file)
        self._configs = {
            layer.name: json.dumps(layer.get_config(), default=str, sort_keys=True)
            for layer in self.model.layers
        }
        self._compiled = _compiled(self.model)
        self._held = models.weights_by_layer(self.model)
        self._expected = models.follow(self.model, self.x, self.y)

    def _save(self, file: str) -> None:
        path = self._folder / (file if file in ("traces", "plain") else f"{file}.h5")
        try:
            if file == "own":
                self.model.save(path)
            else:
                regraft.save_model(self.model, path, **FILES[file])
            self._saved[file] = path
        except Exception as error:
            self._saved[file] = error

    def save(self, file: str) -> Path:
        found = self._saved[file]
        if isinstance(found, Exception):
            raise found
        return found

    def differences(self, found: dict[str, Any]) -> dict[str, str]:
        return models.differences(self._cases, self._branches, found, self._expected)

    def differences_in_keras(self, model: Any) -> dict[str, str]:
        """Keras' own loader restores no optimizer, so there is no next step."""
        found = models.as_arrays(model.predict(self.x, verbose=0))
        held = {
            "predictions": found,
            "after": self._expected["after"],
            "weights": models.weights_by_layer(model),
        }
        expected = {**self._expected, "weights": self._held}
        wrong = models.differences(self._cases, self._branches, held, expected)
        compiled = _compiled(model)
        for case, branch in zip(self._cases, self._branches, strict=True):
            name = branch["layer"]
            config = json.dumps(
                model.get_layer(name).get_config(), default=str, sort_keys=True
            )
            if config != self._configs[name]:
                wrong.setdefault(case.name, f"another config: {config}")
            if compiled != self._compiled:
                wrong.setdefault(case.name, f"compiled otherwise: {compiled}")
        return wrong


def _compiled(model: Any) -> Any:
    """How a model was compiled, whatever words say so."""
    if not model.compiled:
        return None
    settings = {
        key: np.float32(value) if isinstance(value, float) else value
        for key, value in model.optimizer.get_config().items()
    }
    losses = [
        getattr(loss, "__name__", getattr(loss, "name", loss)) for loss in model.loss
    ]
    return type(model.optimizer).__name__, settings, losses


def text_of(error: Exception) -> str:
    """An error in a line."""
    name = getattr(error, "error", type(error).__name__)
    text = " ".join(str(getattr(error, "message", error)).split())
    return f"{name}: {text}"[:200]


# ----------------------------------------------------------- results and page


def load_results() -> dict[str, list[str]]:
    """The columns in which each measured case doesn't open, by its name."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    return json.loads(text or "{}")


def keep(wrong: Outcome) -> None:
    """Adds what was measured to the results, one case a line."""
    with RESULTS.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # Other parts write too.
        results = load_results()
        results |= {name: sorted(found) for name, found in wrong.items()}
        order = [case.name for case in all_cases() if case.name in results]
        lines = [f"{json.dumps(name)}: {json.dumps(results[name])}" for name in order]
        file.truncate(0)
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


TITLES = {
    "tf_keras·traces": "tf_keras, SavedModel",
    "tf_keras·plain": "tf_keras, without traces",
    "tf_keras·keras2": "tf_keras, HDF5",
    "tf_keras·both": 'tf_keras, `"both"`',
    "Keras 3·keras2": "Keras 3, HDF5",
    "Keras 3·both": 'Keras 3, `"both"`',
    "Keras 3·keras3": 'Keras 3, `"keras3"`',
    "Keras 3·own": "Keras 3, Keras' own file",
    "Regraft·all": "Regraft, all",
}


def _opens(columns: Sequence[str], title: str) -> bool:
    reader, _, file = title.partition("·")
    if file == "all":
        return not any(column.startswith(reader) for column in columns)
    return title not in columns


def table(results: Mapping[str, Sequence[str]]) -> str:
    """Returns the tables in Markdown: sums, classes, and why something can't open."""
    by_class: dict[str, list[Sequence[str]]] = {}
    reasons: dict[str, list[str]] = {}
    for case in all_cases():
        if case.name in results:
            by_class.setdefault(class_of(case), []).append(results[case.name])
            for column, reason in cannot(case).items():
                reader = column.partition("·")[0]
                text = f"{reason} ({reader})"
                names = reasons.setdefault(text, [])
                if class_of(case) not in names:
                    names.append(class_of(case))
    every = [case for case in all_cases() if not refusal(case)]
    classes = {class_of(case) for case in every}
    head = [
        f"Measured: {len(results)} of {len(every)} configs, of {len(by_class)} of "
        f"{len(classes)} classes.",
        "",
        f"| Layer class | configs | {' | '.join(TITLES.values())} |",
        f"|---|---:|{'---:|' * len(TITLES)}",
    ]
    everything = [columns for rows in by_class.values() for columns in rows]
    rows = {f"**all {len(by_class)} classes**": everything, **by_class}
    for name, found in rows.items():
        counts = [sum(_opens(columns, t) for columns in found) for t in TITLES]
        shown = ["all" if n == len(found) else str(n) for n in counts]
        head.append(f"| {name} | {len(found)} | {' | '.join(shown)} |")
    notes = [f"- {text}: {', '.join(names)}" for text, names in sorted(reasons.items())]
    return "\n".join([*head, "", "Where not all open:", "", *notes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, help="configs of each class; else all")
    parser.add_argument("--match", default="", help="expression of cases' names")
    parser.add_argument("--missing", action="store_true", help="not measured before")
    parser.add_argument("--part", default="1/1", help="which of how many parts")
    parser.add_argument("--only-docs", action="store_true")
    options = parser.parse_args()
    if not options.only_docs:
        cases = all_cases()
        if options.each:
            cases = share(cases, options.each)
        cases = [case for case in cases if re.search(options.match, case.name)]
        if options.missing:
            measured = load_results()
            cases = [case for case in cases if case.name not in measured]
        part, parts = map(int, options.part.split("/"))
        peer = Peer()
        with tempfile.TemporaryDirectory(prefix="regraft-sweep-") as directory:
            sweep = Sweep(peer, Path(directory))
            for name, group in list(groups(cases).items())[part - 1 :: parts]:
                started = time.monotonic()
                try:
                    wrong = sweep.measure(group)
                except ValueError as error:
                    print(f"{name}: {error}: {error.__cause__}", flush=True)
                    continue
                keep(wrong)
                print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
                for case in group:
                    found, known = wrong[case.name], cannot(case)
                    for column in found.keys() ^ known.keys():
                        text = found.get(
                            column, "opens although " + known.get(column, "")
                        )
                        print(f"  {case.name} · {column}: {text}", flush=True)
        peer.close()
    write_part(PAGE, "tests/sweep/reverse.py", table(load_results()))


if __name__ == "__main__":
    main()
