"""Models on a backend that JAX can't trace are saved with functions all the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from peer import Peer, fresh_process

# A module of the user's, which another process can import.
_MODULE = """
import keras

@keras.saving.register_keras_serializable("tests")
class Scaled(keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), name="w")

    def call(self, x, training=None):
        return keras.ops.tanh(x * self.w) * (2.0 if training else 1.0)
"""

_SAVE = """
import json, os, sys, warnings
os.environ["KERAS_BACKEND"] = "numpy"
sys.path.insert(0, {folder!r})
import regraft, keras, numpy as np
{classes}

inputs = keras.Input((6, 6, 2), name="image")
x = keras.layers.Conv2D(3, 3, activation="relu")(inputs)
x = keras.layers.BatchNormalization()(x)
x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
x = Scaled()(x)
outputs = keras.layers.Dense(2, kernel_regularizer="l2", name="label")(x)
model = keras.Model(inputs, outputs)
for value in model.weights:
    value.assign(np.random.default_rng(1).uniform(0.5, 1.5, value.shape))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    regraft.save_model(model, {target!r})
x = np.random.default_rng(2).normal(size=(3, 6, 6, 2)).astype("float32")
print(json.dumps(
    {{
        "outputs": np.asarray(model(x)).tolist(),
        "warnings": [str(w.message) for w in caught if w.category is UserWarning],
    }}
))
"""


def _save(folder: Path, target: Path, classes: str) -> dict[str, object]:
    script = _SAVE.format(folder=str(folder), target=str(target), classes=classes)
    return json.loads(fresh_process(script).stdout.splitlines()[-1])


def test_functions_traced_by_another_process_run_in_tensorflow(
    peer: Peer, tmp_path: Path
) -> None:
    (tmp_path / "scaled_layer.py").write_text(_MODULE)
    target = tmp_path / "model"
    saved = _save(tmp_path, target, "from scaled_layer import Scaled")
    assert saved["warnings"] == []
    inputs = np.random.default_rng(2).normal(size=(3, 6, 6, 2)).astype("float32")

    found = peer.call("keras_models.open_as_saved_model", target, {"image": inputs})
    np.testing.assert_allclose(found["outputs"]["label"], saved["outputs"], rtol=1e-6)
    # tf_keras has no class `Scaled`: it runs our functions.
    (loaded,) = peer.call("keras_models.predict", target, inputs)
    np.testing.assert_allclose(loaded, saved["outputs"], rtol=1e-6)


def test_class_that_no_other_process_can_import_is_named(tmp_path: Path) -> None:
    saved = _save(tmp_path, tmp_path / "model", _MODULE)
    (warning,) = saved["warnings"]
    assert "saved without functions" in warning
    assert "Scaled" in warning
    assert "__main__" in warning
    assert (tmp_path / "model" / "saved_model.pb").exists()
