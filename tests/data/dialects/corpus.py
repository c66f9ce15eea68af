"""SavedModels and checkpoints of TensorFlow 2.1 to 2.11; `make.py` beside wrote them.

    python -m data.dialects.corpus DIRECTORY

in `tests` packs what `make.py` wrote: `<TensorFlow's version>/<name>/`.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from data import archive

ARCHIVE = Path(__file__).with_name("files.tar.xz")


def unpack(directory: Path) -> Path:
    """Unpacks the corpus and returns the directory that holds the writers."""
    return archive.unpack(ARCHIVE, directory)


@functools.cache
def cases() -> tuple[str, ...]:
    """Every model of the corpus, `<TensorFlow's version>/<name>`."""
    told = (Path(name) for name in archive.names(ARCHIVE))
    return tuple(sorted(p.parent.as_posix() for p in told if p.name == "told.npz"))


if __name__ == "__main__":
    archive.pack(ARCHIVE, Path(sys.argv[1]))
