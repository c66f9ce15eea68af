"""Layers of Keras 3 that compute as Keras 2's of the same name.

A class here has the name and the `get_config` of the class that it stands for, so
that a model goes back into a file under the words it came with.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from regraft import _compat
from regraft.graph.runtime.kernels import kinks
from regraft.model.keras2.layers_merging import without_mask
from regraft.model.keras2.registration import registered

_CORRECTIONS = (
    "fused",
    "fused_images",
    "fused_last",
    "always",
    "fused_always",
    "epsilon",
    "epsilon_always",
    "never",
)


@registered
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization with the moving variance of Keras 2.

    Args:
        correction: Where the moving variance takes Bessel's correction in training:
            `"fused"` (TensorFlow's fused kernel: N / (N - 1) on rank 4 and 5),
            `"always"` (multi-backend Keras: N / (N - 1 - epsilon)), `"never"`;
            `"fused_images"` is `"fused"` on rank 4 alone, `"fused_last"` there with
            channels last, and `"fused_always"` the product of that and `"always"`;
            `"epsilon"` adds epsilon instead (Theano), `"epsilon_always"` does both.
        ignores_mask: True for the Keras versions that normalized over masked steps.
        when_frozen: What a layer with `trainable=False` does in training: `"infers"`;
            `"normalizes"` by the batch; `"moves"` its averages as well.
    """

    def __init__(
        self,
        *args: Any,
        correction: str = "fused",
        ignores_mask: bool = False,
        when_frozen: str = "infers",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if correction not in _CORRECTIONS:
            raise ValueError(f"Invalid correction: {correction!r}.")
        if when_frozen not in ("infers", "normalizes", "moves"):
            raise ValueError(f"Invalid when_frozen: {when_frozen!r}.")
        self.correction = correction
        self.when_frozen = when_frozen
        self.ignores_mask = ignores_mask

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if self.ignores_mask:
            mask = None
        if training and not self.trainable and self.when_frozen != "infers":
            return self._frozen(inputs)
        everywhere = self.correction.endswith(("always", "epsilon"))
        corrected = everywhere or self._is_fused(inputs)
        # Keras has `renorm` since 3.14.
        renorm = getattr(self, "renorm", False)
        if not (training and self.trainable and corrected) or renorm:
            return super().call(inputs, training=training, mask=mask)
        momentum = self.momentum
        kept = ops.convert_to_tensor(self.moving_variance) * momentum
        outputs = super().call(inputs, training=training, mask=mask)
        added = ops.convert_to_tensor(self.moving_variance) - kept
        if self.correction.startswith("epsilon"):
            added = added + (1.0 - momentum) * self.epsilon
        if self.correction != "epsilon":
            added = added * self._bessel(inputs)
        if self.correction == "fused_always" and self._is_fused_twice(inputs):
            count = self._count(inputs)
            added = added * (count / ops.maximum(count - 1.0, 1.0))
        self.moving_variance.assign(kept + added)
        return outputs

    def _frozen(self, inputs: Any) -> Any:
        axes = [
            i for i in range(len(inputs.shape)) if i != self.axis % len(inputs.shape)
        ]
        mean, variance = ops.moments(inputs, axes)
        if self.when_frozen == "moves":
            for average, value in (
                (self.moving_mean, mean),
                (self.moving_variance, variance),
            ):
                kept = ops.convert_to_tensor(average) * self.momentum
                average.assign(kept + (1.0 - self.momentum) * value)
        return ops.batch_normalization(
            inputs,
            mean,
            variance,
            axis=self.axis,
            offset=self.beta if self.center else None,
            scale=self.gamma if self.scale else None,
            epsilon=self.epsilon,
        )

    def _is_fused(self, inputs: Any) -> bool:
        if self.correction == "fused_last":
            return self._is_fused_twice(inputs)
        if not self.correction.startswith("fused") or self.compute_dtype == "float64":
            return False
        rank = len(inputs.shape)
        fused = rank == 4 or (rank == 5 and self.correction == "fused")
        return fused and self.axis % rank in (1, rank - 1)

    def _is_fused_twice(self, inputs: Any) -> bool:
        return len(inputs.shape) == 4 and self.axis % 4 == 3

    def _count(self, inputs: Any) -> Any:
        shape = ops.shape(inputs)
        axis = self.axis % len(shape)
        count: Any = 1
        for index, length in enumerate(shape):
            count = count * (1 if index == axis else length)
        return ops.cast(count, self.moving_variance.dtype)

    def _bessel(self, inputs: Any) -> Any:
        count = self._count(inputs)
        if self.correction.endswith("always"):
            return count / (count - (1.0 + self.epsilon))
        return count / ops.maximum(count - 1.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.correction != "fused":
            config["correction"] = self.correction
        if self.ignores_mask:
            config["ignores_mask"] = True
        if self.when_frozen != "infers":
            config["when_frozen"] = self.when_frozen
        return config


@registered
class SyncBatchNormalization(BatchNormalization):
    """Statistics over all replicas of TensorFlow's strategies: here, over the batch."""


@registered
class Layer(keras.layers.Identity):
    """Keras 2's `Layer` itself, which gives what it is given."""


@registered
class Identity(keras.layers.Identity):
    """Gives what it is given, without its mask."""

    def call(self, inputs: Any) -> Any:
        return keras.tree.map_structure(without_mask, inputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        return None


@registered
class UnitNormalization(keras.layers.UnitNormalization):
    """Divides by the square root of the sum of squares, which is 1e-12 at least.

    Keras 3 bounds the root itself, so that shorter vectors, the gradient at zero and
    float16, in which 1e-12 is 0, differ.
    """

    def call(self, inputs: Any) -> Any:
        squares = ops.sum(ops.square(inputs), axis=self.axis, keepdims=True)
        least = ops.cast(1e-12, squares.dtype)
        return inputs * ops.rsqrt(ops.maximum(squares, least))


@registered
class SeparableConv1D(keras.layers.SeparableConv1D):
    """A separable convolution that may be causal."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        **kwargs: Any,
    ) -> None:
        self.causal = padding == "causal"
        inner = "valid" if self.causal else padding
        super().__init__(filters, kernel_size, strides, inner, **kwargs)

    def _before(self) -> int:
        return int((self.kernel_size[0] - 1) * self.dilation_rate[0])

    def call(self, inputs: Any) -> Any:
        if not self.causal:
            return super().call(inputs)
        widths = [[0, 0], [self._before(), 0], [0, 0]]
        if self.data_format == "channels_first":
            widths = [widths[0], widths[2], widths[1]]
        return super().call(ops.pad(inputs, widths))

    def compute_output_shape(self, input_shape: Any) -> Any:
        padded = list(input_shape)
        axis = 2 if self.data_format == "channels_first" else 1
        if self.causal and padded[axis] is not None:
            padded[axis] += self._before()
        return super().compute_output_shape(tuple(padded))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.causal:
            config["padding"] = "causal"
        return config


@registered
class Softmax(keras.layers.Softmax):
    """A softmax whose rows that are masked altogether are uniform; Keras 3's are 0.

    Args:
        robust_masking: Whether masked values are replaced, not lowered.
        ignores_mask: Whether no mask means anything, as before Keras 2.4.
        **keywords: Of Keras' layer.
    """

    def __init__(
        self,
        axis: Any = -1,
        robust_masking: bool = False,
        ignores_mask: bool = False,
        **keywords: Any,
    ) -> None:
        super().__init__(axis=axis, **keywords)
        self.robust_masking = robust_masking
        self.ignores_mask = ignores_mask

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None or self.ignores_mask:
            return super().call(inputs)
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        lowest = float(np.finfo(np.float16).min) if dtype == "float16" else -1e9
        if self.robust_masking:
            kept = ops.cast(mask, "float32") > 0.5
            return super().call(ops.where(kept, inputs, ops.cast(lowest, dtype)))
        return super().call(inputs + (1.0 - ops.cast(mask, dtype)) * lowest)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "robust_masking": self.robust_masking,
            "ignores_mask": self.ignores_mask,
        }


@registered
class Wrapper(keras.layers.Wrapper):
    """Keras 2's `Wrapper` itself, which gives what it is given."""

    def call(self, inputs: Any, *arguments: Any, **keywords: Any) -> Any:
        return inputs

    def compute_output_spec(self, inputs: Any, *arguments: Any, **keywords: Any) -> Any:
        return keras.tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), inputs
        )


@registered
class LeakyReLU(keras.layers.LeakyReLU):
    """Its gradient at 0 is the slope of what is below, as TensorFlow's; JAX's is 1."""

    def call(self, inputs: Any) -> Any:
        return kinks.leaky_relu(inputs, self.negative_slope)


@registered
class ReLU(keras.layers.ReLU):
    """Its gradient at 0 and at `max_value` is TensorFlow's."""

    def call(self, inputs: Any) -> Any:
        slope, top, threshold = self.negative_slope, self.max_value, self.threshold
        if threshold == 0 and top is None and slope:
            return kinks.leaky_relu(inputs, slope)
        if (threshold == 0 and top in (None, 6)) or kinks.are_plain():
            return super().call(inputs)
        x = ops.convert_to_tensor(inputs)
        above = ops.relu(x)
        if threshold != 0:
            above = ops.where(x > ops.cast(threshold, x.dtype), x, ops.zeros_like(x))
        if top is not None:
            above = kinks.clip(above, 0.0, ops.cast(top, x.dtype))
        if not slope:
            return above
        return above - slope * ops.relu(ops.cast(threshold, x.dtype) - x)


@registered
class ThresholdedReLU(keras.layers.Layer):
    """f(x) = x for x > theta, else 0."""

    def __init__(self, theta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.theta = float(theta)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return ops.where(inputs > self.theta, inputs, ops.zeros_like(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "theta": self.theta}


@registered
class AddLoss(keras.layers.Layer):
    """Adds its input to the model's losses: `model.add_loss(tensor)`."""

    def __init__(self, unconditional: bool = False, **kwargs: Any) -> None:
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.unconditional = unconditional

    def call(self, inputs: Any) -> Any:
        self.add_loss(inputs)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unconditional": self.unconditional}


@registered
class Attention(keras.layers.Attention):
    """Attention that may be causal by construction, as before Keras 2.10."""

    def __init__(self, *args: Any, causal: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.causal = causal

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["use_causal_mask"] = kwargs.get("use_causal_mask", False) or self.causal
        return super().call(inputs, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "causal": self.causal}


@registered
class AdditiveAttention(keras.layers.AdditiveAttention):
    """Additive attention that may be causal by construction."""

    def __init__(self, *args: Any, causal: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.causal = causal

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["use_causal_mask"] = kwargs.get("use_causal_mask", False) or self.causal
        return super().call(inputs, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "causal": self.causal}


@registered
class MultiHeadAttention(keras.layers.MultiHeadAttention):
    """Multi-head attention that leaves its inputs' masks where they are.

    Keras 3's takes the masks off its inputs, so that whatever else reads these goes
    on without; its fused kernel wants values as wide as keys and, on JAX, knows no
    float16 on a CPU; and its activity regularizer is that of each projection, where
    Keras 2's is of the output alone.

    Args:
        ignores_masks: Whether it uses no mask but the one it is given, as before
            Keras 2.10.
        softmax_robust_masking: Whether masked scores are replaced, not lowered.
        activity_regularizer: Of the output.
    """

    def __init__(
        self,
        *args: Any,
        ignores_masks: bool = False,
        softmax_robust_masking: bool = False,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.ignores_masks = ignores_masks
        self.softmax_robust_masking = softmax_robust_masking
        self.activity_regularizer = keras.regularizers.get(activity_regularizer)

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        masks: dict[str, Any] = {}
        own = without_mask(query)
        if not self.ignores_masks:
            masks = {"value_mask": value_mask, "key_mask": key_mask}
            if query_mask is None:
                query_mask = _compat.keras_mask(query)
            if query_mask is not None:
                # The only place where Keras looks for it; not on the caller's tensor.
                own = ops.copy(query) if own is query else own
                _compat.set_keras_mask(own, query_mask)
        # With scores a softmax of its own runs; see `_build_attention`.
        scores = (
            return_attention_scores
            or attention_mask is not None
            or query_mask is not None
            or any(mask is not None for mask in masks.values())
            or self.value_dim != self.key_dim
            or self.compute_dtype == "float16"
        )
        found = super().call(
            own,
            without_mask(value),
            None if key is None else without_mask(key),
            attention_mask=attention_mask,
            return_attention_scores=scores,
            training=training,
            use_causal_mask=use_causal_mask,
            **masks,
        )
        return found[0] if scores and not return_attention_scores else found

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["activity_regularizer"] = keras.regularizers.serialize(
            self.activity_regularizer
        )
        if self.ignores_masks:
            config["ignores_masks"] = True
        if self.softmax_robust_masking:
            config["softmax_robust_masking"] = True
        return config

    def _build_attention(self, rank: int) -> None:
        super()._build_attention(rank)
        # A query that is masked looks at all values alike, and its gradient reaches
        # them; Keras 3's looks at none, or stops the gradient.
        layer: Any = self
        layer._softmax = Softmax(
            axis=layer._softmax.axis,
            robust_masking=self.softmax_robust_masking,
            dtype=self.dtype_policy,
        )

    def compute_mask(self, query: Any, query_mask: Any = None) -> Any:
        return None if self.ignores_masks else query_mask
