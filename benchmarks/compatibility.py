"""Counts which program opens which file: the tables of `docs/compatibility.md`.

    python benchmarks/compatibility.py [--write-docs] [--readers Regraft ...]

With `--readers` the other columns keep what `results/compatibility.json` says; with
`--missing` only cells that it lacks are measured.

First, the vintage corpus (files that TensorFlow 1.15 to 2.21 wrote) against Regraft,
Keras 3's own loader and tf_keras 2.21. Second, what Regraft writes against tf_keras,
TensorFlow's core loader, Keras 3's own loader and Regraft. Three numbers per cell:
how many files opened, how many of these predicted what they should, and how many then
took the training step that they should have taken.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The same few models come in many versions and formats: compiled once.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="regraft-compiled-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import keras  # noqa: E402
import numpy as np  # noqa: E402

import interop_models  # noqa: E402
import regraft  # noqa: E402
from data.vintage import corpus  # noqa: E402
from peer import Peer, PeerError  # noqa: E402

PREDICT_TOLERANCE = 1e-5
STEP_TOLERANCE = 1e-4
BEGIN = "<!-- begin: written by benchmarks/compatibility.py -->"
END = "<!-- end -->"
READERS = ("Regraft", "Keras 3", "tf_keras 2.21")
Outcome = tuple[bool, bool, bool]
FAILED: Outcome = (False, False, False)
RESULTS = ROOT / "benchmarks" / "results" / "compatibility.json"


class Counts(collections.Counter[str]):
    """Files, and how many opened, predicted and trained as they should.

    Attributes:
        short: Names of the files that did not do all of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.short: list[str] = []

    def add(self, name: str, outcome: Outcome) -> None:
        self.update(files=1)
        if not all(outcome):
            self.short.append(name)
        for part, holds in zip(("opened", "predicts", "trains"), outcome, strict=True):
            self.update({part: int(holds)})

    def cell(self) -> str:
        if not self["files"]:
            return "none"
        if self["opened"] == 0:
            return "0"
        return f"{self['opened']} · {self['predicts']} · {self['trains']}"


def one(arrays: list[np.ndarray]) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays


def as_list(value: Any) -> list[np.ndarray]:
    return list(value) if isinstance(value, list | tuple) else [value]


def close(ours: Any, expected: list[np.ndarray], tolerance: float) -> bool:
    pairs = zip(as_list(ours), expected, strict=True)
    return all(
        np.shape(a) == b.shape
        and np.max(np.abs(a - b)) <= tolerance * np.max(np.abs(b))
        for a, b in pairs
    )


class Row(NamedTuple):
    """A line of a table."""

    name: str
    files: int
    counts: dict[str, Counts]


class Expected:
    """The arrays of one case of the corpus."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self._arrays = dict(file)

    def __getitem__(self, prefix: str) -> list[np.ndarray]:
        found = sorted(k for k in self._arrays if k.startswith(f"{prefix}_"))
        return [self._arrays[key] for key in found]


def try_in_process(
    load: Callable[[Path], keras.Model], path: Path, expected: Expected
) -> Outcome:
    """Loads here, predicts and takes one step."""
    try:
        model = load(path)
        predicted = model.predict(one(expected["in"]), verbose=0)
        predicts = close(predicted, expected["out"], PREDICT_TOLERANCE)
    except Exception:
        return FAILED
    if not expected["next"]:
        return (True, predicts, predicts)
    try:
        model.train_on_batch(one(expected["tx"]), one(expected["ty"]))
        predicted = model.predict(one(expected["in"]), verbose=0)
        trains = close(predicted, expected["next"], STEP_TOLERANCE)
    except Exception:
        trains = False
    return (True, predicts, trains)


def try_in_peer(peer: Peer, path: Path, expected: Expected) -> Outcome:
    """Loads in tf_keras, predicts and takes one step."""
    steps = [(one(expected["tx"]), one(expected["ty"]))] if expected["next"] else []
    inputs = one(expected["in"])
    try:
        found = peer.call("keras_models.load_predict_train", str(path), inputs, steps)
    except PeerError:
        return FAILED
    predicts = close(found["predictions"], expected["out"], PREDICT_TOLERANCE)
    trains = predicts
    if steps:
        trains = close(found["predictions_after"], expected["next"], STEP_TOLERANCE)
    return (True, predicts, trains)


def try_readers(
    peer: Peer, readers: list[str], path: Path, expected: Expected
) -> Iterator[tuple[str, Outcome]]:
    """Yields each reader's outcome with one file."""
    if "Regraft" in readers:
        yield "Regraft", try_in_process(regraft.load_model, path, expected)
    if "Keras 3" in readers:
        yield "Keras 3", try_in_process(keras.models.load_model, path, expected)
    if "tf_keras 2.21" in readers:
        yield "tf_keras 2.21", try_in_peer(peer, path, expected)
    keras.utils.clear_session()


Wanted = Callable[[str], list[str]]
"""Readers to measure, of the line of that name."""


def vintage_rows(peer: Peer, wanted: Wanted, folder: Path) -> Iterator[Row]:
    """Yields a line per TensorFlow version and format."""
    root = corpus.unpack(folder)
    groups: dict[tuple[str, str], list[corpus.Case]] = collections.defaultdict(list)
    for case in corpus.cases():
        if case.name != "session_style":
            kind = "HDF5" if case.format == "model.h5" else "SavedModel"
            groups[case.version, kind].append(case)
    for (version, kind), cases in groups.items():
        name = f"TensorFlow {version} {kind}"
        readers = wanted(name)
        counts = {reader: Counts() for reader in readers}
        for case in cases if readers else ():
            expected, path = Expected(case.arrays(root)), case.path(root)
            for reader, outcome in try_readers(peer, readers, path, expected):
                counts[reader].add(f"{case.name} ({case.format})", outcome)
        yield Row(name, len(cases), counts)


def written_rows(peer: Peer, wanted: Wanted, folder: Path) -> Iterator[Row]:
    """Yields a line per dialect and format of what Regraft writes."""
    for kind, dialect in (
        ("SavedModel", "keras2"),
        ("HDF5", "keras2"),
        ("HDF5", "both"),
        ("HDF5", "keras3"),
    ):
        name = f'{kind}, dialect `"{dialect}"`'
        readers = wanted(name)
        counts = {reader: Counts() for reader in readers}
        for model_name in interop_models.MODELS if readers else ():
            path = folder / f"{model_name}-{dialect}{'.h5' if kind == 'HDF5' else ''}"
            expected = save_example(model_name, path, dialect)
            for reader, outcome in try_readers(peer, readers, path, expected):
                counts[reader].add(model_name, outcome)
        yield Row(name, len(interop_models.MODELS), counts)


def save_example(name: str, path: Path, dialect: str) -> Any:
    """Saves a trained model and returns what its next step leads to."""
    keras.utils.set_random_seed(3)
    example = interop_models.MODELS[name]()
    example.model.compile(keras.optimizers.Adam(0.01), example.loss)
    before = interop_models.STEPS_BEFORE
    for x, y in example.batches[:before]:
        example.model.train_on_batch(x, y)
    options = None if dialect == "keras2" else regraft.SaveOptions(dialect=dialect)
    regraft.save_model(example.model, path, options=options)
    out = as_list(example.model.predict(example.inputs, verbose=0))
    x, y = example.batches[before]
    example.model.train_on_batch(x, y)
    after = as_list(example.model.predict(example.inputs, verbose=0))
    return {
        "in": as_list(example.inputs),
        "out": out,
        "tx": as_list(x),
        "ty": as_list(y),
        "next": after,
    }


def table(title: str, rows: Iterator[Row], known: dict[str, Any]) -> list[str]:
    """Returns a Markdown table; cells that were not measured are the known ones."""
    lines = [
        f"| {title} | files | {' | '.join(READERS)} |",
        f"|---|---:|{'---:|' * len(READERS)}",
    ]
    for row in rows:
        cells = known.setdefault(row.name, {})
        for reader, counts in row.counts.items():
            cells[reader] = counts.cell()
            cells[f"{reader} falls short of"] = counts.short
        shown = " | ".join(cells.get(reader, "?") for reader in READERS)
        lines.append(f"| {row.name} | {row.files} | {shown} |")
        print(lines[-1], flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    return lines


def write_docs(tables: list[list[str]]) -> None:
    """Replaces the generated parts of the documentation and the README."""
    measured = (
        f"Measured {time.strftime('%Y-%m-%d')} with Keras {keras.__version__} on JAX. "
        "A cell: files that opened · of these predict what they should (to "
        f"{PREDICT_TOLERANCE:g} of the output's scale) · and still do after one more "
        f"training step (to {STEP_TOLERANCE:g}), which holds only if the optimizer's "
        "state came back."
    )
    body = "\n\n".join([measured, *("\n".join(lines) for lines in tables)])
    for page in (ROOT / "docs" / "compatibility.md", ROOT / "README.md"):
        before, _, rest = page.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=[*READERS])
    parser.add_argument("--missing", action="store_true")
    options = parser.parse_args()
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}

    def wanted(row: str) -> list[str]:
        done = known.get(row, {}) if options.missing else {}
        return [reader for reader in options.readers if reader not in done]

    peer = Peer()
    try:
        with tempfile.TemporaryDirectory(prefix="regraft-compatibility-") as name:
            folder = Path(name)
            tables = [
                table("Written by", vintage_rows(peer, wanted, folder), known),
                table("Written by Regraft", written_rows(peer, wanted, folder), known),
            ]
    finally:
        peer.close()
    if options.write_docs:
        write_docs(tables)


if __name__ == "__main__":
    main()
