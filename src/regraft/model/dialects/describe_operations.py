"""Keras 3's operations as the TensorFlow symbols that mean the same.

One row per operation: the symbol, the TensorFlow names of what the operation is
called on (the first of them is the recorded call's own input), and of the
attributes that the operation was made with.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras


@dataclass(frozen=True)
class OpCall:
    """One call of a TensorFlow symbol.

    Attributes:
        class_name: `"TFOpLambda"` or `"SlicingOpLambda"`.
        symbol: Without `tf.`.
        first: The first argument.
        keywords: All others.
    """

    class_name: str
    symbol: str
    first: Any
    keywords: dict[str, Any]


@dataclass(frozen=True)
class _Row:
    symbol: str
    inputs: tuple[str, ...] = ("x",)
    attributes: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    # Attributes that TensorFlow's symbol lacks, at the value that it computes.
    required: Mapping[str, Any] = field(default_factory=dict)
    # TensorFlow gives another dtype for integers.
    floating: bool = False


_REDUCE = {"axis": "axis", "keepdims": "keepdims"}
_AXIS = {"axis": "axis"}

_UNARY = {
    "Absolute": "abs",
    "Abs": "abs",
    "Negative": "negative",
    "Sign": "sign",
    "Square": "square",
    "Conjugate": "conj",
    "Conj": "conj",
    "LogicalNot": "logical_not",
}
_UNARY_FLOATING = {
    "Exp": "exp",
    "Expm1": "expm1",
    "Log": "log",
    "Log1p": "log1p",
    "Sqrt": "sqrt",
    "Rsqrt": "rsqrt",
    "Reciprocal": "reciprocal",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Tanh": "tanh",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Arcsin": "asin",
    "Arccos": "acos",
    "Arctan": "atan",
    "Arcsinh": "asinh",
    "Arccosh": "acosh",
    "Arctanh": "atanh",
    "Erf": "erf",
    "Erfc": "erfc",
    "Erfinv": "erfinv",
    "Floor": "floor",
    "Ceil": "ceil",
    "Sigmoid": "sigmoid",
    "Isnan": "is_nan",
    "Isfinite": "is_finite",
    "Isinf": "is_inf",
}
_BINARY = {
    "Add": "math.add",
    "Subtract": "math.subtract",
    "Multiply": "math.multiply",
    "FloorDivide": "math.floordiv",
    "Mod": "math.floormod",
    "Power": "math.pow",
    "Maximum": "math.maximum",
    "Minimum": "math.minimum",
    "LogicalAnd": "math.logical_and",
    "LogicalOr": "math.logical_or",
    "LogicalXor": "math.logical_xor",
    "Equal": "math.equal",
    "NotEqual": "math.not_equal",
    "Greater": "math.greater",
    "GreaterEqual": "math.greater_equal",
    "Less": "math.less",
    "LessEqual": "math.less_equal",
}
_FEATURES = {
    "Relu": "nn.relu",
    "Relu6": "nn.relu6",
    "Selu": "nn.selu",
    "Silu": "nn.silu",
    "Softplus": "math.softplus",
    "Softsign": "nn.softsign",
    "LogSigmoid": "math.log_sigmoid",
}

_ROWS: dict[str, _Row] = {
    **{k: _Row(f"math.{v}") for k, v in _UNARY.items()},
    **{k: _Row(f"math.{v}", floating=True) for k, v in _UNARY_FLOATING.items()},
    **{k: _Row(v, ("x", "y")) for k, v in _BINARY.items()},
    **{k: _Row(v, floating=True) for k, v in _FEATURES.items()},
    "Divide": _Row("math.truediv", ("x", "y"), floating=True),
    "TrueDivide": _Row("math.truediv", ("x", "y"), floating=True),
    "DivideNoNan": _Row("math.divide_no_nan", ("x", "y"), floating=True),
    "Arctan2": _Row("math.atan2", ("y", "x"), floating=True),
    "Matmul": _Row("linalg.matmul", ("a", "b")),
    "Mean": _Row("math.reduce_mean", attributes=_REDUCE, floating=True),
    "Sum": _Row("math.reduce_sum", attributes=_REDUCE, floating=True),
    "Prod": _Row(
        "math.reduce_prod", attributes=_REDUCE, required={"dtype": None}, floating=True
    ),
    "Max": _Row("math.reduce_max", attributes=_REDUCE, required={"initial": None}),
    "Min": _Row("math.reduce_min", attributes=_REDUCE, required={"initial": None}),
    "Amax": _Row("math.reduce_max", attributes=_REDUCE),
    "Amin": _Row("math.reduce_min", attributes=_REDUCE),
    "Any": _Row("math.reduce_any", attributes=_REDUCE),
    "All": _Row("math.reduce_all", attributes=_REDUCE),
    "Std": _Row("math.reduce_std", attributes=_REDUCE, floating=True),
    "Var": _Row("math.reduce_variance", attributes=_REDUCE, floating=True),
    "Logsumexp": _Row("math.reduce_logsumexp", attributes=_REDUCE, floating=True),
    "Argmax": _Row(
        "math.argmax",
        attributes=_AXIS,
        required={"keepdims": False},
        fixed={"output_type": "int32"},
    ),
    "Argmin": _Row(
        "math.argmin",
        attributes=_AXIS,
        required={"keepdims": False},
        fixed={"output_type": "int32"},
    ),
    "Cumsum": _Row("math.cumsum", attributes=_AXIS, required={"dtype": None}),
    "Cumprod": _Row("math.cumprod", attributes=_AXIS, required={"dtype": None}),
    "Reshape": _Row("reshape", attributes={"newshape": "shape"}),
    "Transpose": _Row("transpose", attributes={"axes": "perm"}),
    "ExpandDims": _Row("expand_dims", attributes=_AXIS),
    "Squeeze": _Row("squeeze", attributes=_AXIS),
    "Concatenate": _Row("concat", attributes=_AXIS),
    "Stack": _Row("stack", attributes=_AXIS),
    "Unstack": _Row("unstack", attributes={"axis": "axis", "num": "num"}),
    "Tile": _Row("tile", attributes={"repeats": "multiples"}),
    "Repeat": _Row("repeat", attributes={"repeats": "repeats", "axis": "axis"}),
    "Flip": _Row("reverse", attributes=_AXIS),
    "Roll": _Row("roll", attributes={"shift": "shift", "axis": "axis"}),
    "BroadcastTo": _Row("broadcast_to", attributes={"shape": "shape"}),
    "OnesLike": _Row("ones_like", attributes={"dtype": "dtype"}),
    "ZerosLike": _Row("zeros_like", attributes={"dtype": "dtype"}),
    "Sort": _Row("sort", attributes=_AXIS),
    "Argsort": _Row("argsort", attributes=_AXIS),
    "Where": _Row("where", ("condition", "x", "y")),
    "Take": _Row("gather", ("params", "indices"), attributes=_AXIS),
    "Cast": _Row("cast", attributes={"dtype": "dtype"}),
    "StopGradient": _Row("stop_gradient"),
    "Copy": _Row("identity"),
    "Clip": _Row(
        "clip_by_value",
        attributes={"x_min": "clip_value_min", "x_max": "clip_value_max"},
        floating=True,
    ),
    "Softmax": _Row("nn.softmax", attributes=_AXIS, floating=True),
    "LogSoftmax": _Row("nn.log_softmax", attributes=_AXIS, floating=True),
    "Gelu": _Row("nn.gelu", attributes={"approximate": "approximate"}, floating=True),
    "LeakyRelu": _Row(
        "nn.leaky_relu", attributes={"negative_slope": "alpha"}, floating=True
    ),
    "Elu": _Row("nn.elu", required={"alpha": 1.0}, floating=True),
    "OneHot": _Row(
        "one_hot",
        attributes={"num_classes": "depth", "axis": "axis", "dtype": "dtype"},
        required={"sparse": False},
    ),
    "Det": _Row("linalg.det"),
    "Inv": _Row("linalg.inv"),
    "Solve": _Row("linalg.solve", ("matrix", "rhs")),
    "Tensordot": _Row("tensordot", ("a", "b"), attributes={"axes": "axes"}),
}

# A symbol needs the value and has no `None` for "all".
_NEEDED = {
    (symbol, "axis")
    for symbol in (
        "roll",
        "reverse",
        "gather",
        "math.cumsum",
        "math.cumprod",
        "math.argmax",
        "math.argmin",
    )
}


def describe(
    operation: Any, args: list[Any], keywords: dict[str, Any]
) -> OpCall | None:
    """Returns the call that means the same, `None` where TensorFlow has none."""
    name = type(operation).__name__
    bound = inspect.signature(operation.call).bind(*args, **keywords)
    call = dict(bound.arguments)
    if name in _SPECIAL:
        return _SPECIAL[name](operation, call)
    row = _ROWS.get(name)
    if row is None or not _agrees(row, operation, call):
        return None
    found = dict(row.fixed)
    values = list(call.values())
    found.update(zip(row.inputs[1:], values[1:], strict=False))
    for attribute, keyword in row.attributes.items():
        value = getattr(operation, attribute, None)
        if isinstance(value, tuple):
            value = list(value)
        if value is None and (row.symbol, keyword) in _NEEDED:
            return None
        if value is not None:
            found[keyword] = value
    if row.symbol == "reverse":
        axis = found["axis"]
        found["axis"] = axis if isinstance(axis, list) else [axis]
    if row.symbol == "reshape" and None in found["shape"]:
        found["shape"] = [-1 if n is None else n for n in found["shape"]]
        if found["shape"].count(-1) > 1:
            return None
    return OpCall("TFOpLambda", row.symbol, values[0], found)


def _agrees(row: _Row, operation: Any, call: Mapping[str, Any]) -> bool:
    if not call or len(call) > len(row.inputs):
        return False
    for attribute, value in row.required.items():
        if getattr(operation, attribute, value) != value:
            return False
    tensors = [t for t in keras.tree.flatten(call) if isinstance(t, keras.KerasTensor)]
    if row.floating and any("float" not in str(t.dtype) for t in tensors):
        return False
    # TensorFlow casts nothing by itself.
    return len({str(t.dtype) for t in tensors}) <= 1 or row.symbol in (
        "where",
        "gather",
    )


def _getitem(operation: Any, call: Mapping[str, Any]) -> OpCall | None:
    key = call["key"]
    parts = list(key) if isinstance(key, tuple) else key
    for part in parts if isinstance(parts, list) else [parts]:
        plain = part is None or part is Ellipsis or isinstance(part, (int, slice))
        if not plain or isinstance(part, bool):
            return None
    return OpCall(
        "SlicingOpLambda", "__operators__.getitem", call["x"], {"slice_spec": parts}
    )


def _split(operation: Any, call: Mapping[str, Any]) -> OpCall | None:
    x, axis, sizes = call["x"], operation.axis, operation.indices_or_sections
    if not isinstance(sizes, int):
        length = x.shape[axis]
        if length is None:
            return None
        points = [0, *(int(point) for point in sizes), length]
        sizes = [after - before for before, after in itertools.pairwise(points)]
    keywords = {"num_or_size_splits": sizes, "axis": axis}
    return OpCall("TFOpLambda", "split", x, keywords)


def _transposed(x: Any, perm: list[int]) -> OpCall:
    return OpCall("TFOpLambda", "transpose", x, {"perm": perm})


def _swapaxes(operation: Any, call: Mapping[str, Any]) -> OpCall | None:
    rank = len(call["x"].shape)
    perm = list(range(rank))
    first, second = operation.axis1 % rank, operation.axis2 % rank
    perm[first], perm[second] = perm[second], perm[first]
    return _transposed(call["x"], perm)


def _moveaxis(operation: Any, call: Mapping[str, Any]) -> OpCall | None:
    ends = (operation.source, operation.destination)
    if not all(isinstance(end, int) for end in ends):
        return None
    rank = len(call["x"].shape)
    source, destination = (end % rank for end in ends)
    perm = [axis for axis in range(rank) if axis != source]
    perm.insert(destination, source)
    return _transposed(call["x"], perm)


def _pad(operation: Any, call: Mapping[str, Any]) -> OpCall | None:
    widths = operation.pad_width
    if isinstance(widths, int) or any(isinstance(pair, int) for pair in widths):
        return None
    if len(widths) != len(call["x"].shape):
        return None
    if operation.mode not in ("constant", "reflect", "symmetric"):
        return None
    keywords = {"paddings": [list(pair) for pair in widths]}
    keywords["mode"] = operation.mode.upper()
    if call.get("constant_values") is not None:
        keywords["constant_values"] = call["constant_values"]
    return OpCall("TFOpLambda", "compat.v1.pad", call["x"], keywords)


def _activation_relu(operation: Any, call: Mapping[str, Any]) -> OpCall | None:
    plain = (operation.negative_slope, operation.max_value, operation.threshold)
    if plain != (0.0, None, 0.0):
        return None
    return OpCall("TFOpLambda", "nn.relu", call["x"], {})


def _resize(operation: Any, call: Mapping[str, Any]) -> OpCall | None:
    if (
        operation.data_format == "channels_first"
        or operation.crop_to_aspect_ratio
        or operation.pad_to_aspect_ratio
        or operation.interpolation == "bicubic"  # other weights
    ):
        return None
    keywords = {
        "size": list(operation.size),
        "method": operation.interpolation,
        "antialias": bool(operation.antialias),
    }
    return OpCall("TFOpLambda", "image.resize", call["images"], keywords)


_SPECIAL: Mapping[str, Callable[[Any, Mapping[str, Any]], OpCall | None]] = {
    "GetItem": _getitem,
    "Split": _split,
    "Swapaxes": _swapaxes,
    "Moveaxis": _moveaxis,
    "Pad": _pad,
    "ReLU": _activation_relu,
    "Resize": _resize,
}
