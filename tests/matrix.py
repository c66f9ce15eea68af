"""Runs the fast tests on each supported Python, lowest and newest dependencies.

    python tests/matrix.py [--python 3.12] [--bounds lowest] [pytest arguments]

Pythons are found on PATH and below pyenv's versions. For each, a wheel of the project
is installed into an environment of its own under `.matrix/`, with every dependency at
the lower bound of `pyproject.toml`, or at the newest that pip finds. The two bounds run
on the oldest and the newest protobuf; the cell `protobuf6` reads and writes files on
the release between.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".matrix"
PYTHONS = ("3.11", "3.12", "3.13")
BOUNDS = ("lowest", "newest", "protobuf6")
TOOLS = ("pytest>=8.3", "pytest-xdist>=3.6", "hypothesis>=6.100")
FAST = "not peer and not slow"
# protobuf alone differs from `newest` there, and only the room of files meets it.
PROTOBUF_6 = ("protobuf>=6,<7",)
PROTOBUF_TESTS = ("tests/storage",)
PARALLEL = ("--numprocesses", "2", "--dist", "loadfile")


def find_python(version: str) -> Path | None:
    """Returns an interpreter of that version that really runs, or None."""
    candidates = [Path(found)] if (found := shutil.which(f"python{version}")) else []
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)
    code = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates:
        done = subprocess.run(
            [candidate, "-c", code], capture_output=True, text=True, check=False
        )
        if done.stdout.strip() == version:
            return candidate
    return None


def lowest_constraints() -> list[str]:
    """Returns `name==bound` for every dependency of the package and its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["images"], *extras["remote"]]
    return [re.sub(r">=([\w.]+).*", r"==\1", requirement) for requirement in wanted]


def run(command: list[object], **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), text=True, check=False, **kwargs)


def run_cell(python: Path, version: str, bounds: str, arguments: list[str]) -> str:
    """Builds one environment, runs the tests in it, and returns pytest's last line."""
    name = f"py{version}-{bounds}"
    environment = WORK / name
    shutil.rmtree(environment, ignore_errors=True)
    run([python, "-m", "venv", environment]).check_returncode()
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check"]
    command = [*pip, f"{ROOT}[images,remote]", *TOOLS]
    if bounds == "lowest":
        constraints = WORK / "lowest.txt"
        constraints.write_text("\n".join(lowest_constraints()) + "\n")
        command += ["--constraint", constraints]
    if bounds == "protobuf6":
        command += PROTOBUF_6
        arguments = [*PROTOBUF_TESTS, *arguments]
    done = run(command, capture_output=True)
    if done.returncode:
        return f"FAILED to install: {done.stderr.strip().splitlines()[-1]}"
    log = WORK / f"{name}.log"
    pytest = [environment / "bin" / "python", "-m", "pytest", "-q", "-m", FAST]
    with log.open("w") as stream:
        done = run(
            [*pytest, "-p", "no:cacheprovider", *PARALLEL, *arguments],
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    last = (log.read_text().strip().splitlines() or ["no output"])[-1]
    return last if done.returncode == 0 else f"FAILED: {last} (see {log.name})"


def main() -> int:
    """Runs the matrix; returns 1 if any cell fails or no Python is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", choices=PYTHONS, action="append")
    parser.add_argument("--bounds", choices=BOUNDS, action="append")
    options, arguments = parser.parse_known_args()
    WORK.mkdir(exist_ok=True)
    failed = ran = 0
    for version in options.python or PYTHONS:
        python = find_python(version)
        if python is None:
            print(f"Python {version}: not found", flush=True)
            continue
        for bounds in options.bounds or BOUNDS:
            start = time.monotonic()
            outcome = run_cell(python, version, bounds, arguments)
            took = time.monotonic() - start
            print(f"Python {version}, {bounds:9}: {outcome} [{took:.0f} s]", flush=True)
            ran += 1
            failed += outcome.startswith("FAILED")
    return int(bool(failed) or not ran)


if __name__ == "__main__":
    sys.exit(main())
