"""Images that TensorFlow writes and reads."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def _smooth(height: int, width: int, channels: int) -> np.ndarray:
    """A picture with slopes and an edge, as photographs have."""
    y, x = np.mgrid[:height, :width]
    parts = [
        127 + 100 * np.sin(x / 9 + c) * np.cos(y / 7 - c) + 20 * (x > y)
        for c in range(channels)
    ]
    return np.clip(np.stack(parts, -1), 0, 255).astype("uint8")


def jpegs(options: list[dict]) -> list[tuple[bytes, np.ndarray]]:
    """Returns JPEG files with what `DecodeJpeg` gives for them with these options."""
    found = []
    for given in options:
        how = dict(given)
        image = _smooth(61, 83, how.pop("from_channels", 3))
        chosen = {k: how.pop(k) for k in ("quality", "progressive") if k in how}
        data = tf.io.encode_jpeg(image, **chosen).numpy()
        decoded = tf.raw_ops.DecodeJpeg(contents=data, **how).numpy()
        found.append((data, decoded))
    return found


def decode(data: bytes) -> np.ndarray:
    """Returns what `DecodeImage` gives."""
    return tf.raw_ops.DecodeImage(contents=data).numpy()
