"""Rebuilt layers give what the traces in their file give, and a difference is seen."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import regraft
from data.vintage import corpus
from peer import Peer
from regraft.cli.commands import app
from regraft.errors import ChecksumError, MismatchError
from regraft.options import LoadOptions

NO_KERAS_MODEL = ("session_style",)
CASES = [
    case
    for case in corpus.cases()
    if case.format == "saved_model" and case.name not in NO_KERAS_MODEL
]
# These take a minute each: their loops run step by step.
LONG = ("recurrent",)
# Why a layer of the corpus has nothing to be compared with.
REASONS = (
    "the file holds no trace of it",
    "it runs its traces itself",
    "it draws random numbers",
)
VERIFY = LoadOptions(verify=True)


def _checks(report: object) -> list[object]:
    return [
        *report.checks,
        *(check for layer in report.layers for check in layer.checks),
    ]


def _parameter(case: corpus.Case) -> object:
    marks = []
    if case.name in LONG or case.version not in ("1.15.5", "2.21.0"):
        marks.append(pytest.mark.slow)
    return pytest.param(case, id=case.id, marks=marks)


@pytest.mark.parametrize("case", [_parameter(case) for case in CASES])
def test_layers_of_the_corpus_equal_their_traces(
    case: corpus.Case, vintage: Path
) -> None:
    report = regraft.load_report(regraft.load_model(case.path(vintage), options=VERIFY))
    checks = _checks(report)
    assert report.tensors_checked > 0
    assert {check.reason for check in checks} <= {"", *REASONS}
    if case.name not in ("subclassed_model",):
        assert any(check.difference is not None for check in checks)


def _case(name: str) -> corpus.Case:
    (found,) = [case for case in CASES if case.id == name]
    return found


@pytest.fixture
def custom_layer(vintage: Path) -> Path:
    return _case("2.21.0-custom_layer-saved_model").path(vintage)


class GatedScale(keras.layers.Layer):
    """A class of the file's name that computes something else."""

    def __init__(self, units: int, **keywords: object) -> None:
        super().__init__(**keywords)
        self.units = units

    def build(self, shape: tuple[int, ...]) -> None:
        self.w = self.add_weight(shape=(shape[-1], self.units), name="w")
        self.g = self.add_weight(shape=(self.units,), name="g")
        self.count = self.add_weight(shape=(), name="count", trainable=False)

    def call(self, inputs: object) -> object:
        return keras.ops.matmul(inputs, self.w) * self.g * 1.01


def test_class_that_computes_otherwise_is_named(custom_layer: Path) -> None:
    classes = {"GatedScale": GatedScale}
    keras.utils.clear_session()
    with pytest.raises(MismatchError, match=r"gated_scale \(GatedScale\): inference"):
        regraft.load_model(custom_layer, classes, options=VERIFY)
    report = regraft.load_report(regraft.load_model(custom_layer, classes))
    assert report.differing == []  # Nothing was compared.
    assert report.tensors_checked == 0


def test_verifying_changes_no_state_of_the_model(vintage: Path) -> None:
    case = _case("2.21.0-custom_layer-saved_model")
    plain = regraft.load_model(case.path(vintage))
    verified = regraft.load_model(case.path(vintage), options=VERIFY)
    with np.load(case.arrays(vintage)) as arrays:
        batch = dict(arrays)
    for model in (plain, verified):
        model.train_on_batch(batch["tx_0"], batch["ty_0"])
    for one, other in zip(plain.get_weights(), verified.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [v.path for v in plain.variables] == [v.path for v in verified.variables]


def _flip_a_slot(path: Path) -> None:
    """Changes one bit of an optimizer's slot, which no layer reads."""
    contents = regraft.inspect(path)
    assert contents.optimizer_variables
    data = next((path / "variables").glob("variables.data-*"))
    from regraft.storage.tensor_bundle import TensorBundleReader

    reader = TensorBundleReader(path / "variables" / "variables", verify=False)
    key = next(k for k in reader if ".OPTIMIZER_SLOT" in k or "optimizer" in k)
    place = reader[key]._entry.offset
    content = bytearray(data.read_bytes())
    content[place] ^= 1
    data.write_bytes(content)


def test_tensor_that_nothing_reads_is_checked_too(
    custom_layer: Path, tmp_path: Path
) -> None:
    shutil.copytree(custom_layer, tmp_path / "m")
    _flip_a_slot(tmp_path / "m")
    regraft.load_model(tmp_path / "m", compile=False)
    with pytest.raises(ChecksumError):
        regraft.load_model(tmp_path / "m", compile=False, options=VERIFY)
    assert _run("verify", tmp_path / "m")[0] == 1


def _run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_command_prints_what_each_layer_gave(custom_layer: Path) -> None:
    code, text = _run("verify", custom_layer, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["differing"] == []
    (dense,) = [layer for layer in found["layers"] if layer["name"] == "dense"]
    assert all(check["difference"] <= check["tolerance"] for check in dense["checks"])
    code, text = _run("verify", custom_layer)
    assert code == 0
    assert "tensors match" in text


def test_command_finds_a_wrong_class(custom_layer: Path) -> None:
    keras.saving.get_custom_objects()["GatedScale"] = GatedScale
    try:
        code, text = _run("verify", custom_layer, "--json")
    finally:
        del keras.saving.get_custom_objects()["GatedScale"]
    assert code == 1
    assert any("gated_scale" in line for line in json.loads(text)["differing"])


def test_command_checks_the_tensors_of_what_is_no_keras_model(vintage: Path) -> None:
    case = next(c for c in corpus.cases() if c.name == "session_style")
    code, text = _run("verify", case.path(vintage))
    assert (code, "tensors match" in text) == (0, True)


def test_hdf5_file_holds_nothing_to_compare(vintage: Path) -> None:
    case = next(c for c in corpus.cases() if c.format == "model.h5")
    model = regraft.load_model(case.path(vintage), options=VERIFY)
    report = regraft.load_report(model)
    assert {c.reason for c in _checks(report)} == {"the format holds no functions"}
    assert report.tensors_checked >= len(model.weights)


def test_what_we_save_equals_its_own_traces(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    regraft.save_model(keras.Model(inputs, outputs), tmp_path / "m")
    report = regraft.load_report(regraft.load_model(tmp_path / "m", options=VERIFY))
    by_name = {layer.class_name: layer.checks for layer in report.layers}
    normalization = {check.mode: check for check in by_name["BatchNormalization"]}
    assert normalization["training"].difference < 1e-5
    dropout = {check.mode: check for check in by_name["Dropout"]}
    assert dropout["training"].reason == "it draws random numbers"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    # One of each architecture; the others are longer or wider.
    [
        *("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0"),
        *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2"),
        *("MobileNetV3Small", "NASNetMobile", "RegNetX002", "ResNet50"),
        *("ResNet50V2", "ResNetRS50", "VGG16", "Xception"),
    ],
)
def test_applications_equal_their_traces(name: str, peer: Peer, tmp_path: Path) -> None:
    peer.call("applications.save", name, str(tmp_path / "m"), _size(name))
    report = regraft.load_report(regraft.load_model(tmp_path / "m", options=VERIFY))
    differences = [c.difference for c in _checks(report) if c.difference is not None]
    assert len(differences) >= len(report.layers) // 2
    assert all(map(math.isfinite, differences))


def _size(name: str) -> int:
    return 96 if name.startswith("Inception") or name == "Xception" else 64
