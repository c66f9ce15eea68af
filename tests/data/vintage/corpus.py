"""Models that real TensorFlow wrote, 1.15 to 2.21; `make.py` beside wrote them.

The archive unpacks to `open/<TensorFlow version>/<case>/` (68 MB), with
`saved_model/`, `saved_model_notraces/`, `model.h5` where that TensorFlow could write
them, and `io.npz`: `in_<k>` inputs and `out_<k>` what `predict` made of them; one
training batch `tx_<k>`, `ty_<k>` and `next_<k>`, what `predict` made of the same
inputs after that batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from data import archive

ARCHIVE = Path(__file__).with_name("open.tar.xz")
FORMATS = ("saved_model", "saved_model_notraces", "model.h5")


class Case(NamedTuple):
    """One file or directory of the corpus."""

    version: str
    name: str
    format: str

    @property
    def id(self) -> str:
        """Name of the test parameter."""
        return f"{self.version}-{self.name}-{self.format}"

    def path(self, root: Path) -> Path:
        """The model, in an unpacked corpus."""
        return root / self.version / self.name / self.format

    def arrays(self, root: Path) -> Path:
        """Its `io.npz`, in an unpacked corpus."""
        return root / self.version / self.name / "io.npz"


def unpack(directory: Path) -> Path:
    """Unpacks the corpus and returns the directory that holds the versions."""
    return archive.unpack(ARCHIVE, directory) / "open"


def cases() -> tuple[Case, ...]:
    """Every file of the corpus, by the archive's own list."""
    found = set()
    for name in archive.names(ARCHIVE):
        parts = name.split("/")
        if len(parts) == 4 and parts[3] in FORMATS:
            found.add(Case(*parts[1:]))
    order = {name: position for position, name in enumerate(FORMATS)}
    return tuple(
        sorted(
            found,
            key=lambda case: (
                [int(part) for part in case.version.split(".")],
                case.name,
                order[case.format],
            ),
        )
    )
