"""Text and table layers of Keras 2 give what tf_keras gives, in all their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from model.keras2.text_cases import ADAPTED, ARRAYS, CASES, COLORS, WIDE
from peer import Peer
from regraft.errors import MismatchError, UnsupportedError
from regraft.model.keras2.host_lookup import IntegerLookup, StringLookup
from regraft.model.keras2.host_models import accept_text
from regraft.model.keras2.host_text import Hashing, TextVectorization

Arrays = dict[str, np.ndarray]
GROUPS = {"fixed": CASES, "adapted": ADAPTED}


class Written:
    """Models that tf_keras wrote, each once, and what it computed with them."""

    def __init__(self, peer: Peer, root: Path) -> None:
        self._peer = peer
        self._root = root
        self._expected: dict[tuple[str, str], Arrays] = {}

    def model(self, group: str, name: str) -> tuple[Path, Arrays]:
        directory = self._root / f"{group}_{name}"
        if (group, name) not in self._expected:
            directory.mkdir()
            self._expected[group, name] = self._peer.call(
                "text_layers.write", directory, GROUPS[group], ARRAYS, [name]
            )
        return directory / name, self._expected[group, name]


@pytest.fixture(scope="module")
def written(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(peer, tmp_path_factory.mktemp("text"))


def _inputs(model: keras.Model) -> Arrays:
    return {name: ARRAYS[name] for name in model.input}


def _differing(found: Arrays, expected: Arrays) -> list[str]:
    assert found.keys() == expected.keys()
    return [name for name in expected if not _same(found[name], expected[name])]


def _same(found: Any, expected: np.ndarray) -> bool:
    found = np.asarray(found)
    if found.shape != expected.shape:
        return False
    if expected.dtype.kind in "iuSUO":
        return bool((found == expected.astype(found.dtype)).all())
    return bool(np.allclose(found, expected, rtol=1e-5, atol=1e-6))


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("fixed", "notraces"),
        ("fixed", "model.h5"),
        ("adapted", "notraces"),
        pytest.param("fixed", "saved_model", marks=pytest.mark.slow),
        pytest.param("adapted", "saved_model", marks=pytest.mark.slow),
    ],
)
def test_layers_give_what_tf_keras_gives(
    written: Written, group: str, name: str
) -> None:
    path, expected = written.model(group, name)
    model = regraft.load_model(path)
    inputs = _inputs(model)

    assert _differing(model(inputs), expected) == []
    assert _differing(model.predict(inputs, verbose=0), expected) == []


@pytest.mark.parametrize("group", GROUPS)
def test_saved_again_they_are_opened_everywhere(
    written: Written, peer: Peer, tmp_path: Path, group: str
) -> None:
    path, expected = written.model(group, "notraces")
    saved = tmp_path / "saved"

    regraft.save_model(regraft.load_model(path), saved)

    again = regraft.load_model(saved)
    assert _differing(again.predict(_inputs(again), verbose=0), expected) == []
    assert _differing(peer.call("text_layers.read", saved, ARRAYS), expected) == []
    served = peer.call("text_layers.serve", saved, ARRAYS)
    assert _differing(_by_case(served), expected) == []
    signature = regraft.load(saved).signatures["serving_default"]
    ours = signature(**{name: ARRAYS[name] for name in signature.inputs})
    assert _differing(_by_case(ours), expected) == []


def _by_case(outputs: Arrays) -> Arrays:
    """Outputs of a signature, whose names are those of layers: `<case>_<number>`."""
    return {name.rpartition("_")[0]: value for name, value in outputs.items()}


# tf_keras writes a tuple of `ngrams` into HDF5 as a list, which it then refuses itself.
WITHOUT_TUPLES = [
    c for c in CASES if not isinstance(c["layers"][0][1].get("ngrams"), tuple)
]


def test_saved_again_as_hdf5_tf_keras_opens_them(peer: Peer, tmp_path: Path) -> None:
    expected = peer.call(
        "text_layers.write", tmp_path, WITHOUT_TUPLES, ARRAYS, ["model.h5"]
    )
    saved = tmp_path / "saved.h5"

    regraft.save_model(regraft.load_model(tmp_path / "model.h5"), saved)

    assert _differing(peer.call("text_layers.read", saved, ARRAYS), expected) == []
    again = regraft.load_model(saved)
    assert _differing(again.predict(_inputs(again), verbose=0), expected) == []


# ------------------------------------------------------------------- by themselves


def test_layer_takes_text_in_every_form() -> None:
    layer = StringLookup(vocabulary=COLORS)
    for words in (
        [["red"], ["x"]],
        np.array([["red"], ["x"]]),
        np.array([[b"red"], [b"x"]]),
        np.array([["red"], ["x"]], object),
        np.array([[b"red"], [b"x"]], object),
    ):
        assert np.asarray(layer(words)).tolist() == [[1], [0]]
    assert int(layer("blue")) == 3


def test_inverse_lookup_gives_text() -> None:
    found = StringLookup(vocabulary=COLORS, invert=True)(np.array([3, 0]))
    assert found.tolist() == [b"blue", b"[UNK]"]


def test_whole_numbers_of_64_bits_are_exact() -> None:
    ids = np.array([WIDE, WIDE + 3, 3])
    assert np.asarray(IntegerLookup(vocabulary=[WIDE + 3])(ids)).tolist() == [0, 1, 0]
    found = IntegerLookup(vocabulary=[WIDE + 3], invert=True)(np.array([1, 0]))
    assert np.asarray(found).tolist() == [WIDE + 3, -1]


def test_number_that_the_step_cannot_hold_is_refused() -> None:
    ids = keras.Input((1,), dtype="int32")
    layer = IntegerLookup(vocabulary=[WIDE], invert=True, name="back")
    model = keras.Model(ids, layer(ids))
    accept_text(model)
    with pytest.raises(UnsupportedError, match=r"'back'.*jax_enable_x64"):
        model(np.array([[1]]))


def test_token_without_place_is_refused() -> None:
    layer = StringLookup(vocabulary=COLORS, num_oov_indices=0)
    with pytest.raises(MismatchError, match="num_oov_indices=0"):
        layer(["mauve"])


def test_repeated_token_is_refused() -> None:
    with pytest.raises(ValueError, match="repeats a token"):
        StringLookup(vocabulary=["a", "a"])


def test_ragged_output_is_refused_with_the_way_out() -> None:
    with pytest.raises(UnsupportedError, match=r"'words'.*ragged=False"):
        TextVectorization(ragged=True, name="words")


def test_hashing_refuses_fractions() -> None:
    with pytest.raises(MismatchError, match="whole numbers"):
        Hashing(3)(np.array([0.5]))


def test_own_functions_standardize_and_split() -> None:
    layer = TextVectorization(
        vocabulary=["b", "c"],
        standardize=lambda texts: np.char.lower(texts.astype("S")).astype(object),
        split=lambda text: text.split(b","),
    )
    assert np.asarray(layer(["B,C", "x"])).tolist() == [[2, 3], [1, 0]]
