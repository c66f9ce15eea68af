"""Rows of `kernels/audio.py`."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from graph.cases.case import Case, i32, integers, normal, uniform


def _wav(channels: int, count: int) -> Any:
    samples = integers(-32768, 32768, count, channels).astype("<i2").tobytes()
    heading = struct.pack(
        "<HHIIHH", 1, channels, 16000, 32000 * channels, 2 * channels, 16
    )
    body = b"WAVEfmt " + struct.pack("<I", len(heading)) + heading
    # A chunk that no reader needs stands between.
    body += b"LIST" + struct.pack("<I", 4) + b"INFO"
    body += b"data" + struct.pack("<I", len(samples)) + samples
    return np.asarray(b"RIFF" + struct.pack("<I", len(body)) + body, object)


ROWS = [
    Case("DecodeWav", {"contents": _wav(1, 20)}),
    Case("DecodeWav", {"contents": _wav(2, 20)}, {}, "stereo"),
    *(
        Case(
            "DecodeWav",
            {"contents": _wav(2, 20)},
            {"desired_channels": channels, "desired_samples": samples},
            f"{channels}-{samples}",
        )
        for channels, samples in ((1, 30), (3, 10))
    ),
    Case(
        "AudioSpectrogram",
        {"input": normal(700, 2)},
        {"window_size": 200, "stride": 77},
    ),
    Case(
        "AudioSpectrogram",
        {"input": normal(640, 1)},
        {"window_size": 128, "stride": 64, "magnitude_squared": True},
        "squared",
    ),
    Case(
        "AudioSpectrogram",
        {"input": normal(50, 1)},
        {"window_size": 128, "stride": 64},
        "short",
    ),
    Case(
        "Mfcc",
        {"spectrogram": uniform(0, 5, 2, 4, 257), "sample_rate": i32(16000)},
        tolerance=5e-6,
    ),
    Case(
        "Mfcc",
        {"spectrogram": uniform(0, 5, 1, 3, 129), "sample_rate": i32(8000)},
        {
            "upper_frequency_limit": 3500.0,
            "lower_frequency_limit": 100.0,
            "filterbank_channel_count": 20,
            "dct_coefficient_count": 10,
        },
        "other",
        tolerance=5e-6,
    ),
]
