"""Words that tf.keras writes into every config of a class, since TensorFlow 1.15.

A config without one of them is of another class of that name: somebody's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from regraft.model.dialects.keras2_arguments import KERAS_2_ARGUMENTS

# Arguments that came after TensorFlow 1.15, or that configs leave out.
_NOT_ALWAYS = """
adjustment backward_layer dilation_rate dropout fused groups keepdims pool_function
renorm renorm_clipping renorm_momentum robust_masking score_mode seed
softmax_robust_masking sparse synchronized virtual_batch_size weights
"""
# Classes that came later under other words, or whose configs leave most out.
_UNSETTLED = """
AddLoss AddMetric AlphaDropout CategoryEncoding CenterCrop CuDNNGRU CuDNNLSTM
DenseFeatures DepthwiseConv1D DepthwiseConv2D Discretization HashedCrossing Hashing
InputLayer IntegerLookup Lambda Normalization RandomBrightness RandomContrast RandomCrop
RandomFlip RandomHeight RandomRotation RandomTranslation RandomWidth RandomZoom Resizing
SequenceFeatures SlicingOpLambda SpectralNormalization StringLookup
SyncBatchNormalization TFOpLambda TensorFlowOpLayer TextVectorization Wrapper
"""
# Arguments that the configs of these classes leave out, of any TensorFlow.
_LEFT_OUT = {"SpatialDropout2D": {"data_format"}, "SpatialDropout3D": {"data_format"}}

# Arguments of Keras 2 that Keras 3 lacks: what Regraft writes doesn't have them.
_GONE = frozenset({"input_length", "noise_shape", "time_major"})
_GONE_OF = {
    name: _GONE | {"kernel_constraint", "kernel_initializer", "kernel_regularizer"}
    for name in ("SeparableConv1D", "SeparableConv2D")
}


@cache
def _always(class_name: str) -> frozenset[str]:
    if class_name in _UNSETTLED.split():
        return frozenset()
    arguments = frozenset(KERAS_2_ARGUMENTS.get(class_name, ()))
    left_out = _LEFT_OUT.get(class_name, ())
    return arguments.difference(_NOT_ALWAYS.split(), left_out)


def missing_words(
    class_name: str, config: Mapping[str, Any], *, from_keras3: bool = False
) -> frozenset[str]:
    """Returns what a file's writer would have said besides of a class of its own.

    Args:
        class_name: Of a layer.
        config: Of the layer.
        from_keras3: Whether a layer of Keras 3 was put in Keras 2's words.
    """
    gone = _GONE_OF.get(class_name, _GONE) if from_keras3 else frozenset()
    return _always(class_name) - config.keys() - gone
