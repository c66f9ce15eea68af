"""Initializers of Keras 2 of whose arguments Keras 3's configs forget some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from regraft.model.keras2.registration import PACKAGE


# A layer of Keras 2 has the class's own name.
@keras.saving.register_keras_serializable(PACKAGE, "IdentityInitializer")
class Identity(keras.initializers.Identity):
    """`Identity` that tells its `gain`."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain": float(self.gain)}


INITIALIZERS: Mapping[str, Any] = {"Identity": Identity, "identity": Identity}
