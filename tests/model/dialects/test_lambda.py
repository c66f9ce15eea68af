"""Lambda layers: the caller's functions, and bytecode only where it is trusted."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from regraft.errors import UnsafeFileError, UnsupportedError
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.describe_topology import describe_layer
from regraft.model.dialects.dialect import KERAS_2, KERAS_3, Dialect
from regraft.model.dialects.topology import build_layer


def double(x):
    return x * 2


def _bytecode(dialect):
    layer = keras.layers.Lambda(lambda x: x * 2, name="twice")
    if dialect is KERAS_2:
        return describe_layer(layer, KERAS_2, [])
    return keras.saving.serialize_keras_object(layer)


@pytest.mark.parametrize("dialect", [KERAS_2, KERAS_3])
def test_bytecode_is_refused(dialect):
    with pytest.raises(UnsafeFileError, match=r"'twice' holds .*safe_mode=False"):
        build_layer(_bytecode(dialect), BuildContext(dialect))


@pytest.mark.parametrize("dialect", [KERAS_2, KERAS_3])
def test_bytecode_runs_where_it_is_trusted(dialect):
    layer = build_layer(_bytecode(dialect), BuildContext(dialect, safe_mode=False))
    np.testing.assert_array_equal(layer(np.ones(2)), [2, 2])


def test_bytecode_of_another_python_is_said_to_be_that():
    entry = _bytecode(KERAS_2)
    # It ends where this Python expects more, as that of Python 3.5 does.
    code, *rest = entry["config"]["function"]
    entry["config"]["function"] = [code[:4] + "\n", *rest]
    context = BuildContext(KERAS_2, safe_mode=False)
    with pytest.raises(UnsupportedError, match=r"'twice' .* another version wrote it"):
        build_layer(entry, context)


@pytest.mark.parametrize("dialect", [KERAS_2, KERAS_3])
def test_function_of_the_layers_name_takes_its_place(dialect):
    context = BuildContext(dialect, custom_objects={"twice": double})
    np.testing.assert_array_equal(
        build_layer(_bytecode(dialect), context)(np.ones(2)), [2, 2]
    )


def test_function_is_found_by_its_name():
    config = {"name": "n", "function": "double", "function_type": "function"}
    entry = {"class_name": "Lambda", "config": config}
    with pytest.raises(ValueError, match=r"Unknown function 'double'"):
        build_layer(entry, BuildContext(KERAS_2))
    context = BuildContext(KERAS_2, custom_objects={"double": double})
    assert build_layer(entry, context).function is double


def test_arrays_among_the_arguments_are_arrays():
    """The multi-backend Keras wrote them so."""
    arguments = {"by": {"type": "ndarray", "value": [1.0, 2.0]}, "axis": [1]}
    config = {"name": "n", "function": "scaled", "arguments": arguments}
    context = BuildContext(
        Dialect.from_keras_version("2.2.4"), custom_objects={"scaled": scaled}
    )
    layer = build_layer({"class_name": "Lambda", "config": config}, context)
    np.testing.assert_array_equal(layer(np.ones((1, 2))), [[1, 2]])
    assert layer.arguments["axis"] == [1]


def scaled(x, by, axis):
    assert isinstance(by, np.ndarray)
    return x * by
