"""Archives of HDF5 files that old Kerases wrote, with what these computed.

An archive has `<writer>/<name>.h5` and beside it `<name>.npz`.
"""

from __future__ import annotations

import functools
import lzma
import tarfile
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """One file."""

    writer: str
    name: str

    @property
    def id(self) -> str:
        """Name of the test parameter."""
        return f"{self.writer}-{self.name}"

    def path(self, root: Path) -> Path:
        """The model, in an unpacked archive."""
        return root / self.writer / f"{self.name}.h5"

    def arrays(self, root: Path) -> Path:
        """What its writer computed, in an unpacked archive."""
        return root / self.writer / f"{self.name}.npz"


def unpack(archive: Path, directory: Path) -> Path:
    """Unpacks an archive and returns the directory that holds the writers."""
    with lzma.open(archive) as stream, tarfile.open(fileobj=stream) as tar:
        tar.extractall(directory, filter="data")
    return directory


@functools.cache
def cases(archive: Path) -> tuple[Case, ...]:
    """Every file of an archive, by its own list."""
    with lzma.open(archive) as stream, tarfile.open(fileobj=stream) as tar:
        names = tar.getnames()
    paths = (Path(name) for name in names if name.endswith(".h5"))
    return tuple(sorted(Case(path.parent.name, path.stem) for path in paths))


def pack(archive: Path, directory: Path) -> None:
    """Writes an archive, the same bytes for the same files."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    with (
        lzma.open(archive, "wb", filters=filters) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        # Files of one model lie side by side, where they share most bytes.
        files = sorted(directory.glob("*/*.*"), key=lambda path: (path.name, path))
        for path in files:
            info = tarfile.TarInfo(path.relative_to(directory).as_posix())
            info.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(info, file)
