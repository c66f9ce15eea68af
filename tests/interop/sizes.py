"""Compares the graphs of whole architectures with tf_keras' own; writes the table.

    python tests/interop/sizes.py [--names ResNet50 …] [--missing] [--only-docs]

The architectures are those of `keras.applications`, with random weights. What was
measured is kept in `sizes.json`, and shown in `docs/interop.md`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import keras  # noqa: E402

import regraft  # noqa: E402
from interop.models import APPLICATIONS  # noqa: E402
from pages import write_part  # noqa: E402
from peer import Peer  # noqa: E402

RESULTS = Path(__file__).with_name("sizes.json")
PAGE = ROOT / "docs" / "interop.md"
SHAPE = (96, 96, 3)
MOST_OPS = 1.3


@dataclass(frozen=True)
class Size:
    """Two files of one architecture.

    Attributes:
        ours: Ops behind `serving_default` in Regraft's file; those that cost nothing
            when a graph runs are not counted.
        theirs: The same in tf_keras' own.
        our_bytes: Of Regraft's `saved_model.pb`.
        their_bytes: Of tf_keras'.
    """

    ours: int
    theirs: int
    our_bytes: int
    their_bytes: int

    def holds(self) -> bool:
        """Whether the graph is as small as it should be."""
        enough = self.ours <= MOST_OPS * self.theirs
        return enough and self.our_bytes <= self.their_bytes


def measure(name: str, peer: Peer) -> Size:
    """Saves an architecture, and lets tf_keras save its own."""
    with tempfile.TemporaryDirectory(prefix="regraft-sizes-") as folder:
        path = Path(folder) / "model"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = getattr(keras.applications, name)(weights=None, input_shape=SHAPE)
            regraft.save_model(model, path)
        # The largest take 1.4 GB, and the peer needs as much.
        del model
        keras.utils.clear_session()
        gc.collect()
        ours, theirs, *sizes = peer.call(
            "saved_functions.application_ops",
            *(str(path), name, SHAPE),
            timeout_s=1800,
        )
    return Size(sum(ours.values()), sum(theirs.values()), *sizes)


def load_results() -> dict[str, Size]:
    held = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {name: Size(**row) for name, row in held.items()}


def table(results: Mapping[str, Size]) -> str:
    """Returns the table in Markdown."""
    lines = [
        "| `keras.applications` | ops | ops of tf_keras | share | KB | "
        "KB of tf_keras | share |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, size in sorted(results.items()):
        lines.append(
            f"| {name} | {size.ours:,} | {size.theirs:,} "
            f"| {size.ours / size.theirs:.2f} | {size.our_bytes / 1000:,.0f} "
            f"| {size.their_bytes / 1000:,.0f} "
            f"| {size.our_bytes / size.their_bytes:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = APPLICATIONS
    parser.add_argument("--names", nargs="+", choices=names, default=names)
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--only-docs", action="store_true")
    options = parser.parse_args()
    results = load_results()
    for name in () if options.only_docs else options.names:
        if options.missing and name in results:
            continue
        peer = Peer()
        try:
            size = results[name] = measure(name, peer)
        finally:
            peer.close()
        print(f"{name}: {size}, holds: {size.holds()}", flush=True)
        rows = {name: asdict(results[name]) for name in sorted(results)}
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    write_part(PAGE, "tests/interop/sizes.py", table(load_results()))


if __name__ == "__main__":
    main()
