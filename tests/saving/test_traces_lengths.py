"""What layers demand of unknown lengths is met, and lengths that may differ do."""

from __future__ import annotations

import warnings

import jax
import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import regraft
from regraft.saving import trace_layers
from regraft.saving.trace_layers import trace_model


class Same(L.Layer):
    """Gives what has the shape of its input."""

    def compute_output_shape(self, shape):
        return shape


class Positions(Same):
    """Adds a learned vector to each place, of which there are 12 at most."""

    def build(self, shape):
        self.table = self.add_weight(shape=(12, shape[-1]), name="table")

    def call(self, x):
        table = ops.convert_to_tensor(self.table)
        return x + ops.slice(table, (0, 0), (ops.shape(x)[1], x.shape[-1]))


class Indexed(Positions):
    def call(self, x):
        return x + ops.convert_to_tensor(self.table)[: ops.shape(x)[1]]


class Branch(Same):
    def call(self, x):
        return x * 2 if ops.shape(x)[1] > 5 else x


def _seq2seq(positions):
    """Ids and a mask of what is read, ids of what is written."""
    read = keras.Input((None,), dtype="int32", name="read")
    mask = keras.Input((None,), dtype="int32", name="mask")
    written = keras.Input((None,), dtype="int32", name="written")
    embed = L.Embedding(20, 8)
    seen, said = positions()(embed(read)), positions()(embed(written))
    attention = L.MultiHeadAttention(2, 4)
    x = attention(said, seen, attention_mask=ops.cast(mask, "bool")[:, None, :])
    return keras.Model([read, mask, written], L.Dense(3)(x + said))


def _tokens(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 20, shape).astype("int32")


@pytest.mark.peer
@pytest.mark.parametrize("positions", [Positions, Indexed])
def test_two_lengths_and_a_table_of_positions(positions, tmp_path, peer):
    keras.utils.set_random_seed(1)
    model = _seq2seq(positions)
    with pytest.warns(UserWarning, match="no other lengths than these: dimension 1 of"):
        regraft.save_model(model, tmp_path / "m")
    for read, written in ((3, 7), (12, 1)):
        given = [_tokens(2, read), np.ones((2, read), "int32"), _tokens(2, written)]
        given[1][1, -1] = 0
        got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), given)
        np.testing.assert_allclose(got[0], model.predict(given, verbose=0), atol=1e-5)


class Decaying(Same):
    """Sums of a sequence in which what came before counts less and less."""

    def build(self, shape):
        self.rate = self.add_weight(shape=(shape[-1],), name="rate")

    def call(self, x):
        kept = ops.sigmoid(self.rate * x)

        def both(a, b):
            return a[0] * b[0], a[1] * b[0] + b[1]

        there = ops.associative_scan(both, (kept, x), axis=1)[1]
        back = jax.lax.associative_scan(both, (kept, x), reverse=True, axis=1)[1]
        return there + back


@pytest.mark.peer
def test_scans_of_unknown_lengths_go_step_by_step(tmp_path, peer):
    keras.utils.set_random_seed(1)
    given = keras.Input((None, 3))
    model = keras.Model(given, Decaying()(given))
    regraft.save_model(model, tmp_path / "m")
    for length in (1, 2, 7):
        x = np.random.default_rng(length).normal(size=(2, length, 3)).astype("float32")
        got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), x)
        np.testing.assert_allclose(got[0], model(x), atol=1e-6)
    assert peer.call("saved_functions.gradients", str(tmp_path / "m"), x) == (1, [])


class Widened(L.Layer):
    """Puts pictures beside smaller ones that are doubled to their size."""

    def compute_output_shape(self, shapes):
        return (*shapes[1][:-1], shapes[0][-1] + shapes[1][-1])

    def call(self, pictures):
        small, large = pictures
        wide = ops.repeat(ops.repeat(small, 2, axis=1), 2, axis=2)
        return ops.concatenate([wide, large], axis=-1)


def test_lengths_that_are_halved_are_not_tried_as_longer_ones(monkeypatch):
    ways = []
    first = trace_layers._ModelTracer.__init__

    def init(self, model, inputs, way, untrained):
        ways.append(way)
        first(self, model, inputs, way, untrained)

    monkeypatch.setattr(trace_layers._ModelTracer, "__init__", init)
    image = keras.Input((None, None, 3))
    half = L.MaxPooling2D(2)(image)
    whole = Widened()([Widened()([L.MaxPooling2D(2)(half), half]), image])
    notes = trace_model(keras.Model(image, whole)).notes
    assert "multiples of 4." in notes[0][1]
    assert all(way.least == 1 for way in ways)


def _notes(inputs, output):
    return [text for _, text in trace_model(keras.Model(inputs, output)).notes]


def test_a_length_that_another_input_tells_is_said():
    x, y = keras.Input((None, 4)), keras.Input((5, 4))
    (note,) = _notes([x, y], L.Dense(2)(L.Add()([x, y])))
    assert note.endswith("no other lengths than these: dimension 1 of input 0 == 5.")


class Distances(Same):
    """Adds to each place how far the end is, counted down in floats."""

    def call(self, x):
        steps = ops.arange(ops.shape(x)[1], 0.0, -1.0)
        return x + ops.sin(steps)[:, None] + ops.arange(0.0, ops.shape(x)[1])[:, None]


class Pooled(L.Layer):
    """Means of each two neighbours, by a matrix that says which ones those are."""

    def call(self, x):
        length = ops.shape(x)[1]
        pairs = ops.broadcast_to(ops.arange(length) // 2, ops.shape(x)[:2])
        return ops.matmul(ops.one_hot(pairs, length // 2, axis=1), x) / 2

    def compute_output_shape(self, shape):
        return (shape[0], None, shape[2])


@pytest.mark.peer
@pytest.mark.parametrize("layer", [Distances, Pooled])
def test_a_layer_counts_to_an_unknown_length(layer, tmp_path, peer):
    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, L.Dense(2)(layer()(x)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regraft.save_model(model, tmp_path / "m")
    for length in (6, 9):
        given = np.random.default_rng(length).normal(size=(2, length, 3))
        given = given.astype("float32")
        got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), given)
        np.testing.assert_allclose(got[0], model.predict(given, verbose=0), atol=1e-5)


class Interleaved(L.Layer):
    """Puts four rows for each picture where the places say."""

    def call(self, pictures, text, places):
        batch, length, width = ops.shape(text)
        starts = ops.arange(0, batch, dtype="int32")[:, None] * length
        flat = ops.scatter_update(
            ops.reshape(text, (batch * length, width)),
            ops.reshape(starts + places, (-1, 1)),
            ops.reshape(pictures, (-1, width)),
        )
        return ops.reshape(flat, (batch, length, width))

    def compute_output_shape(self, pictures_shape, text_shape, places_shape):
        return text_shape


@pytest.mark.peer
def test_a_length_that_is_a_multiple_of_another_is_said(tmp_path, peer):
    pictures = keras.Input((None, 6), name="pictures")
    text = keras.Input((None, 3), name="text")
    places = keras.Input((None,), dtype="int32", name="places")
    rows = ops.reshape(L.Dense(12)(pictures), (-1, 4, 3))
    model = keras.Model([pictures, text, places], Interleaved()(rows, text, places))
    with pytest.warns(
        UserWarning, match=r"1 of input 2 == 4\*dimension 1 of input 0\."
    ):
        regraft.save_model(model, tmp_path / "m")
    rng = np.random.default_rng(4)
    for batch, count, length in ((2, 1, 9), (3, 2, 11)):
        given = [
            rng.normal(size=(batch, count, 6)).astype("float32"),
            rng.normal(size=(batch, length, 3)).astype("float32"),
            np.array([rng.permutation(length)[: 4 * count] for _ in range(batch)]),
        ]
        given[2] = given[2].astype("int32")
        got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), given)
        np.testing.assert_allclose(got[0], model.predict(given, verbose=0), atol=1e-5)


def test_a_branch_of_own_code_demands_nothing():
    x = keras.Input((None, 4))
    (note,) = _notes(x, Branch()(x))
    assert note.startswith("Its functions are for unknown lengths of at least 32.")
    assert "other lengths" not in note


@pytest.mark.peer
def test_a_formula_that_is_a_number_tells_the_length(tmp_path, peer):
    x, y = keras.Input((None, 4), name="x"), keras.Input((5, 4), name="y")
    halves = L.AveragePooling1D(2)(L.ZeroPadding1D(1)(L.AveragePooling1D(2)(x)))
    model = keras.Model([x, y], L.Dense(2)(L.Add()([halves, y])))
    with pytest.warns(UserWarning, match="these: dimension 1 of input 0 == 16"):
        regraft.save_model(model, tmp_path / "m")
    rng = np.random.default_rng(2)
    given = [rng.normal(size=(3, n, 4)).astype("float32") for n in (16, 5)]
    got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), given)
    np.testing.assert_allclose(got[0], model.predict(given, verbose=0), atol=1e-5)


class OrElse(L.Layer):
    """Takes rows of one tensor, or others in their place."""

    def call(self, x):
        batch, _, width = ops.shape(x)
        return ops.cond(
            ops.sum(x) > 1000,
            lambda: ops.ones((batch, width)),
            lambda: ops.reshape(x, (-1, width)),
        )

    def compute_output_shape(self, shape):
        return (shape[0], shape[2])


@pytest.mark.peer
def test_branches_of_one_shape_tell_a_length(tmp_path, peer):
    x = keras.Input((None, 4), name="x")
    model = keras.Model(x, L.Dense(2)(OrElse()(x)))
    with pytest.warns(UserWarning, match="these: dimension 1 of input 0 == 1"):
        regraft.save_model(model, tmp_path / "m")
    given = np.random.default_rng(2).normal(size=(3, 1, 4)).astype("float32")
    for each in (given, given + 300):
        got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), each)
        np.testing.assert_allclose(got[0], model(each), atol=1e-5)


def test_inputs_of_one_length_need_no_word():
    x, y = keras.Input((None, 4)), keras.Input((None, 4))
    assert _notes([x, y], L.Dense(2)(L.Add()([x, y]))) == []


class Blend(Same):
    """Takes two tensors by keyword, the first of which is named last."""

    def build(self, *_, **__):
        self.scale = self.add_weight(shape=(4,), name="scale")

    def call(self, x, by=None):
        return x * self.scale + ops.cast(by, x.dtype)[..., None]

    def compute_output_shape(self, x_shape, by_shape=None):
        return x_shape


@pytest.mark.peer
def test_tensors_given_by_keyword_keep_their_places(tmp_path, peer):
    x, by = keras.Input((5, 4), name="x"), keras.Input((5,), dtype="int32", name="by")
    model = keras.Model([x, by], L.Dense(2)(Blend()(x=x, by=by)))
    given = [np.ones((2, 5, 4), "float32"), _tokens(2, 5)]
    expected = model.predict(given, verbose=0)
    regraft.save_model(model, tmp_path / "m")
    got, _, _, _ = peer.call("saved_functions.revive", str(tmp_path / "m"), given)
    np.testing.assert_allclose(got[0], expected, atol=1e-5)
    loaded = regraft.load_model(tmp_path / "m")
    np.testing.assert_allclose(loaded.predict(given, verbose=0), expected, atol=1e-5)


class Mixed(Same):
    """Takes tuples of tensors, which a network's config knows as lists."""

    def build(self, *_, **__):
        self.scale = self.add_weight(shape=(4,), name="scale")

    def call(self, pair, others=()):
        first, second = pair
        return first * self.scale + second - sum(others)

    def compute_output_shape(self, *_, **__):
        return (None, 4)


@pytest.mark.peer
def test_tuples_of_tensors_in_a_network(tmp_path, peer):
    x, y = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([x, y], Mixed()((x, y), others=(y, x)))
    given = [np.ones((2, 4), "float32"), np.full((2, 4), 3, "float32")]
    expected = model.predict(given, verbose=0)
    regraft.save_model(model, tmp_path / "m")
    got, _, _, _ = peer.call("saved_functions.revive", str(tmp_path / "m"), given)
    np.testing.assert_allclose(got[0], expected, atol=1e-5)
    loaded = regraft.load_model(tmp_path / "m")
    np.testing.assert_allclose(loaded.predict(given, verbose=0), expected, atol=1e-5)


@pytest.mark.peer
def test_shapes_that_operations_of_tensorflow_compute(tmp_path, peer):
    """Models of `tf.shape` are traced for any batch, by calls and by nodes."""
    given = peer.call("tracing.shape_arithmetic", tmp_path / "theirs")
    model = regraft.load_model(tmp_path / "theirs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regraft.save_model(model, tmp_path / "ours")
    for x, expected in given:
        got, _ = peer.call("saved_functions.call", str(tmp_path / "ours"), x)
        assert len(got) == len(expected)
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    # A loss that counts what it is the mean of, as those of Keras 2 do.
    again = regraft.load_model(tmp_path / "ours")
    x, _ = given[-1]
    np.testing.assert_allclose(model(x)[0], again(x)[0], rtol=1e-6)
    np.testing.assert_allclose(model.losses[0], again.losses[0], rtol=1e-6)


class Mirrored(Same):
    """Widens a sequence by its mirror image."""

    def __init__(self, mode):
        super().__init__()
        self.mode = mode

    def call(self, x):
        return ops.pad(x, ((0, 0), (3, 4)), self.mode)

    def compute_output_shape(self, shape):
        return (shape[0], None)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("layer", "lengths"),
    [
        (L.MelSpectrogram(64, 16, 64, sampling_rate=800, num_mel_bins=8), (100, 33, 9)),
        (L.MelSpectrogram(64, 10, 50, sampling_rate=800, num_mel_bins=8), (65, 40)),
        (Mirrored("reflect"), (9, 3, 2, 1)),
        (Mirrored("symmetric"), (9, 3, 2, 1)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*no layer class MelSpectrogram")
def test_sequences_of_any_length_are_mirrored(layer, lengths, tmp_path, peer):
    x = keras.Input((None,))
    model = keras.Model(x, layer(x))
    assert not [note for _, note in trace_model(model).notes]
    regraft.save_model(model, tmp_path / "m")
    for length in lengths:
        given = np.random.default_rng(length).normal(size=(2, length)).astype("float32")
        got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), given)
        expected = np.asarray(model(given))
        near = 2e-6 * np.abs(expected).max()
        np.testing.assert_allclose(got[0], expected, rtol=0, atol=near)
