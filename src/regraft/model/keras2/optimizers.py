"""Optimizers of Keras 2.11 to 2.21 where they don't do as Keras 3's.

Nearly all do. The exceptions:

* the moving average (`use_ema`) begins with the variables' values, not with those
  after the first step;
* `clipnorm` and `clipvalue` may both be given; the first wins;
* `Nadam` multiplies its product of momenta once per variable instead of once per
  step, as its counter is Python's and counts while `tf.function` traces.

`get_config` gives Keras 3's keys, from which `regraft.model.optimizers` makes
Keras 2's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from regraft.model.keras2.registration import registered


class Keras2Optimizer(keras.optimizers.Optimizer):
    """What the optimizers of this module have in common."""

    def __init__(
        self,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        # Keras 3's constructor takes one of them only.
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Any], name: Any, initializer: Any = "zeros"
    ) -> Any:
        if name != "average":
            return super().add_optimizer_variables(
                trainable_variables, name, initializer
            )
        return [
            self.add_variable_from_reference(variable, name, ValueOf(variable))
            for variable in trainable_variables
        ]

    def _update_model_variables_moving_average(
        self, trainable_variables: Sequence[Any]
    ) -> None:
        averages = self._model_variables_moving_average
        for variable, average in zip(trainable_variables, averages, strict=True):
            momentum = ops.cast(self.ema_momentum, variable.dtype)
            average.assign(momentum * average + (1.0 - momentum) * variable)


class ValueOf:
    """An initializer that copies another variable."""

    def __init__(self, variable: Any) -> None:
        self._variable = variable

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        del shape
        return ops.copy(ops.cast(self._variable, dtype or self._variable.dtype))


@registered
class SGD(Keras2Optimizer, keras.optimizers.SGD):
    """`SGD` of Keras 2.11."""


@registered
class Adam(Keras2Optimizer, keras.optimizers.Adam):
    """`Adam` of Keras 2.11."""


@registered
class AdamW(Keras2Optimizer, keras.optimizers.AdamW):
    """`AdamW` of Keras 2.11."""


@registered
class Adamax(Keras2Optimizer, keras.optimizers.Adamax):
    """`Adamax` of Keras 2.11."""


@registered
class Nadam(Keras2Optimizer, keras.optimizers.Nadam):
    """`Nadam` of Keras 2.11 in `Model.fit`.

    Each of n variables multiplies the product by the step's momentum and uses it at
    once, except that at step t (from 0) the one with index t + 1 - n takes it as it
    is. (The counter that should prevent it stands at n + 1 when the second trace of
    `train_function` begins, and the trace freezes it.)
    """

    def _momentum(self, step: Any, dtype: str) -> Any:
        power = ops.power(ops.cast(0.96, dtype), ops.cast(step, dtype))
        return ops.cast(self.beta_1, dtype) * (1.0 - 0.5 * power)

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        for position, pair in enumerate(zip(grads, trainable_variables, strict=True)):
            product = self._u_product
            momentum = self._momentum(self.iterations + 1, product.dtype)
            takes_as_is = ops.equal(self.iterations + 1 - len(grads), position)
            product.assign(product * ops.where(takes_as_is, 1.0, momentum))
            self.update_step(*pair, learning_rate)


@registered
class RMSprop(Keras2Optimizer, keras.optimizers.RMSprop):
    """`RMSprop` of Keras 2.11."""


@registered
class Adagrad(Keras2Optimizer, keras.optimizers.Adagrad):
    """`Adagrad` of Keras 2.11."""


@registered
class Adadelta(Keras2Optimizer, keras.optimizers.Adadelta):
    """`Adadelta` of Keras 2.11."""


@registered
class Ftrl(Keras2Optimizer, keras.optimizers.Ftrl):
    """`Ftrl` of Keras 2.11."""


@registered
class Lion(Keras2Optimizer, keras.optimizers.Lion):
    """`Lion` of Keras 2.13."""


@registered
class Adafactor(Keras2Optimizer, keras.optimizers.Adafactor):
    """`Adafactor` of Keras 2.12."""


@registered
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """`LossScaleOptimizer` of Keras 2.

    A step with gradients that aren't finite counts as an iteration, and the scale
    never falls below 1.
    """

    def _lower(self) -> None:
        self.step_counter.assign(0)
        self.dynamic_scale.assign(ops.maximum(self.dynamic_scale * 0.5, 1.0))
        iterations = self.inner_optimizer._iterations
        iterations.assign(iterations + 1)

    def _stateful_handle_non_finite_grads(self) -> None:
        self._lower()

    def _stateless_handle_non_finite_grads(
        self, optimizer_variables: Any, trainable_variables: Any
    ) -> Any:
        mapping = list(zip(self.variables, optimizer_variables, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            self._lower()
        changed = [scope.get_current_value(variable) for variable in self.variables]
        return trainable_variables, changed


CLASSES: dict[str, type[Keras2Optimizer]] = {
    cls.__name__: cls
    for cls in (
        SGD,
        Adam,
        AdamW,
        Adamax,
        Nadam,
        RMSprop,
        Adagrad,
        Adadelta,
        Ftrl,
        Lion,
        Adafactor,
    )
}
