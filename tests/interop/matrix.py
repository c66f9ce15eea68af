"""Measures the interoperation matrix and writes `docs/interop.md`.

    python tests/interop/matrix.py [--rows u_net ResNet50 …] [--readers lite …]
        [--missing] [--float64] [--only-docs]

Cells that are not measured keep what `results.json` says; with `--missing` only those
that it lacks are measured. With `--float64` those that differ by more than they should
are measured again, of the same model in float64: what is equal there, and only there,
differs by rounding. `REGRAFT_ONNX_PYTHON` and `REGRAFT_TFJS_PYTHON` name the
Pythons of environments with tf2onnx and with tensorflowjs; without, their columns stay.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Whole architectures compile ten times faster, and are run a few times only.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import jax  # noqa: E402
import keras  # noqa: E402
from keras.src.backend.common import dtypes as promotion  # noqa: E402

from interop.examples import flat, made, make_example  # noqa: E402
from interop.models import ROWS, Row, calibrate  # noqa: E402
from interop.readers import (  # noqa: E402
    COLUMNS,
    EXACT,
    EXACT_IN_TF_KERAS_TRAINING,
    READERS,
    Cell,
    Peers,
    peers,
    read,
    worst,
)
from pages import write_part  # noqa: E402

RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "interop.md"

# Readers that are compared with what training does; the rest wants outputs alone.
TRAINING = {"tf_keras", "saved_model", "regraft"}

Known = dict[str, dict[str, dict[str, Any]]]


def load_results() -> Known:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def _keep(results: Known, row: str, cells: Mapping[str, Cell]) -> None:
    held = results.setdefault(row, {})
    for column, cell in cells.items():
        # Where files lay says nothing.
        note = re.sub(r"/tmp/\S*/", "", cell.note)
        held[column] = {"difference": cell.difference, "note": note}
    _write(results)


def _write(results: Known) -> None:
    ordered = {name: results[name] for name in ROWS if name in results}
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")


def _peers() -> AbstractContextManager[Peers]:
    return peers(
        onnx=os.environ.get("REGRAFT_ONNX_PYTHON"),
        tensorflowjs=os.environ.get("REGRAFT_TFJS_PYTHON"),
    )


def measure(rows: list[str], readers: list[str], missing: bool) -> None:
    """Measures cells, and keeps each as soon as it is known."""
    results = load_results()
    for row in rows:
        held = results.get(row, {}) if missing else {}
        wanted = [r for r in readers if not set(READERS[r][0]) <= set(held)]
        with _peers() as ask:
            wanted = [r for r in wanted if ask.has(r)]
        if not wanted:
            continue
        folder = Path(tempfile.mkdtemp(prefix="regraft-interop-"))
        started = time.monotonic()
        try:
            trains = not TRAINING.isdisjoint(wanted)
            example = make_example(ROWS[row], folder, trains=trains)
            jax.clear_caches()
            for reader in wanted:
                # Peers of its own: each keeps gigabytes of an architecture.
                with _peers() as ask:
                    cells = read(reader, example, ask)
                _keep(results, row, cells)
                for column, cell in cells.items():
                    print(f"{row} · {column}: {cell}", flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            keras.utils.clear_session()
            jax.clear_caches()
        print(f"{row}: {time.monotonic() - started:.0f} s", flush=True)


def measure_in_float64(rows: list[str]) -> None:
    """Measures what rounding may keep apart, computed in float64 on both sides."""
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    # Keras on JAX computes means of float64 in float32 otherwise.
    promotion.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    results = load_results()
    for row in rows:
        held = results.get(row, {})
        far = {c for c in held if not holds(ROWS[row], c, held[c])}
        far = {c for c in far if held[c]["difference"] is not None}
        if outputs := far - {"tf_keras trains", "training=", "gradients"}:
            rounding = rounding_of(ROWS[row])
            print(f"{row}: outputs in float32 are {rounding:.1e} off", flush=True)
            for column in outputs:
                held[column]["rounding"] = rounding
            _write(results)
        wanted = [r for r in ("tf_keras", "saved_model") if far & {*READERS[r][0]}]
        if not wanted:
            continue
        with peers() as ask, tempfile.TemporaryDirectory() as folder:
            example = make_example(ROWS[row], Path(folder))
            for reader in wanted:
                for column, cell in read(reader, example, ask).items():
                    print(f"{row} · {column} in float64: {cell}", flush=True)
                    if column in far:
                        held[column]["in_float64"] = cell.difference
        _write(results)


def rounding_of(row: Row) -> float:
    """Returns how far Keras' outputs in float32 are from those in float64."""
    outputs, weights = [], None
    for floatx in ("float32", "float64"):
        keras.config.set_floatx(floatx)
        keras.utils.clear_session()
        keras.utils.set_random_seed(3)
        model, _, given = made(row)
        if weights is None:
            calibrate(model, given)
            weights = model.get_weights()
        else:
            model.set_weights(weights)
        outputs.append(flat(model(given, training=False)))
    return worst(*outputs)


class Notes:
    """Numbered footnotes, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, note: str) -> str:
        number = self._numbers.setdefault(note, len(self._numbers) + 1)
        return f"[{number}]"

    def lines(self) -> Iterator[str]:
        for note, number in self._numbers.items():
            yield f"{number}. `{note.replace('`', chr(39))}`"


def _shown(cell: Mapping[str, Any] | None, notes: Notes) -> str:
    if cell is None:
        return ""
    mark = notes.mark(cell["note"]) if cell["note"] else ""
    if cell["difference"] is None:
        return f"no {mark}"
    number = _number(cell["difference"])
    if cell.get("in_float64") is not None:
        number += f" ({_number(cell['in_float64'])})"
    elif cell.get("rounding") is not None:
        number += f" (Keras {_number(cell['rounding'])})"
    return f"{number} {mark}".strip()


def _number(difference: float) -> str:
    return f"{difference:.0e}".replace("e-0", "e-").replace("0e+00", "0")


def table(results: Known) -> str:
    """Returns both tables in Markdown, with their notes."""
    notes = Notes()
    parts = []
    for title, wanted in (("Kinds of models", False), ("`keras.applications`", True)):
        lines = [
            f"| {title} | {' | '.join(COLUMNS)} |",
            f"|---|{'---|' * len(COLUMNS)}",
        ]
        for name, row in ROWS.items():
            if row.is_application is wanted and name in results:
                cells = [_shown(results[name].get(c), notes) for c in COLUMNS]
                lines.append(f"| {row.title} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    parts.append("\n".join(["Notes:", "", *notes.lines()]))
    return "\n\n".join(parts)


def holds(row: Row, column: str, cell: Mapping[str, Any]) -> bool:
    """Whether a cell's numbers are as near as they should be."""
    tolerance = row.tolerance * COLUMNS[column]
    exact = EXACT_IN_TF_KERAS_TRAINING if column == "tf_keras trains" else EXACT
    return Cell(**cell).holds(tolerance, exact)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=[*ROWS], default=[*ROWS])
    parser.add_argument("--readers", nargs="+", choices=[*READERS], default=[*READERS])
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--float64", action="store_true")
    parser.add_argument("--only-docs", action="store_true")
    options = parser.parse_args()
    if options.float64:
        measure_in_float64(options.rows)
    elif not options.only_docs:
        measure(options.rows, options.readers, options.missing)
    write_part(PAGE, "tests/interop/matrix.py", table(load_results()))


if __name__ == "__main__":
    main()
