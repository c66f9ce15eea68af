"""Measures how fast signatures run: Regraft, TensorFlow and OpenVINO on one file.

`make bench` runs it; `python benchmarks/throughput.py --write-docs` alone rewrites the
tables. tf_keras writes each model; each tool opens the same directory in a process of
its own. The tools take turns, so that a slow minute of the machine meets them all; a
ratio is the median over the rounds of what one round measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from run import HERE, ROOT, find_peers_python, machine

MODELS = ("ResNet50", "MobileNetV2", "EfficientNetB0", "LSTM")
BATCHES = (8, 64)
TOOLS = ("regraft", "tensorflow", "openvino")
BEGIN = "<!-- begin: written by benchmarks/throughput.py -->"
END = "<!-- end -->"
# The same numbers, or it isn't the same work.
TOLERANCE = 1e-3

# Memory that stays with the process: XLA takes all that a call needs anew each time,
# and where new pages are slow that costs more than the arithmetic. The same for all.
KEEP_PAGES = ":".join(
    f"glibc.malloc.{name}"
    for name in (
        *("hugetlb=1", "mmap_max=0", "arena_max=1"),
        *("trim_threshold=10000000000", "top_pad=536870912"),
    )
)

Row = dict[str, Any]


def python_of(tool: str) -> Path:
    return Path(sys.executable) if tool == "regraft" else find_peers_python()


class Worker:
    """A tool in its process."""

    def __init__(self, tool: str, keeps_pages: bool) -> None:
        environment = dict(os.environ)
        if keeps_pages:
            environment["GLIBC_TUNABLES"] = KEEP_PAGES
        if tool != "regraft":
            environment.pop("PYTHONPATH", None)
        self.tool = tool
        self._process = subprocess.Popen(
            [str(python_of(tool)), str(HERE / "throughput_worker.py"), tool],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer."""
        pipe, out = self._process.stdin, self._process.stdout
        pipe.write(json.dumps(request) + "\n")
        pipe.flush()
        while line := out.readline():
            if line.startswith("{"):
                return json.loads(line)
        sys.exit(f"{self.tool} failed:\n{self._process.stderr.read()}")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)


def write_model(name: str, path: Path) -> None:
    """Lets tf_keras save a model."""
    script = HERE / "throughput_worker.py"
    command = [find_peers_python(), script, "write", name, path]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"tf_keras could not write {name}:\n{done.stderr}")


def measure(name: str, path: Path, options: argparse.Namespace) -> list[Row]:
    """Returns a row per batch size."""
    workers = [Worker(tool, not options.default_malloc) for tool in options.tools]
    rows = []
    try:
        for worker in workers:
            worker.ask(model=str(path))
        for batch in options.batches:
            first = {w.tool: w.ask(batch=batch, seconds=0) for w in workers}
            _check_same(name, first)
            rounds = []
            for _ in range(options.rounds):
                rounds.append(
                    {
                        w.tool: min(
                            w.ask(batch=batch, seconds=options.seconds)["seconds"]
                        )
                        for w in workers
                    }
                )
            rows.append(_row(name, batch, rounds, first))
    finally:
        for worker in workers:
            worker.close()
    return rows


def _check_same(name: str, first: dict[str, dict[str, float]]) -> None:
    sums = {tool: found["sum"] for tool, found in first.items()}
    if max(sums.values()) - min(sums.values()) > TOLERANCE * max(sums.values()):
        sys.exit(f"The tools differ on {name}: {sums}")


def _row(
    name: str, batch: int, rounds: list[dict[str, float]], first: dict[str, Any]
) -> Row:
    tools = list(rounds[0])
    return {
        "model": name,
        "batch": batch,
        "seconds": {t: statistics.median(r[t] for r in rounds) for t in tools},
        "times as fast as": {
            t: statistics.median(r[t] / r["regraft"] for r in rounds)
            for t in tools
            if t != "regraft"
        },
        "first call": {t: first[t]["first"] for t in tools},
        "rounds": rounds,
    }


def table(rows: list[Row], about: dict[str, str], rounds: int) -> str:
    """Returns the rows as Markdown."""
    tools = list(rows[0]["times as fast as"])
    heads = " | ".join(f"times as fast as {_title(tool)}" for tool in tools)
    lines = [
        f"`serving_default` of what tf_keras saved, measured {about['date']} on "
        f"{about['cpus']} CPU cores ({about['processor']}), JAX {about['jax']}, "
        f"TensorFlow 2.21, the tools taking turns {rounds} times.",
        "Every process ran with `GLIBC_TUNABLES` set as said below.",
        "",
        f"| model | batch | Regraft, examples per second | {heads} |",
        f"|---|---:|---:|{'---:|' * len(tools)}",
    ]
    for row in rows:
        speed = row["batch"] / row["seconds"]["regraft"]
        cells = " | ".join(f"{row['times as fast as'][tool]:.2f}" for tool in tools)
        lines.append(f"| {row['model']} | {row['batch']} | {speed:,.0f} | {cells} |")
    return "\n".join(lines)


def _title(tool: str) -> str:
    return {"tensorflow": "TensorFlow", "openvino": "OpenVINO"}[tool]


def write_docs(body: str) -> None:
    """Replaces the generated parts of the documentation and the README."""
    for page in (ROOT / "docs" / "benchmarks.md", ROOT / "README.md"):
        before, found, rest = page.read_text().partition(BEGIN)
        if not found:
            sys.exit(f"{page} has no place for the table: {BEGIN}")
        page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{rest.partition(END)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--tools", nargs="+", default=TOOLS, choices=TOOLS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument(
        "--default-malloc", action="store_true", help="leave GLIBC_TUNABLES alone"
    )
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder of models to use again")
    options = parser.parse_args()
    console = Console()
    rows = []
    with tempfile.TemporaryDirectory(prefix="regraft-bench-") as temporary:
        folder = options.keep or Path(temporary)
        for name in options.models:
            path = folder / name
            if not path.exists():
                console.print(f"[dim]tf_keras writes {name}[/]")
                write_model(name, path)
            found = measure(name, path, options)
            for row in found:
                console.print(
                    f"{name}, batch {row['batch']}: {_shown(row['seconds'], ' s')}; "
                    f"times as fast as {_shown(row['times as fast as'], '')}"
                )
            rows += found
    about = machine()
    (HERE / "results").mkdir(exist_ok=True)
    path = HERE / "results" / f"throughput-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    console.print(f"[dim]{path.relative_to(ROOT)}[/]")
    if options.write_docs:
        write_docs(table(rows, about, options.rounds))


def _shown(numbers: dict[str, float], unit: str) -> str:
    return ", ".join(f"{tool} {value:.3g}{unit}" for tool, value in numbers.items())


if __name__ == "__main__":
    main()
