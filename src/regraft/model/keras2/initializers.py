"""Initializers that Keras 3 doesn't have, or of whose arguments its configs forget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from regraft.errors import UnsupportedError
from regraft.model.keras2.registration import PACKAGE, registered


# A layer of Keras 2 has the class's own name.
@keras.saving.register_keras_serializable(PACKAGE, "IdentityInitializer")
class Identity(keras.initializers.Identity):
    """`Identity` that tells its `gain`."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain": float(self.gain)}


@registered
class UnknownInitializer(keras.initializers.Initializer):
    """Stands for one that nobody knows, where variables have values of their own.

    Args:
        entry: As a file spells it, in the JSON of Keras' metadata: Keras would take a
            dict for an object.
    """

    def __init__(self, entry: str) -> None:
        self.entry = entry

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        raise UnsupportedError(
            f"New variables need the initializer {self.entry}, which nobody knows. If "
            "it is your own, pass it in `custom_objects` when the model is loaded."
        )

    def get_config(self) -> dict[str, Any]:
        return {"entry": self.entry}


INITIALIZERS: Mapping[str, Any] = {"Identity": Identity, "identity": Identity}
