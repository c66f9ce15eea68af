"""How Regraft's classes are known to Keras' own saver."""

from __future__ import annotations

from typing import Any, TypeVar

import keras

PACKAGE = "Regraft"
# Classes of TensorFlow Addons: as files name them, and ours as Keras does.
ADDONS = "Addons>"
ADDONS_PACKAGE = f"{PACKAGE}Addons"

Registered = TypeVar("Registered", bound=Any)


def registered(target: Registered) -> Registered:
    """Registers a class or function with Keras as `Regraft>Name`.

    Keras copies wrapped layers by serializing them (`Bidirectional`), so that even
    a class that is never saved has to be known by a name.
    """
    keras.saving.register_keras_serializable(PACKAGE)(target)
    return target
