"""Saves a directory again and again, each time ended at a later system call.

Usage: `crash.py ROOT OLD`. Makes `ROOT/000/model`, `ROOT/001/model` and so on; in
each a child process saves and is ended, as by a crash, right before its next system
call. Where `OLD` is `1`, there is an old model to replace.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import test_commit


def end_after(passes: int) -> None:
    """Ends this process right before one of its next system calls."""
    left = passes

    def wrap(original):
        def call(*arguments, **keywords):
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(3)
            return original(*arguments, **keywords)

        return call

    for module, name in test_commit.SYSTEM_CALLS:
        setattr(module, name, wrap(getattr(module, name)))


def main() -> int:
    root, old = Path(sys.argv[1]), sys.argv[2] == "1"
    for passes in range(500):
        directory = root / f"{passes:03}"
        directory.mkdir()
        if old:
            test_commit.fill(directory / "model", test_commit.OLD)
        child = os.fork()
        if child == 0:
            end_after(passes)
            test_commit.save(directory / "model")
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return 0
        if status != 3:
            return 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
