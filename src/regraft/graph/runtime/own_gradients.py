"""Gradients that the author of a function wrote: `tf.custom_gradient`.

TensorFlow hides such a function behind a node `IdentityN` of its results and its
arguments, with the name of its gradient. A SavedModel since TensorFlow 2.6 has a
function for each, which may capture tensors of the function that the node is in.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.native import raw_native
from regraft.graph.runtime.registry import Kernel

_NAME = "_gradient_op_type"


@dataclasses.dataclass(frozen=True, slots=True)
class OwnGradient:
    """What a node's gradient is.

    Attributes:
        function: Name of the function: of the gradients of the node's results, and of
            the captured tensors.
        place: Name of the function that the node is in.
        captures: Tensors of that function, each `node:index`.
        given: For each input of the node, whether the function has a gradient of it.
    """

    function: str
    place: str
    captures: tuple[str, ...]
    given: tuple[bool, ...]


Gradients = Mapping[str, OwnGradient]


def with_captures(function: ir.Function, gradients: Gradients) -> ir.Function:
    """Returns a function whose nodes with own gradients wait for what these capture."""
    if not any(_NAME in node.attrs for node in function.nodes):
        return function
    nodes = {node.name: node for node in function.nodes}
    changed = []
    for node in function.nodes:
        found = own_gradient(node, function.name, gradients)
        if found is not None and not _is_swish(node, nodes):
            names = (capture.split(":")[0] for capture in found.captures)
            waits = tuple(f"^{name}" for name in names if name in nodes)
            node = dataclasses.replace(node, inputs=(*node.inputs, *waits))
        elif _NAME in node.attrs:
            rest = {key: v for key, v in node.attrs.items() if key != _NAME}
            node = dataclasses.replace(node, attrs=rest)
        changed.append(node)
    return dataclasses.replace(function, nodes=tuple(changed))


def own_gradient(node: ir.Node, place: str, gradients: Gradients) -> OwnGradient | None:
    """Returns the gradient of a node that is one's own; `None`: it has none."""
    name = node.attrs.get(_NAME)
    if node.op != "IdentityN" or not isinstance(name, bytes) or not gradients:
        return None
    found = gradients.get(name.decode(errors="replace"))
    count = sum(not text.startswith("^") for text in node.inputs)
    fits = found and found.place in ("", place) and len(found.given) == count
    return found if fits else None


def argument_name(tensor: str) -> str:
    """Returns what a function calls an argument that is this tensor of its graph."""
    name = re.sub(r"[^a-z0-9]+", "_", tensor.split(":")[0].lower()).strip("_")
    return name if name[:1].isalpha() else f"arg_{name}"


def _is_swish(node: ir.Node, nodes: Mapping[str, ir.Node]) -> bool:
    """Whether a node is of `tf.nn.swish`, whose gradient is no other, but short."""
    result, x = (*(text.split(":")[0] for text in node.inputs), "", "")[:2]
    product = nodes.get(result)
    if product is None or product.op != "Mul":
        return False
    factors = [text.split(":")[0] for text in product.inputs]
    return x in factors and any(
        factor in nodes and nodes[factor].op == "Sigmoid" for factor in factors
    )


def _identity(
    ctx: Context, input: list[Any], captured: list[Any], *, gradient: OwnGradient
) -> list[Any]:
    """The inputs, with the gradient that their author wrote."""
    if not all(map(_is_float_tensor, input)):
        return input
    library = ctx.library

    def backward(kept: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        """A gradient, or `None`, for each input."""
        plan = library.plan(gradient.function)
        found = library.run(plan, [*cotangents, *kept], library.context())
        results = iter(found)
        return [next(results) if has else None for has in gradient.given]

    kept = [values.to_tensor(value) for value in captured]
    if keras.backend.backend() == "torch":
        return _with_autograd(input, kept, backward)
    try:
        call = raw_native("custom_vjp")(lambda given, kept: given)
    except UnsupportedError:  # Keras' other backends have no place for it.
        return input
    call.defvjp(
        lambda given, kept: (given, kept),
        lambda kept, cotangents: (backward(kept, cotangents), None),
    )
    return list(call(input, kept))


def _with_autograd(
    given: Sequence[Any], kept: Sequence[Any], gradients: Callable[..., list[Any]]
) -> list[Any]:
    """The same for PyTorch, which wants a class."""

    class Identity(raw_native("autograd_function")):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            ctx.save_for_backward(*tensors[len(given) :])
            return tuple(tensor.view_as(tensor) for tensor in tensors[: len(given)])

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            found = gradients(ctx.saved_tensors, cotangents)
            return (*found, *(None for _ in kept))

    return list(Identity.apply(*given, *kept))


def _is_float_tensor(value: Any) -> bool:
    return values.is_backend(value) and "float" in values.dtype_of(value)


KERNEL = Kernel(
    op="IdentityN",
    function=_identity,
    inputs=("input", "captured"),
    attrs=("gradient",),
    takes_context=True,
)
