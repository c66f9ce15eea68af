"""Files that the multi-backend Keras wrote, 1.0 to 2.2; `make.py` beside wrote them.

    python corpus.py DIRECTORY

packs what `make.py` wrote into the archive: `<Keras version>-<backend>/<name>.h5` with
`<name>.npz`, what that Keras computed.
"""

from __future__ import annotations

import lzma
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

ARCHIVE = Path(__file__).with_name("files.tar.xz")


class Case(NamedTuple):
    """One file."""

    writer: str
    name: str

    @property
    def id(self) -> str:
        """Name of the test parameter."""
        return f"{self.writer}-{self.name}"

    def path(self, root: Path) -> Path:
        """The model, in an unpacked corpus."""
        return root / self.writer / f"{self.name}.h5"

    def arrays(self, root: Path) -> Path:
        """What its writer computed, in an unpacked corpus."""
        return root / self.writer / f"{self.name}.npz"


def unpack(directory: Path) -> Path:
    """Unpacks the corpus and returns the directory that holds the writers."""
    with lzma.open(ARCHIVE) as stream, tarfile.open(fileobj=stream) as archive:
        archive.extractall(directory, filter="data")
    return directory


def cases() -> tuple[Case, ...]:
    """Every file of the corpus, by the archive's own list."""
    with lzma.open(ARCHIVE) as stream, tarfile.open(fileobj=stream) as archive:
        names = archive.getnames()
    paths = (Path(name) for name in names if name.endswith(".h5"))
    return tuple(sorted(Case(path.parent.name, path.stem) for path in paths))


def pack(directory: Path) -> None:
    """Writes the archive, the same bytes for the same files."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    with (
        lzma.open(ARCHIVE, "wb", filters=filters) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        # Files of one model lie side by side, where they share most bytes.
        files = sorted(directory.glob("*/*.*"), key=lambda path: (path.name, path))
        for path in files:
            info = tarfile.TarInfo(path.relative_to(directory).as_posix())
            info.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(info, file)


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
