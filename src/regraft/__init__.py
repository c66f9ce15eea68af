"""Keras 3 models as TensorFlow SavedModels and Keras HDF5 files, without TensorFlow.

    import regraft                      # before keras, see `_backend`
    import keras

    regraft.save_model(model, "model")  # a SavedModel directory
    regraft.save_model(model, "m.h5")   # a Keras HDF5 file
    model = regraft.load_model("model") # any that Keras ever wrote

The names below are loaded when they are first used, so that `regraft.inspect`
needs neither Keras nor a backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from regraft._backend import choose_backend as _choose_backend
from regraft._version import __version__ as __version__
from regraft.errors import ChecksumError as ChecksumError
from regraft.errors import FormatError as FormatError
from regraft.errors import LimitError as LimitError
from regraft.errors import MismatchError as MismatchError
from regraft.errors import RegraftError as RegraftError
from regraft.errors import TruncatedError as TruncatedError
from regraft.errors import UnknownNameError as UnknownNameError
from regraft.errors import UnsafeFileError as UnsafeFileError
from regraft.errors import UnsupportedError as UnsupportedError
from regraft.errors import UnsupportedOpError as UnsupportedOpError
from regraft.options import LoadOptions as LoadOptions
from regraft.options import SaveOptions as SaveOptions

if TYPE_CHECKING:
    from regraft.api import accept_text as accept_text
    from regraft.api import load as load
    from regraft.api import load_model as load_model
    from regraft.api import save_model as save_model
    from regraft.inspection import inspect as inspect
    from regraft.keras_hook import install as install
    from regraft.keras_hook import uninstall as uninstall
    from regraft.loading.report import load_report as load_report
    from regraft.signatures import export_signature as export_signature
    from regraft.weights import load_weights as load_weights
    from regraft.weights import save_weights as save_weights

_choose_backend()

_LAZY = {
    "accept_text": "regraft.api",
    "save_model": "regraft.api",
    "load": "regraft.api",
    "load_model": "regraft.api",
    "load_weights": "regraft.weights",
    "save_weights": "regraft.weights",
    "load_report": "regraft.loading.report",
    "export_signature": "regraft.signatures",
    "inspect": "regraft.inspection",
    "install": "regraft.keras_hook",
    "uninstall": "regraft.keras_hook",
}

__all__ = [
    "ChecksumError",
    "FormatError",
    "LimitError",
    "LoadOptions",
    "MismatchError",
    "RegraftError",
    "SaveOptions",
    "TruncatedError",
    "UnknownNameError",
    "UnsafeFileError",
    "UnsupportedError",
    "UnsupportedOpError",
    "accept_text",
    "export_signature",
    "inspect",
    "install",
    "load",
    "load_model",
    "load_report",
    "load_weights",
    "save_model",
    "save_weights",
    "uninstall",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'regraft' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
