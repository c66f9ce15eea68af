"""Tensor bundles: TensorFlow's checkpoints, and a SavedModel's `variables/`.

A bundle is an index (`<prefix>.index`, a table of `storage.sstable`) and one or more
data files, the shards (`<prefix>.data-00000-of-00001`).
"""

from __future__ import annotations

from regraft.storage.tensor_bundle.reader import BundleTensor, TensorBundleReader
from regraft.storage.tensor_bundle.writer import TensorBundleWriter

__all__ = ["BundleTensor", "TensorBundleReader", "TensorBundleWriter"]
