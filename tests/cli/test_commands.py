"""The command line on real files."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import regraft
from data.vintage import corpus
from regraft.cli.commands import app

CASES = {case.id: case for case in corpus.cases()}
CUSTOM = CASES["2.6.5-custom_layer-saved_model"]


def _run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize("case", list(CASES.values())[::7], ids=lambda case: case.id)
def test_show_prints_what_inspect_finds(case: corpus.Case, vintage: Path) -> None:
    path = case.path(vintage)
    code, text = _run("show", path, "--json")
    shown = json.loads(text)
    assert code == 0
    contents = regraft.inspect(path)
    assert shown["model_class"] == contents.model_class
    assert len(shown["variables"]) == len(contents.variables) > 0
    code, text = _run("show", path)
    assert code == 0
    assert contents.format in text


def test_audit_finds_nothing_in_a_plain_model(vintage: Path) -> None:
    code, text = _run("audit", CUSTOM.path(vintage))
    assert code == 0
    assert "nothing that runs code" in text


def test_diff_names_what_differs(vintage: Path) -> None:
    same, other = CUSTOM.path(vintage), CASES["2.6.5-convnet-model.h5"].path(vintage)
    assert _run("diff", same, same) == (0, "")
    code, text = _run("diff", same, other)
    assert code == 1
    assert "- layer gated_scale: GatedScale" in text
    assert "+ layer conv2d: Conv2D" in text


def test_convert_and_run_give_the_writers_output(vintage: Path, tmp_path: Path) -> None:
    case = CASES["2.6.5-convnet-saved_model"]
    code, text = _run("convert", case.path(vintage), tmp_path / "m.h5")
    assert code == 0, text
    with np.load(case.arrays(vintage)) as file:
        inputs, expected = file["in_0"], file["out_0"]
    loaded = regraft.load_model(tmp_path / "m.h5")
    np.testing.assert_allclose(loaded.predict(inputs, verbose=0), expected, rtol=1e-5)
    np.savez(tmp_path / "in.npz", conv2d_input=inputs)
    code, text = _run(
        "run", case.path(vintage), tmp_path / "in.npz", tmp_path / "out.npz"
    )
    assert code == 0, text
    with np.load(tmp_path / "out.npz") as file:
        (name,) = file.files
        np.testing.assert_allclose(file[name], expected, rtol=1e-5, atol=1e-7)


def test_names_of_a_file_are_shown_and_steer_nothing(tmp_path: Path) -> None:
    name, path = "[bold]a[red]\x1b[31m", tmp_path / "[old].h5"
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name=name)])
    regraft.save_model(model, path)
    code, text = _run("show", path)
    assert code == 0, text
    assert "[bold]a[red]\\x1b[31m" in text
    assert "[old].h5" in text
    report = str(regraft.load_report(regraft.load_model(path)))
    assert "[bold]a[red]\\x1b[31m" in report
    assert "[old].h5" in report
    code, text = _run("diff", path, path)
    assert (code, text) == (0, "")


def test_convert_says_what_the_new_file_lacks(vintage: Path, tmp_path: Path) -> None:
    code, text = _run("convert", CUSTOM.path(vintage), tmp_path / "m.h5")
    assert code == 0, text
    assert "Saved with a loss: layer 'gated_scale'" in text
    assert ".py" not in text
    assert "needs the class 'GatedScale'" in text


@pytest.mark.parametrize("command", ["show", "audit"])
def test_missing_file_is_an_error_with_its_name(command: str, tmp_path: Path) -> None:
    code, text = _run(command, tmp_path / "nothing")
    assert code == 1
    assert "nothing" in text
