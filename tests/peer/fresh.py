"""A process of Regraft's own environment that knows nothing of the test's."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

# Run before the script: a TensorFlow that someone installed here must not help. None in
# `sys.modules` would not do: Keras takes that for one that is there.
_PROLOGUE = """\
import importlib.machinery

_find = importlib.machinery.PathFinder.find_spec

def _find_others(name, *args, **kwargs):
    hidden = name.partition(".")[0] in ("tensorflow", "tf_keras")
    return None if hidden else _find(name, *args, **kwargs)

importlib.machinery.PathFinder.find_spec = _find_others

"""


@dataclasses.dataclass(frozen=True)
class FreshProcess:
    """What a fresh process printed."""

    stdout: str
    stderr: str


def fresh_process(
    script: str | Path,
    *arguments: str | os.PathLike[str],
    env: dict[str, str] | None = None,
    timeout_s: float = 600.0,
) -> FreshProcess:
    """Runs a script in a new process of this environment, without TensorFlow.

    Args:
        script: Python source, or the path of a file that holds it.
        *arguments: `sys.argv[1:]` of the script.
        env: Environment variables added to this process' own.
        timeout_s: After this many seconds it is killed.

    Returns:
        Its output.

    Raises:
        RuntimeError: It ended with another status than 0; the text holds its output.
        subprocess.TimeoutExpired: It took too long.
    """
    source = script.read_text() if isinstance(script, Path) else textwrap.dedent(script)
    with tempfile.TemporaryDirectory(prefix="regraft-fresh-") as directory:
        path = Path(directory, "script.py")
        path.write_text(_PROLOGUE + source)
        done = subprocess.run(
            [sys.executable, path, *map(os.fspath, arguments)],
            env=os.environ | (env or {}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(
            f"The fresh process ended with status {done.returncode}.\n"
            f"stdout:\n{done.stdout}\nstderr:\n{done.stderr}"
        )
    return FreshProcess(done.stdout, done.stderr)
