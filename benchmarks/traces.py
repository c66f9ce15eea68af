"""Measures saves with traces beside tf_keras': `python benchmarks/traces.py`.

Each architecture with Adam and its slots is saved by Regraft and by tf_keras in turns,
each time in a new process. Then TensorFlow serves both files. Besides the time on the
clock there is the time that processors worked, which a busy machine distorts less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from run import HERE, Job, find_peers_python, machine, remove, run_once

ARCHITECTURES = ("ResNet50", "EfficientNetB0", "MobileNetV2")
GOAL_TIMES, GOAL_MEMORY, GOAL_THROUGHPUT = 15.0, 1.2, 0.95


def throughputs(folder: Path, files: list[str]) -> list[float]:
    """Returns what TensorFlow does with each file per second."""
    command = [find_peers_python(), HERE / "serving.py", *(folder / f for f in files)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(architecture: str, runs: int, folder: Path) -> dict[str, Any]:
    """Returns the medians of one architecture."""
    jobs = [
        Job(tool, "save", f"{tool}-{architecture}", ("--traces",))
        for tool in ("regraft", "tf_keras")
    ]
    done: dict[str, list[dict[str, Any]]] = {job.tool: [] for job in jobs}
    for _ in range(runs):
        for job in jobs:
            remove(folder / job.file)
            numbers = run_once(job, folder, "--architecture", architecture)
            done[job.tool].append(numbers)
    served = throughputs(folder, [job.file for job in jobs])

    def median(tool: str, key: str) -> float:
        return statistics.median(run[key] for run in done[tool])

    ours = {key: median("regraft", key) for key in done["regraft"][0]}
    theirs = {key: median("tf_keras", key) for key in done["tf_keras"][0]}
    before = ours["peak_bytes"] - ours["grown_bytes"]
    return {
        "regraft": ours,
        "tf_keras": theirs,
        "times": theirs["seconds"] / ours["seconds"],
        "cpu_times": theirs["cpu_seconds"] / ours["cpu_seconds"],
        "memory": ours["peak_bytes"] / before,
        "throughput": served[0] / served[1],
    }


def show(results: dict[str, dict[str, Any]], console: Console) -> None:
    table = Table(
        *("save with traces", "Regraft s", "tf_keras s", "times", "by CPU"),
        *("peak memory", "throughput"),
        box=None,
        caption=(
            f"Goals: {GOAL_TIMES:g} times as fast, a peak of {GOAL_MEMORY:g} times the "
            f"model's memory, {GOAL_THROUGHPUT:g} of the throughput of tf_keras' file."
        ),
        caption_justify="left",
    )
    for name, row in results.items():
        table.add_row(
            name,
            f"{row['regraft']['seconds']:.2f}",
            f"{row['tf_keras']['seconds']:.2f}",
            f"{row['times']:.1f}",
            f"{row['cpu_times']:.1f}",
            f"{row['memory']:.2f}",
            f"{row['throughput']:.2f}",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="regraft-traces-") as name:
        results = {}
        for architecture in options.architectures:
            results[architecture] = measure(architecture, options.runs, Path(name))
            # What is measured is told at once: all of it takes minutes.
            show({architecture: results[architecture]}, Console())
    show(results, Console())
    (HERE / "results").mkdir(exist_ok=True)
    path = HERE / "results" / f"traces-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"machine": machine(), "results": results}, indent=1))


if __name__ == "__main__":
    main()
