"""What arguments of layers are given in the sweeps: expressions, by their names.

`L` is `keras.layers`, and `keras` the Keras of whoever evaluates. `BASES` has the
arguments that a class can't do without and what it is called with; `VALUES` has what
each argument is set to besides its default, in cases of their own and together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROWS, IMAGE, VOLUME = [(4, 6)], [(6, 5, 4)], [(4, 5, 4, 2)]
VECTOR, IDS = [(6,)], [((5,), 7)]
SERIES = [(3, 5, 2)]
FILM, FILM_3D = [(3, 4, 5, 2)], [(2, 3, 3, 4, 2)]


class Base:
    """How a class is made and called.

    Attributes:
        needs: Arguments without a default, as expressions.
        inputs: Shapes without the batch; `(shape, high)` for integers.
    """

    def __init__(self, inputs: list[Any], **needs: str) -> None:
        self.inputs = inputs
        self.needs = needs


_SIZED: Mapping[int, Any] = {1: ROWS, 2: IMAGE, 3: VOLUME}

BASES: dict[str, Base] = {
    "Activation": Base(ROWS, activation="'tanh'"),
    "ActivityRegularization": Base(ROWS),
    "Add": Base(ROWS * 2),
    "AdditiveAttention": Base(ROWS * 2),
    "AlphaDropout": Base(ROWS, rate="0.3"),
    "Attention": Base(ROWS * 2),
    "Average": Base(ROWS * 2),
    "BatchNormalization": Base(IMAGE),
    "SyncBatchNormalization": Base(IMAGE),
    "Bidirectional": Base(ROWS, layer="L.LSTM(3)"),
    "CategoryEncoding": Base(IDS, num_tokens="7"),
    "CenterCrop": Base(IMAGE, height="3", width="2"),
    "Concatenate": Base(ROWS * 2),
    "ConvLSTM1D": Base(SERIES, filters="2", kernel_size="2"),
    "ConvLSTM2D": Base(FILM, filters="2", kernel_size="2"),
    "ConvLSTM3D": Base(FILM_3D, filters="2", kernel_size="2"),
    "Dense": Base(ROWS, units="3"),
    "Discretization": Base(VECTOR, bin_boundaries="[-0.5, 0.0, 0.5]"),
    "Dot": Base(ROWS * 2, axes="2"),
    "Dropout": Base(ROWS, rate="0.3"),
    "ELU": Base(ROWS),
    "EinsumDense": Base(ROWS, equation="'abc,cd->abd'", output_shape="(None, 3)"),
    "Embedding": Base(IDS, input_dim="7", output_dim="3"),
    "Flatten": Base(IMAGE),
    "GRU": Base(ROWS, units="3"),
    "GaussianDropout": Base(ROWS, rate="0.3"),
    "GaussianNoise": Base(ROWS, stddev="0.3"),
    "GroupNormalization": Base(IMAGE, groups="2"),
    "Identity": Base(ROWS),
    "LSTM": Base(ROWS, units="3"),
    "Layer": Base(ROWS),
    "LayerNormalization": Base(ROWS),
    "LeakyReLU": Base(ROWS),
    "LocallyConnected1D": Base(ROWS, filters="2", kernel_size="2"),
    "LocallyConnected2D": Base(IMAGE, filters="2", kernel_size="2"),
    "Masking": Base(ROWS),
    "Maximum": Base(ROWS * 2),
    "Minimum": Base(ROWS * 2),
    "MultiHeadAttention": Base(ROWS * 2, num_heads="2", key_dim="3"),
    "Multiply": Base(ROWS * 2),
    "Normalization": Base(ROWS, mean="0.3", variance="2.0"),
    "PReLU": Base(IMAGE),
    "Permute": Base(ROWS, dims="(2, 1)"),
    "RNN": Base(ROWS, cell="L.LSTMCell(3)"),
    "RandomBrightness": Base(IMAGE, factor="0.2"),
    "RandomContrast": Base(IMAGE, factor="0.2"),
    "RandomCrop": Base(IMAGE, height="3", width="2"),
    "RandomFlip": Base(IMAGE),
    "RandomHeight": Base(IMAGE, factor="0.2"),
    "RandomRotation": Base(IMAGE, factor="0.2"),
    "RandomTranslation": Base(IMAGE, height_factor="0.2", width_factor="0.3"),
    "RandomWidth": Base(IMAGE, factor="0.2"),
    "RandomZoom": Base(IMAGE, height_factor="0.2"),
    "ReLU": Base(ROWS),
    "RepeatVector": Base(VECTOR, n="3"),
    "Rescaling": Base(ROWS, scale="0.5"),
    "Reshape": Base(ROWS, target_shape="(3, 8)"),
    "Resizing": Base(IMAGE, height="4", width="7"),
    "SimpleRNN": Base(ROWS, units="3"),
    "Softmax": Base(ROWS),
    "SpatialDropout1D": Base(ROWS, rate="0.3"),
    "SpatialDropout2D": Base(IMAGE, rate="0.3"),
    "SpatialDropout3D": Base(VOLUME, rate="0.3"),
    "SpectralNormalization": Base(IMAGE, layer="L.Conv2D(2, 2)"),
    "Subtract": Base(ROWS * 2),
    "ThresholdedReLU": Base(ROWS),
    "TimeDistributed": Base(ROWS, layer="L.Dense(3)"),
    "UnitNormalization": Base(ROWS),
}
for _n, _inputs in _SIZED.items():
    for _name in (
        "AveragePooling",
        "MaxPooling",
        "GlobalAveragePooling",
        "GlobalMaxPooling",
        "Cropping",
        "ZeroPadding",
        "UpSampling",
    ):
        BASES[f"{_name}{_n}D"] = Base(_inputs)
    for _name in ("Conv{}D", "Conv{}DTranspose"):
        BASES[_name.format(_n)] = Base(_inputs, filters="2", kernel_size="2")
    if _n < 3:
        BASES[f"SeparableConv{_n}D"] = Base(_inputs, filters="2", kernel_size="2")
        BASES[f"DepthwiseConv{_n}D"] = Base(_inputs, kernel_size="2")

_INITIALIZERS = (
    "'he_normal'",
    "keras.initializers.RandomUniform(-0.2, 0.3, seed=1)",
    "keras.initializers.VarianceScaling(2.0, 'fan_avg', 'uniform', seed=2)",
    "keras.initializers.Constant(0.2)",
    "'ones'",
)
_VECTOR_INITIALIZERS = (
    "'ones'",
    "keras.initializers.Constant(0.2)",
    "keras.initializers.RandomNormal(0.1, 0.2, seed=1)",
    "keras.initializers.TruncatedNormal(0.1, 0.2)",
)
_RECURRENT_INITIALIZERS = (
    "keras.initializers.Orthogonal(0.5, seed=3)",
    "'glorot_normal'",
    "keras.initializers.LecunUniform()",
)
_REGULARIZERS = (
    "'l2'",
    "keras.regularizers.L1(0.02)",
    "keras.regularizers.L1L2(0.01, 0.03)",
    "keras.regularizers.OrthogonalRegularizer(0.02, 'columns')",
)
_VECTOR_REGULARIZERS = _REGULARIZERS[:3]
_CONSTRAINTS = (
    "'max_norm'",
    "keras.constraints.MaxNorm(0.7, axis=0)",
    "keras.constraints.MinMaxNorm(0.2, 0.8, 0.5, axis=0)",
    "'unit_norm'",
    "'non_neg'",
)
_VECTOR_CONSTRAINTS = ("'non_neg'", "keras.constraints.MaxNorm(0.1)")
ACTIVATIONS = (
    "'relu'", "'tanh'", "'sigmoid'", "'hard_sigmoid'", "'softmax'", "'elu'", "'selu'",
    "'softplus'", "'softsign'", "'swish'", "'gelu'", "'exponential'", "'linear'",
    "'mish'",
)  # fmt: skip

# Argument → values besides the default. A class' own, as `Class.argument`, count
# first; an empty tuple says that an argument has nothing to vary, see `REASONS`.
VALUES: dict[str, tuple[str, ...]] = {
    "activation": ("'relu'", "'hard_sigmoid'", "'softplus'", "'gelu'"),
    "Activation.activation": ACTIVATIONS,
    "recurrent_activation": ("'hard_sigmoid'", "'sigmoid'", "'tanh'"),
    "activity_regularizer": ("keras.regularizers.L1L2(0.01, 0.02)",),
    "use_bias": ("False",),
    "bias_initializer": _VECTOR_INITIALIZERS,
    "kernel_initializer": _INITIALIZERS,
    "depthwise_initializer": _INITIALIZERS[:2],
    "pointwise_initializer": _INITIALIZERS[1:3],
    "embeddings_initializer": _INITIALIZERS[:3],
    "alpha_initializer": _INITIALIZERS[1:4],
    "recurrent_initializer": _RECURRENT_INITIALIZERS,
    "beta_initializer": _VECTOR_INITIALIZERS,
    "gamma_initializer": _VECTOR_INITIALIZERS[1:],
    "moving_mean_initializer": _VECTOR_INITIALIZERS[:2],
    "moving_variance_initializer": _VECTOR_INITIALIZERS[1:2],
    "kernel_regularizer": _VECTOR_REGULARIZERS,
    "Dense.kernel_regularizer": _REGULARIZERS,
    "recurrent_regularizer": _REGULARIZERS[2:],
    **{f"ConvLSTM{n}D.recurrent_regularizer": _REGULARIZERS[1:3] for n in (1, 2, 3)},
    "bias_regularizer": _VECTOR_REGULARIZERS,
    "depthwise_regularizer": _VECTOR_REGULARIZERS[:2],
    "pointwise_regularizer": _VECTOR_REGULARIZERS[1:],
    "embeddings_regularizer": _VECTOR_REGULARIZERS[2:],
    "alpha_regularizer": _VECTOR_REGULARIZERS[:1],
    "beta_regularizer": _VECTOR_REGULARIZERS[:1],
    "gamma_regularizer": _VECTOR_REGULARIZERS[1:2],
    "kernel_constraint": _CONSTRAINTS,
    "Conv2D.kernel_constraint": (*_CONSTRAINTS, "keras.constraints.RadialConstraint()"),
    "recurrent_constraint": _CONSTRAINTS[1:3],
    "depthwise_constraint": _CONSTRAINTS[:2],
    "pointwise_constraint": _CONSTRAINTS[2:4],
    "embeddings_constraint": _CONSTRAINTS[3:],
    "alpha_constraint": _VECTOR_CONSTRAINTS[:1],
    "bias_constraint": _VECTOR_CONSTRAINTS,
    "beta_constraint": _VECTOR_CONSTRAINTS[:1],
    "gamma_constraint": _VECTOR_CONSTRAINTS[1:],
    "data_format": ("'channels_last'", "'channels_first'"),
    "padding": ("'same'",),
    "Conv1D.padding": ("'same'", "'causal'"),
    "SeparableConv1D.padding": ("'same'", "'causal'"),
    "ZeroPadding1D.padding": ("2", "(1, 2)"),
    "ZeroPadding2D.padding": ("2", "(1, 2)", "((1, 0), (2, 1))"),
    "ZeroPadding3D.padding": ("2", "((1, 0), (2, 1), (0, 3))"),
    "LocallyConnected1D.padding": ("'same'",),
    "LocallyConnected2D.padding": ("'same'",),
    "strides": ("2", "1"),
    "SeparableConv2D.strides": ("2",),
    "LocallyConnected2D.strides": ("2", "(1, 2)"),
    "Conv2D.strides": ("2", "(1, 2)"),
    "AveragePooling2D.strides": ("1", "(1, 2)"),
    "MaxPooling2D.strides": ("1", "(1, 2)"),
    "kernel_size": ("1", "3"),
    "Conv2D.kernel_size": ("3", "(1, 3)"),
    "ConvLSTM2D.kernel_size": ("(1, 2)",),
    "ConvLSTM3D.kernel_size": ("1",),
    "pool_size": ("3",),
    "AveragePooling2D.pool_size": ("3", "(1, 2)"),
    "MaxPooling3D.pool_size": ("3", "(1, 2, 2)"),
    "dilation_rate": ("2",),
    "filters": ("4",),
    "groups": ("2",),
    "GroupNormalization.groups": ("1", "4", "-1"),
    "depth_multiplier": ("2",),
    "output_padding": ("0", "1"),
    "implementation": ("2", "3"),
    "cropping": ("1",),
    "Cropping1D.cropping": ("(1, 0)", "2"),
    "Cropping2D.cropping": ("(1, 2)", "((1, 0), (0, 2))"),
    "Cropping3D.cropping": ("((1, 0), (0, 2), (1, 1))",),
    "size": ("3",),
    "UpSampling2D.size": ("3", "(1, 2)"),
    "UpSampling3D.size": ("(1, 2, 3)",),
    "keepdims": ("True",),
    "units": ("4",),
    "return_sequences": ("True",),
    "return_state": ("True",),
    "go_backwards": ("True",),
    "stateful": ("True",),
    "time_major": ("True",),
    "unroll": ("True",),
    "reset_after": ("False",),
    "unit_forget_bias": ("False",),
    "dropout": ("0.3",),
    "recurrent_dropout": ("0.2",),
    "seed": ("5",),
    "rate": ("0.0", "0.6"),
    "stddev": ("0.0",),
    "noise_shape": ("(None, 1, 6)",),
    "axis": ("1", "2"),
    "BatchNormalization.axis": ("1", "[3]", "-2"),
    "SyncBatchNormalization.axis": ("1",),
    "LayerNormalization.axis": ("1", "[1, 2]", "[2]"),
    "GroupNormalization.axis": ("1", "2"),
    "Softmax.axis": ("1", "[1, 2]"),
    "UnitNormalization.axis": ("1", "[1, 2]"),
    "Concatenate.axis": ("1",),
    "momentum": ("0.6",),
    "epsilon": ("0.1",),
    "Discretization.epsilon": ("0.1",),
    "center": ("False",),
    "scale": ("False",),
    "Rescaling.scale": ("[1.0, 2.0, 3.0, 0.5, 0.1, -1.0]",),
    "offset": ("-0.3", "[1.0, 2.0, 3.0, 0.5, 0.1, -1.0]"),
    "fused": ("False", "True"),
    "renorm": ("True",),
    "renorm_clipping": ("{'rmax': 1.5, 'rmin': 0.7, 'dmax': 0.5}",),
    "renorm_momentum": ("0.7",),
    "synchronized": ("True",),
    "l1": ("0.02",),
    "l2": ("0.03",),
    "use_scale": ("True",),
    "AdditiveAttention.use_scale": ("False",),
    "score_mode": ("'concat'",),
    "merge_mode": ("'sum'", "'mul'", "'ave'", "None"),
    "backward_layer": ("L.GRU(3, go_backwards=True)",),
    "Bidirectional.layer": (
        "L.GRU(3, return_sequences=True)",
        "L.SimpleRNN(3, return_state=True)",
        "L.RNN(L.GRUCell(2), return_sequences=True)",
        "L.LSTM(3, stateful=True)",
    ),
    "TimeDistributed.layer": (
        "L.BatchNormalization()",
        "L.Dense(3, activation='hard_sigmoid', kernel_regularizer='l2')",
        "keras.Sequential([L.Dense(4), L.LayerNormalization()])",
        "L.Activation('relu')",
        "L.Lambda(abs) if False else L.Reshape((2, 3))",
    ),
    "SpectralNormalization.layer": ("L.Conv2DTranspose(2, 2)",),
    "cell": (
        "L.GRUCell(3, reset_after=False)",
        "L.SimpleRNNCell(3, activation='relu')",
        "[L.GRUCell(3), L.LSTMCell(2)]",
        "L.StackedRNNCells([L.LSTMCell(3), L.SimpleRNNCell(2)])",
        "L.LSTMCell(3, recurrent_activation='hard_sigmoid', kernel_constraint="
        "'max_norm', bias_regularizer='l2', unit_forget_bias=False)",
        "L.GRUCell(3, use_bias=False, recurrent_initializer='he_normal', "
        "dropout=0.2, recurrent_dropout=0.1)",
    ),
    "num_tokens": ("8",),
    "output_mode": ("'multi_hot'", "'count'", "'one_hot'"),
    "CategoryEncoding.output_mode": ("'count'",),
    "Discretization.output_mode": ("'multi_hot'", "'count'"),
    "bin_boundaries": ("[0.1]",),
    "height": ("2",),
    "width": ("4",),
    "Resizing.height": ("9",),
    "axes": ("(1, 1)", "-1"),
    "normalize": ("True",),
    "alpha": ("0.1",),
    "equation": ("'ab...,bc->ac...'",),
    "bias_axes": ("'d'",),
    "input_dim": ("9",),
    "output_dim": ("4",),
    "input_length": ("5",),
    "mask_zero": ("True",),
    "max_value": ("0.5",),
    "negative_slope": ("0.2",),
    "threshold": ("0.1",),
    "theta": ("0.2",),
    "mask_value": ("0.5",),
    "power_iterations": ("3",),
    "num_heads": ("1",),
    "key_dim": ("2",),
    "value_dim": ("5",),
    "attention_axes": ("(1,)",),
    "output_shape": ("4",),
    "EinsumDense.output_shape": ("(4, 5)",),
    "mean": ("[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]",),
    "invert": ("True",),
    "shared_axes": ("[1, 2]", "[1]"),
    "Permute.dims": ("(1, 2)",),
    "factor": ("(-0.1, 0.3)",),
    "RandomContrast.factor": ("(0.1, 0.3)",),
    "value_range": ("(0, 1)",),
    "mode": ("'horizontal'", "'vertical'"),
    "interpolation": ("'nearest'", "'bilinear'"),
    "UpSampling2D.interpolation": ("'bilinear'", "'bicubic'"),
    "Resizing.interpolation": ("'nearest'", "'bicubic'", "'area'", "'lanczos3'"),
    "fill_mode": ("'constant'", "'nearest'", "'wrap'"),
    "fill_value": ("0.4",),
    "height_factor": ("(-0.1, 0.3)",),
    "width_factor": ("(-0.2, 0.1)",),
    "n": ("1",),
    "target_shape": ("(-1, 4)", "(24,)"),
    "crop_to_aspect_ratio": ("True",),
    "dtype": ("'float16'", "'mixed_float16'", "'mixed_bfloat16'", "'bfloat16'"),
    "trainable": ("False",),
    "name": ("'a_name_of_its_own'",),
}

# Arguments that change together: `Class.argument` → others that it needs.
TOGETHER: dict[str, dict[str, str]] = {
    "Normalization.mean": {"variance": "[1.0, 2.0, 1.0, 0.5, 2.0, 1.0]"},
    "EinsumDense.equation": {"output_shape": "(4, None)", "bias_axes": "None"},
    "EinsumDense.output_shape": {
        "equation": "'abc,cde->abde'",
        "output_shape": "(None, 3, 2)",
    },
    "renorm_clipping": {"renorm": "True"},
    "renorm_momentum": {"renorm": "True"},
    "output_padding": {"strides": "2"},
    "groups": {"filters": "4"},
    "GroupNormalization.groups": {},
    "LocallyConnected1D.padding": {"implementation": "2"},
    "LocallyConnected2D.padding": {"implementation": "3"},
    "unroll": {"return_sequences": "True"},
}
# What a value must be called with.
INPUTS: dict[str, list[Any]] = {
    "Cropping3D.data_format='channels_first'": [(2, 4, 5, 4)],
    "Discretization.output_mode": [(1,)],
    "Discretization.output_mode='one_hot'": [(1,)],
    "EinsumDense.equation": [(5, 6)],
}

# Values that a class refuses, or that TensorFlow has no kernel for on a CPU.
INVALID: set[tuple[str, str]] = {
    ("ActivityRegularization", "activity_regularizer"),
    ("ELU", "activity_regularizer"),  # in no config of Keras 3
    *(
        (name, f"dtype={dtype}")
        for name in ("RandomTranslation", "RandomRotation", "RandomZoom")
        for dtype in ("'mixed_bfloat16'", "'bfloat16'")
    ),
}
for _n in (1, 2, 3):
    for _name in (
        "Conv{}D",
        "Conv{}DTranspose",
        "DepthwiseConv{}D",
        "ConvLSTM{}D",
        "SeparableConv{}D",
        "MaxPooling{}D",
        "AveragePooling{}D",
    ):
        INVALID.add((_name.format(_n), "data_format='channels_first'"))

# Configurations that need other inputs than the class' own.
EXTRA: dict[str, list[tuple[dict[str, str], list[Any]]]] = {
    "BatchNormalization": [
        ({}, ROWS),
        ({}, VECTOR),
        ({}, VOLUME),
        ({"axis": "1"}, ROWS),
        ({"renorm": "True"}, VECTOR),
        ({"scale": "False"}, VECTOR),
    ],
    "SyncBatchNormalization": [({}, ROWS)],
    "CategoryEncoding": [({"output_mode": "'one_hot'"}, [((1,), 7)])],
    "Dense": [({}, VECTOR), ({"activation": "'softmax'"}, IMAGE)],
    "Dropout": [({}, IMAGE)],
    "Flatten": [({}, ROWS), ({}, VECTOR)],
    "GroupNormalization": [({}, ROWS)],
    "LayerNormalization": [({}, VECTOR), ({}, IMAGE), ({"axis": "[1, 3]"}, IMAGE)],
    "Normalization": [
        ({"axis": "None"}, ROWS),
        (
            {
                "axis": "1",
                "mean": "[0.1, 0.2, 0.3, 0.4]",
                "variance": "[1.0, 2.0, 3.0, 0.5]",
            },
            ROWS,
        ),
    ],
    "PReLU": [({}, ROWS), ({"shared_axes": "[1]"}, ROWS)],
    "Softmax": [({}, VECTOR)],
    "Add": [({}, ROWS * 3), ({}, [(4, 6), (1, 6)])],
    "Average": [({}, ROWS * 3)],
    "Maximum": [({}, ROWS * 3)],
    "Minimum": [({}, ROWS * 3)],
    "Multiply": [({}, ROWS * 3)],
    "Concatenate": [({}, IMAGE * 3)],
    "Dot": [({"axes": "1"}, VECTOR * 2), ({"axes": "(2, 1)"}, [(4, 6), (6, 3)])],
    "Attention": [({}, ROWS * 3)],
    "AdditiveAttention": [({}, ROWS * 3)],
    "TimeDistributed": [
        ({"layer": "L.Conv2D(2, 2)"}, FILM),
        ({"layer": "L.LSTM(2)"}, SERIES),
        ({"layer": "L.Flatten()"}, FILM),
        ({"layer": "L.MaxPooling2D(2)"}, FILM),
    ],
    "SpectralNormalization": [({"layer": "L.Dense(3)"}, ROWS)],
    "Permute": [({"dims": "(3, 1, 2)"}, IMAGE)],
    "UnitNormalization": [({}, IMAGE)],
    "Bidirectional": [
        ({"layer": "L.ConvLSTM2D(2, 2)"}, FILM),
    ],
}

# Arguments without values, and why.
REASONS: dict[str, str] = {
    "weights": "initial values, which the file's weights replace",
    "partitioner": "of TensorFlow 1's partitioned variables",
    "pool_function": "set by the class itself",
    "adjustment": "removed from BatchNormalization when TensorFlow 2 came",
    "virtual_batch_size": "a ghost batch, which Keras 3 has no words for",
    "sparse": "sparse tensors, which the JAX backend lacks",
    "ragged": "ragged tensors, which Keras 3 lacks",
    "softmax_robust_masking": "changes masked positions alone; not in configs",
    "robust_masking": "changes masked positions alone; not in configs",
    "autocast": "of the layer's dtype policy",
    "variance": "set together with `mean`",
    "num_bins": "adapted from data; its boundaries are what is saved",
}
