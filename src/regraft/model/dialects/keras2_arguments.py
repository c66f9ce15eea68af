"""The arguments of every layer of Keras 2 (tf_keras 2.21): facts, generated.

Written by `tests/model/dialects/golden/make_arguments.py`.
"""

from __future__ import annotations

# Arguments that every layer has.
EVERY_LAYER = frozenset({"activity_regularizer", "dtype", "name", "trainable"})

_TABLE = """
Activation: activation
ActivityRegularization: l1 l2
Add:
AddLoss: unconditional
AddMetric: aggregation metric_name
AdditiveAttention: dropout seed use_scale
AlphaDropout: noise_shape rate seed
Attention: dropout score_mode seed use_scale
Average:
AveragePooling1D: data_format padding pool_function pool_size strides
AveragePooling2D: data_format padding pool_function pool_size strides
AveragePooling3D: data_format padding pool_function pool_size strides
AvgPool1D: data_format padding pool_function pool_size strides
AvgPool2D: data_format padding pool_function pool_size strides
AvgPool3D: data_format padding pool_function pool_size strides
BatchNormalization: adjustment axis beta_constraint beta_initializer beta_regularizer
    center epsilon fused gamma_constraint gamma_initializer gamma_regularizer momentum
    moving_mean_initializer moving_variance_initializer renorm renorm_clipping
    renorm_momentum scale synchronized virtual_batch_size
Bidirectional: backward_layer layer merge_mode weights
CategoryEncoding: num_tokens output_mode sparse
CenterCrop: height width
Concatenate: axis
Conv1D: activation bias_constraint bias_initializer bias_regularizer data_format
    dilation_rate filters groups kernel_constraint kernel_initializer kernel_regularizer
    kernel_size padding strides use_bias
Conv1DTranspose: activation bias_constraint bias_initializer bias_regularizer
    data_format dilation_rate filters groups kernel_constraint kernel_initializer
    kernel_regularizer kernel_size output_padding padding strides use_bias
Conv2D: activation bias_constraint bias_initializer bias_regularizer data_format
    dilation_rate filters groups kernel_constraint kernel_initializer kernel_regularizer
    kernel_size padding strides use_bias
Conv2DTranspose: activation bias_constraint bias_initializer bias_regularizer
    data_format dilation_rate filters groups kernel_constraint kernel_initializer
    kernel_regularizer kernel_size output_padding padding strides use_bias
Conv3D: activation bias_constraint bias_initializer bias_regularizer data_format
    dilation_rate filters groups kernel_constraint kernel_initializer kernel_regularizer
    kernel_size padding strides use_bias
Conv3DTranspose: activation bias_constraint bias_initializer bias_regularizer
    data_format dilation_rate filters groups kernel_constraint kernel_initializer
    kernel_regularizer kernel_size output_padding padding strides use_bias
ConvLSTM1D: activation bias_constraint bias_initializer bias_regularizer data_format
    dilation_rate dropout filters go_backwards kernel_constraint kernel_initializer
    kernel_regularizer kernel_size padding recurrent_activation recurrent_constraint
    recurrent_dropout recurrent_initializer recurrent_regularizer return_sequences
    return_state stateful strides time_major unit_forget_bias unroll use_bias
ConvLSTM2D: activation bias_constraint bias_initializer bias_regularizer data_format
    dilation_rate dropout filters go_backwards kernel_constraint kernel_initializer
    kernel_regularizer kernel_size padding recurrent_activation recurrent_constraint
    recurrent_dropout recurrent_initializer recurrent_regularizer return_sequences
    return_state stateful strides time_major unit_forget_bias unroll use_bias
ConvLSTM3D: activation bias_constraint bias_initializer bias_regularizer data_format
    dilation_rate dropout filters go_backwards kernel_constraint kernel_initializer
    kernel_regularizer kernel_size padding recurrent_activation recurrent_constraint
    recurrent_dropout recurrent_initializer recurrent_regularizer return_sequences
    return_state stateful strides time_major unit_forget_bias unroll use_bias
Convolution1D: activation bias_constraint bias_initializer bias_regularizer data_format
    dilation_rate filters groups kernel_constraint kernel_initializer kernel_regularizer
    kernel_size padding strides use_bias
Convolution1DTranspose: activation bias_constraint bias_initializer bias_regularizer
    data_format dilation_rate filters groups kernel_constraint kernel_initializer
    kernel_regularizer kernel_size output_padding padding strides use_bias
Convolution2D: activation bias_constraint bias_initializer bias_regularizer data_format
    dilation_rate filters groups kernel_constraint kernel_initializer kernel_regularizer
    kernel_size padding strides use_bias
Convolution2DTranspose: activation bias_constraint bias_initializer bias_regularizer
    data_format dilation_rate filters groups kernel_constraint kernel_initializer
    kernel_regularizer kernel_size output_padding padding strides use_bias
Convolution3D: activation bias_constraint bias_initializer bias_regularizer data_format
    dilation_rate filters groups kernel_constraint kernel_initializer kernel_regularizer
    kernel_size padding strides use_bias
Convolution3DTranspose: activation bias_constraint bias_initializer bias_regularizer
    data_format dilation_rate filters groups kernel_constraint kernel_initializer
    kernel_regularizer kernel_size output_padding padding strides use_bias
Cropping1D: cropping
Cropping2D: cropping data_format
Cropping3D: cropping data_format
CuDNNGRU: bias_constraint bias_initializer bias_regularizer go_backwards
    kernel_constraint kernel_initializer kernel_regularizer recurrent_constraint
    recurrent_initializer recurrent_regularizer return_sequences return_state stateful
    time_major units unroll
CuDNNLSTM: bias_constraint bias_initializer bias_regularizer go_backwards
    kernel_constraint kernel_initializer kernel_regularizer recurrent_constraint
    recurrent_initializer recurrent_regularizer return_sequences return_state stateful
    time_major unit_forget_bias units unroll
Dense: activation bias_constraint bias_initializer bias_regularizer kernel_constraint
    kernel_initializer kernel_regularizer units use_bias
DenseFeatures: expected_column_type feature_columns partitioner
DepthwiseConv1D: activation bias_constraint bias_initializer bias_regularizer
    data_format depth_multiplier depthwise_constraint depthwise_initializer
    depthwise_regularizer dilation_rate filters groups kernel_constraint
    kernel_initializer kernel_regularizer kernel_size padding strides use_bias
DepthwiseConv2D: activation bias_constraint bias_initializer bias_regularizer
    data_format depth_multiplier depthwise_constraint depthwise_initializer
    depthwise_regularizer dilation_rate filters groups kernel_constraint
    kernel_initializer kernel_regularizer kernel_size padding strides use_bias
Discretization: bin_boundaries epsilon num_bins output_mode sparse
Dot: axes normalize
Dropout: noise_shape rate seed
ELU: alpha
EinsumDense: activation bias_axes bias_constraint bias_initializer bias_regularizer
    equation kernel_constraint kernel_initializer kernel_regularizer output_shape
Embedding: embeddings_constraint embeddings_initializer embeddings_regularizer input_dim
    input_length mask_zero output_dim sparse
Flatten: data_format
GRU: activation bias_constraint bias_initializer bias_regularizer dropout go_backwards
    kernel_constraint kernel_initializer kernel_regularizer recurrent_activation
    recurrent_constraint recurrent_dropout recurrent_initializer recurrent_regularizer
    reset_after return_sequences return_state seed stateful time_major units unroll
    use_bias
GRUCell: activation bias_constraint bias_initializer bias_regularizer dropout
    kernel_constraint kernel_initializer kernel_regularizer recurrent_activation
    recurrent_constraint recurrent_dropout recurrent_initializer recurrent_regularizer
    reset_after seed units use_bias
GaussianDropout: rate seed
GaussianNoise: seed stddev
GlobalAveragePooling1D: data_format keepdims
GlobalAveragePooling2D: data_format keepdims
GlobalAveragePooling3D: data_format keepdims
GlobalAvgPool1D: data_format keepdims
GlobalAvgPool2D: data_format keepdims
GlobalAvgPool3D: data_format keepdims
GlobalMaxPool1D: data_format keepdims
GlobalMaxPool2D: data_format keepdims
GlobalMaxPool3D: data_format keepdims
GlobalMaxPooling1D: data_format keepdims
GlobalMaxPooling2D: data_format keepdims
GlobalMaxPooling3D: data_format keepdims
GroupNormalization: axis beta_constraint beta_initializer beta_regularizer center
    epsilon gamma_constraint gamma_initializer gamma_regularizer groups scale
HashedCrossing: num_bins output_mode sparse
Hashing: mask_value num_bins output_mode salt sparse
Identity:
InputLayer: batch_size input_shape input_tensor optional ragged sparse type_spec
IntegerLookup: idf_weights invert mask_token max_tokens num_oov_indices oov_token
    output_mode pad_to_max_tokens sparse vocabulary vocabulary_dtype
LSTM: activation bias_constraint bias_initializer bias_regularizer dropout go_backwards
    kernel_constraint kernel_initializer kernel_regularizer recurrent_activation
    recurrent_constraint recurrent_dropout recurrent_initializer recurrent_regularizer
    return_sequences return_state seed stateful time_major unit_forget_bias units unroll
    use_bias
LSTMCell: activation bias_constraint bias_initializer bias_regularizer dropout
    kernel_constraint kernel_initializer kernel_regularizer recurrent_activation
    recurrent_constraint recurrent_dropout recurrent_initializer recurrent_regularizer
    seed unit_forget_bias units use_bias
Lambda: arguments function mask output_shape
Layer:
LayerNormalization: axis beta_constraint beta_initializer beta_regularizer center
    epsilon gamma_constraint gamma_initializer gamma_regularizer scale
LeakyReLU: alpha
LocallyConnected1D: activation bias_constraint bias_initializer bias_regularizer
    data_format filters implementation kernel_constraint kernel_initializer
    kernel_regularizer kernel_size padding strides use_bias
LocallyConnected2D: activation bias_constraint bias_initializer bias_regularizer
    data_format filters implementation kernel_constraint kernel_initializer
    kernel_regularizer kernel_size padding strides use_bias
Masking: mask_value
MaxPool1D: data_format padding pool_function pool_size strides
MaxPool2D: data_format padding pool_function pool_size strides
MaxPool3D: data_format padding pool_function pool_size strides
MaxPooling1D: data_format padding pool_function pool_size strides
MaxPooling2D: data_format padding pool_function pool_size strides
MaxPooling3D: data_format padding pool_function pool_size strides
Maximum:
Minimum:
MultiHeadAttention: attention_axes bias_constraint bias_initializer bias_regularizer
    dropout kernel_constraint kernel_initializer kernel_regularizer key_dim num_heads
    output_shape softmax_robust_masking use_bias value_dim
Multiply:
Normalization: axis invert mean variance
PReLU: alpha_constraint alpha_initializer alpha_regularizer shared_axes
Permute: dims
RNN: cell go_backwards return_sequences return_state stateful time_major unroll
RandomBrightness: factor seed value_range
RandomContrast: factor seed
RandomCrop: height seed width
RandomFlip: mode seed
RandomHeight: factor interpolation seed
RandomRotation: factor fill_mode fill_value interpolation seed
RandomTranslation: fill_mode fill_value height_factor interpolation seed width_factor
RandomWidth: factor interpolation seed
RandomZoom: fill_mode fill_value height_factor interpolation seed width_factor
ReLU: max_value negative_slope threshold
RepeatVector: n
Rescaling: offset scale
Reshape: target_shape
Resizing: crop_to_aspect_ratio height interpolation width
SeparableConv1D: activation bias_constraint bias_initializer bias_regularizer
    data_format depth_multiplier depthwise_constraint depthwise_initializer
    depthwise_regularizer dilation_rate filters groups kernel_constraint
    kernel_initializer kernel_regularizer kernel_size padding pointwise_constraint
    pointwise_initializer pointwise_regularizer strides use_bias
SeparableConv2D: activation bias_constraint bias_initializer bias_regularizer
    data_format depth_multiplier depthwise_constraint depthwise_initializer
    depthwise_regularizer dilation_rate filters groups kernel_constraint
    kernel_initializer kernel_regularizer kernel_size padding pointwise_constraint
    pointwise_initializer pointwise_regularizer strides use_bias
SeparableConvolution1D: activation bias_constraint bias_initializer bias_regularizer
    data_format depth_multiplier depthwise_constraint depthwise_initializer
    depthwise_regularizer dilation_rate filters groups kernel_constraint
    kernel_initializer kernel_regularizer kernel_size padding pointwise_constraint
    pointwise_initializer pointwise_regularizer strides use_bias
SeparableConvolution2D: activation bias_constraint bias_initializer bias_regularizer
    data_format depth_multiplier depthwise_constraint depthwise_initializer
    depthwise_regularizer dilation_rate filters groups kernel_constraint
    kernel_initializer kernel_regularizer kernel_size padding pointwise_constraint
    pointwise_initializer pointwise_regularizer strides use_bias
SequenceFeatures: expected_column_type feature_columns partitioner
SimpleRNN: activation bias_constraint bias_initializer bias_regularizer dropout
    go_backwards kernel_constraint kernel_initializer kernel_regularizer
    recurrent_constraint recurrent_dropout recurrent_initializer recurrent_regularizer
    return_sequences return_state stateful time_major units unroll use_bias
SimpleRNNCell: activation bias_constraint bias_initializer bias_regularizer dropout
    kernel_constraint kernel_initializer kernel_regularizer recurrent_constraint
    recurrent_dropout recurrent_initializer recurrent_regularizer seed units use_bias
SlicingOpLambda: function
Softmax: axis robust_masking
SpatialDropout1D: noise_shape rate seed
SpatialDropout2D: data_format noise_shape rate seed
SpatialDropout3D: data_format noise_shape rate seed
SpectralNormalization: layer power_iterations
StackedRNNCells: cells
StringLookup: encoding idf_weights invert mask_token max_tokens num_oov_indices
    oov_token output_mode pad_to_max_tokens sparse vocabulary vocabulary_dtype
Subtract:
SyncBatchNormalization: adjustment axis beta_constraint beta_initializer
    beta_regularizer center epsilon fused gamma_constraint gamma_initializer
    gamma_regularizer momentum moving_mean_initializer moving_variance_initializer
    renorm renorm_clipping renorm_momentum scale synchronized virtual_batch_size
TFOpLambda: function
TensorFlowOpLayer: constants node_def
TextVectorization: encoding idf_weights max_tokens ngrams output_mode
    output_sequence_length pad_to_max_tokens ragged sparse split standardize vocabulary
ThresholdedReLU: theta
TimeDistributed: layer
UnitNormalization: axis
UpSampling1D: size
UpSampling2D: data_format interpolation size
UpSampling3D: data_format size
Wrapper: layer
ZeroPadding1D: padding
ZeroPadding2D: data_format padding
ZeroPadding3D: data_format padding
"""


def _parsed(table: str) -> dict[str, frozenset[str]]:
    found = {}
    for line in table.replace("\n    ", " ").strip().splitlines():
        name, _, arguments = line.partition(":")
        found[name] = frozenset(arguments.split())
    return found


KERAS_2_ARGUMENTS = _parsed(_TABLE)
