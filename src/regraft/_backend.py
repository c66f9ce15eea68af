"""Which backend Keras runs on where nobody has chosen one.

Keras' own default is TensorFlow, so that on a machine without it `import keras`
fails. Where nothing is configured and TensorFlow isn't installed, `import regraft`
chooses JAX, which it depends on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path


def choose_backend() -> None:
    """Sets `KERAS_BACKEND` to `jax` if Keras would otherwise fail to import."""
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND"):
        return
    if _configured() != "tensorflow":
        return
    if importlib.util.find_spec("tensorflow") is None:
        os.environ["KERAS_BACKEND"] = "jax"


def _configured() -> str:
    """The backend of `keras.json`; Keras' own default without one.

    Keras writes its default into that file when it is first imported, even if the
    import then fails: the file alone doesn't say that somebody chose.
    """
    home = os.environ.get("KERAS_HOME")
    folder = Path(home) if home else Path("~").expanduser() / ".keras"
    try:
        config = json.loads((folder / "keras.json").read_text(encoding="utf-8"))
        return str(config["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"
