"""Writes `bundles.tar.xz`: tensor bundles by TensorFlow itself.

Run in the peers' environment: `.venv-peers/bin/python tests/storage/golden/make.py`.
The bundles: `dtypes` (one tensor of each dtype), `shards` (three shards),
`partitioned` (a variable of TensorFlow 1 in three parts), `grid` (slices in two
dimensions), `blocks` (an index of several blocks). `expected.npz` holds the tensors
as bytes, since NumPy's format knows no bfloat16, with dtype and shape in `about.json`.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "peer" / "functions"))

import bundles  # noqa: E402


def make(directory: Path) -> dict[str, dict[str, np.ndarray]]:
    """Writes all bundles; returns what they hold."""
    held = {"dtypes": bundles.write_every_dtype(directory / "dtypes")}
    parts = [
        {f"{index}/{name}": np.full(4, index, np.float32) for name in "ab"}
        for index in range(3)
    ]
    bundles.write_shards(directory / "shards", parts)
    held["shards"] = {key: value for part in parts for key, value in part.items()}
    rows = np.arange(70, dtype=np.float32).reshape(10, 7)
    bundles.write_partitioned_variable(directory / "partitioned", rows, 3)
    held["partitioned"] = {"partitioned": rows}
    grid = np.arange(200 * 300, dtype=np.int32).reshape(200, 300)
    slices = [
        ((row, height), (column, width))
        for row, height in ((0, 65), (65, 135))
        for column, width in ((0, 1), (1, 299))
    ]
    bundles.write_slices(directory / "grid", {"grid": (grid, slices)})
    held["grid"] = {"grid": grid}
    held["blocks"] = {
        f"model/layer_with_weights-{index}/{'long/' * 20}VARIABLE_VALUE": np.int32(
            index
        ).reshape(())
        for index in range(8000)
    }
    bundles.write(directory / "blocks", held["blocks"])
    return held


def main() -> None:
    """Packs the bundles and what they hold."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        held = make(directory)
        about: dict[str, dict[str, list]] = {}
        arrays = {}
        for bundle, tensors in held.items():
            about[bundle] = {}
            for key, array in tensors.items():
                array = np.asarray(array)
                about[bundle][key] = [array.dtype.name, list(array.shape)]
                if array.dtype == object:
                    about[bundle][key].append([item.hex() for item in array.flat])
                elif bundle != "blocks":
                    raw = np.frombuffer(array.tobytes(), np.uint8)
                    arrays[f"{bundle}:{key}"] = raw
        np.savez(directory / "expected.npz", **arrays)
        (directory / "about.json").write_text(json.dumps(about))
        with tarfile.open(HERE / "bundles.tar.xz", "w:xz") as archive:
            for path in sorted(directory.iterdir()):
                if "-part-" not in path.name:
                    archive.add(path, path.name, filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
