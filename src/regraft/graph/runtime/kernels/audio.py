"""Sound, on the host: WAV files, spectrograms and what is computed of them.

Formats and formulas: RIFF WAVE with 16-bit PCM samples; the periodic Hann window; mel
scale 1127 ln(1 + f / 700); discrete cosine transform of the second kind. The rest was
settled by comparing with TensorFlow 2.21.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np

from regraft.errors import LimitError, MismatchError
from regraft.graph.runtime.registry import kernel

_host = functools.partial(kernel, host=True)

_PCM, _EXTENSIBLE = 1, 65534
# A longer sound is no real input.
MAX_SAMPLES = 1 << 27
_LEAST_ENERGY = 1e-12


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """Returns the first chunk of each kind of a RIFF file."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise MismatchError(f"No WAV file: it begins with {data[:12]!r}.")
    found: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        found.setdefault(data[at : at + 4], data[at + 8 : at + 8 + size])
        at += 8 + size
    return found


@_host("DecodeWav", limits="16-bit PCM")
def decode_wav(
    contents: Any, *, desired_channels: int, desired_samples: int
) -> tuple[Any, Any]:
    """Samples of a WAV file from -1 to 1, and their rate."""
    chunks = _chunks(contents.item())
    heading, data = chunks.get(b"fmt ", b""), chunks.get(b"data")
    if len(heading) < 16 or data is None:
        raise MismatchError("A WAV file has no format or no data.")
    coding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", heading)
    if coding not in (_PCM, _EXTENSIBLE) or bits != 16 or not channels:
        raise MismatchError(
            f"A WAV file has coding {coding} and {bits} bits, expected 16-bit PCM."
        )
    usable = len(data) // (2 * channels) * 2 * channels
    samples = np.frombuffer(data[:usable], "<i2").reshape(-1, channels)
    found = samples.astype(np.float32) / np.float32(1 << 15)
    width = desired_channels if desired_channels > 0 else channels
    length = desired_samples if desired_samples > 0 else len(found)
    if width * length > MAX_SAMPLES:
        raise LimitError(
            f"A sound of {length} samples in {width} channels is too long."
        )
    extra = max(width - channels, 0)
    found = np.pad(found, [(0, max(length - len(found), 0)), (0, 0)])
    # Channels that the file lacks repeat its last one.
    found = np.pad(found, [(0, 0), (0, extra)], mode="edge")
    return found[:length, :width], np.int32(rate)


@_host("AudioSpectrogram")
def audio_spectrogram(
    input: Any, *, window_size: int, stride: int, magnitude_squared: bool
) -> Any:
    """Magnitudes of the frequencies in each window of each channel."""
    if window_size < 2 or stride < 1:
        raise MismatchError(f"Window of {window_size} samples, stride of {stride}.")
    length, channels = input.shape
    size = 1 << (window_size - 1).bit_length()
    count = 1 + (length - window_size) // stride if length >= window_size else 0
    if max(count, 1) * size * max(channels, 1) > MAX_SAMPLES:
        raise LimitError(f"A spectrogram of {count} windows of {size} is too large.")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_size) / window_size)
    places = stride * np.arange(count)[:, None] + np.arange(window_size)
    frames = input.T.astype(np.float64)[:, places] * window
    found = np.fft.rfft(frames, size)
    squared = found.real**2 + found.imag**2
    return (squared if magnitude_squared else np.sqrt(squared)).astype(np.float32)


def _mel(frequency: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)


def _filterbank(
    count: int, bins: int, sample_rate: float, low: float, high: float
) -> Any:
    """Returns how much each bin of a spectrum adds to each channel: (bins, count)."""
    edges = _mel(low) + (_mel(high) - _mel(low)) / (count + 1) * np.arange(1, count + 2)
    hertz = 0.5 * sample_rate / (bins - 1)
    first, last = int(1.5 + low / hertz), int(high / hertz)
    weights = np.zeros((bins, count))
    place = 0
    for bin in range(first, min(last, bins - 1) + 1):
        mel = float(_mel(bin * hertz))
        while place < count and edges[place] < mel:
            place += 1
        below = edges[place - 1] if place else float(_mel(low))
        share = (edges[place] - mel) / (edges[place] - below)
        # A bin lies on the falling side of one triangle, the rising one of the next.
        if place:
            weights[bin, place - 1] = share
        if place < count:
            weights[bin, place] = 1 - share
    return weights


@_host("Mfcc")
def mfcc(
    spectrogram: Any,
    sample_rate: Any,
    *,
    upper_frequency_limit: float,
    lower_frequency_limit: float,
    filterbank_channel_count: int,
    dct_coefficient_count: int,
) -> Any:
    """Mel-frequency cepstral coefficients of squared magnitudes."""
    bins, count = spectrogram.shape[-1], filterbank_channel_count
    if bins < 2 or count < 1 or not 0 < dct_coefficient_count <= count:
        raise MismatchError(
            f"{dct_coefficient_count} coefficients of {count} channels, {bins} bins."
        )
    if bins * count > MAX_SAMPLES:
        raise LimitError(f"{count} channels of {bins} bins are too many.")
    weights = _filterbank(
        count,
        bins,
        float(sample_rate),
        lower_frequency_limit,
        upper_frequency_limit,
    )
    energy = np.sqrt(spectrogram.astype(np.float64)) @ weights
    logs = np.log(np.maximum(energy, _LEAST_ENERGY))
    rows, columns = np.arange(dct_coefficient_count), np.arange(count) + 0.5
    cosines = np.sqrt(2 / count) * np.cos(np.pi / count * np.outer(rows, columns))
    return (logs @ cosines.T).astype(np.float32)
