"""The readers of the matrix agree with us: a share here, all by `make interop`."""

from __future__ import annotations

import pytest

from interop import matrix
from interop.examples import make_example
from interop.models import KINDS, ROWS
from interop.readers import COLUMNS, READERS, Cell, peers, read

HERE = ("tf_keras", "saved_model", "session", "c_api", "command_line", "openvino")
FAST = ("recommender", "any_image_size")

# What TensorFlow's own kernels or other programs' can't do.
CANNOT = {
    ("channels_first", "tf_keras"): "TensorFlow pools in NHWC alone on a CPU",
    ("channels_first", "tf_keras trains"): "TensorFlow pools in NHWC alone on a CPU",
    (
        "any_image_size",
        "OpenVINO",
    ): "it pads a pool of unknown size as if VALID, in tf_keras' file too",
}


@pytest.fixture(scope="module")
def ask():
    with peers() as found:
        yield found


@pytest.mark.peer
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in FAST else [pytest.mark.slow]) for n in KINDS],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_readers_agree(name, ask, tmp_path):
    example = make_example(ROWS[name], tmp_path)
    wrong = {}
    for reader in HERE:
        for column, cell in read(reader, example, ask).items():
            limit = ROWS[name].tolerance * COLUMNS[column]
            if cell.holds(limit) is ((name, column) in CANNOT):
                wrong[column] = cell
    assert not wrong


def test_page_shows_what_was_measured():
    text = matrix.PAGE.read_text()
    assert matrix.table(matrix.load_results()) in text


def test_numbers_that_were_measured_are_near_enough():
    far = {
        (row, column): cell
        for row, cells in matrix.load_results().items()
        for column, cell in cells.items()
        if cell["difference"] is not None and not matrix.holds(ROWS[row], column, cell)
    }
    assert not far


def test_rounding_is_what_is_equal_in_float64():
    assert Cell(0.1, in_float64=1e-12).holds(1e-4)
    assert not Cell(0.1, in_float64=1e-4).holds(1e-4)
    assert not Cell(0.1).holds(1e-4)
    assert not Cell(None, "no", in_float64=1e-12).holds(1e-4)
    assert Cell(2e-4, rounding=1e-4).holds(1e-4)
    assert not Cell(4e-4, rounding=1e-4).holds(1e-4)


def test_cells_show_what_was_measured_in_float64():
    results = {"VGG16": {"gradients": {**vars(Cell(0.1, in_float64=2e-12))}}}
    assert "| 1e-1 (2e-12) |" in matrix.table(results)


def test_every_reader_fills_its_columns():
    assert [c for columns, _ in READERS.values() for c in columns] == [*COLUMNS]
    assert not Cell(None, "no").holds(1.0)
