"""Functions of a SavedModel as Python calls them: traces chosen by their arguments.

A `SavedFunction` of a file is a set of traces, one per kind of arguments; Keras
traces each layer once with `training=True` and once with `False`. A signature is
one trace whose arguments have names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from regraft.errors import FormatError, MismatchError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime import structure
from regraft.graph.runtime.context import Context, HostVariable, KerasVariable
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dataset import Dataset
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.written import written_arguments

# What a captured object is at run time, by its node in the object graph.
CaptureLookup = Callable[[int], Any]


class Trace:
    """One concrete function with what it captures.

    Attributes:
        concrete: Its Python side.
        args: Structure of the positional arguments.
        kwargs: Structure of the keyword arguments.
    """

    def __init__(
        self,
        library: FunctionLibrary,
        concrete: ir.ConcreteFunction,
        lookup: CaptureLookup,
    ) -> None:
        signature = concrete.input_signature
        if (
            not isinstance(signature, tuple)
            or len(signature) != 2
            or not isinstance(signature[0], (list, tuple))
            or not isinstance(signature[1], Mapping)
        ):
            raise FormatError(
                "Invalid input signature",
                object_path=concrete.name,
                expected="(args, kwargs)",
                received=structure.describe(signature),
            )
        self.concrete = concrete
        self.args: tuple[Any, ...] = tuple(signature[0])
        self.kwargs: Mapping[str, Any] = signature[1]
        self._function = library.callable(concrete.name)
        self._lookup = lookup

    @property
    def name(self) -> str:
        return self.concrete.name

    def arguments(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns its arguments by name, where these are the positional ones' names."""
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}

    @property
    def output_spec(self) -> Any:
        """Structure of the results, with `TensorSpec`s."""
        return self.concrete.output_signature

    @property
    def functions(self) -> Mapping[str, ir.Function]:
        """All functions of the file, of which it is one."""
        return self._function.library.functions

    def capture(self, node_id: int) -> Any:
        """Returns what it gets for an object that it captures."""
        return self._lookup(node_id)

    def is_asset(self, value: Any) -> bool:
        """Whether a value is the name of a file that comes with the model."""
        assets = self._function.library.resources.assets
        return isinstance(value, bytes) and value.decode(errors="replace") in assets

    def written(self) -> list[keras.Variable]:
        """Returns the live variables that it captures and writes, or may write."""
        found = self._written()
        return [one.variable for one in found if isinstance(one, KerasVariable)]

    def writes_on_host(self) -> bool:
        """Whether it writes, or may write, a variable that the host alone holds."""
        return any(isinstance(one, HostVariable) for one in self._written())

    def _written(self) -> list[Any]:
        ids = self.concrete.bound_inputs
        found = written_arguments(self.functions, self.name)
        first = len(self.functions[self.name].signature.inputs) - len(ids)
        return [self._lookup(i) for n, i in enumerate(ids, first) if n in found]

    def uses(self, ops: Collection[str]) -> bool:
        """Whether it, or a function that it calls, has a node of these ops."""
        return self._function.uses(ops)

    def ops(self) -> list[str]:
        """Returns the op of each of its nodes, and of functions that it calls."""
        return self._function.ops()

    def expanded_calls(self) -> int:
        """How many calls it makes in all, branches and bodies of loops once."""
        return self._function.expanded_calls()

    def may_need_values(self) -> bool:
        """Whether it may need values that no compiled step knows."""
        return self._function.may_need_values()

    @property
    def reads_text(self) -> bool:
        """Whether a tensor among its arguments is text."""
        return _has_text((self.args, dict(self.kwargs)))

    @property
    def has_text(self) -> bool:
        """Whether a tensor among its arguments or results is text."""
        return self.reads_text or _has_text(self.output_spec)

    def check(self) -> None:
        """Refuses ops without kernel, before anything runs.

        Raises:
            UnsupportedOpError: There are any.
        """
        self._function.check()

    def draws_random_numbers(self) -> bool:
        """Whether two runs with the same arguments may give different results."""
        return self._function.draws_random_numbers()

    def compiled_parts(self) -> tuple[int, int]:
        """How many parts of it are compiled by now, and how many the host runs."""
        return self._function.compiled_parts()

    def difference(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str] = ()
    ) -> str | None:
        """Returns how bound arguments differ from the trace's; `None` if they fit."""
        if len(args) != len(self.args):
            return (
                f"expected {len(self.args)} positional arguments, received {len(args)}"
            )
        for i, (spec, value) in enumerate(zip(self.args, args, strict=True)):
            place = names[i] if i < len(names) else f"argument {i}"
            found = structure.difference(spec, value, place)
            if found is not None:
                return found
        return structure.difference(self.kwargs, kwargs, "keyword arguments")

    def run(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        context: Context | None = None,
        seed_generator: Any = None,
    ) -> Any:
        """Runs the trace on arguments that fit; returns results in their structure."""
        pairs = list(structure.flat_tensors(self.args, tuple(args)))
        pairs += structure.flat_tensors(self.kwargs, kwargs)
        flat = [values.argument(value, dtype) for value, dtype in pairs]
        captures = [self._lookup(i) for i in self.concrete.bound_inputs]
        results = self._function(
            flat, captures, context=context, seed_generator=seed_generator
        )
        return structure.rebuilt(self.output_spec, iter(results))


def _has_text(spec: Any) -> bool:
    return any(tensor.dtype.name == "string" for tensor in structure.flat_specs(spec))


class SavedFunction:
    """A traced Python function.

    Attributes:
        traces: Its concrete functions, in the file's order.
    """

    def __init__(
        self,
        library: FunctionLibrary,
        concrete: Iterable[ir.ConcreteFunction],
        spec: ir.FunctionSpec,
        lookup: CaptureLookup,
        name: str = "",
    ) -> None:
        self.traces = tuple(Trace(library, one, lookup) for one in concrete)
        self.spec = structure.ArgumentSpec.of(spec)
        self._name = name or (self.traces[0].name if self.traces else "function")

    @property
    def argument_names(self) -> tuple[str, ...]:
        return (*self.spec.args, *self.spec.kwonly)

    def select(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Trace, tuple[Any, ...], dict[str, Any]]:
        """Returns the first trace that takes these arguments, and them as bound.

        Raises:
            MismatchError: There is none; each trace's difference is shown.
        """
        bound, rest = self.spec.bind(args, kwargs)
        differences = []
        for trace in self.traces:
            found = trace.difference(bound, rest, self.spec.args)
            if found is None:
                return trace, bound, rest
            differences.append(f"  {trace.name}: {found}")
        given = [
            f"{name}={structure.describe(value)}"
            for name, value in [
                *zip(self.spec.args, bound, strict=False),
                *rest.items(),
            ]
        ]
        raise MismatchError(
            f"No trace of '{self._name}' takes these arguments: {', '.join(given)}.\n"
            f"The file holds {len(self.traces)}:\n" + "\n".join(differences)
        )

    def __call__(
        self,
        *args: Any,
        context: Context | None = None,
        seed_generator: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Runs the trace that takes these arguments.

        Raises:
            MismatchError: There is none.
            UnsupportedOpError: It needs ops that have no kernel.
        """
        trace, bound, rest = self.select(args, kwargs)
        return trace.run(bound, rest, context=context, seed_generator=seed_generator)


class SignatureFunction:
    """A signature: arguments and results have names.

    Attributes:
        inputs: Spec by name.
        outputs: Spec by name.
    """

    def __init__(
        self,
        library: FunctionLibrary,
        name: str,
        concrete: ir.ConcreteFunction,
        lookup: CaptureLookup,
    ) -> None:
        self.name = name
        self.trace = Trace(library, concrete, lookup)
        self.inputs: Mapping[str, ir.TensorSpec] = self.trace.kwargs
        outputs = self.trace.output_spec
        self.outputs: Mapping[str, ir.TensorSpec] = (
            outputs if isinstance(outputs, dict) else {}
        )

    def named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns arguments by name: keywords, one dict, or one positional value.

        Raises:
            MismatchError: They are not those of the signature.
        """
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

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns arguments by name that the trace takes.

        Raises:
            MismatchError: They don't fit.
            FormatError: The function is none that a signature can have.
        """
        if self.trace.args:
            raise FormatError(
                f"The function of signature '{self.name}' takes positional arguments",
                expected="tensors by name alone",
                received=f"function '{self.trace.name}'",
            )
        given = self.named(args, kwargs)
        found = structure.difference(self.inputs, given, "inputs")
        if found is not None:
            raise MismatchError(
                f"Signature '{self.name}' doesn't take these arguments; {found}."
            )
        return given

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
            FormatError: The function is none that a signature can have.
        """
        given = self.bound(args, kwargs)
        out = self.trace.run((), given, context=context, seed_generator=seed_generator)
        return out if isinstance(out, dict) else {"output_0": out}


class Captures:
    """What the functions of a SavedModel capture, made when it is first used.

    Args:
        library: The functions.
        meta_graph: For constants and assets.
        nodes: The `SavedObject` messages.
        concrete_functions: By name.
        variable: Returns a variable's resource by its node.
        tables: Keys and values that a checkpoint keeps of mutable tables, by node.
    """

    def __init__(
        self,
        library: FunctionLibrary,
        meta_graph: ir.MetaGraph,
        nodes: Sequence[Any],
        concrete_functions: Mapping[str, ir.ConcreteFunction],
        variable: CaptureLookup,
        tables: Mapping[int, tuple[Any, Any]] | None = None,
    ) -> None:
        self._library = library
        self._meta_graph = meta_graph
        self._nodes = nodes
        self._concrete = concrete_functions
        self._variable = variable
        self._tables = tables or {}
        self._found: dict[int, Any] = {}
        self._constants: dict[str, ir.Node] | None = None

    def __call__(self, node_id: int) -> Any:
        """Returns what a captured object is.

        Raises:
            FormatError: There is no such object.
            UnsupportedError: Objects of its kind cannot be captured.
        """
        if node_id not in self._found:
            if not 0 <= node_id < len(self._nodes):
                raise FormatError(
                    "Invalid capture", expected="an object", received=node_id
                )
            self._found[node_id] = self._make(node_id, self._nodes[node_id])
        return self._found[node_id]

    def _make(self, node_id: int, node: Any) -> Any:
        kind = node.WhichOneof("kind")
        if kind == "variable":
            return self._variable(node_id)
        if kind == "constant":
            return self._constant(node.constant.operation)
        if kind == "resource":
            return self._resource(node_id, node)
        if kind == "asset":
            return self._asset(node.asset.asset_file_def_index)
        raise UnsupportedError(f"A function captures an object of kind '{kind}'.")

    def _constant(self, name: str) -> Any:
        if self._constants is None:
            self._constants = {n.name: n for n in self._meta_graph.graph.nodes}
        node = self._constants.get(name)
        value = None if node is None else node.attrs.get("value")
        if not isinstance(value, ir.TensorValue):
            raise FormatError("Invalid captured constant", object_path=name)
        return value.numpy()

    def _asset(self, index: int) -> Any:
        assets = self._meta_graph.assets
        if not 0 <= index < len(assets):
            raise FormatError("Invalid asset", received=index)
        return ir.as_bytes(np.array(assets[index][1], object))

    def _resource(self, node_id: int, node: Any) -> Any:
        children = {c.local_name: c.node_id for c in node.children}
        made = self._run(children, "_create_resource")
        if not made:
            raise UnsupportedError("A captured resource has no function that makes it.")
        self._found[node_id] = made[0]
        if isinstance(made[0], Dataset):
            made[0].made_by = self._function(children, "_create_resource")
        self._run(children, "_initialize")
        if node_id in self._tables and hasattr(made[0], "insert"):
            keys, found = self._tables[node_id]
            made[0].entries.clear()
            made[0].insert(keys, found)
        return made[0]

    def _function(
        self, children: Mapping[str, int], name: str
    ) -> ir.ConcreteFunction | None:
        node_id = children.get(name)
        if node_id is None:
            return None
        names = self._nodes[node_id].function.concrete_functions
        if not names:
            return None
        concrete = self._concrete.get(names[0])
        if concrete is None:
            raise FormatError("Invalid resource: no such function", object_path=name)
        return concrete

    def _run(self, children: Mapping[str, int], name: str) -> list[Any]:
        concrete = self._function(children, name)
        if concrete is None:
            return []
        return self._library.callable(concrete.name)(
            [],
            [self(i) for i in concrete.bound_inputs],
            context=self._library.context(),
        )
