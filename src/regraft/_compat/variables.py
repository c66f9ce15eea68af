"""Variables that wait for their first values; see `regraft._compat`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax
import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.variables import (
    AutocastScope,
    initialize_all_variables,
)
from keras.src.utils import tracking

# Keras 3.12 to 3.15: inside a `keras.StatelessScope` a variable keeps its initializer
# in `_initializer` and runs it when the scope ends. Replacing it there is the one
# way to build a model without running any initializer (seconds for a large model);
# `get_config()` keeps the initializer that the layer was given. The list of waiting
# variables is the global attribute below.
_WAITING = "uninitialized_variables"

# Values read at a time. Those of a memory map take no memory, others do so twice.
_BATCH_BYTES = 1 << 22


def stored_value(variable: keras.Variable) -> Any:
    """Returns a variable's value in its own dtype, inside of a layer's call as well.

    Keras 3.12 to 3.15: there `value` is in the dtype that the layer computes in.
    """
    with AutocastScope(None):
        return variable.value


def own_variables(
    layer: keras.Layer,
) -> tuple[list[keras.Variable], list[keras.Variable]]:
    """Returns the variables that a layer tracks itself, not those of layers below.

    Those that were trainable when they came are apart from the others.

    Keras 3.12 to 3.15: public properties count those of all layers below it.
    """
    return list(layer._trainable_variables), list(layer._non_trainable_variables)


class DeferredValues:
    """What variables made in a `deferred_variables` block start with."""

    def __init__(self) -> None:
        self._later: list[tuple[keras.Variable, Callable[[], Any]]] = []
        self._first: dict[int, tuple[keras.Variable, Callable[[], Any], str]] = {}

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
        self._first[id(variable)] = (variable, read, dtype)

    def initialize(self) -> None:
        """Gives the waiting variables their values in place of their initializers."""
        batch: list[tuple[keras.Variable, Any, str]] = []
        size = 0
        for variable, read, dtype in self._first.values():
            value = read()
            batch.append((variable, value, dtype))
            size += value.nbytes
            if size >= _BATCH_BYTES:
                _initialize(batch)
                batch, size = [], 0
        _initialize(batch)
        self._first = {}

    def assign_existing(self) -> None:
        """Assigns to the variables that had a value before the block."""
        for variable, read in self._later:
            variable.assign(read())


def _initialize(batch: list[tuple[keras.Variable, Any, str]]) -> None:
    for (variable, _, _), tensor in zip(batch, _to_tensors(batch), strict=True):
        # Keras looks whether the arguments of an initializer name a layout.
        variable._initializer = lambda shape, dtype, tensor=tensor: tensor
        variable._deferred_initialize()


def _to_tensors(batch: list[tuple[keras.Variable, Any, str]]) -> list[Any]:
    values = [value for _, value, _ in batch]
    if keras.backend.backend() == "jax" and all(
        value.dtype.name == dtype for _, value, dtype in batch
    ):
        # One call for many: it costs more than a small value does.
        return list(jax.device_put(values))
    # Only with `dtype` given does JAX keep a view of a memory map a view.
    return [
        keras.ops.convert_to_tensor(value, dtype=dtype) for _, value, dtype in batch
    ]


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
        values.initialize()
        waiting = global_state.get_global_attribute(_WAITING) or ()
        left = [variable for variable in waiting if variable._value is None]
        global_state.set_global_attribute(_WAITING, left)
        initialize_all_variables()
    except BaseException:
        global_state.set_global_attribute(_WAITING, before)
        raise
    values.assign_existing()


def asks_for_values(error: Exception) -> bool:
    """Whether a layer makes a variable from a value, not from an initializer.

    That can only be done outside of `deferred_variables`.
    """
    return "stateless scope" in str(error)


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


def seed_states(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the states of all random generators of a layer, in a fixed order.

    Keras 3.12 to 3.15: they are in `variables` but not in `weights`, and nothing
    but their name tells them from other variables of that kind.
    """
    return [
        variable
        for variable in layer.variables
        if variable.name == "seed_generator_state"
    ]


def decays_variable(optimizer: keras.Optimizer, variable: keras.Variable) -> bool:
    """Whether an optimizer with weight decay lets it make a variable smaller.

    Keras 3.12 to 3.15: `exclude_from_weight_decay` keeps keys of variables and a
    pattern of names, which this method alone reads.
    """
    return bool(optimizer._use_weight_decay(variable))


def without_casts() -> AbstractContextManager[Any]:
    """Lets variables be read as they are, whatever the layer around computes in.

    Keras 3.12 to 3.15: a layer of a mixed policy that isn't to cast anything has them
    cast all the same, where no layer is around it.
    """
    return AutocastScope(None)
