"""Layers of TensorFlow Addons that files name (`Addons>InstanceNormalization`)."""

from __future__ import annotations

from typing import Any

import keras

from regraft.model.keras2.registration import registered


@registered
class AddonsGroupNormalization(keras.layers.GroupNormalization):
    """`GroupNormalization` of the package: Keras 3's computes the same."""


@registered
class AddonsInstanceNormalization(keras.layers.GroupNormalization):
    """`InstanceNormalization` of the package: each channel is a group."""

    def __init__(self, groups: Any = None, **kwargs: Any) -> None:
        # A config has the number of channels, which the package doesn't heed.
        super().__init__(groups=-1, **kwargs)
