"""Every architecture of tf_keras.applications opens here and takes the next step.

tf_keras makes it with random weights, trains it a step with Adam, saves it and goes
on. In float64 but for two: where the last maps have one pixel, normalization over four
images makes a step of some architectures in float32 differ by 0.02 when tf_keras itself
takes it for inputs that are 1e-7 apart. So do 6e-6 of a step, by which tf_keras is off
in float64, too: it rounds Adam's betas to float32.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import jax
import keras
import numpy as np
import pytest
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

import regraft
from regraft.model.dialects.names import original_name

FAMILIES = {
    "ConvNeXt": "Base Large Small Tiny XLarge",
    "DenseNet": "121 169 201",
    "EfficientNet": "B0 B1 B2 B3 B4 B5 B6 B7 V2B0 V2B1 V2B2 V2B3 V2L V2M V2S",
    "Inception": "ResNetV2 V3",
    "MobileNet": ". V2 V3Large V3Small",
    "NASNet": "Large Mobile",
    "RegNet": (
        "X002 X004 X006 X008 X016 X032 X040 X064 X080 X120 X160 X320 "
        "Y002 Y004 Y006 Y008 Y016 Y032 Y040 Y064 Y080 Y120 Y160 Y320"
    ),
    "ResNet": "50 101 152 50V2 101V2 152V2 RS50 RS101 RS152 RS200 RS270 RS350 RS420",
    "VGG": "16 19",
    "Xception": ".",
}
NAMES = [
    family + kind.replace(".", "")
    for family, kinds in FAMILIES.items()
    for kind in kinds.split()
]
# The smallest input that each takes.
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71, "NASNetLarge": 331}
SIZES |= {"NASNetMobile": 224}
# After larger steps, hundreds of layers of random weights make a class of 1e-16: what
# tf_keras predicts with ResNetRS200 before it saves it and after is not the same.
RATES = {name: 1e-7 for name in NAMES if name.startswith("ResNetRS")}
# With Adam's state and what JAX takes for a first prediction, the larger needs 36 GB in
# float64. They make little of rounding, and no step is compared: they draw numbers.
FLOAT32 = ("ConvNeXtLarge", "ConvNeXtXLarge")


@pytest.fixture
def room(peer: Any, tmp_path: Path) -> Iterator[Path]:
    """A directory whose files, up to 17 GB, don't stay, nor what both processes hold.

    TensorFlow gives back little of what an architecture took before its process ends.
    """
    yield tmp_path
    peer.close()
    shutil.rmtree(tmp_path)
    _forget_models()


def _forget_models() -> None:
    """Frees what was compiled: 10 GB for a step of the deepest ones."""
    keras.utils.clear_session()
    jax.clear_caches()
    gc.collect()


def test_scaling_layer_of_inception_resnet_v2_has_the_name_of_a_users(
    peer: Any, tmp_path: Path
) -> None:
    """Without traces, both ways: `Custom>CustomScaleLayer`."""
    peer.call("trained_applications.write_scaled", str(tmp_path / "theirs.h5"))
    with h5py.File(tmp_path / "theirs.h5") as file:
        assert "Custom>CustomScaleLayer" in file.attrs["model_config"]
    theirs = regraft.load_model(tmp_path / "theirs.h5")
    given = [keras.Input((3,)) for _ in range(2)]
    ours = keras.Model(given, CustomScaleLayer(0.3)(given))
    x = [np.arange(6, dtype="float32").reshape(2, 3) * factor for factor in (1, 10)]
    expected = x[0] + 0.3 * x[1]
    for name, model in (("again", theirs), ("keras3", ours)):
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)
        regraft.save_model(model, tmp_path / f"{name}.h5")
        regraft.save_model(model, tmp_path / name, save_traces=False)
        for file in (f"{name}.h5", name):
            got = peer.call("trained_applications.predict", str(tmp_path / file), x)
            np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_layers_of_keras_applications_come_back_by_name(tmp_path: Path) -> None:
    """From files without traces, those of Keras' own saver too."""
    given = keras.Input((4,))
    scaled = LayerScale(0.5, 4)(keras.layers.Dense(4)(given))
    dropped = StochasticDepth(0.1)(scaled)
    model = keras.Model(given, CustomScaleLayer(0.3)([given, dropped]))
    regraft.save_model(model, tmp_path / "keras2.h5")
    options = regraft.SaveOptions(dialect="keras3")
    regraft.save_model(model, tmp_path / "keras3.h5", options=options)
    regraft.save_model(model, tmp_path / "model", save_traces=False)
    model.save(tmp_path / "keras_itself.h5")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    for file in ("keras2.h5", "keras3.h5", "model", "keras_itself.h5"):
        loaded = regraft.load_model(tmp_path / file)
        assert [type(layer) for layer in loaded.layers] == [
            type(layer) for layer in model.layers
        ]
        np.testing.assert_array_equal(
            loaded.predict(x, verbose=0), model.predict(x, verbose=0)
        )


@pytest.mark.parametrize("words", [{"init_values": 0.5}, {"factor": 2.0}])
def test_other_layers_of_such_a_name_are_not_taken_for_them(
    words: dict[str, float], tmp_path: Path
) -> None:
    class LayerScale(keras.layers.Layer):
        def __init__(self, **keywords: Any) -> None:
            self.words = {key: keywords.pop(key) for key in words}
            super().__init__(**keywords)

        def call(self, inputs: Any) -> Any:
            return inputs * 3.0

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), **self.words}

    model = keras.Sequential([keras.Input((4,)), LayerScale(**words)])
    model.save(tmp_path / "model.h5")
    with pytest.raises(regraft.UnknownNameError, match="LayerScale"):
        regraft.load_model(tmp_path / "model.h5")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_application_goes_on_from_its_file(
    name: str, peer: Any, room: Path, request: pytest.FixtureRequest
) -> None:
    floatx, precision = "float32", {"rtol": 1e-5, "atol": 1e-6}
    if name not in FLOAT32:
        request.getfixturevalue("float64")
        floatx, precision = "float64", {"rtol": 1e-6, "atol": 1e-9}
    expected = peer.call(
        "trained_applications.write",
        name,
        SIZES.get(name, 32),
        RATES.get(name, 1e-3),
        floatx,
        str(room),
        timeout_s=3000,
    )
    peer.close()  # Both at once would take up to 24 GB.
    for file in ("plain", "model.h5"):
        _assert_goes_on(room / file, expected, precision)
        _forget_models()


def _assert_goes_on(
    path: Path, expected: dict[str, Any], precision: dict[str, float]
) -> None:
    model = regraft.load_model(path)
    assert not regraft.load_report(model).notes
    before = model.predict(expected["x"], verbose=0)
    np.testing.assert_allclose(before, expected["before"], **precision)
    if expected["random"]:
        return
    model.train_on_batch(expected["x"], expected["y"])
    after = model.predict(expected["x"], verbose=0)
    np.testing.assert_allclose(after, expected["after"], rtol=1e-3, atol=1e-4)
    for layer in model.layers:
        wanted = expected["weights"].get(original_name(layer), [])
        for value, other in zip(layer.get_weights(), wanted, strict=True):
            scale = max(1.0, float(np.max(np.abs(other), initial=0)))
            assert np.max(np.abs(value - other), initial=0) < 1e-4 * scale


def test_no_application_is_forgotten(peer: Any) -> None:
    assert sorted(NAMES) == peer.call("trained_applications.names")
