"""Columns over sparse features, also of sequences, give what tf_keras gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.sparse

import regraft
from peer import Peer
from regraft.errors import FormatError, MismatchError, UnsupportedError
from regraft.model.keras2.layers_features import DenseFeatures, SequenceFeatures

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


def _sparse(rows: list[list[Any]], dtype: Any, steps: int) -> Parts:
    """What is not `None` of rows."""
    places = [
        (i, j)
        for i, row in enumerate(rows)
        for j, item in enumerate(row)
        if item is not None
    ]
    values = np.array([rows[i][j] for i, j in places], dtype)
    return np.array(places, "int64"), values, np.array([len(rows), steps], "int64")


# Of five examples, in four steps each, up to two tags.
TAGS_PRESENT = np.zeros((5, 4, 2), bool)
TAGS_PRESENT[
    [0, 0, 0, 0, 2, 2, 3, 4, 4, 4],
    [0, 0, 1, 2, 0, 2, 0, 0, 1, 1],
    [0, 1, 0, 1, 0, 0, 1, 0, 0, 1],
] = True

FEATURES: dict[str, Parts] = {
    # Zeros, empty texts and -1 are values of a sparse tensor.
    "color": _sparse([["red", "x"], ["", "blau"], [], ["green"], ["red"]], np.str_, 3),
    "weight": _sparse([[1, 0.5], [2, -1], [], [0.25], [4]], "float32", 3),
    "city": _sparse([["Rome"], [], ["Köln", "", "Rome"], ["a"], []], np.str_, 3),
    "level": _sparse([[0, 3], [-1], [1], [9, 2, 2], []], "int64", 3),
    "rating": _sparse(
        [[1.0, 0.0, 2.5], [], [3.0, None, 0.5], [0.25], [1.0, 2.0]], "float32", 4
    ),
    "pairs": _sparse(
        [[1, 2, 3, 4, 5], [], [6, 7, 8, 9, 0.5, 1], [1], [4, 3, 2]], "float32", 8
    ),
    "watched": _sparse([[1, 4, 2], [], [3, 0, -1], [2], [4, 4]], "int64", 4),
    "word": _sparse(
        [["red", "x", "red"], [], ["", "blau", "x"], ["green"], ["a", "red"]],
        np.str_,
        4,
    ),
    "tags": (
        np.argwhere(TAGS_PRESENT),
        np.array([1, 3, 2, 0, 4, 1, 1, 2, 3, 3], "int64"),
        np.array(TAGS_PRESENT.shape, "int64"),
    ),
}
COLOR: list[Any] = [
    "categorical_column_with_vocabulary_list",
    "color",
    ["red", "green", "blau"],
    {"num_oov_buckets": 2},
]
CITY: list[Any] = ["categorical_column_with_hash_bucket", "city", 7, {}]
LEVEL: list[Any] = [
    "categorical_column_with_identity",
    "level",
    5,
    {"default_value": 2},
]


def _indicator(column: Any) -> list[Any]:
    return ["indicator_column", column, {}]


def _embedding(column: Any, dimension: int = 3, **words: Any) -> list[Any]:
    return ["embedding_column", column, dimension, words]


DENSE: dict[str, Any] = {
    "several": [_indicator(COLOR), _embedding(CITY), _embedding(LEVEL, combiner="sum")],
    "weighted": [
        _embedding(
            ["weighted_categorical_column", COLOR, "weight", {}], combiner="sum"
        ),
        _indicator(LEVEL),
    ],
    "crossed": [
        _indicator(["crossed_column", ["color", "city"], 11, {}]),
        _embedding(["crossed_column", [LEVEL, "city"], 5, {}], combiner="sqrtn"),
    ],
}
RATING: list[Any] = ["sequence_numeric_column", "rating", {}]
WATCHED: list[Any] = [
    "sequence_categorical_column_with_identity",
    "watched",
    5,
    {"default_value": 0},
]
WORD: list[Any] = [
    "sequence_categorical_column_with_vocabulary_list",
    "word",
    ["red", "green", "blau"],
    {},
]
TAGS: list[Any] = ["sequence_categorical_column_with_identity", "tags", 5, {}]
SEQUENCES: dict[str, Any] = {
    "numbers": [RATING],
    "two_each": [
        ["sequence_numeric_column", "pairs", {"shape": [2], "default_value": 0.5}]
    ],
    "ids": [RATING, _embedding(WATCHED), _indicator(WORD)],
    "hashed": [
        _embedding(
            ["sequence_categorical_column_with_hash_bucket", "word", 6, {}],
            2,
            max_norm=0.3,
        )
    ],
    "bags": [_embedding(TAGS, combiner="sum"), _indicator(TAGS)],
}
TARGETS = np.linspace(-1, 1, 10, dtype="float32").reshape(5, 2)
NAMES = [*DENSE, *SEQUENCES]
FORMATS = ["traced", "untraced", "model.h5"]


@pytest.fixture(scope="module")
def written(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("sparse")
    expected = peer.call(
        "features.write_sparse", directory, DENSE, SEQUENCES, FEATURES, TARGETS
    )
    return directory, expected


def _close(found: Any, expected: Any, tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("name", FORMATS)
def test_columns_predict_and_take_the_same_next_step(written: Any, name: str) -> None:
    directory, expected = written
    model = regraft.load_model(directory / name)
    assert not regraft.load_report(model).notes
    assert isinstance(model.get_layer("of_ids"), SequenceFeatures)
    _close(model.predict(FEATURES, verbose=0), expected["out"], 2e-6)
    model.train_on_batch(FEATURES, dict.fromkeys(NAMES, TARGETS))
    _close(model.predict(FEATURES, verbose=0), expected["next"], 1e-5)


@pytest.mark.parametrize("name", ["again", "again.h5"])
def test_saved_again_they_open_in_tf_keras(
    written: Any, name: str, peer: Peer, tmp_path: Path
) -> None:
    directory, expected = written
    model = regraft.load_model(directory / "model.h5")
    regraft.save_model(model, tmp_path / name, save_traces=False)
    _close(
        peer.call("features.read_sparse", tmp_path / name, FEATURES),
        expected["out"],
        2e-6,
    )


def test_batches_are_cut_of_sparse_features(written: Any) -> None:
    directory, expected = written
    model = regraft.load_model(directory / "untraced")
    _close(model.predict(FEATURES, batch_size=2, verbose=0), expected["out"], 2e-6)


def test_layers_are_called_directly() -> None:
    entry = {
        "class_name": "SequenceNumericColumn",
        "config": {"key": "rating", "shape": [1], "default_value": 0.0},
    }
    layer = SequenceFeatures([entry])
    steps, lengths = layer({"rating": FEATURES["rating"]})
    np.testing.assert_array_equal(lengths, [3, 0, 3, 1, 2])
    dense = np.zeros((5, 4, 1), "float32")
    indices, values, _ = FEATURES["rating"]
    dense[tuple(indices.T)] = values[:, None]
    np.testing.assert_array_equal(steps, dense)
    numbers = scipy.sparse.coo_matrix((values, tuple(indices.T)), (5, 4))
    np.testing.assert_array_equal(layer({"rating": numbers})[0], dense)
    # An array has no values where it is zero.
    given, lengths = layer({"rating": dense[..., 0]})
    np.testing.assert_array_equal(given, dense)
    np.testing.assert_array_equal(lengths, [3, 0, 3, 1, 2])


def test_sequences_of_other_lengths_are_refused(written: Any) -> None:
    model = regraft.load_model(written[0] / "model.h5")
    shorter = _sparse([[1.0], [], [2.0], [0.25], [1.0, 2.0]], "float32", 4)
    with pytest.raises(MismatchError, match="same lengths"):
        model.predict({**FEATURES, "rating": shorter}, verbose=0)


def _entry(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": config}


def test_columns_are_of_one_kind() -> None:
    number = _entry("NumericColumn", key="x", shape=[1])
    steps = _entry("SequenceNumericColumn", key="x", shape=[1])
    with pytest.raises(FormatError, match="sequences"):
        DenseFeatures([steps])
    with pytest.raises(FormatError, match="sequences"):
        SequenceFeatures([number])
    with pytest.raises(FormatError, match="default_value"):
        SequenceFeatures([_entry("SequenceNumericColumn", key="x", shape=[1],
                                 default_value="a")])  # fmt: skip


def test_sequences_that_layers_make_are_refused() -> None:
    steps = _entry("SequenceNumericColumn", key="x", shape=[1])
    inputs = keras.Input((4,))
    made = keras.layers.Dense(4)(inputs)
    outputs, _ = SequenceFeatures([steps])({"x": made})
    model = keras.Model(inputs, outputs)
    with pytest.raises(UnsupportedError, match="inputs of the model"):
        model.predict(np.ones((2, 4)), verbose=0)
