"""Broken and harmful files end in typed errors: no crash, hang or flood of memory.

`mutations` changes real files, seeded; `worker` opens each in a process with a limit
of memory and time.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data import archive
from hostile import mutations, worker

HDF5 = (
    "2.15.1/seed_example/model.h5",
    "2.6.5/multi_io/model.h5",
    "2.21.0/op_layers/model.h5",
    "2.15.1/recurrent/model.h5",
)
SAVED_MODELS = (
    "2.15.1/seed_example/saved_model",
    "2.6.5/multi_io/saved_model",
    "2.15.1/custom_layer/saved_model",
    "2.15.1/op_layers/saved_model",
    "2.21.0/seed_example/saved_model",
)
# Of TensorFlow 1: a graph, its signatures, variables by name.
OLD = ("composites", "session", "raw_estimator")
# A file of a few kilobytes must not need more than this over the imports.
PEAK_MB = 1500
# For all files of one test, some hundred ways to open them; each has a bound of its
# own too (`worker.SECONDS`).
SECONDS_IN_ALL = 1200


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packed = Path(archive.__file__).parent / "tensorflow1" / "files.tar.xz"
    return archive.unpack(packed, tmp_path_factory.mktemp("tensorflow1"))


def _spoiled(vintage: Path, old: Path, folder: Path, seeds: range) -> list[Path]:
    made = []
    saved_models = (*SAVED_MODELS, *(str(old / name) for name in OLD))
    for sources, table in (
        (HDF5, mutations.HDF5),
        (saved_models, mutations.SAVED_MODEL),
    ):
        for name, change in table.items():
            for seed in seeds:
                rng = random.Random(f"{name} {seed}")
                fit = name in mutations.OF_ANY_GRAPH or sources is HDF5
                source = vintage / rng.choice(sources if fit else SAVED_MODELS)
                target = folder / f"{name}-{seed}-{source.name}" / source.name
                target.parent.mkdir(parents=True)
                if source.is_dir():
                    shutil.copytree(source, target)
                else:
                    shutil.copy(source, target)
                change(target, rng)
                made.append(target)
    return made


def _opened(paths: list[Path], good: Path, folder: Path) -> list[dict[str, Any]]:
    listed = folder / "paths.txt"
    listed.write_text("".join(f"{path}\n" for path in paths))
    output, errors = folder / "output.txt", folder / "errors.txt"
    with output.open("w") as out, errors.open("w") as err:
        try:
            code: int | None = subprocess.run(
                [sys.executable, worker.__file__, listed, good],
                stdout=out,
                stderr=err,
                check=False,
                timeout=SECONDS_IN_ALL,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    if code != 0:
        ended = "Died" if code is not None else f"Ran for {SECONDS_IN_ALL} s and was"
        last = next((line for line in reversed(lines) if "start" in line), None)
        raise AssertionError(f"{ended} at {last}: {errors.read_text()[-2000:]}")
    return [line for line in lines if "error" in line]


@pytest.mark.parametrize(
    "seeds",
    [
        range(2),
        *(
            pytest.param(range(first, first + 3), marks=pytest.mark.slow)
            for first in range(2, 20, 3)
        ),
    ],
    ids=lambda seeds: f"seeds {seeds.start} to {seeds.stop - 1}",
)
def test_every_way_to_open_a_spoiled_file_ends_in_a_typed_error(
    seeds: range, vintage: Path, old: Path, tmp_path: Path
) -> None:
    paths = _spoiled(vintage, old, tmp_path, seeds)
    outcomes = _opened(paths, vintage / HDF5[0], tmp_path)
    assert {outcome["path"] for outcome in outcomes} == set(map(str, paths))
    assert [outcome for outcome in outcomes if outcome["fault"]] == []
    assert max(outcome["peak_mb"] for outcome in outcomes) < PEAK_MB
    # Most of what was changed matters, and is noticed.
    refused = sum(outcome["error"] != "none" for outcome in outcomes)
    assert refused > len(outcomes) / 5
