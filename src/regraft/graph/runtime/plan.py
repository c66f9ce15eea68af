"""A function of a graph, made ready to run: names resolved, order fixed.

A plan holds steps in the order in which they run. Values live in numbered slots;
each step says which slots are last used by it. Nodes that only pass a value on
are no steps: their outputs share the slot of their input.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regraft.errors import FormatError, UnsupportedOpError
from regraft.graph import ir
from regraft.graph.op_defs import OpDefs
from regraft.graph.runtime.own_gradients import KERNEL as OWN_GRADIENT
from regraft.graph.runtime.own_gradients import (
    Gradients,
    argument_name,
    own_gradient,
    with_captures,
)
from regraft.graph.runtime.registry import KERNELS, Kernel

Slots = int | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One node.

    Attributes:
        node: Where it comes from, for error texts.
        kernel: The registry's row.
        inputs: Per parameter its slot, or slots of a list.
        static: Positions of the parameters that must be NumPy arrays.
        references: Slots whose variable must be read first (TensorFlow 1).
        attrs: Keyword arguments.
        outputs: Slots of all results, lists laid flat.
        nested: Whether the kernel returns lists inside a tuple.
        frees: Slots that nobody needs any more.
        controls: Slots of what must have run before, in a plan with switches.
        done: Slot that says whether the step ran, in a plan with switches.
    """

    node: ir.Node
    kernel: Kernel
    inputs: tuple[Slots, ...]
    static: tuple[int, ...]
    references: frozenset[int]
    attrs: Mapping[str, Any]
    outputs: tuple[int, ...]
    nested: bool
    frees: tuple[int, ...]
    controls: tuple[int, ...] = ()
    done: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A function that can run.

    Attributes:
        name: Of the function.
        arguments: Slots of the arguments.
        results: Slots of the results.
        steps: In running order.
        constants: Values of slots that are known beforehand.
        slot_count: Length of the value list.
        functions: Names of the functions that steps may call.
        writes: Whether a step changes a variable.
        random: Whether a step draws random numbers.
        switches: Whether steps may be dead: TensorFlow 1's conditionals.
    """

    name: str
    arguments: tuple[int, ...]
    results: tuple[int, ...]
    steps: tuple[Step, ...]
    constants: Mapping[int, Any]
    slot_count: int
    functions: frozenset[str] = field(default_factory=frozenset)
    writes: bool = False
    random: bool = False
    switches: bool = False


def output_sizes(
    op_def: ir.OpDef, attrs: Mapping[str, ir.AttrValue]
) -> list[tuple[ir.ArgDef, int]]:
    """Returns how many tensors each output of a node has."""
    return [(arg, _count(arg, attrs)) for arg in op_def.outputs]


def with_defaults(node: ir.Node, op_def: ir.OpDef) -> Mapping[str, ir.AttrValue]:
    """Returns a node's attributes, with those that its file left out."""
    attrs = dict(node.attrs)
    for row in op_def.attrs:
        if row.name not in attrs and not isinstance(row.default, ir.Absent):
            attrs[row.name] = row.default
    return attrs


def _count(arg: ir.ArgDef, attrs: Mapping[str, ir.AttrValue]) -> int:
    if arg.number_attr:
        count = attrs.get(arg.number_attr)
        if not isinstance(count, int) or count < 0 or count > 1 << 24:
            raise FormatError(
                f"Invalid attribute '{arg.number_attr}'",
                expected="the length of a list",
                received=count,
            )
        return count
    if arg.type_list_attr:
        types = attrs.get(arg.type_list_attr)
        return len(types) if isinstance(types, tuple) else 0
    return 1


def source_of(text: str) -> str:
    """Returns the node that an input of a node comes from."""
    return text.removeprefix("^").split(":")[0]


def reachable(
    nodes: Mapping[str, ir.Node], roots: Iterable[str], stop: frozenset[str]
) -> list[ir.Node]:
    """Returns the nodes that `roots` need, each after those it needs itself.

    Args:
        nodes: All nodes by name.
        roots: Names to begin with.
        stop: Names whose value is given: neither they nor what they need.

    Raises:
        FormatError: A node needs itself, or one that doesn't exist.
    """
    order: list[ir.Node] = []
    state: dict[str, bool] = {}
    stack = [(name, False) for name in reversed(list(roots))]
    while stack:
        name, done = stack.pop()
        if name in stop:
            continue
        if done:
            state[name] = True
            order.append(nodes[name])
            continue
        if name in state:
            continue
        if name not in nodes:
            raise FormatError("Invalid graph: no such node", object_path=name)
        state[name] = False
        stack.append((name, True))
        for text in reversed(nodes[name].inputs):
            source = source_of(text)
            if state.get(source) is False:
                raise FormatError("Invalid graph: a cycle", object_path=source)
            if source not in state:
                stack.append((source, False))
    return order


class PlanBuilder:
    """Makes a plan out of nodes; one use each.

    Args:
        name: Of the function.
        op_defs: Signatures.
        positional: Whether inputs are `node:index` as in a main graph.
        gradients: Those that are nodes' own.
    """

    def __init__(
        self,
        name: str,
        op_defs: OpDefs,
        *,
        positional: bool,
        gradients: Gradients | None = None,
    ) -> None:
        self._name = name
        self._gradients = gradients or {}
        self._op_defs = op_defs
        self._positional = positional
        self._slots: dict[str, int] = {}
        self._references: set[int] = set()
        self._constants: dict[int, Any] = {}
        self._count = 0
        self._writes = False
        self._random = False
        self._switches = False
        self._ran: dict[str, int] = {}

    def argument(self, tensor: str) -> int:
        """Adds an argument that stands for a tensor; returns its slot."""
        slot = self._new_slot()
        self._slots[tensor] = slot
        return slot

    def _new_slot(self) -> int:
        self._count += 1
        return self._count - 1

    def alias(self, tensor: str, slot: int) -> None:
        """Gives a slot one more name."""
        self._slots[tensor] = slot

    def slot_of(self, text: str) -> int:
        """Returns the slot of a tensor by its name.

        Raises:
            FormatError: There is no such tensor.
        """
        if self._positional and ":" not in text:
            text += ":0"
        # An argument of a function stands there with or without an index.
        found = self._slots.get(text, self._slots.get(text.removesuffix(":0")))
        if found is None:
            raise FormatError(
                "Invalid graph: no such tensor", object_path=f"{self._name}/{text}"
            )
        return found

    def outputs_of(self, node: ir.Node) -> list[int]:
        """Returns the slots of all results of a node, in order."""
        prefix = f"{node.name}:"
        return [s for name, s in self._slots.items() if name.startswith(prefix)]

    def build(
        self,
        nodes: Sequence[ir.Node],
        arguments: Sequence[int],
        results: Callable[[], Sequence[int]],
    ) -> Plan:
        """Returns the plan of `nodes`, which are in running order."""
        self._switches = any(KERNELS[node.op].switches for node in nodes)
        drafts = [draft for node in nodes if (draft := self._node(node)) is not None]
        slots = tuple(results())
        return Plan(
            name=self._name,
            arguments=tuple(arguments),
            results=slots,
            steps=with_frees(drafts, {*slots, *self._constants}),
            constants=self._constants,
            slot_count=self._count,
            functions=ir.functions_of(nodes),
            writes=self._writes,
            random=self._random,
            switches=self._switches,
        )

    def _node(self, node: ir.Node) -> Step | None:
        kernel = KERNELS[node.op]
        op_def = self._op_defs[node.op]
        attrs = with_defaults(node, op_def)
        flat = [self.slot_of(t) for t in node.inputs if not t.startswith("^")]
        sizes = output_sizes(op_def, attrs)
        self._writes = self._writes or kernel.writes
        self._random = self._random or kernel.random
        controls = self._controls(node)
        own = own_gradient(node, self._name, self._gradients)
        through = kernel.passthrough and not self._references.intersection(flat)
        through = through and own is None
        if through and not controls:
            self._name_outputs(node, sizes, flat)
            if flat:
                self._ran[node.name] = flat[0]
            return None
        outputs = [self._new_slot() for _, count in sizes for _ in range(count)]
        self._name_outputs(node, sizes, outputs)
        position = 0
        for arg, count in sizes:
            if arg.is_ref:
                self._references.update(outputs[position : position + count])
            position += count
        if own is not None:
            captured = tuple(self._captured(tensor) for tensor in own.captures)
            return Step(
                *(node, OWN_GRADIENT, (tuple(flat), captured), (), frozenset()),
                {"gradient": own},
                outputs=tuple(outputs),
                nested=False,
                frees=(),
            )
        keywords = {name: self._keyword(node, name, attrs) for name in kernel.attrs}
        if kernel.constant and not controls:
            self._constants[outputs[0]] = kernel.function(**keywords)
            return None
        inputs, references = self._grouped(node, op_def, attrs, flat)
        return Step(
            node=node,
            kernel=kernel,
            inputs=inputs,
            static=tuple(
                i
                for i in range(len(inputs))
                if kernel.inputs[min(i, len(kernel.inputs) - 1)] in kernel.static
            ),
            references=references,
            attrs=keywords,
            outputs=tuple(outputs),
            nested=len(sizes) > 1 and any(arg.is_list for arg, _ in sizes),
            frees=(),
            controls=controls,
            done=self._done(node) if self._switches else None,
        )

    def _captured(self, tensor: str) -> int:
        """Returns the slot of a tensor that a gradient captures: `node:index`."""
        name, _, index = tensor.partition(":")
        slots = [s for t, s in self._slots.items() if t.startswith(f"{name}:")]
        if index.isdecimal() and int(index) < len(slots):
            return slots[int(index)]
        return self.slot_of(name if name in self._slots else argument_name(name))

    def _controls(self, node: ir.Node) -> tuple[int, ...]:
        """Returns what decides whether a node runs, besides its inputs."""
        if not self._switches:
            return ()
        names = (text[1:] for text in node.inputs if text.startswith("^"))
        return tuple(self._ran[name] for name in names if name in self._ran)

    def _done(self, node: ir.Node) -> int:
        slot = self._ran[node.name] = self._new_slot()
        return slot

    def _keyword(
        self, node: ir.Node, name: str, attrs: Mapping[str, ir.AttrValue]
    ) -> Any:
        if name == "node_name":
            return node.name
        value: Any = attrs.get(name, ir.ABSENT)
        if value is ir.ABSENT:
            value = self._op_defs.default(node.op, name)
        place = f"{self._name}/{node.name}"
        if value is ir.ABSENT:
            raise FormatError(
                f"Missing attribute '{name}' of op {node.op}", object_path=place
            )
        kind = self._op_defs.attr_type(node.op, name)
        if not _is_of_kind(value, kind):
            raise FormatError(
                f"Invalid attribute '{name}' of op {node.op}",
                object_path=place,
                expected=kind,
                received=type(value).__name__,
            )
        return _plain(value)

    def _name_outputs(
        self,
        node: ir.Node,
        sizes: Sequence[tuple[ir.ArgDef, int]],
        slots: Sequence[int],
    ) -> None:
        position = 0
        for arg, count in sizes:
            for index in range(count):
                name = (
                    f"{node.name}:{position}"
                    if self._positional
                    else f"{node.name}:{arg.name}:{index}"
                )
                if position >= len(slots):
                    raise FormatError(
                        "Invalid graph: too few inputs",
                        object_path=f"{self._name}/{node.name}",
                    )
                self._slots[name] = slots[position]
                position += 1

    def _grouped(
        self,
        node: ir.Node,
        op_def: ir.OpDef,
        attrs: Mapping[str, ir.AttrValue],
        flat: list[int],
    ) -> tuple[tuple[Slots, ...], frozenset[int]]:
        groups: list[Slots] = []
        references = set()
        position = 0
        for arg in op_def.inputs:
            count = _count(arg, attrs)
            part = flat[position : position + count]
            if len(part) != count:
                break
            position += count
            groups.append(tuple(part) if arg.is_list else part[0])
            if not arg.is_ref:
                references |= self._references.intersection(part)
        if position != len(flat) or len(groups) != len(op_def.inputs):
            raise FormatError(
                f"Invalid number of inputs of op {node.op}",
                object_path=f"{self._name}/{node.name}",
                expected=len(op_def.inputs),
                received=len(flat),
            )
        return tuple(groups), frozenset(references)


_KINDS: dict[str, tuple[type, ...]] = {
    "string": (bytes, str),
    "int": (int,),
    "float": (float, int),
    "bool": (bool, int),
    "type": (ir.DataType,),
    "shape": (ir.TensorShape,),
    "tensor": (ir.TensorValue,),
    "func": (ir.FunctionRef,),
}


def _is_of_kind(value: Any, kind: str) -> bool:
    """Whether an attribute's value is of the kind that its op declares."""
    if isinstance(value, ir.AttrPlaceholder):
        return True
    if kind.startswith("list("):
        inner = _KINDS.get(kind[5:-1], (object,))
        return isinstance(value, tuple) and all(isinstance(v, inner) for v in value)
    return isinstance(value, _KINDS.get(kind, (object,)))


def _plain(value: Any) -> Any:
    """Returns an attribute as kernels want it: types as names, text as `str`."""
    if isinstance(value, ir.DataType):
        return value.name
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return value


def flat_slots(inputs: Iterable[Slots]) -> list[int]:
    """Returns the slots of inputs in order, lists laid flat."""
    slots: list[int] = []
    for group in inputs:
        slots.extend(group if isinstance(group, tuple) else (group,))
    return slots


def with_frees(drafts: Sequence[Step], kept: set[int]) -> tuple[Step, ...]:
    """Returns steps that know which slots nobody needs after them.

    Args:
        drafts: In running order.
        kept: Slots that stay.
    """
    seen = set(kept)
    steps = []
    for step in reversed(drafts):
        used = {*flat_slots(step.inputs), *step.outputs, *step.controls}
        if step.done is not None:
            used.add(step.done)
        dead = used - seen
        seen |= used
        values = {name: getattr(step, name) for name in Step.__slots__}
        steps.append(Step(**{**values, "frees": tuple(sorted(dead))}))
    return tuple(reversed(steps))


def plan_function(
    function: ir.Function, op_defs: OpDefs, gradients: Gradients | None = None
) -> Plan:
    """Returns the plan of a function.

    Raises:
        FormatError: Its body doesn't hang together.
    """
    function = with_captures(function, gradients or {})
    builder = PlanBuilder(function.name, op_defs, positional=False, gradients=gradients)
    arguments = [builder.argument(arg.name) for arg in function.signature.inputs]
    nodes = ordered_nodes(function, op_defs)
    ret = [function.ret.get(out.name, "") for out in function.signature.outputs]
    return builder.build(nodes, arguments, lambda: [builder.slot_of(t) for t in ret])


def ordered_nodes(function: ir.Function, op_defs: OpDefs) -> list[ir.Node]:
    """Returns the nodes of a function that must run, in running order."""
    nodes = {node.name: node for node in function.nodes}
    names = frozenset(arg.name for arg in function.signature.inputs)
    roots = [text.split(":")[0] for text in function.ret.values()]
    roots += list(function.control_ret.values())
    roots += [node.name for node in effects_of(function, op_defs)]
    return reachable(nodes, dict.fromkeys(roots), names - nodes.keys())


def effects_of(function: ir.Function, op_defs: OpDefs) -> Iterator[ir.Node]:
    """Yields the nodes that run though nobody asks for results: they have none."""
    for node in function.nodes:
        op_def = op_defs.get(node.op)
        if op_def is not None and op_def.is_stateful and not op_def.outputs:
            yield node


# What loops and conditionals of TensorFlow 1 are made of, and how many inputs that has.
_OLD = {
    **dict.fromkeys(("Enter", "RefEnter", "Exit", "RefExit", "LoopCond"), 1),
    **dict.fromkeys(("NextIteration", "RefNextIteration", "Merge", "RefMerge"), 1),
    **dict.fromkeys(("Switch", "RefSwitch"), 2),
}


def check_inputs(nodes: Mapping[str, ir.Node]) -> None:
    """Refuses parts of loops and conditionals that lack inputs.

    Raises:
        FormatError: There is one.
    """
    for node in nodes.values():
        needed = _OLD.get(node.op, 0)
        given = [text for text in node.inputs[:needed] if not text.startswith("^")]
        if len(given) < needed:
            raise FormatError(
                f"Invalid number of inputs of op {node.op}",
                object_path=node.name,
                expected=needed,
                received=len(given),
            )


def has_old_control_flow(function: ir.Function) -> bool:
    """Whether a function has loops or conditionals of TensorFlow 1."""
    return any(node.op in _OLD for node in function.nodes)


def missing_ops(
    functions: Mapping[str, ir.Function],
    roots: Iterable[str],
    op_defs: OpDefs,
    known: Collection[str] = (),
) -> tuple[dict[str, list[str]], set[str]]:
    """Returns the ops without kernel that `roots` need, with their functions.

    Args:
        functions: By name.
        roots: Functions to begin with.
        op_defs: Signatures.
        known: Functions that were looked at before.

    Returns:
        The missing ops, and all functions that were looked at.
    """
    missing: dict[str, set[str]] = {}
    seen: set[str] = set()
    stack = list(roots)
    while stack:
        name = stack.pop()
        if name in seen or name in known or name not in functions:
            continue
        seen.add(name)
        function = functions[name]
        nodes: Sequence[ir.Node] = (
            # Loops there have no order, and which nodes they need is seen later.
            [node for node in function.nodes if node.op in KERNELS]
            if has_old_control_flow(function)
            else ordered_nodes(function, op_defs)
        )
        for node in nodes:
            # Also a function that is called by its name for an op, as TensorFlow 1 may.
            if node.op not in KERNELS:
                missing.setdefault(node.op, set()).add(name)
        stack.extend(ir.functions_of(nodes))
    return {op: sorted(missing[op]) for op in sorted(missing)}, seen


def raise_missing(missing: Mapping[str, Sequence[str]]) -> None:
    """Refuses ops without kernel, all at once.

    Raises:
        UnsupportedOpError: There is any.
    """
    if not missing:
        return
    lines = [
        f"  {op}, in {', '.join(names[:3])}"
        + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for op, names in missing.items()
    ]
    raise UnsupportedOpError(
        "Regraft has no kernel for these TensorFlow ops:\n"
        + "\n".join(lines)
        + "\nWhat doesn't need them still works: weights, configs, and signatures"
        " and functions that don't call these.",
        tuple(missing),
    )
