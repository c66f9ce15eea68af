"""Every architecture of tf_keras.applications opens here and takes the next step.

tf_keras makes it with random weights, trains it a step with Adam, saves it and goes
on. All in float64: where the last maps have one pixel, normalization over four images
makes a step of some architectures in float32 differ by 0.02 when tf_keras itself takes
it for inputs that are 1e-7 apart. So do 6e-6 of a step, by which tf_keras is off in
float64, too: it rounds Adam's betas to float32.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
from keras.src.backend.common import dtypes as promotion

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


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keras and JAX compute in float64."""
    floatx = keras.config.floatx()
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    # Keras on JAX computes means of float64 in float32 otherwise.
    monkeypatch.setitem(promotion.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    yield
    keras.config.set_floatx(floatx)
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def room(peer: Any, tmp_path: Path) -> Iterator[Path]:
    """A directory whose files, up to 17 GB, don't stay, nor what both processes hold.

    TensorFlow gives back little of what an architecture took before its process ends.
    """
    yield tmp_path
    peer.close()
    shutil.rmtree(tmp_path)
    keras.utils.clear_session()
    jax.clear_caches()
    gc.collect()


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NAMES)
def test_application_goes_on_from_its_file(name: str, peer: Any, room: Path) -> None:
    expected = peer.call(
        "trained_applications.write",
        name,
        SIZES.get(name, 32),
        str(room),
        timeout_s=3000,
    )
    for file in ("plain", "model.h5"):
        model = regraft.load_model(room / file)
        assert not regraft.load_report(model).notes
        before = model.predict(expected["x"], verbose=0)
        np.testing.assert_allclose(before, expected["before"], rtol=1e-6, atol=1e-9)
        if expected["random"]:
            continue
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
