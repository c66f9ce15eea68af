"""Files of TensorFlow Addons, which `make.py` beside wrote.

    python -m data.addons.corpus DIRECTORY

in `tests` packs what it wrote.
"""

from __future__ import annotations

import sys
from pathlib import Path

from data import archive

ARCHIVE = Path(__file__).with_name("files.tar.xz")


def unpack(directory: Path) -> Path:
    """Unpacks the corpus and returns the directory that holds it."""
    return archive.unpack(ARCHIVE, directory)


def files() -> list[str]:
    """What there is to open: HDF5 files, and directories of SavedModels."""
    found = {name.split("/")[0] for name in archive.names(ARCHIVE)}
    return sorted(name for name in found if not name.endswith(".npz"))


if __name__ == "__main__":
    archive.pack(ARCHIVE, Path(sys.argv[1]))
