"""Configs whose values are of the wrong kind give typed errors, never a crash."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import pytest

import regraft
from data.vintage import corpus
from regraft.errors import FormatError
from regraft.storage.proto import messages

JUNK: tuple[Any, ...] = (
    None,
    -1,
    1e30,
    "x",
    [],
    {},
    [[]],
    {"a": 1},
    True,
    "../../etc/passwd",
    10**30,
    {"class_name": "Dense", "config": {}},
    {"class_name": "__lambda__", "config": {"value": "x"}},
    {"module": "os", "class_name": "system", "config": {}},
)
CASES = [
    case
    for case in corpus.cases()
    if case.format == "model.h5"
    and (case.version, case.name)
    in (("2.15.1", "recurrent"), ("2.6.5", "multi_io"), ("2.21.0", "op_layers"))
]


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield from _places(item, (*place, key))


def _spoil(value: Any, rng: random.Random) -> None:
    place = rng.choice(list(_places(value)))
    for key in place[:-1]:
        value = value[key]
    if isinstance(value, dict) and rng.random() < 0.2:
        del value[place[-1]]
    else:
        value[place[-1]] = rng.choice(JUNK)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_spoiled_config_loads_or_is_refused(
    case: corpus.Case, vintage: Path, tmp_path: Path
) -> None:
    rng = random.Random(case.id)
    for _ in range(25):
        path = tmp_path / "m.h5"
        shutil.copy(case.path(vintage), path)
        with h5py.File(path, "r+") as file:
            name = rng.choice(["model_config", "training_config"])
            config = json.loads(file.attrs[name])
            _spoil(config, rng)
            file.attrs[name] = json.dumps(config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Keras says of odd values
            # `FormatError` and Keras' own refusals are such.
            with contextlib.suppress(ValueError, NotImplementedError, ImportError):
                regraft.load_model(path)


def test_layers_that_fit_under_no_class_are_looked_at_once(
    vintage: Path, tmp_path: Path
) -> None:
    (case,) = (
        case
        for case in corpus.cases()
        if case.format == "saved_model"
        and (case.version, case.name) == ("2.15.1", "custom_layer")
    )
    path = tmp_path / "m"
    shutil.copytree(case.path(vintage), path)
    file = path / "keras_metadata.pb"
    message = messages.KerasSavedMetadata()
    message.ParseFromString(file.read_bytes())
    metadata = json.loads(message.nodes[0].metadata)
    layers = metadata["model_config"]["config"]["layers"]
    # The input is taken for a layer with weights then, and no layer fits.
    layers[0]["shared_object_id"] = layers[3]["shared_object_id"]
    message.nodes[0].metadata = json.dumps(metadata)
    file.write_bytes(message.SerializeToString())
    model = regraft.load_model(path)
    notes = regraft.load_report(model).notes
    assert sum("runs as a whole" in note for note in notes) == 1


def test_compile_arguments_that_make_no_sense_do_not_hold_back_weights(
    vintage: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.h5"
    shutil.copy(CASES[0].path(vintage), path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["training_config"])
        config["optimizer_config"] = 3.5
        file.attrs["training_config"] = json.dumps(config)
    model = regraft.load_model(path)
    assert not model.compiled
    (note,) = regraft.load_report(model).notes
    assert "uncompiled" in note


def test_layer_entry_of_the_wrong_kind_is_a_format_error(
    vintage: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.h5"
    shutil.copy(CASES[0].path(vintage), path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][0] = 7
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(FormatError, match=r"m\.h5|entry"):
        regraft.load_model(path)


def test_a_file_that_fails_leaves_nothing_behind(vintage: Path, tmp_path: Path) -> None:
    """Variables that a file wanted are neither made nor waited for afterwards."""
    path = tmp_path / "m.h5"
    good = CASES[0].path(vintage)
    shutil.copy(good, path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"]
        dense = [layer for layer in layers if layer["class_name"] == "Dense"]
        dense[-1]["config"]["units"] = 2**40
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ValueError, match="1099511627776"):
        regraft.load_model(path)
    assert regraft.load_model(good).built


class Mine(keras.layers.Layer):
    """A caller's layer; some values of `how` are more than it can bear."""

    def __init__(self, how: str = "well", **keywords: Any) -> None:
        super().__init__(**keywords)
        self.how = how

    def build(self, shape: Any) -> None:
        if self.how == "badly":
            self.missing.length = 3  # an AttributeError

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "how": self.how}


def _with_mine(path: Path, layer: int, **changes: Any) -> None:
    """Saves a model with a layer of the caller, and changes one layer's config."""
    model = keras.Sequential([keras.Input((3,)), Mine(), keras.layers.Dropout(0.5)])
    regraft.save_model(model, path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][layer]["config"].update(changes)
        file.attrs["model_config"] = json.dumps(config)


def test_nonsense_is_a_format_error_with_classes_of_the_caller_too(
    tmp_path: Path,
) -> None:
    path = tmp_path / "m.h5"
    _with_mine(path, 2, rate="x")
    with pytest.raises(FormatError, match="describes no model"):
        regraft.load_model(path, custom_objects={"Mine": Mine})
    keras.saving.register_keras_serializable("mine")(Mine)
    try:
        with pytest.raises(FormatError, match="describes no model"):
            regraft.load_model(path, custom_objects={"Mine": Mine})
    finally:
        keras.saving.get_custom_objects().pop("mine>Mine")


def test_what_a_class_of_the_caller_raises_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    _with_mine(path, 1, how="badly")
    with pytest.raises(AttributeError, match="missing"):
        regraft.load_model(path, custom_objects={"Mine": Mine})
    # The layer's `__init__` takes no such argument: none of its lines runs.
    _with_mine(path, 1, unknown=1)
    with pytest.raises(TypeError, match="unknown"):
        regraft.load_model(path, custom_objects={"Mine": Mine})
