"""Symbolic lengths of dimensions → integer arithmetic in a TensorFlow graph.

JAX writes a symbolic length as a polynomial over named lengths, with `floordiv`,
`mod`, `max` and `min`. Its text is JAX's public form of it, so the text is read here.
A named length itself is read off the shape of an argument that has it.
"""

from __future__ import annotations

import ast
import functools
from typing import Any

import numpy as np

from regraft.errors import UnsupportedError
from regraft.graph.tracing.builder import FunctionBuilder
from regraft.graph.tracing.values import Dim, Value

_OPS: dict[type, str] = {ast.Add: "AddV2", ast.Sub: "Sub", ast.Mult: "Mul"}
_CALLS = {"floordiv": "FloorDiv", "mod": "FloorMod", "max": "Maximum", "min": "Minimum"}


@functools.lru_cache(4096)
def _parse(text: str) -> ast.expr:
    return ast.parse(text.replace("^", "**"), mode="eval").body


def symbols(dim: Dim) -> frozenset[str]:
    """Returns the named lengths that a length depends on."""
    if isinstance(dim, int | np.integer):
        return frozenset()
    names = {n.id for n in ast.walk(_parse(str(dim))) if isinstance(n, ast.Name)}
    return frozenset(names - _CALLS.keys() - {"non_negative"})


class SymbolicBuilder(FunctionBuilder):
    """A builder that knows what symbolic lengths are.

    Attributes:
        passed_symbols: Names of lengths that no argument shows; the caller passes
            each as one more int32 argument, in this order.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[str, tuple[Value, int]] = {}
        self._derived: list[tuple[Dim, Value, int]] = []
        self._lengths: dict[str, Value] = {}
        self.passed_symbols: list[str] = []

    def argument(self, name: str, dtype: str, shape: tuple[Dim, ...]) -> Value:
        """Adds an argument that is a tensor."""
        value = super().argument(name, dtype, shape)
        for axis, dim in enumerate(shape):
            if not isinstance(dim, int | np.integer):
                self.show(dim, value, axis)
        return value

    def show(self, dim: Dim, value: Value, axis: int) -> None:
        """Says that a length can be read off a tensor."""
        if (text := str(dim)).isidentifier():
            self._shown.setdefault(text, (value, axis))
        else:
            self._derived.append((dim, value, axis))

    def dim(self, dim: Dim) -> Value:
        """Returns a length as an int32 scalar; of a fixed one a constant."""
        if isinstance(dim, int | np.integer):
            return super().dim(dim)
        if (known := self._lengths.get(text := str(dim))) is None:
            known = self._lengths[text] = self._whole(dim) or self._expression(
                _parse(text)
            )
        return known

    def _whole(self, dim: Dim) -> Value | None:
        """Returns a length that an argument shows as it is."""
        for other, value, axis in self._derived:
            if str(other) == str(dim):
                return self.length_of(value, axis)
        return None

    def length_of(self, value: Value, axis: int) -> Value:
        """Returns the length of an axis of a tensor as it is when the graph runs."""
        shape = self.op("Shape", value, shape=(value.rank,))
        return self.op(
            "StridedSlice",
            shape,
            np.array([axis], np.int32),
            np.array([axis + 1], np.int32),
            np.array([1], np.int32),
            shrink_axis_mask=1,
            shape=(),
        )

    def _expression(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=int(number)):
                return Value.of(np.int32(number), "int32")
            case ast.Name(id=name):
                return self._symbol(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._arithmetic("Neg", operand)
            case ast.BinOp(
                op=ast.Pow(), left=left, right=ast.Constant(value=int(power))
            ):
                base = self._expression(left)
                return functools.reduce(
                    lambda a, b: self.op("Mul", a, b, shape=()), [base] * power
                )
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPS:
                return self._arithmetic(_OPS[type(op)], left, right)
            case ast.Call(func=ast.Name(id="non_negative"), args=[argument]):
                zero = ast.Constant(0)
                return self._arithmetic("Maximum", argument, zero)
            case ast.Call(func=ast.Name(id=name), args=args) if name in _CALLS:
                return self._arithmetic(_CALLS[name], *args)
        raise UnsupportedError(
            f"The length {ast.unparse(node)} has no TensorFlow form."
        )

    def _arithmetic(self, op: str, *operands: ast.expr) -> Value:
        values = [self._expression(operand) for operand in operands]
        return self.op(op, *values, shape=())

    def _symbol(self, name: str) -> Value:
        if (known := self._lengths.get(name)) is None:
            known = self._lengths[name] = self._find(name)
        return known

    def know_symbol(self, name: str, value: Value) -> None:
        """Says what a named length is."""
        self._lengths[name] = value

    def _find(self, name: str) -> Value:
        if name in self._shown:
            return self.length_of(*self._shown[name])
        for dim, value, axis in self._derived:
            if symbols(dim) == {name} and (line := _line(dim, name)) is not None:
                slope, offset = line
                length: Any = self.length_of(value, axis)
                if offset:
                    length = self.op("Sub", length, np.int32(offset), shape=())
                return self.op("FloorDiv", length, np.int32(slope), shape=())
        self.passed_symbols.append(name)
        return self.argument(f"length_{name}".lower(), "int32", ())


def _line(dim: Dim, name: str) -> tuple[int, int] | None:
    """Returns slope and offset of a length that is a line over one named length."""
    try:
        values = [eval_dim(dim, {name: sample}) for sample in (0, 1, 2, 7, 1001)]
    except UnsupportedError:
        return None
    slope, offset = values[1] - values[0], values[0]
    fits = all(
        slope * x + offset == y for x, y in zip((0, 1, 2, 7, 1001), values, strict=True)
    )
    return (slope, offset) if slope > 0 and fits else None


def eval_dim(dim: Dim, lengths: dict[str, int]) -> int:
    """Returns a length, or its text, where the named lengths have these values."""
    return _evaluate(_parse(str(dim)), lengths)


def _evaluate(node: ast.expr, lengths: dict[str, int]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return lengths[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, lengths)
        case ast.BinOp(op=op, left=left, right=right):
            a, b = _evaluate(left, lengths), _evaluate(right, lengths)
            results = {ast.Add: a + b, ast.Sub: a - b, ast.Mult: a * b}
            return a**b if isinstance(op, ast.Pow) else results[type(op)]
        case ast.Call(func=ast.Name(id=name), args=args):
            values = [_evaluate(a, lengths) for a in args]
            if name == "floordiv":
                return values[0] // values[1]
            if name == "mod":
                return values[0] % values[1]
            if name in ("max", "min"):
                return max(values) if name == "max" else min(values)
    raise UnsupportedError(f"The length {ast.unparse(node)} is no arithmetic.")
