"""Runs a part of a main graph, as a TensorFlow 1 session does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from regraft.errors import FormatError, MismatchError
from regraft.graph import ir
from regraft.graph.runtime import composites, structure
from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.lift_conditionals import lifted_conditionals
from regraft.graph.runtime.lift_loops import lifted
from regraft.graph.runtime.plan import (
    Plan,
    PlanBuilder,
    raise_missing,
    reachable,
    source_of,
)
from regraft.graph.runtime.registry import KERNELS


def tensor_name(text: str) -> str:
    """Returns a tensor's name with its index: `x` is `x:0`."""
    return text if ":" in text else f"{text}:0"


class MainGraph:
    """A main graph whose tensors can be computed.

    Attributes:
        library: The functions that its nodes may call, and its resources.
    """

    def __init__(self, nodes: Sequence[ir.Node], library: FunctionLibrary) -> None:
        self.library = library
        self._nodes = {node.name: node for node in nodes}
        self._loops = 0
        self._plans: dict[tuple[Any, ...], Plan] = {}

    def plan(
        self,
        feeds: Sequence[str],
        fetches: Sequence[str],
        targets: Sequence[str] = (),
    ) -> Plan:
        """Returns the part of the graph that leads from `feeds` to `fetches`.

        Args:
            feeds: Tensors whose values will be given.
            fetches: Tensors that are wanted.
            targets: Nodes that must run besides.

        Raises:
            FormatError: A name is not in the graph.
            UnsupportedOpError: Ops on the way have no kernel.
        """
        key = (tuple(feeds), tuple(fetches), tuple(targets))
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = self._build(*key)
        return found

    def _build(
        self, feeds: Sequence[str], fetches: Sequence[str], targets: Sequence[str]
    ) -> Plan:
        fed = [tensor_name(name) for name in feeds]
        stop = frozenset(name.split(":")[0] for name in fed)
        roots = [name.split(":")[0] for name in (*fetches, *targets)]
        nodes = self.library.functions.nodes(
            reachable(self._needed(roots, stop), dict.fromkeys(roots), stop)
        )
        self._check(nodes)
        builder = PlanBuilder("main graph", self.library.op_defs, positional=True)
        arguments = [builder.argument(name) for name in fed]
        return builder.build(
            nodes, arguments, lambda: [builder.slot_of(name) for name in fetches]
        )

    def _needed(self, roots: Sequence[str], stop: frozenset[str]) -> dict[str, ir.Node]:
        """The nodes that lead to `roots`, each loop and conditional as one node.

        Others, as those of training, may hold loops that don't run here; and what
        they wanted of the loops that do is left out.
        """
        found: dict[str, ir.Node] = {}
        pending = list(roots)
        while pending:
            name = pending.pop()
            if name in found or name not in self._nodes:
                continue
            node = found[name] = self._nodes[name]
            if name not in stop:
                pending += map(source_of, node.inputs)
        self._loops += 1
        prefix = f"{self._loops}/"
        nodes = lifted(found, self.library, prefix)
        return lifted_conditionals(nodes, roots, stop, self.library, prefix)

    def _check(self, nodes: Sequence[ir.Node]) -> None:
        missing: dict[str, list[str]] = {}
        for node in nodes:
            if node.op not in KERNELS:
                missing.setdefault(node.op, []).append(f"node '{node.name}'")
        for name in ir.functions_of(nodes):
            for op, users in self.library.missing_ops(name).items():
                missing.setdefault(op, []).extend(users)
        raise_missing(missing)

    def run(
        self,
        fetches: Sequence[str],
        feeds: Mapping[str, Any] | None = None,
        *,
        targets: Sequence[str] = (),
        context: Context | None = None,
        seed_generator: Any = None,
    ) -> list[Any]:
        """Returns the values of tensors.

        Args:
            fetches: Names of tensors, such as `"add:0"`.
            feeds: Values of other tensors, by name.
            targets: Names of nodes that must run besides.
            context: What the run may touch; a fresh one if not given.
            seed_generator: For that fresh context.
        """
        given = dict(feeds or {})
        plan = self.plan(tuple(given), tuple(fetches), tuple(targets))
        arguments = [
            values.argument(value, self.dtype_of(name)) for name, value in given.items()
        ]
        return self.library.call(plan, arguments, (), context, seed_generator)

    def node(self, name: str) -> ir.Node:
        """Returns a node.

        Raises:
            FormatError: There is none of that name.
        """
        found = self._nodes.get(name)
        if found is None:
            raise FormatError("Invalid graph: no such node", object_path=name)
        return found

    def dtype_of(self, tensor: str) -> str:
        """Returns the element type of a tensor of a placeholder; `""` if unknown."""
        node = self._nodes.get(tensor.split(":")[0])
        dtype = None if node is None else node.attrs.get("dtype", node.attrs.get("T"))
        return dtype.name if isinstance(dtype, ir.DataType) else ""


class GraphSignature:
    """A `SignatureDef` of a main graph, to be called by names.

    Attributes:
        inputs: Spec by name.
        outputs: Spec by name.
    """

    def __init__(self, graph: MainGraph, name: str, signature: ir.Signature) -> None:
        self.name = name
        self._graph = graph
        self._signature = signature
        self.inputs = {k: _spec(k, v) for k, v in signature.inputs.items()}
        self.outputs = {k: _spec(k, v) for k, v in signature.outputs.items()}

    def check(self) -> None:
        """Refuses ops without kernel, before anything runs.

        Raises:
            UnsupportedOpError: There are any.
        """
        fetches = self._fetches().values()
        self._graph.plan(self._feeds(), [name for names in fetches for name in names])

    def _feeds(self) -> list[str]:
        infos = self._signature.inputs.values()
        return [name for info in infos for name in _tensors(info)]

    def _fetches(self) -> dict[str, tuple[str, ...]]:
        found = {k: _tensors(info) for k, info in self._signature.outputs.items()}
        return {key: names for key, names in found.items() if all(names)}

    def __call__(
        self,
        *args: Any,
        context: Context | None = None,
        seed_generator: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Runs the signature.

        Raises:
            MismatchError: The arguments don't fit.
        """
        given = self._named(args, kwargs)
        wanted = {k: s for k, s in self.inputs.items() if k in given}
        found = structure.difference(wanted, given, "inputs")
        missing = sorted(set(self.inputs) - set(given) - set(self._signature.defaults))
        if found is not None or missing:
            raise MismatchError(
                f"Signature '{self.name}' doesn't take these arguments; "
                + (found or f"missing: {', '.join(missing)}")
                + "."
            )
        for key, value in self._signature.defaults.items():
            if isinstance(self.inputs.get(key), ir.TensorSpec):
                given.setdefault(key, value.numpy())
        feeds: dict[str, Any] = {}
        for key, value in given.items():
            parts = structure.flat_tensors(self.inputs[key], value)
            names = _tensors(self._signature.inputs[key])
            feeds |= zip(names, (part for part, _ in parts), strict=True)
        fetches = self._fetches()
        results = self._graph.run(
            [name for names in fetches.values() for name in names],
            feeds,
            context=context,
            seed_generator=seed_generator,
        )
        specs = {key: self.outputs[key] for key in fetches}
        flat = iter(results)
        return {key: structure.rebuilt(spec, flat) for key, spec in specs.items()}

    def _named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if len(args) == 1 and not kwargs:
            if isinstance(args[0], Mapping):
                return dict(args[0])
            if len(self.inputs) == 1:
                return {next(iter(self.inputs)): args[0]}
        if args:
            raise MismatchError(
                f"Signature '{self.name}' takes {', '.join(sorted(self.inputs))} by "
                f"keyword; received {len(args)} positional arguments."
            )
        return dict(kwargs)


def _tensors(info: ir.TensorInfo) -> tuple[str, ...]:
    """The names of the tensors that an input or output is made of."""
    if info.sparse is not None:
        found, indices, shape = info.sparse
        return indices, found, shape
    if info.type_spec is not None:
        return tuple(part.name for part in info.components)
    return (info.name,)


def _spec(key: str, info: ir.TensorInfo) -> ir.TensorSpec | ir.TypeSpec:
    if info.sparse is not None:
        return composites.sparse_spec(info.shape, info.dtype)
    if info.type_spec is not None:
        return replace(info.type_spec, num_flat_components=len(info.components))
    return ir.TensorSpec(info.shape or ir.TensorShape(None), info.dtype, key)


def run_node(
    node: ir.Node,
    inputs: Sequence[Any],
    library: FunctionLibrary,
    *,
    context: Context | None = None,
    seed_generator: Any = None,
) -> list[Any]:
    """Runs one node on values for its inputs; Keras' `TensorFlowOpLayer` is one.

    Args:
        node: What to run; the names of its inputs don't matter.
        inputs: One value per input.
        library: Functions and op signatures.
        context: What the run may touch; a fresh one if not given.
        seed_generator: For that fresh context.

    Raises:
        UnsupportedOpError: The op has no kernel.
    """
    if node.op not in KERNELS:
        raise_missing({node.op: [f"node '{node.name}'"]})
    names = [f"input_{i}:0" for i in range(len(inputs))]
    renamed = ir.Node(node.name, node.op, tuple(names), node.attrs)
    builder = PlanBuilder(f"node '{node.name}'", library.op_defs, positional=True)
    arguments = [builder.argument(name) for name in names]
    plan = builder.build([renamed], arguments, lambda: builder.outputs_of(renamed))
    ctx = context or library.context(seed_generator)
    return library.run(plan, list(inputs), ctx)
