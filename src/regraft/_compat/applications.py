"""Layers of `keras.applications`, which no public name has.

Keras 3.12 to 3.15: the modules of ConvNeXt and InceptionResNetV2 define them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

# With the words of their configs, by which they are told from others of these names.
_CLASSES: Mapping[str, tuple[type[keras.layers.Layer], frozenset[str]]] = {
    "CustomScaleLayer": (CustomScaleLayer, frozenset({"scale"})),
    "LayerScale": (LayerScale, frozenset({"init_values", "projection_dim"})),
    "StochasticDepth": (StochasticDepth, frozenset({"drop_path_rate"})),
}
_OF_EVERY_LAYER = frozenset({"name", "trainable", "dtype"})


def application_layer(name: str, config: Any) -> type[keras.layers.Layer] | None:
    """Returns the class of this name and config, `None` if there is none."""
    cls, words = _CLASSES.get(name, (None, frozenset()))
    same = isinstance(config, Mapping) and config.keys() - _OF_EVERY_LAYER == words
    return cls if same else None
