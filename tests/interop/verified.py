"""Verifies whole architectures that tf_keras saved; writes the table of the docs.

    python tests/interop/verified.py [--names ResNet50 …] [--missing] [--only-docs]

The architectures are those of `tf_keras.applications`, with random weights. Each is
saved by tf_keras with its traces; `regraft.verify_file` compares every layer with its
trace, and every op of the file is looked up among the kernels. What was found is kept
in `verified.json`, and shown in `docs/old-models.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from pages import write_part  # noqa: E402
from peer import Peer  # noqa: E402
from regraft.api import verify_file  # noqa: E402
from regraft.errors import MismatchError  # noqa: E402
from regraft.graph.runtime.kernels import load_all  # noqa: E402
from regraft.graph.runtime.registry import KERNELS  # noqa: E402
from regraft.loading.report import Check  # noqa: E402
from regraft.storage.saved_model_directory import (  # noqa: E402
    read_saved_model_directory,
)
from test_applications import NAMES  # noqa: E402

RESULTS = Path(__file__).with_name("verified.json")
PAGE = ROOT / "docs" / "old-models.md"
# Width of the images; these don't take small ones.
SIDE = 64
SIDES = {"InceptionV3": 96, "InceptionResNetV2": 96, "Xception": 96}
TIMEOUT_S = 3600


@dataclass(frozen=True)
class Verified:
    """What verifying one architecture found.

    Attributes:
        layers: How many the file has.
        compared: How many of them were compared with a trace.
        inference: Largest difference of a layer in inference, of its largest value.
        training: The same in training.
        whole: The same of the model as a whole, in inference.
        differing: What is not within its tolerance.
        ops: How many kinds of ops the file has.
        without_kernel: Those that Regraft can't run.
    """

    layers: int
    compared: int
    inference: float
    training: float
    whole: float
    differing: tuple[str, ...]
    ops: int
    without_kernel: tuple[str, ...]

    def holds(self) -> bool:
        """Whether all is as the file says."""
        enough = self.compared >= self.layers // 2
        return enough and not self.differing and not self.without_kernel


def measure(path: str) -> Verified:
    """Verifies a file."""
    load_all()
    (meta_graph,) = read_saved_model_directory(path).saved_model.meta_graphs
    used = ops_of(meta_graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            report = verify_file(path)
        except MismatchError as error:
            return Verified(0, 0, 0, 0, 0, (str(error),), len(used), ())
    parts = [layer for layer in report.layers if layer.class_name != "InputLayer"]
    every = [check for layer in parts for check in layer.checks]

    def largest(checks: Iterable[Check], mode: str) -> float:
        found = [check.difference or 0.0 for check in checks if check.mode == mode]
        return float(f"{max(found, default=0.0):.2g}")

    return Verified(
        layers=len(parts),
        compared=sum(
            any(check.difference is not None for check in layer.checks)
            for layer in parts
        ),
        inference=largest(every, "inference"),
        training=largest(every, "training"),
        whole=largest(report.checks, "inference"),
        differing=tuple(report.differing),
        ops=len(used),
        without_kernel=tuple(sorted(used - set(KERNELS))),
    )


def ops_of(meta_graph: Any) -> set[str]:
    """Returns the ops of all traces; what saves the variables is none of them."""
    functions = {f.signature.name: f for f in meta_graph.graph_def.library.function}
    pending = list(meta_graph.object_graph_def.concrete_functions)
    seen, used = set(pending), set()
    while pending:
        for node in functions[pending.pop()].node_def:
            used.add(node.op)
            for value in node.attr.values():
                called = {f.name for f in (value.func, *value.list.func) if f.name}
                pending += called - seen
                seen |= called
    return used


def load_results() -> dict[str, Verified]:
    held = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = {}
    for name, row in held.items():
        lists = {key: tuple(row[key]) for key in ("differing", "without_kernel")}
        rows[name] = Verified(**{**row, **lists})
    return rows


def table(results: Mapping[str, Verified]) -> str:
    """Returns the table in Markdown."""
    lines = [
        "| `tf_keras.applications` | layers | compared | inference | training | whole "
        "| ops | without kernel |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in sorted(results.items()):
        lines.append(
            f"| {name} | {found.layers} | {found.compared} | {found.inference:.0e} "
            f"| {found.training:.0e} | {found.whole:.0e} | {found.ops} "
            f"| {', '.join(found.without_kernel) or 0} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--only-docs", action="store_true")
    parser.add_argument("--file", help="verify this file and print what was found")
    options = parser.parse_args()
    if options.file:
        print(json.dumps(asdict(measure(options.file))))
        return
    for name in () if options.only_docs else options.names:
        if options.missing and name in load_results():
            continue
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="regraft-verified-") as folder:
            path = f"{folder}/model"
            peer = Peer()
            try:
                side = SIDES.get(name, SIDE)
                peer.call("applications.save", name, path, side, timeout_s=TIMEOUT_S)
            finally:
                peer.close()
            saved = time.monotonic()
            # A process each: the largest take 1.4 GB, and compiled functions stay.
            found = subprocess.run(
                [sys.executable, __file__, "--file", path],
                check=True,
                stdout=subprocess.PIPE,
                timeout=TIMEOUT_S,
            )
        row = json.loads(found.stdout.splitlines()[-1])
        rows = {key: asdict(value) for key, value in load_results().items()} | {
            name: row
        }
        RESULTS.write_text(
            json.dumps({key: rows[key] for key in sorted(rows)}, indent=1) + "\n"
        )
        print(
            f"{name}: {load_results()[name]}, saved in {saved - begin:.0f} s, "
            f"verified in {time.monotonic() - saved:.0f} s",
            flush=True,
        )
    write_part(PAGE, "tests/interop/verified.py", table(load_results()))


if __name__ == "__main__":
    main()
