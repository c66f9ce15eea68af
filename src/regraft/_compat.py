"""Every use of a private name of Keras or JAX, with the reason.

Each entry says why no public name serves and with which versions it was seen to
work. Nothing else in the package may use a name with a leading underscore, or one
below `keras.src` or `jax._src`, of another package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.variables import initialize_all_variables

# Keras 3.12 to 3.15: inside a `keras.StatelessScope` a variable keeps its initializer
# in `_initializer` and runs it when the scope ends. Replacing it there is the one
# way to build a model without running any initializer (seconds for a large model);
# `get_config()` keeps the initializer that the layer was given. The list of waiting
# variables is the global attribute below.
_WAITING = "uninitialized_variables"


@contextmanager
def deferred_variables() -> Iterator[None]:
    """Makes variables that get their first value when the block ends.

    Inside, `set_first_value` says what value. A variable without one gets what
    its own initializer makes. If the block raises, every variable made in it
    becomes zeros, so that nothing waits for a value any more.
    """
    scope = keras.StatelessScope(initialize_variables=False)
    try:
        with scope:
            yield
    except BaseException:
        for variable in global_state.get_global_attribute(_WAITING) or ():
            variable._initializer = keras.ops.zeros
        raise
    finally:
        initialize_all_variables()


def set_first_value(
    variable: keras.Variable, read: Callable[[], Any], dtype: str
) -> bool:
    """Sets what a variable of `deferred_variables` starts with.

    Args:
        variable: A variable that waits for its value.
        read: Returns the value as a NumPy array, called when the block ends.
        dtype: Keras' name of the variable's dtype.

    Returns:
        False where the variable has a value already.
    """
    if variable._value is not None:
        return False
    # Only with `dtype` given does JAX keep a view of a memory map a view.
    variable._initializer = lambda shape, dtype=dtype: keras.ops.convert_to_tensor(
        read(), dtype=dtype
    )
    return True


def is_deferred(variable: keras.Variable) -> bool:
    """Whether a variable still waits for its first value."""
    return variable._value is None
