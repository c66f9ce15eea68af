"""Directories of test data as one archive each."""

from __future__ import annotations

import lzma
import sys
import tarfile
from pathlib import Path


def unpack(archive: Path, directory: Path) -> Path:
    """Unpacks an archive and returns the directory."""
    with lzma.open(archive) as stream, tarfile.open(fileobj=stream) as tar:
        tar.extractall(directory, filter="data")
    return directory


def names(archive: Path) -> list[str]:
    """Names of the files in an archive."""
    with lzma.open(archive) as stream, tarfile.open(fileobj=stream) as tar:
        return tar.getnames()


def pack(archive: Path, directory: Path) -> None:
    """Writes an archive, the same bytes for the same files."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    with (
        lzma.open(archive, "wb", filters=filters) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        # Files of one name lie side by side, where they share most bytes.
        found = (path for path in directory.rglob("*") if path.is_file())
        for path in sorted(found, key=lambda path: (path.name, path)):
            info = tarfile.TarInfo(path.relative_to(directory).as_posix())
            info.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(info, file)


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
