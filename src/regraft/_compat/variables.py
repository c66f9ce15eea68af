"""Variables that wait for their first values; see `regraft._compat`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.variables import initialize_all_variables
from keras.src.utils import tracking

# Keras 3.12 to 3.15: inside a `keras.StatelessScope` a variable keeps its initializer
# in `_initializer` and runs it when the scope ends. Replacing it there is the one
# way to build a model without running any initializer (seconds for a large model);
# `get_config()` keeps the initializer that the layer was given. The list of waiting
# variables is the global attribute below.
_WAITING = "uninitialized_variables"


class DeferredValues:
    """What variables made in a `deferred_variables` block start with."""

    def __init__(self) -> None:
        self._later: list[tuple[keras.Variable, Callable[[], Any]]] = []

    def set(
        self, variable: keras.Variable, read: Callable[[], Any], dtype: str
    ) -> None:
        """Sets the value that a variable has when the block ends.

        Args:
            variable: One that waits for its first value, or one that has a value.
            read: Returns the value as a NumPy array; called when the block ends.
            dtype: Keras' name of the dtype that the backend holds it in.
        """
        if variable._value is not None:
            self._later.append((variable, read))
            return
        # Only with `dtype` given does JAX keep a view of a memory map a view.
        variable._initializer = lambda *_, **__: keras.ops.convert_to_tensor(
            read(), dtype=dtype
        )

    def assign_existing(self) -> None:
        """Assigns to the variables that had a value before the block."""
        for variable, read in self._later:
            variable.assign(read())


@contextmanager
def deferred_variables() -> Iterator[DeferredValues]:
    """Makes variables that get their first value when the block ends.

    A variable for which no value was set gets what its own initializer makes. If
    the block or an initializer raises, no variable made in it waits for a value any
    more; none is made then, since a file may ask for any size.
    """
    values = DeferredValues()
    before = list(global_state.get_global_attribute(_WAITING) or ())
    try:
        with keras.StatelessScope(initialize_variables=False), _waiting_states():
            yield values
        initialize_all_variables()
    except BaseException:
        global_state.set_global_attribute(_WAITING, before)
        raise
    values.assign_existing()


_create_states = keras.layers.RNN._create_state_variables


def _create_waiting_states(layer: keras.layers.RNN, batch_size: int) -> None:
    """Makes the states of a stateful RNN, which wait for their first values."""

    def waiting(value: Any) -> keras.Variable:
        return keras.Variable(
            lambda *_, dtype=None, **__: keras.ops.cast(value, dtype),
            shape=value.shape,
            trainable=False,
            dtype=layer.variable_dtype,
            name="rnn_state",
        )

    with keras.name_scope(layer.name, caller=layer):
        initial = layer.get_initial_state(batch_size)
        layer.states = keras.tree.map_structure(waiting, initial)


@contextmanager
def _waiting_states() -> Iterator[None]:
    """Lets stateful RNNs be built where variables wait for their values.

    Keras 3.12 to 3.15: `RNN._create_state_variables` makes them from values, which no
    stateless scope allows. It is the one method of all recurrent layers that does.
    """
    create = tracking.no_automatic_dependency_tracking(_create_waiting_states)
    keras.layers.RNN._create_state_variables = create
    try:
        yield
    finally:
        keras.layers.RNN._create_state_variables = _create_states


def builds_deferred(optimizer: keras.Optimizer) -> bool:
    """Whether an optimizer's `build` works inside `deferred_variables`.

    Keras 3.12 to 3.15: the builds of `Nadam` and `Adafactor` make variables from
    values, that of `ScheduleFreeAdamW` assigns; what the build of a class of the
    caller's does is not known.
    """
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    module = type(optimizer).__module__
    return module.startswith(("keras.", "regraft.")) and not any(
        cls.__name__ in ("Nadam", "Adafactor", "ScheduleFreeAdamW")
        for cls in type(optimizer).__mro__
    )


def set_path(variable: keras.Variable, path: str) -> None:
    """Names the place of a variable, which its layer says otherwise.

    Keras 3.12 to 3.15: the path of a variable is made of the layers that are being
    built when it is; only a private attribute holds it.
    """
    variable._path = path
