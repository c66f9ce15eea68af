"""Which Keras wrote a file, and what that Keras meant by the same words.

Every fact about an era of Keras stands here, as a property of `Dialect`; the rest
of the package asks for the fact, never for a version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_VERSION = re.compile(r"\s*(\d+)(?:\.(\d+))?(?:\.(\d+))?(.*)")

# tf.keras named itself `2.2.4-tf`, `2.3.0-tf`; from 2.4.0 (TensorFlow 2.3) on there
# was no other Keras 2 and the suffix was dropped.
_FIRST_OF_TENSORFLOW_2_2 = (2, 3, 0)
_FIRST_WITHOUT_SUFFIX = (2, 4, 0)
# That of TensorFlow 1.13 to 2.0: arithmetic changed with it.
_FIRST_OF_TENSORFLOW_2 = (2, 2, 4)
# Of no Keras: what SavedModels of TensorFlow 2.0 and 2.1 are read as. The first calls
# its Keras as TensorFlow 1 does, the other as 2.2 does.
OF_TENSORFLOW_2_0_AND_1 = (2, 2, 5)


# What stands for no salt, where Keras wrote one anyway.
DEFAULT_SALT = (0xDECAFCAFFE, 0xDECAFCAFFE)


@dataclass(frozen=True)
class Dialect:
    """A generation and version of Keras, as a file states it.

    Attributes:
        generation: 1, 2 or 3.
        version: Keras' version, three numbers.
        tensorflow: True for `tf.keras` and `tf_keras`; False for the multi-backend
            Keras (1.x and 2.x before 2.4) and for Keras 3.
        theano: Whether the multi-backend Keras ran on Theano.
        tensorflow_1: Whether `tf.keras` was that of TensorFlow 1.
        runs_functions: Whether the functions of layers go along, which Keras 2 runs
            where it doesn't know the class.
        was_keras2: Whether Regraft wrote, in Keras 3's words, what came from Keras 2.
        summed_activity: Whether activity regularizers of that model sum over the batch.

    >>> Dialect.from_keras_version("2.2.4-tf").version
    (2, 2, 4)
    """

    generation: int
    version: tuple[int, ...]
    tensorflow: bool
    theano: bool = False
    tensorflow_1: bool = False
    runs_functions: bool = False
    was_keras2: bool = False
    summed_activity: bool = False

    @classmethod
    def from_keras_version(
        cls, keras_version: str | None, backend: str | None = None
    ) -> Dialect:
        """Reads the `keras_version` of a file; `None` (none stated) is Keras 1.

        An unreadable version is taken as the last of Keras 2, whose words are the
        most common.
        """
        theano = backend == "theano"
        if keras_version is None:
            return cls(1, (1, 0, 0), False, theano)
        match = _VERSION.match(keras_version)
        if match is None:
            return KERAS_2
        version = tuple(int(part or 0) for part in match.group(1, 2, 3))
        generation = min(max(version[0], 1), 3)
        tensorflow = generation == 2 and (
            "tf" in match.group(4) or version >= _FIRST_WITHOUT_SUFFIX
        )
        return cls(generation, version, tensorflow, theano and generation < 3)

    @property
    def keras_version(self) -> str:
        """The version as files of this dialect spell it."""
        text = ".".join(str(part) for part in self.version)
        old = self.tensorflow and self.version < _FIRST_WITHOUT_SUFFIX
        return text + "-tf" if old else text

    @property
    def masked_loss_counts_masked_steps(self) -> bool:
        """Whether a masked loss is averaged over the masked steps too."""
        return (
            self.generation == 2
            and self.tensorflow
            and _FIRST_OF_TENSORFLOW_2 <= self.version < (2, 11)
        )

    @property
    def accuracy_is_binary_by_loss(self) -> bool:
        """Whether "accuracy" beside binary crossentropy is binary for any width.

        Since TensorFlow 2.2 the shapes of target and output alone say which it is.
        """
        return self.generation < 3 and self.version < (
            _FIRST_OF_TENSORFLOW_2_2 if self.tensorflow else _FIRST_WITHOUT_SUFFIX
        )

    @property
    def smoothing_counts_second_axis(self) -> bool:
        """Whether label smoothing takes the length of axis 1 for the count of classes.

        Before TensorFlow 2.3, and in the multi-backend Keras; it differs for sequences.
        """
        return self.generation < 3 and self.version < (
            (2, 3, 1) if self.tensorflow else _FIRST_WITHOUT_SUFFIX
        )

    @property
    def repeats_regularizers(self) -> bool:
        """Whether a layer's regularizer counts once per network that holds the layer.

        In `tf.keras` before TensorFlow 2.2.
        """
        return self.tensorflow and self.version < _FIRST_OF_TENSORFLOW_2_2

    @property
    def ignores_clips(self) -> bool:
        """Whether `fit` applies gradients unclipped, whatever the optimizer says."""
        return self.tensorflow and self.version == OF_TENSORFLOW_2_0_AND_1

    @property
    def may_ignore_clips(self) -> bool:
        """Whether that depends on a TensorFlow that the file doesn't name."""
        return (
            self.tensorflow
            and not self.tensorflow_1
            and self.version in (_FIRST_OF_TENSORFLOW_2, _FIRST_OF_TENSORFLOW_2_2)
        )

    @property
    def hard_sigmoid_is_linear_fifth(self) -> bool:
        """Whether `hard_sigmoid` is clip(0.2x + 0.5, 0, 1), not relu6(x + 3) / 6."""
        return self.generation < 3

    @property
    def ftrl_linear_has_the_rate(self) -> bool:
        """Whether `Ftrl` with a shrinkage keeps `linear` times the learning rate.

        What files of TensorFlow 2.3 to 2.5 hold is that, of all others not.
        """
        return self.tensorflow and (2, 4) <= self.version < (2, 6)

    @property
    def batch_norm_corrects_variance(self) -> str | None:
        """Where the moving variance takes Bessel's correction in training.

        `"fused"`: N / (N - 1) where TensorFlow fuses (rank 4 and 5); `"fused_images"`:
        on rank 4 alone (before TensorFlow 2.4); `"fused_last"`: on rank 4 with
        channels last (the multi-backend Keras 2.1.3); `"fused_always"`: that, and
        N / (N - 1 - epsilon) everywhere (since 2.1.4); `"epsilon"`: nowhere, but
        Theano added epsilon; `"epsilon_always"`: both; `None`: nowhere.
        """
        if self.generation == 3 or (self.tensorflow and self.version < (2, 0, 6)):
            return None
        if self.tensorflow:
            return "fused" if self.version >= (2, 4) else "fused_images"
        corrects = self.version >= (2, 1, 4)
        if self.theano and self.version >= (1, 2):
            return "epsilon_always" if corrects else "epsilon"
        if corrects:
            return "fused_always"
        return "fused_last" if self.version >= (2, 1, 3) else None

    @property
    def frozen_batch_norm(self) -> str:
        """What a BatchNormalization that doesn't train does in training.

        `"infers"`; `"normalizes"`: by the batch, without a trace (`tf.keras` of
        TensorFlow 1, the multi-backend Keras since 2.1.3); `"moves"`: its moving
        averages as well.
        """
        if self.generation == 3 or (self.tensorflow and not self.tensorflow_1):
            return "infers"
        old = self.version < (2, 1, 3)
        return "moves" if old else "normalizes"

    @property
    def batch_norm_sees_masks(self) -> bool:
        """Whether BatchNormalization leaves masked steps out of its moments."""
        return self.version >= (2, 13)

    @property
    def attention_sees_masks(self) -> bool:
        """Whether MultiHeadAttention uses its inputs' masks unasked."""
        return self.version >= (2, 10)

    @property
    def random_crop_resizes_first(self) -> bool:
        """Whether RandomCrop out of training resizes, then crops the center."""
        return self.version < (2, 7)

    @property
    def same_padding_is_symmetric(self) -> bool:
        """Whether `"same"` pads as much before as after, and crops the result."""
        return self.theano

    @property
    def average_counts_padding(self) -> bool:
        """Whether averages along one or two axes count the zeros of `"same"`."""
        return self.theano and (2, 0, 4) <= self.version < (2, 1, 5)

    @property
    def activity_is_summed(self) -> bool:
        """Whether activity regularizers sum over the batch, not average."""
        return self.summed_activity or (
            self.generation < 3
            and (not self.tensorflow or self.version < _FIRST_OF_TENSORFLOW_2)
        )

    @property
    def dtype_is_of_inputs(self) -> bool:
        """Whether a layer's `dtype` is that of its inputs; weights are floats then."""
        return self.generation < 3 and self.version < (
            (2, 0, 6) if self.tensorflow else (2, 3)
        )

    @property
    def slots_are_sorted_by_name(self) -> bool:
        """Whether an optimizer's slots follow the names of the weights in the file."""
        return self.generation < 3 and self.version < (2, 0, 6)

    @property
    def cosine_is_averaged(self) -> bool:
        """Whether the loss `cosine_proximity` is the cosine over the last length."""
        return self.generation < 3 and self.version < (2, 0, 9)

    @property
    def cosine_is_positive(self) -> bool:
        """Whether the loss `cosine_similarity` grows with the similarity."""
        return self.tensorflow_1

    @property
    def logits_are_of_own_activation(self) -> bool:
        """Whether a crossentropy uses logits of its own kind of activation alone."""
        return self.generation < 3 and self.version < (2, 4)

    @property
    def softmax_sees_masks(self) -> bool:
        """Whether a Softmax layer leaves masked values out."""
        return self.version > (2, 4, 0)

    @property
    def hashing_writes_no_salt_as_a_key(self) -> bool:
        """Whether a Hashing without a salt says `DEFAULT_SALT`, and computes without.

        TensorFlow 2.3 to 2.7; a loaded one took it for a salt.
        """
        return self.generation == 2 and (2, 3, 1) <= self.version < (2, 8)

    @property
    def counts_own_node(self) -> bool:
        """Whether a nested model's creation is its node 0, calls begin at 1."""
        return self.generation < 3

    @property
    def computes_as_keras2(self) -> bool:
        """Whether a model runs as in Keras 2, whatever words describe it."""
        return self.generation < 3 or self.was_keras2

    @property
    def call_keeps_training(self) -> bool:
        """Whether a layer called with `training=…` keeps it in every model."""
        return self.generation < 3

    @property
    def conv_lstm_gates_are_hard(self) -> bool:
        """Whether ConvLSTM's `recurrent_activation` is `hard_sigmoid` by default."""
        return self.generation < 3


KERAS_2 = Dialect(2, (2, 15, 0), True)
KERAS_2_WITH_FUNCTIONS = replace(KERAS_2, runs_functions=True)
KERAS_3 = Dialect(3, (3, 0, 0), False)
