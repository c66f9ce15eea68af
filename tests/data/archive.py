"""Directories of test data as one archive each.

python archive.py DIRECTORY ARCHIVE
"""

from __future__ import annotations

import lzma
import sys
import tarfile
from pathlib import Path


def unpack(archive: Path, directory: Path) -> Path:
    """Unpacks an archive and returns the directory."""
    with lzma.open(archive) as stream, tarfile.open(fileobj=stream) as files:
        files.extractall(directory, filter="data")
    return directory


def pack(directory: Path, archive: Path) -> None:
    """Writes the archive, the same bytes for the same files."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    with (
        lzma.open(archive, "wb", filters=filters) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as files,
    ):
        # Files of one name lie side by side, where they share most bytes.
        found = (path for path in directory.rglob("*") if path.is_file())
        for path in sorted(found, key=lambda path: (path.name, path)):
            info = tarfile.TarInfo(path.relative_to(directory).as_posix())
            info.size = path.stat().st_size
            with path.open("rb") as file:
                files.addfile(info, file)


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
