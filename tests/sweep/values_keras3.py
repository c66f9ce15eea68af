"""What `values` has not: the classes and arguments that Keras 3 alone has."""

from __future__ import annotations

from sweep.values import IDS, IMAGE, ROWS, VOLUME, Base

_PICTURE = [(8, 8, 3)]

BASES: dict[str, Base] = {
    "AugMix": Base(_PICTURE),
    "AutoContrast": Base(_PICTURE),
    "ContrastLimitedAdaptiveHistogramEqualization": Base(_PICTURE),
    "CutMix": Base(_PICTURE),
    "Equalization": Base(_PICTURE),
    "GroupQueryAttention": Base(
        ROWS * 2, head_dim="2", num_query_heads="4", num_key_value_heads="2"
    ),
    "MelSpectrogram": Base(
        [(64,)],
        fft_length="32",
        sequence_stride="16",
        sampling_rate="800",
        num_mel_bins="6",
    ),
    "MixUp": Base(_PICTURE),
    "Pipeline": Base(_PICTURE, layers="[L.Rescaling(0.5), L.CenterCrop(4, 4)]"),
    "RMSNormalization": Base(ROWS),
    "RandAugment": Base(_PICTURE),
    "RandomColorDegeneration": Base(_PICTURE, factor="0.3"),
    "RandomColorJitter": Base(_PICTURE),
    "RandomElasticTransform": Base(_PICTURE),
    "RandomErasing": Base(_PICTURE),
    "RandomGaussianBlur": Base(_PICTURE),
    "RandomGrayscale": Base(_PICTURE),
    "RandomHue": Base(_PICTURE, factor="0.3"),
    "RandomInvert": Base(_PICTURE),
    "RandomPerspective": Base(_PICTURE),
    "RandomPosterization": Base(_PICTURE, factor="4"),
    "RandomSaturation": Base(_PICTURE, factor="0.3"),
    "RandomSharpness": Base(_PICTURE, factor="0.3"),
    "RandomShear": Base(_PICTURE),
    "ReversibleEmbedding": Base(IDS, input_dim="7", output_dim="3"),
    "STFTSpectrogram": Base(
        [(64, 1)], frame_length="16", frame_step="8", fft_length="16"
    ),
    "Solarization": Base(_PICTURE),
}
for _n, _inputs in {1: ROWS, 2: IMAGE, 3: VOLUME}.items():
    for _kind in ("Average", "Max"):
        BASES[f"Adaptive{_kind}Pooling{_n}D"] = Base(_inputs, output_size="2")

VALUES: dict[str, tuple[str, ...]] = {
    # `hard_sigmoid` is another function in Keras 2, and a case of its own.
    "activation": ("'relu'", "'softplus'", "'gelu'", "'log_softmax'"),
    "recurrent_activation": ("'tanh'", "'hard_sigmoid'"),
    "LeakyReLU.negative_slope": ("0.1",),
    "ConvLSTM1D.seed": ("3",),
    "lora_rank": ("2",),
    "use_gate": ("True",),
    "zero_output_for_mask": ("True",),
    "pad_to_aspect_ratio": ("True",),
    "antialias": ("True",),
    "output_size": ("3", "1"),
    "flash_attention": ("False",),
    "RMSNormalization.axis": ("1",),
    "STFTSpectrogram.mode": ("'magnitude'", "'psd'", "'real'", "'stft'", "'angle'"),
    "STFTSpectrogram.window": ("'hamming'", "None"),
    "STFTSpectrogram.padding": ("'same'",),
    "STFTSpectrogram.scaling": ("'spectrum'",),
    "STFTSpectrogram.expand_dims": ("True",),
    "MelSpectrogram.window": ("'hamming'",),
    "MelSpectrogram.power_to_db": ("False",),
    "MelSpectrogram.mag_exp": ("1.0",),
    "tie_weights": ("False",),
    "logit_soft_cap": ("2.0",),
    "CutMix.factor": ("0.5",),
}

REASONS: dict[str, str] = {
    "FlaxLayer": "needs Flax",
    "JaxLayer": "is made of a caller's functions, which no config holds",
    "TorchModuleWrapper": "runs on PyTorch alone",
    "TFSMLayer": "runs on TensorFlow alone",
    "MaxNumBoundingBoxes": "takes bounding boxes, not tensors of a model",
    "Lambda": "is a caller's function; see the tests of Lambda",
    "Layer": "a base class",
    "Wrapper": "a base class",
    "InputLayer": "in every case",
}
