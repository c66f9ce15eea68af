"""What `values` has not: the classes and arguments that Keras 3 alone has."""

from __future__ import annotations

from sweep import values
from sweep.values import IDS, IMAGE, ROWS, VOLUME, Base

_PICTURE = [(8, 8, 3)]

BASES: dict[str, Base] = {
    "AugMix": Base(_PICTURE),
    "AutoContrast": Base(_PICTURE),
    # Its tiles are traced one by one.
    "ContrastLimitedAdaptiveHistogramEqualization": Base(
        _PICTURE, tile_grid_size="(2, 2)"
    ),
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
    BASES[f"AveragePooling{_n}D"] = Base(_inputs, pool_size="2")

VALUES: dict[str, tuple[str, ...]] = {
    # `hard_sigmoid` is another function in Keras 2, and a case of its own.
    "activation": ("'relu'", "'softplus'", "'gelu'", "'log_softmax'"),
    "recurrent_activation": ("'tanh'", "'hard_sigmoid'"),
    "LeakyReLU.negative_slope": ("0.1",),
    "lora_rank": ("2",),
    "use_gate": ("True",),
    "zero_output_for_mask": ("True",),
    "pad_to_aspect_ratio": ("True",),
    "antialias": ("True",),
    "output_size": ("3", "1"),
    "flash_attention": ("False",),
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
    "AugMix.factor": ("(0.1, 0.3)",),
    "RandAugment.factor": ("(0.1, 0.3)",),
    "RandomGrayscale.factor": ("0.4",),
    "RandomPosterization.factor": ("2",),
    "BatchNormalization.axis": ("1", "-2"),
    "GroupNormalization.axis": ("1",),
    "RMSNormalization.axis": (),
    "synchronized": (),
    "Conv2D.kernel_constraint": values.VALUES["kernel_constraint"],
    "Cropping1D.cropping": ("(1, 0)", "(2, 1)"),
    "SeparableConv1D.padding": ("'same'",),
    "AugMix.data_format": ("'channels_last'",),
    "Pipeline.dtype": (),
    "Pipeline.activity_regularizer": (),
    "Pipeline.trainable": (),
    "Discretization.activity_regularizer": (),
    "Discretization.trainable": (),
}
for _n in (1, 2, 3):
    VALUES[f"SpatialDropout{_n}D.activity_regularizer"] = ()
    VALUES[f"SpatialDropout{_n}D.trainable"] = ()
for _name in (
    *("RandAugment", "RandomColorDegeneration", "RandomGrayscale", "RandomHue"),
    *("RandomSaturation", "STFTSpectrogram", "Cropping3D"),
):
    VALUES[f"{_name}.data_format"] = ("'channels_last'",)

# Configurations that Keras 3.15 on JAX can't make or train, and why.
REFUSED: dict[str, str] = {
    r"^L\.(ConvLSTM\dD|LSTM|GRU|SimpleRNN)\(.*dtype='b?float16'": (
        "QR of half precision, of the orthogonal initializer"
    ),
    r"lora_rank=2.*(kernel|embeddings)_constraint=": "LoRA goes without constraints",
    r"L\.Equalization\((?!.*float16'\))": "its symbolic call makes a cycle",
    r"L\.RandomCrop\(": "crops by a traced number in training",
    r"L\.RandomElasticTransform\((?!.*scale=False)": "its Gaussian blur fails",
    r"L\.MultiHeadAttention\(.*'(mixed_)?float16'": "no such product on JAX's CPU",
    r"value_dim=5": "JAX wants keys and values of one size",
    r"L\.Normalization\(mean=.*axis=1, name": "six means for four rows",
    r"L\.Softmax\(\) masked": "wants a mask of as many dimensions as its inputs",
    r"L\.Resizing\(.*fill_mode='(nearest|wrap)'": "has no such way to fill",
    r"L\.Resizing\(.*interpolation='area'": "has no such interpolation",
    r"L\.EinsumDense\(equation='ab\.\.\.": "promises another rank than it gives",
    r"STFTSpectrogram\(.*dtype='(mixed_)?bfloat16'": "no FFT of bfloat16",
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

ALL_TF_KERAS = ("tf_keras·plain", "tf_keras·keras2", "tf_keras·both")
EVERY_TF_KERAS = ("tf_keras·traces", *ALL_TF_KERAS)
KERAS_3_OF_KERAS_2 = ("Keras 3·keras2", "Keras 3·both")
ALL_KERAS_3 = (*KERAS_3_OF_KERAS_2, "Keras 3·keras3", "Keras 3·own")
# What can't open where, and why: expressions of cases, and columns of the sweep.
CANNOT: list[tuple[str, tuple[str, ...], str]] = [
    (
        r"L\.(CenterCrop|Resizing|ZeroPadding1D|RandomFlip|RandomRotation|RandomZoom"
        r"|RandomTranslation)\(.*data_format='channels_first'",
        ALL_TF_KERAS,
        "Keras 2 has no `data_format` of it",
    ),
    (
        r"L\.Resizing\(.*(antialias|pad_to_aspect_ratio|fill_mode|fill_value)=",
        ALL_TF_KERAS,
        "Keras 2 has no such argument of it",
    ),
    (r"use_gate=True", ALL_TF_KERAS, "Keras 2 has no gate in attention"),
    (r"lora_rank=", ALL_TF_KERAS, "Keras 2 has no LoRA"),
    (
        r"L\.MultiHeadAttention\(.*activity_regularizer=",
        ALL_TF_KERAS,
        "Keras 2 regularizes its output, and Keras 3 its projections",
    ),
    (
        r"L\.MultiHeadAttention\(.*activity_regularizer=.*kernel_constraint="
        r"('unit_norm'|'non_neg'|keras\.constraints\.MinMax)",
        ("tf_keras·traces",),
        "tf_keras keeps no constraint of what it runs from traces",
    ),
    (
        r"L\.MultiHeadAttention\(",
        KERAS_3_OF_KERAS_2,
        "Keras 2 wants shapes of queries in the config, and Keras 3 refuses them",
    ),
    (
        r"L\.SpectralNormalization\(",
        ALL_TF_KERAS,
        "tf_keras knows not even its own by name",
    ),
    (
        "'hard_sigmoid'",
        (*ALL_TF_KERAS, *KERAS_3_OF_KERAS_2),
        "Keras 2's `hard_sigmoid` is another function, so it has another name",
    ),
    (
        r"L\.(Reversible)?Embedding\(",
        KERAS_3_OF_KERAS_2,
        "momentum over embeddings is told by a name of Keras 2's later optimizers, in "
        "whose place Keras 3's loader takes its own with default arguments",
    ),
    (
        r"L\.(Solarization|RandomPosterization|RandomColorDegeneration"
        r"|RandomSaturation|RandomSharpness|RandomBrightness)\(",
        ("Keras 3·own",),
        "Keras 3 can't copy its own config of it, so it saves no such model",
    ),
    (
        r"L\.AutoContrast\((?!.*('float16'|value_range))",
        ("tf_keras·traces",),
        "predictions are equal; where a pixel meets the edge of its clip exactly, as "
        "the lightest does, TensorFlow's gradient isn't JAX's",
    ),
    (
        r"^(?!L\.ConvLSTM1D|.*dropout=).*stateful=True",
        EVERY_TF_KERAS,
        "the first prediction is equal; Keras 3 on JAX begins each batch of `predict` "
        "and `fit` anew, and Keras 2 with the states of the one before",
    ),
    (
        r"^L\.(\w*Conv\w*|\w*Dense|\w*Embedding|(Batch|Group|Layer|RMS)Normalization"
        r"|PReLU|GRU|LSTM|\w*RNN|Bidirectional|MultiHeadAttention"
        r"|GroupQueryAttention)\(.*dtype='bfloat16'",
        ("Keras 3·own",),
        "Keras 3's loader reads weights of bfloat16 from no HDF5 file of its own",
    ),
    (
        r"^L\.(\w*Conv\w*|\w*Dense|(Batch|Group|Layer|RMS)Normalization|PReLU"
        r"|MultiHeadAttention)\(.*dtype='bfloat16'",
        KERAS_3_OF_KERAS_2,
        "an optimizer's bfloat16 is told by a name of Keras 2's later optimizers, in "
        "whose place Keras 3's loader takes its own with default arguments",
    ),
    (
        r"L\.ReversibleEmbedding\(.*mask_zero=True",
        ("tf_keras·traces",),
        "tf_keras takes no mask from what it runs from traces",
    ),
    (
        r"L\.SpectralNormalization\((?!.*trainable=False)",
        ("tf_keras·traces",),
        "predictions are equal; what it writes into its kernel in training, TensorFlow "
        "keeps, and Keras 3 on JAX forgets",
    ),
    (
        r"L\.ConvLSTM\dD\(.*seed=5",
        KERAS_3_OF_KERAS_2,
        "Keras 2 has no seed of it",
    ),
    (
        r"L\.(GlobalAveragePooling1D|GRU|LSTM|RNN|SimpleRNN|Bidirectional"
        r"|TimeDistributed|BatchNormalization)\(.* masked",
        ("Keras 3·keras3", "Keras 3·own"),
        "Keras 3 writes a mask's making as an operation that its own loader of HDF5 "
        "files doesn't know",
    ),
    (
        r"L\.(LayerNormalization|Softmax|UnitNormalization)\(.*axis=\[\d, |"
        r"L\.Normalization\(.*axis=None",
        ("Keras 3·keras3", "Keras 3·own"),
        "Keras 3's loader of HDF5 files takes an `axis` of several, and `None`, for "
        "the default",
    ),
    (
        r"L\.TimeDistributed\(layer=keras\.Sequential.*trainable=False",
        ALL_KERAS_3,
        "Keras 3's Sequential doesn't say that it is frozen",
    ),
    (
        r"L\.RandomContrast\(.*value_range=",
        ALL_TF_KERAS,
        "Keras 2 has no such argument of it",
    ),
    (
        r"L\.Attention\((?!.*'concat')",
        ("Keras 3·keras3", "Keras 3·own"),
        "Keras 3's loader of HDF5 files takes the word `dot` for a function of its own",
    ),
    (
        r"L\.BatchNormalization\(.*dtype='b?float16'",
        ("tf_keras·traces", "tf_keras·plain"),
        "Keras 2 holds its weights in float32, and Keras 3 in the half of them",
    ),
    (
        r"L\.Resizing\(.*'bicubic'",
        EVERY_TF_KERAS,
        "equal to 4e-4: TensorFlow takes the weights of its bicubic from a table",
    ),
    (
        r"L\.CategoryEncoding\(.*float16'",
        EVERY_TF_KERAS,
        "TensorFlow counts in no float16",
    ),
    (
        r"L\.AveragePooling3D\(.*'(mixed_)?float16'",
        EVERY_TF_KERAS,
        "TensorFlow has no kernel of it on a CPU",
    ),
    (
        r"L\.Conv1DTranspose\(.*dilation_rate=2",
        EVERY_TF_KERAS,
        "Keras 2's has no kernel on a CPU",
    ),
    (
        r"L\.Conv3DTranspose\(.*dilation_rate=2",
        ALL_TF_KERAS,
        "Keras 2 ignores its dilation",
    ),
    (
        r"L\.AlphaDropout\(.*noise_shape=\(None",
        ALL_TF_KERAS,
        "Keras 2 takes no `None` in its `noise_shape`",
    ),
    (
        r"L\.EinsumDense\(.*activity_regularizer=",
        ALL_TF_KERAS,
        "Keras 2 forgets its activity regularizer",
    ),
    (
        r"L\.RNN\(.*dtype=",
        ALL_TF_KERAS,
        "Keras 2 casts no states to a cell of another dtype",
    ),
    (
        r"L\.(Identity|Normalization|Rescaling)\(.* masked",
        EVERY_TF_KERAS,
        "Keras 2's layer drops the mask, so that its losses count all",
    ),
]
