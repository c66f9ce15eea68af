"""Measures Regraft beside tf_keras and Keras 3: `make bench`.

Each number is the median of some runs, each run a process of its own, the tools taking
turns so that a slow minute of the machine meets them all. What is timed is the call of
`save` or `load` alone. Results go to `benchmarks/results/` as JSON and, with
`--write-docs`, as tables of the documentation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BEGIN, END = "<!-- begin: written by make bench -->", "<!-- end -->"


class Job(NamedTuple):
    """One line of the table."""

    tool: str
    operation: str
    file: str
    flags: tuple[str, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.tool} {self.operation} {self.note or self.file}"


# Where loads find their files: the second and later of a day, and the first.
PLACES: dict[str, tuple[str, ...]] = {"from memory": ()}
if hasattr(os, "posix_fadvise"):
    PLACES["from disk"] = ("--from-disk",)

# Saves come first: each load reads what the save of the same name wrote.
JOBS = (
    Job("regraft", "save", "regraft", note="SavedModel"),
    Job("tf_keras", "save", "tf_keras", note="SavedModel"),
    Job("regraft", "save", "regraft_traces", ("--traces",), "SavedModel with traces"),
    Job("tf_keras", "save", "tf_keras_traces", ("--traces",), "SavedModel with traces"),
    Job("keras", "save", "keras.keras", note=".keras"),
    Job("regraft", "save", "regraft.h5", note="HDF5"),
    Job("tf_keras", "save", "tf_keras.h5", note="HDF5"),
    *(
        Job(tool, "load", file, flags, f"{note}, {place}")
        for place, flags in PLACES.items()
        for tool, file, note in (
            ("regraft", "regraft", "SavedModel"),
            ("regraft", "regraft_traces", "SavedModel with traces"),
            ("regraft", "tf_keras_traces", "tf_keras' SavedModel with traces"),
            ("tf_keras", "tf_keras", "SavedModel"),
            ("tf_keras", "tf_keras_traces", "SavedModel with traces"),
            ("keras", "keras.keras", ".keras"),
            ("regraft", "regraft.h5", "HDF5"),
            ("tf_keras", "tf_keras.h5", "HDF5"),
        )
    ),
)

# What is promised: (faster, slower, at least so many times).
GOALS = (
    ("regraft save SavedModel", "tf_keras save SavedModel", 8.0),
    (
        "regraft save SavedModel with traces",
        "tf_keras save SavedModel with traces",
        4.0,
    ),
    *(
        (f"regraft load {note}, {place}", f"{slow}, {place}", 5.0)
        for place in PLACES
        for note, slow in (
            ("SavedModel", "tf_keras load SavedModel"),
            ("SavedModel with traces", "tf_keras load SavedModel with traces"),
            ("SavedModel", "keras load .keras"),
        )
    ),
)


def find_peers_python() -> Path:
    named = os.environ.get("REGRAFT_PEERS_PYTHON")
    python = Path(named) if named else ROOT / ".venv-peers" / "bin" / "python"
    if not python.exists():
        sys.exit(f"No peers' environment at {python}: `make bench` builds it.")
    return python


def run_once(job: Job, folder: Path, *flags: str) -> dict[str, Any]:
    """Runs one measurement in a new process."""
    python = find_peers_python() if job.tool == "tf_keras" else Path(sys.executable)
    command = [python, HERE / "measure.py", job.tool, job.operation]
    command += ["--path", folder / job.file, *job.flags, *flags]
    environment = os.environ | {"KERAS_HOME": str(folder / "keras-home")}
    if job.tool == "tf_keras":
        environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        list(map(str, command)),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{job.name} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def remove(path: Path) -> None:
    """Makes every save the first one: deleting the old model is not measured."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def measure(jobs: tuple[Job, ...], runs: int, folder: Path, console: Console) -> dict:
    """Returns the runs of every job, by name."""
    results: dict[str, list[dict[str, Any]]] = {job.name: [] for job in jobs}
    architecture = ("--architecture", os.environ.get("BENCH_MODEL", "ResNet50"))
    for turn in range(runs):
        for job in jobs:
            if job.operation == "save":
                remove(folder / job.file)
            console.print(f"[dim]{turn + 1}/{runs} {job.name}[/]", end="\r")
            numbers = run_once(job, folder, *architecture)
            results[job.name].append(numbers)
            console.print(" " * 70, end="\r")
    return results


def median(results: dict, name: str, key: str) -> float:
    return statistics.median(run[key] for run in results[name])


def show(results: dict, initializer_calls: int, console: Console) -> None:
    table = Table("", "seconds", "reading all", "peak memory", "grown by", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in results:
        reading = "read_seconds" in results[name][0]
        table.add_row(
            name,
            f"{median(results, name, 'seconds'):.2f}",
            f"{median(results, name, 'read_seconds'):.2f}" if reading else "",
            f"{median(results, name, 'peak_bytes') / 1e6:,.0f} MB",
            f"{median(results, name, 'grown_bytes') / 1e6:,.0f} MB",
        )
    console.print(table)
    for fast, slow, goal, ratio in ratios(results):
        mark = "[green]✓[/]" if ratio >= goal else "[red]✗[/]"
        console.print(
            f"{mark} {fast}: {ratio:.1f} times as fast as {slow} (goal {goal:g})"
        )
    mark = "[green]✓[/]" if not initializer_calls else "[red]✗[/]"
    console.print(
        f"{mark} initializers of variables run while Regraft loads: {initializer_calls}"
    )


def ratios(results: dict) -> list[tuple[str, str, float, float]]:
    return [
        (fast, slow, goal, _ratio(results, fast, slow))
        for fast, slow, goal in GOALS
        if fast in results and slow in results
    ]


def _ratio(results: dict, fast: str, slow: str) -> float:
    return median(results, slow, "seconds") / median(results, fast, "seconds")


def machine() -> dict[str, str]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cpus": str(os.cpu_count()),
        "processor": platform.machine(),
        **{name: version(name) for name in ("keras", "jax")},
    }


def write_docs(results: dict, about: dict[str, str], initializer_calls: int) -> None:
    """Replaces the generated parts of the documentation and the README."""
    lines = [
        f"Measured {about['date']} on {about['cpus']} CPU cores "
        f"({about['processor']}), Python {about['python']}, Keras {about['keras']}, "
        f"JAX {about['jax']}, tf_keras 2.21. Medians of "
        f"{len(next(iter(results.values())))} runs, each a new process.",
        "",
        "| | seconds | then reading every number | peak memory |",
        "|---|---:|---:|---:|",
    ]
    for name in results:
        reading = (
            f"{median(results, name, 'read_seconds'):.2f}"
            if "read_seconds" in results[name][0]
            else ""
        )
        seconds = median(results, name, "seconds")
        peak = median(results, name, "peak_bytes") / 1e6
        lines.append(f"| {name} | {seconds:.2f} | {reading} | {peak:,.0f} MB |")
    lines.append("")
    for fast, slow, _, ratio in ratios(results):
        lines.append(f"- {fast}: {ratio:.1f} times as fast as {slow}.")
    lines.append(
        f"- Initializers of variables run while Regraft loads: {initializer_calls}."
    )
    body = "\n".join(lines)
    for page in (ROOT / "docs" / "benchmarks.md", ROOT / "README.md"):
        before, _, rest = page.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="jobs whose name holds this")
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    console = Console()
    jobs = tuple(job for job in JOBS if not options.only or options.only in job.name)
    with tempfile.TemporaryDirectory(prefix="regraft-bench-") as name:
        folder = Path(name)
        about = machine()
        results = measure(jobs, options.runs, folder, console)
        watched = run_once(
            Job("regraft", "load", "regraft"), folder, "--count-initializers"
        )
    show(results, watched["initializer_calls"], console)
    (HERE / "results").mkdir(exist_ok=True)
    path = HERE / "results" / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    record = {"machine": about, "results": results, "initializers": watched}
    path.write_text(json.dumps(record, indent=1) + "\n")
    console.print(f"[dim]{path.relative_to(ROOT)}[/]")
    if options.write_docs:
        write_docs(results, about, watched["initializer_calls"])


if __name__ == "__main__":
    main()
