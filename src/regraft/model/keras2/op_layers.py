"""Keras 2's layers that stand for one TensorFlow call each.

A file names a TensorFlow symbol; `SYMBOLS` is the list of those that mean something
here. Shapes and what is computed from them stay concrete, so that a reshape to a
computed shape compiles; see `_Static`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from regraft import _compat, dtypes
from regraft.errors import FormatError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.main_graph import run_node
from regraft.graph.runtime.plan import raise_missing
from regraft.graph.runtime.registry import KERNELS
from regraft.model.keras2 import (
    op_layers_array,
    op_layers_kernels,
    op_layers_lengths,
    op_layers_losses,
    op_layers_math,
    op_layers_nn,
)
from regraft.model.keras2.registration import registered

SYMBOLS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **op_layers_array.SYMBOLS,
        **op_layers_kernels.SYMBOLS,
        **op_layers_losses.SYMBOLS,
        **op_layers_math.SYMBOLS,
        **op_layers_nn.SYMBOLS,
    }
)

# Where a KerasTensor keeps what is known of its values: the arrays that they would
# be if every open dimension had the one or the other of two lengths.
_STATIC = "_regraft_static"
# Where it keeps its shape under the one and the other.
_SHAPES_THEN = "_regraft_shapes"
# What differs between the two is unknown. Models cut lengths in windows and heads,
# which both have many of.
_STAND_INS = (6_720, 10_080)
# Elements of the largest array that is made to be known: a mask of all positions has
# the square of a length. Of larger ones the shape is known.
_MAX_KNOWN = 1 << 20


def carry_shapes(layer: keras.layers.Layer, given: Any, made: Any) -> None:
    """Hands on what is known of a tensor's open dimensions over a layer's call."""
    if not hasattr(given, _SHAPES_THEN) or hasattr(made, _SHAPES_THEN):
        return
    if not isinstance(made, keras.KerasTensor):
        return
    try:
        shapes = [layer.compute_output_shape(s) for s in getattr(given, _SHAPES_THEN)]
    except Exception:  # a user's layer that cannot say
        return
    setattr(made, _SHAPES_THEN, tuple(map(tuple, shapes)))


def symbol(name: str) -> Callable[..., Any]:
    """Returns the function that a TensorFlow symbol stands for.

    Raises:
        UnsupportedError: The symbol is not on the list.
    """
    plain = name.removeprefix("tf.")
    for candidate in (plain, f"math.{plain}", plain.removeprefix("compat.v1.")):
        if candidate in SYMBOLS:
            return SYMBOLS[candidate]
    raise UnsupportedError(
        f"Regraft has no operation for the TensorFlow symbol tf.{plain}. Pass a layer "
        "of your own for it in `custom_objects={'TFOpLambda': …}`."
    )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _replace(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replace(item, convert) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_replace(item, convert) for item in value)
    return convert(value)


class Traced(keras.Operation):
    """A function of tensors alone; everything else in it stays as it is."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def call(self, *tensors: Any) -> Any:
        return self._function(*tensors)


class _OpLayer(keras.layers.Layer):
    """A layer that is one function of tensors and constants."""

    _target: Callable[..., Any]
    # They stay as the file has them: shapes are made of them.
    takes_constants = True

    def __init__(self, **kwargs: Any) -> None:
        kwargs["autocast"] = False
        super().__init__(**kwargs)
        self.built = True

    # A layer's own `__call__` refuses constants among its arguments and casts.
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("training", None)  # a model hands it to every layer
        return keras.Operation.__call__(self, *args, **kwargs)

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        return keras.Operation.symbolic_call(self, *args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("name", None)
        given = [leaf for leaf in _leaves((args, kwargs)) if hasattr(leaf, "dtype")]
        if op_layers_lengths.are_in(given):
            return self._call_on_lengths(args, kwargs)
        if given and all(isinstance(leaf, np.ndarray) for leaf in given):
            with _compat.evaluated_now():
                result = self._target(*args, **kwargs)
                return keras.tree.map_structure(_host, result)
        return self._target(*args, **kwargs)

    def _call_on_lengths(self, args: Any, kwargs: Any) -> Any:
        return op_layers_lengths.call(self._target, args, kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        known = [
            leaf
            for leaf in _leaves((args, kwargs))
            if hasattr(leaf, _STATIC) or hasattr(leaf, _SHAPES_THEN)
        ]
        if known or self._target in _SHAPES:
            return self._merged_trials(args, kwargs)
        try:
            return self._spec(args, kwargs)
        except Exception as error:
            # JAX doesn't divide what it can't tell to be a multiple.
            try:
                found = self._merged_trials(args, kwargs)
            except Exception:
                raise error from None
            # No more is said of lengths than of what they were made of.
            return keras.tree.map_structure(_plain, found)

    def _merged_trials(self, args: Any, kwargs: Any) -> Any:
        first, second = (self._trial(args, kwargs, which) for which in (0, 1))
        return keras.tree.map_structure(_merged, first, second)

    def _trial(self, args: Any, kwargs: Any, which: int) -> Any:
        """The result if every open dimension had one of the two lengths."""

        def fixed(leaf: Any) -> Any:
            if not isinstance(leaf, keras.KerasTensor):
                return leaf
            if hasattr(leaf, _STATIC):
                return getattr(leaf, _STATIC)[which]
            if hasattr(leaf, _SHAPES_THEN):
                shape = getattr(leaf, _SHAPES_THEN)[which]
            else:
                shape = tuple(_STAND_INS[which] if n is None else n for n in leaf.shape)
            return keras.KerasTensor(shape, dtype=leaf.dtype)

        args, kwargs = _replace(list(args), fixed), _replace(kwargs, fixed)
        if self._target in _SHAPES:
            return self._target(*args, **_unnamed(kwargs))
        if any(isinstance(leaf, keras.KerasTensor) for leaf in _leaves((args, kwargs))):
            return self._spec(args, kwargs)
        shapes = Traced(lambda: self._target(*args, **_unnamed(kwargs)))
        found = shapes.compute_output_spec()
        sizes = [math.prod(leaf.shape) for leaf in keras.tree.flatten(found)]
        return found if max(sizes) > _MAX_KNOWN else self.call(*args, **kwargs)

    def _spec(self, args: Any, kwargs: Any) -> Any:
        def is_symbolic(leaf: Any) -> bool:
            return isinstance(leaf, keras.KerasTensor)

        symbolic = [leaf for leaf in _leaves((args, kwargs)) if is_symbolic(leaf)]

        def call(*tensors: Any) -> Any:
            values = iter(tensors)
            filled = _replace(
                (list(args), kwargs), lambda x: next(values) if is_symbolic(x) else x
            )
            return self.call(*filled[0], **filled[1])

        return Traced(call).compute_output_spec(*symbolic)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return None


@registered
class TFOpLambda(_OpLayer):
    """A call of a TensorFlow symbol.

    Args:
        function: The symbol without `tf.`, such as `"math.multiply"`.
    """

    # A list of one tensor is not the tensor, for `concat` and `stack`.
    preserves_input_structure = True

    def __init__(self, function: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function
        self._target = symbol(function)

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        op_layers_losses.remember_logits_for(self._target, kwargs.get("output"))
        return super().symbolic_call(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "function": self.function}


_SHAPES = (op_layers_array.shape, op_layers_array.size, op_layers_array.rank)


def _unnamed(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != "name"}


def _host(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value) if hasattr(value, "dtype") else value


def _merged(first: Any, second: Any) -> Any:
    """One symbolic result out of two trials."""
    shape = tuple(
        a if a == b else None for a, b in zip(first.shape, second.shape, strict=True)
    )
    spec = keras.KerasTensor(shape, dtype=str(first.dtype))
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        setattr(spec, _STATIC, (first, second))
    setattr(spec, _SHAPES_THEN, (tuple(first.shape), tuple(second.shape)))
    return spec


def _plain(spec: keras.KerasTensor) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, dtype=spec.dtype)


@registered
class SlicingOpLambda(TFOpLambda):
    """A subscript, such as `x[:, 1:]`, of a symbolic tensor."""


# --- nodes of TensorFlow 1 graphs ------------------------------------------------

_PREFIX = "tf_op_layer_"


@registered
class TensorFlowOpLayer(_OpLayer):
    """A node of a TensorFlow graph, as TensorFlow 1.13 to 2.3 recorded operations.

    Args:
        node_def: A `NodeDef` in protobuf's JSON form.
        name: Name of the layer.
        constants: Inputs that are no tensors, by position.
    """

    def __init__(
        self,
        node_def: Mapping[str, Any],
        name: str,
        constants: Mapping[Any, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(node_def, Mapping):
            raise UnsupportedError(
                "A TensorFlowOpLayer whose node is not in JSON form."
            )
        super().__init__(name=_PREFIX + name.removeprefix(_PREFIX), **kwargs)
        self.node_def = dict(node_def)
        self.constants = {int(k): v for k, v in (constants or {}).items()}
        self._node = _node(self.node_def)
        self._library = FunctionLibrary({})
        if self._node.op not in KERNELS:
            raise_missing({self._node.op: [f"layer {self.name!r}"]})
        shape = _SHAPE_OPS.get(self._node.op)
        self._target = shape or self._run

    def call(self, *args: Any, **kwargs: Any) -> Any:
        if self._target in _SHAPES:
            return self._target(_first(args))
        return super().call(*args, **kwargs)

    def _call_on_lengths(self, args: Any, kwargs: Any) -> Any:
        return self._target(*args, **kwargs)

    def _run(self, inputs: Any) -> Any:
        values = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        for index in sorted(self.constants):
            dtype = self._input_dtype(index, len(values) + 1)
            values.insert(index, np.asarray(self.constants[index], dtype=dtype))
        results = run_node(self._node, values, self._library)
        return results[0] if len(results) == 1 else results

    def _input_dtype(self, index: int, count: int) -> Any:
        """The dtype of one of the node's flat inputs."""
        op_def = self._library.op_defs[self._node.op]
        position = 0
        for argument in op_def.inputs:
            number = self._node.attrs.get(argument.number_attr, 1)
            position += number if isinstance(number, int) else 1
            if index < position:
                kind = self._node.attrs.get(argument.type_attr, argument.type)
                if isinstance(kind, ir.DataType) and kind:
                    return dtypes.from_number(kind).numpy
                break
        return None

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["name"] = config["name"].removeprefix(_PREFIX)
        config["node_def"] = self.node_def
        config["constants"] = dict(self.constants)
        return config


_SHAPE_OPS = {
    "Shape": op_layers_array.shape,
    "Size": op_layers_array.size,
    "Rank": op_layers_array.rank,
}


def _first(args: Any) -> Any:
    return args[0][0] if isinstance(args[0], (list, tuple)) else args[0]


def _node(data: Mapping[str, Any]) -> ir.Node:
    try:
        attrs = {key: _attr(value) for key, value in data.get("attr", {}).items()}
        return ir.Node(data["name"], data["op"], tuple(data.get("input", ())), attrs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            "Invalid NodeDef of a TensorFlowOpLayer", received=repr(data)[:200]
        ) from error


def _attr(data: Mapping[str, Any]) -> ir.AttrValue:
    if "list" in data:
        (items,) = data["list"].values() or ((),)
        (kind,) = data["list"].keys() or ("i",)
        return tuple(_scalar_attr(kind, item) for item in items)
    ((kind, value),) = data.items()
    return _scalar_attr(kind, value)


def _scalar_attr(kind: str, value: Any) -> Any:
    if kind == "type":
        return ir.DataType.of(_DTYPES[value])
    if kind == "i":
        return int(value)
    if kind == "f":
        return float(value)
    if kind == "b":
        return bool(value)
    if kind == "s":
        return base64.b64decode(value)
    if kind == "shape":
        dims = value.get("dim", ())
        sizes = (int(dim.get("size", 0)) for dim in dims)
        return ir.TensorShape(tuple(None if n < 0 else n for n in sizes))
    raise UnsupportedError(f"An attribute of kind {kind!r} of a TensorFlowOpLayer.")


# Protobuf's JSON has the enum's names.
_DTYPES = {
    "DT_HALF": "float16",
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_BFLOAT16": "bfloat16",
    "DT_BOOL": "bool",
    "DT_STRING": "string",
    **{f"DT_INT{n}": f"int{n}" for n in (8, 16, 32, 64)},
    **{f"DT_UINT{n}": f"uint{n}" for n in (8, 16, 32, 64)},
    "DT_COMPLEX64": "complex64",
    "DT_COMPLEX128": "complex128",
}
