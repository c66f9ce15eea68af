"""Losses, metrics and compile arguments of Keras 1 to 3."""

from __future__ import annotations

from regraft.model.compile.arguments import (
    build_compile_arguments,
    describe_compile_arguments,
)
from regraft.model.compile.keras3 import build_keras3_compile, describe_keras3_compile
from regraft.model.compile.losses import build_loss, describe_loss
from regraft.model.compile.metrics import build_metric, describe_metric

__all__ = [
    "build_compile_arguments",
    "build_keras3_compile",
    "build_loss",
    "build_metric",
    "describe_compile_arguments",
    "describe_keras3_compile",
    "describe_loss",
    "describe_metric",
]
