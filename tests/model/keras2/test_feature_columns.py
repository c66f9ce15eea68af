"""`DenseFeatures` gives what tf_keras gives, over every kind of column."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.errors import FormatError, MismatchError, UnsupportedError
from regraft.model.keras2.layers_features import DenseFeatures

Arrays = dict[str, np.ndarray]

AGE: list[Any] = ["numeric_column", "age", {}]
PAIR: list[Any] = ["numeric_column", "pair", {"shape": [2]}]
BUCKETS: list[Any] = ["bucketized_column", AGE, [-0.5, 0.0, 0.7], {}]
PAIR_BUCKETS: list[Any] = ["bucketized_column", PAIR, [0.0, 0.5], {}]
LEVEL: list[Any] = [
    "categorical_column_with_identity",
    "level",
    5,
    {"default_value": 2},
]
COLOR: list[Any] = [
    "categorical_column_with_vocabulary_list",
    "color",
    ["red", "green", "blau"],
    {},
]
COLOR_OOV = [*COLOR[:-1], {"num_oov_buckets": 3}]
COLOR_DEFAULT = [*COLOR[:-1], {"default_value": 1}]
ZIP_LIST: list[Any] = [
    "categorical_column_with_vocabulary_list",
    "zip",
    [7, 12345678901, 4],
    {"dtype": "int64", "num_oov_buckets": 2},
]
CITY: list[Any] = ["categorical_column_with_hash_bucket", "city", 7, {}]
ZIP: list[Any] = [
    "categorical_column_with_hash_bucket",
    "zip",
    6,
    {"dtype": "int64"},
]
WEIGHTED: list[Any] = ["weighted_categorical_column", COLOR_OOV, "weight", {}]


def _crossed(keys: list[Any], size: int, **words: Any) -> list[Any]:
    return ["crossed_column", keys, size, words]


def _indicator(column: Any) -> list[Any]:
    return ["indicator_column", column, {}]


def _embedding(column: Any, dimension: int = 3, **words: Any) -> list[Any]:
    return ["embedding_column", column, dimension, words]


CASES: dict[str, Any] = {
    "numeric": [AGE, PAIR],
    "bucketized": [BUCKETS, PAIR_BUCKETS],
    "identity": [_indicator(LEVEL), _embedding(LEVEL)],
    "vocabulary": [_indicator(COLOR), _embedding(COLOR)],
    "vocabulary_oov": [_indicator(COLOR_OOV), _embedding(COLOR_OOV, combiner="sum")],
    "vocabulary_default": [_indicator(COLOR_DEFAULT)],
    "vocabulary_numbers": [_indicator(ZIP_LIST), _embedding(ZIP_LIST, 2)],
    "hashed": [_indicator(CITY), _embedding(CITY, combiner="sqrtn")],
    "hashed_numbers": [_embedding(ZIP, max_norm=0.3)],
    "crossed": [_indicator(_crossed(["color", "city"], 11))],
    "crossed_columns": [
        _embedding(_crossed([BUCKETS, COLOR_OOV, "city"], 13, hash_key=9)),
        _indicator(_crossed(["city", LEVEL], 5)),
    ],
    "crossed_twice": [_embedding(_crossed([_crossed([BUCKETS, "city"], 5), COLOR], 9))],
    "of_buckets": [_embedding(PAIR_BUCKETS, 2), _indicator(BUCKETS)],
    "weighted": [
        _indicator(WEIGHTED),
        _embedding(WEIGHTED, combiner="sum"),
    ],
    "weighted_mean": [_embedding(WEIGHTED, 2, combiner="mean")],
    "weighted_root": [_embedding(WEIGHTED, 2, combiner="sqrtn")],
    "frozen": [_embedding(CITY, trainable=False)],
}
ROWS = 5
ARRAYS: Arrays = {
    "age": np.array([[-1.0], [-0.5], [0.1], [0.7], [2.0]], "float32"),
    "pair": np.linspace(-1, 1, 2 * ROWS, dtype="float32").reshape(ROWS, 2),
    "level": np.array([[0], [4], [9], [-1], [1]], "int32"),
    "color": np.array(
        [["red", "blau"], ["", "pink"], ["red", "red"], ["", ""], ["x", "green"]]
    ),
    # Nothing where there is no colour: TensorFlow drops both.
    "weight": np.array([[1, 2], [0, 0.5], [0.25, 1], [0, 0], [1, 4]], "float32"),
    "city": np.array([["Rome"], ["Köln"], [""], ["a" * 40], ["Rome"]]),
    "zip": np.array([[7], [12345678901], [-1], [99], [4]], "int64"),
}
TARGETS = np.linspace(-1, 1, 2 * ROWS, dtype="float32").reshape(ROWS, 2)
FORMATS = ["traced", "untraced", "model.h5"]


class Written:
    """The model that tf_keras wrote, and what it computed."""

    def __init__(self, directory: Path, expected: dict[str, Arrays]) -> None:
        self.directory = directory
        self.out, self.next = expected["out"], expected["next"]


@pytest.fixture(scope="module")
def written(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Written:
    directory = tmp_path_factory.mktemp("features")
    found = peer.call("features.write", directory, CASES, ARRAYS, TARGETS)
    return Written(directory, found)


def _differing(found: Arrays, expected: Arrays, tolerance: float) -> list[str]:
    assert found.keys() == expected.keys()
    return [
        name
        for name in expected
        if not np.allclose(found[name], expected[name], rtol=0, atol=tolerance)
    ]


def _train(model: keras.Model) -> None:
    model.train_on_batch(ARRAYS, dict.fromkeys(CASES, TARGETS))


@pytest.mark.parametrize("name", FORMATS)
def test_columns_predict_and_take_the_same_next_step(
    written: Written, name: str
) -> None:
    model = regraft.load_model(written.directory / name)
    assert isinstance(model.get_layer("of_hashed"), DenseFeatures)
    assert _differing(model.predict(ARRAYS, verbose=0), written.out, 1e-6) == []
    _train(model)
    assert _differing(model.predict(ARRAYS, verbose=0), written.next, 1e-5) == []


def test_columns_are_called_directly(written: Written) -> None:
    model = regraft.load_model(written.directory / "model.h5")
    columns, dense = (
        model.get_layer("of_crossed_columns"),
        model.get_layer("crossed_columns"),
    )
    np.testing.assert_allclose(
        dense(columns(ARRAYS)), written.out["crossed_columns"], atol=1e-6
    )


@pytest.mark.parametrize("name", ["again", "again.h5"])
def test_saved_again_they_open_in_tf_keras(
    written: Written, name: str, peer: Peer, tmp_path: Path
) -> None:
    model = regraft.load_model(written.directory / "model.h5")
    regraft.save_model(model, tmp_path / name, save_traces=False)
    found = peer.call("features.read", tmp_path / name, ARRAYS)
    assert _differing(found, written.out, 1e-6) == []
    again = regraft.load_model(tmp_path / name)
    assert _differing(again.predict(ARRAYS, verbose=0), written.out, 1e-6) == []
    _train(again)
    assert _differing(again.predict(ARRAYS, verbose=0), written.next, 1e-5) == []


def test_saved_with_functions_tensorflow_serves_them(
    written: Written, peer: Peer, tmp_path: Path
) -> None:
    model = regraft.load_model(written.directory / "model.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        regraft.save_model(model, tmp_path / "again")
    theirs = peer.call("features.serve", tmp_path / "again", ARRAYS)
    assert _differing(theirs, written.out, 1e-6) == []
    serve = regraft.load(tmp_path / "again").signatures["serving_default"]
    ours = {key: np.asarray(value) for key, value in serve(**ARRAYS).items()}
    assert _differing(ours, written.out, 1e-6) == []
    found = peer.call("features.read", tmp_path / "again", ARRAYS)
    assert _differing(found, written.out, 1e-6) == []


def test_chain_that_begins_with_columns_predicts_and_takes_the_same_next_step(
    peer: Peer, tmp_path: Path
) -> None:
    """A Sequential over a dict, which only its first data built."""
    specs = [
        *(AGE, PAIR, BUCKETS),
        *(_indicator(LEVEL), _embedding(COLOR_OOV), _embedding(CITY)),
        _indicator(_crossed([BUCKETS, "city"], 11)),
        *(_indicator(ZIP_LIST), _embedding(WEIGHTED, 2)),
    ]
    expected = peer.call("features.write_chain", tmp_path, specs, ARRAYS, TARGETS)
    for name in FORMATS:
        model = regraft.load_model(tmp_path / name)
        found = model.predict(ARRAYS, verbose=0)
        np.testing.assert_allclose(found, expected["out"], atol=1e-6, err_msg=name)
        loss = model.evaluate(ARRAYS, TARGETS, verbose=0)
        np.testing.assert_allclose(loss, expected["loss"], rtol=1e-5, err_msg=name)
        model.train_on_batch(ARRAYS, TARGETS)
        found = model.predict(ARRAYS, verbose=0)
        np.testing.assert_allclose(found, expected["next"], atol=1e-5, err_msg=name)


def _entry(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": config}


NUMERIC = _entry("NumericColumn", key="x", shape=[1], dtype="float32")


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ("NumericColumn", FormatError),
        (_entry("NumericColumn", key="x", shape=[0]), FormatError),
        (_entry("NumericColumn", key=None, shape=[1]), FormatError),
        (_entry("NumericColumn", key="x", shape=[1 << 30]), UnsupportedError),
        (
            _entry("NumericColumn", key="x", shape=[1], normalizer_fn="f"),
            UnsupportedError,
        ),
        (
            _entry("BucketizedColumn", source_column=NUMERIC, boundaries=[2, 1]),
            FormatError,
        ),
        (_entry("IdentityCategoricalColumn", key="x", number_buckets=3), FormatError),
        (
            _entry("IndicatorColumn", categorical_column=NUMERIC),
            FormatError,
        ),
        (_entry("SharedEmbeddingColumn"), UnsupportedError),
        (
            _entry(
                "IndicatorColumn",
                categorical_column=_entry(
                    "VocabularyFileCategoricalColumn", key="x", vocabulary_file="/v"
                ),
            ),
            UnsupportedError,
        ),
    ],
)
def test_nonsense_is_refused(entry: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        DenseFeatures([entry])


def test_missing_feature_is_named() -> None:
    layer = DenseFeatures([NUMERIC])
    with pytest.raises(MismatchError, match="'x'"):
        layer({"y": np.zeros((2, 1), "float32")})
