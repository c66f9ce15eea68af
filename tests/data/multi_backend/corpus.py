"""Files of the multi-backend Keras, 1.0 to 2.3, and of that in TensorFlow 1.2 to 1.8.

`make.py` beside wrote them.

    python -m data.multi_backend.corpus DIRECTORY

in `tests` packs what `make.py` wrote: `<Keras version>-<backend>/<name>.h5` with
`<name>.npz`, what that Keras computed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from data import archive, keras_archive
from data.keras_archive import Case

ARCHIVE = Path(__file__).with_name("files.tar.xz")


def unpack(directory: Path) -> Path:
    """Unpacks the corpus and returns the directory that holds the writers."""
    return archive.unpack(ARCHIVE, directory)


def cases() -> tuple[Case, ...]:
    """Every file of the corpus, by the archive's own list."""
    return keras_archive.cases(ARCHIVE)


if __name__ == "__main__":
    archive.pack(ARCHIVE, Path(sys.argv[1]))
