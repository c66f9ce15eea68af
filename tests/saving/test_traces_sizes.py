"""Layers that compute with sizes in Python have functions for all sizes."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import regraft
from regraft.saving.trace_layers import trace_model

SIZES = ((9, 14), (16, 5), (7, 7), (24, 31))


def _images():
    x = keras.Input((None, None, 3), name="x")
    outputs = [
        L.Resizing(6, 8, crop_to_aspect_ratio=True)(x),
        L.Resizing(8, 6, crop_to_aspect_ratio=True, interpolation="nearest")(x),
        L.Resizing(6, 8, pad_to_aspect_ratio=True, fill_value=0.5)(x),
        L.AdaptiveAveragePooling2D((3, 2))(x),
        L.AdaptiveMaxPooling2D((2, 3))(x),
    ]
    return keras.Model(x, outputs)


def _uniform(*shape):
    return np.random.default_rng(sum(shape)).uniform(size=shape).astype("float32")


def _save(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "__array__|.*Keras 2( has no|'s RandomCrop)")
        regraft.save_model(model, path)


@pytest.mark.peer
def test_images_of_all_sizes(tmp_path, peer):
    model = _images()
    _save(model, tmp_path / "m")
    for size in SIZES:
        x = _uniform(2, *size, 3)
        expected = [np.asarray(y) for y in model(x)]
        got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), x)
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.peer
def test_an_unrolled_loop_over_any_length(tmp_path, peer):
    keras.utils.set_random_seed(2)
    x = keras.Input((None, 4))
    hidden = L.GRU(4, unroll=True, return_sequences=True)(x)
    model = keras.Model(x, L.LSTM(3, unroll=True, go_backwards=True)(hidden))
    _save(model, tmp_path / "m")
    for length in (1, 5, 9):
        x = _uniform(3, length, 4)
        got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), x)
        np.testing.assert_allclose(got[0], np.asarray(model(x)), atol=1e-6)


@pytest.mark.peer
@pytest.mark.parametrize("shape", [(None, None, 3), (12, 16, 3), (4, 16, 3)])
def test_random_crops(shape, tmp_path, peer):
    x = keras.Input(shape, name="x")
    model = keras.Model(x, L.Rescaling(2.0)(L.RandomCrop(6, 8, seed=1)(x)))
    _save(model, tmp_path / "m")
    path = str(tmp_path / "m")
    sizes = SIZES if None in shape else (shape[:2],)
    for height, width in sizes:
        # Each number is one place of the image.
        places = np.arange(height * width, dtype="float32").reshape(height, width)
        image = np.stack([places] * 3, axis=-1)[None]
        calls = [
            peer.call("saved_functions.call", path, image, training=True)[0][0]
            for _ in range(3)
        ]
        assert calls[0].shape == (1, 6, 8, 3)
        if height > 6 and width > 8:
            top = int(calls[0][0, 0, 0, 0] / 2)
            row, column = divmod(top, width)
            part = places[row : row + 6, column : column + 8]
            np.testing.assert_array_equal(calls[0][0, ..., 0], 2 * part)
            assert any(np.any(calls[0] != other) for other in calls[1:])
        else:
            expected = np.asarray(model(image, training=True))
            np.testing.assert_allclose(calls[0], expected, rtol=1e-5)
            np.testing.assert_array_equal(calls[0], calls[1])


@pytest.mark.peer
def test_tf_keras_crops_no_image_out_of_training(tmp_path, peer):
    x = keras.Input((12, 16, 3), name="x")
    model = keras.Model(x, L.GlobalAveragePooling2D()(L.RandomCrop(6, 8)(x)))
    _save(model, tmp_path / "m")
    image = np.random.default_rng(0).uniform(size=(2, 12, 16, 3)).astype("float32")
    found = peer.call("saved_functions.revive", str(tmp_path / "m"), image)
    expected = np.asarray(model(image, training=False))
    np.testing.assert_allclose(found[0][0], expected, rtol=1e-5)


class Mirrored(L.Layer):
    """Continues a series at both ends as a mirror does."""

    def call(self, x):
        return ops.pad(x, [[0, 0], [4, 4], [0, 0]], mode="reflect")

    def compute_output_shape(self, shape):
        return (shape[0], None, shape[2])


def test_a_reflection_takes_any_length():
    x = keras.Input((None, 3))
    model = keras.Model(x, L.Conv1D(2, 3)(Mirrored()(x)))
    assert not trace_model(model).notes
