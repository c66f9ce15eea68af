"""Archives of HDF5 files that old Kerases wrote, with what these computed.

An archive has `<writer>/<name>.h5` and beside it `<name>.npz`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from data.archive import names


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


@functools.cache
def cases(archive: Path) -> tuple[Case, ...]:
    """Every file of an archive, by its own list."""
    paths = (Path(name) for name in names(archive) if name.endswith(".h5"))
    return tuple(sorted(Case(path.parent.name, path.stem) for path in paths))
