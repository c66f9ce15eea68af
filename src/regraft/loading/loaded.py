"""`regraft.load`: any SavedModel as an object with signatures, functions, variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np

from regraft.dtypes import HANDLE
from regraft.errors import FormatError
from regraft.graph import ir
from regraft.graph.meta_graph_serde import initializer_of
from regraft.graph.runtime import structure
from regraft.graph.runtime.context import HostVariable, KerasVariable
from regraft.graph.runtime.main_graph import GraphSignature, MainGraph
from regraft.graph.runtime.saved_functions import SignatureFunction
from regraft.loading.called_traces import why_uncompilable, written_tables
from regraft.loading.functions import FunctionStore
from regraft.loading.read import check_values, own_functions, read_objects
from regraft.loading.restore import held_dtype
from regraft.loading.revived_layer import HoldsTables
from regraft.loading.run_trace import (
    as_handles,
    as_text,
    called_with_words,
    has_words,
    run_trace,
    symbolic,
)
from regraft.model.description import ObjectGraph, ObjectNode, Variable
from regraft.options import LoadOptions
from regraft.storage.saved_model_directory import read_saved_model_directory

Signature = SignatureFunction | GraphSignature
_INIT_OP = "__saved_model_init_op"
# Collections that name an op which fills tables, newest first.
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


def load_saved_model(
    path: str, tags: Sequence[str] | str | None, options: LoadOptions
) -> LoadedModel:
    """Opens a SavedModel of any origin.

    Raises:
        FormatError: The directory is broken.
        ValueError: No meta graph has these tags.
    """
    directory = read_saved_model_directory(
        path, memory_budget_bytes=options.memory_budget_bytes
    )
    proto = _meta_graph(directory.saved_model.meta_graphs, tags, path)
    if len(proto.object_graph_def.nodes):
        graph = read_objects(directory, proto)
        check_values(directory, graph, options)
        return _LoadedObjects(
            path, FunctionStore(directory, proto, graph, options), graph
        )
    store = FunctionStore(directory, proto, ObjectGraph(()), options)
    return _LoadedGraph(path, store, directory.variables or {})


def _meta_graph(meta_graphs: Any, tags: Sequence[str] | str | None, path: str) -> Any:
    wanted = {tags} if isinstance(tags, str) else None if tags is None else set(tags)
    found = [set(m.meta_info_def.tags) for m in meta_graphs]
    if wanted is None:
        # One meta graph needs no choice; of several, the one for serving.
        serving = [m for m in meta_graphs if "serve" in m.meta_info_def.tags]
        return (serving or list(meta_graphs))[0]
    for meta_graph, its_tags in zip(meta_graphs, found, strict=True):
        if its_tags == wanted:
            return meta_graph
    raise ValueError(
        f"'{path}' has no meta graph with the tags {sorted(wanted)}. It has: "
        f"{'; '.join(str(sorted(t)) for t in found)}."
    )


class LoadedModel:
    """A SavedModel that was opened without Keras' part of it.

    Attributes:
        path: Its directory.
        signatures: What it serves, by name. Each is called with keywords, one dict,
            or, if it has one input, one positional value; it returns a dict.
        variables: Its variables on the device, as Keras variables.
    """

    path: str
    signatures: Mapping[str, Signature]

    @property
    def variables(self) -> list[keras.Variable]:
        raise NotImplementedError

    def as_layer(
        self, signature: str = "serving_default", *, trainable: bool = True
    ) -> keras.layers.Layer:
        """Returns a Keras layer that computes a signature, over the same variables.

        Args:
            signature: Its name.
            trainable: Whether the variables that were trainable are trained.

        Raises:
            ValueError: There is no such signature.
        """
        if signature not in self.signatures:
            raise ValueError(
                f"'{self.path}' has no signature '{signature}'. It has: "
                f"{', '.join(sorted(self.signatures)) or 'none'}."
            )
        function = self.signatures[signature]
        function.trace.check() if isinstance(
            function, SignatureFunction
        ) else function.check()
        return SignatureLayer(function, self.variables, trainable=trainable)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__.lstrip('_')}('{self.path}')"]
        for name, signature in self.signatures.items():
            inputs, outputs = _show_all(signature.inputs), _show_all(signature.outputs)
            lines.append(f"  {name}({inputs}) -> {outputs}")
        return "\n".join(lines)


def _show_all(specs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {_show(spec)}" for name, spec in specs.items())


def _show(spec: Any) -> str:
    if not isinstance(spec, ir.TensorSpec):
        return structure.describe(spec)
    dims = spec.shape.dims
    shape = (
        "…" if dims is None else ", ".join("?" if d is None else str(d) for d in dims)
    )
    return f"{spec.dtype.name}[{shape}]"


class SignatureLayer(HoldsTables, keras.layers.Layer):
    """A signature of a SavedModel as a Keras layer.

    Its input is one tensor, or a dict by the signature's names; so is its output.
    """

    def __init__(
        self,
        signature: Signature,
        variables: Sequence[keras.Variable],
        *,
        trainable: bool = True,
        **keywords: Any,
    ) -> None:
        super().__init__(autocast=False, **keywords)
        self._signature = _Hidden(signature)
        specs = [*signature.inputs.values(), *signature.outputs.values()]
        self.has_text = any(_is_text(spec) for spec in specs)
        self.saved_variables = list(variables)
        if isinstance(signature, SignatureFunction):
            for index, table in enumerate(written_tables(signature.trace)):
                self.tables.keep(f"table_{index}", table)
        self.built = True
        self.trainable = trainable

    def build(self, *shapes: Any) -> None:
        """Does nothing: the variables are those of the file."""
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Returns its name: what it computes is saved with the model around it."""
        return {"name": self.name, "trainable": self.trainable}

    @cached_property
    def uncompilable(self) -> str | None:
        """What the signature does that no compiled step can; `None`: nothing."""
        signature = self._signature.value
        known = isinstance(signature, SignatureFunction)
        return why_uncompilable(self.has_text, [signature.trace] if known else [])

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Calls the layer; text may be given as arrays."""
        if has_words((arguments, keywords)):
            return called_with_words(self, arguments, keywords)
        return super().__call__(*arguments, **keywords)

    def call(self, inputs: Any) -> Any:
        """Runs the signature."""
        signature = self._signature.value
        why = (
            f"Layer '{self.name}' runs a signature that reads text: it can't be "
            "compiled. Call `regraft.accept_text` with the model around it."
        )
        if isinstance(signature, SignatureFunction):
            given = signature.bound((inputs,), {})
            found = run_trace(signature.trace, (), given, why)
            return _single(found) if isinstance(found, dict) else found
        if not self.has_text:
            return _single(signature(inputs))
        results = signature(keras.tree.map_structure(partial(as_text, why=why), inputs))
        return _single(keras.tree.map_structure(as_handles, results))

    def compute_output_spec(self, inputs: Any) -> Any:
        """Answers from the signature; nothing is run."""
        return _single(
            {
                name: symbolic(spec, HANDLE)
                for name, spec in self._signature.value.outputs.items()
            }
        )


def _is_text(spec: Any) -> bool:
    return any(one.dtype.name == "string" for one in structure.flat_specs(spec))


def _single(results: Mapping[str, Any]) -> Any:
    return next(iter(results.values())) if len(results) == 1 else dict(results)


class _Hidden:
    """Keeps Keras from looking for layers in a value."""

    def __init__(self, value: Any) -> None:
        self.value = value


# ------------------------------------------------------------ TensorFlow 2


class _LoadedObjects(LoadedModel):
    """A SavedModel of TensorFlow 2: its objects are attributes."""

    def __init__(self, path: str, store: FunctionStore, graph: ObjectGraph) -> None:
        self.path = path
        self._store = store
        self._variables = {
            node.node_id: variable
            for node in graph.variables()
            if (variable := _live_variable(node)) is not None
        }
        store.bind(self._variables)
        self._node = graph.root
        self._root = LoadedObject(graph.root, store, self._variables)
        self.signatures = _signatures(graph.root, store)
        store.library.compile_calls()

    @property
    def variables(self) -> list[keras.Variable]:
        return list(self._variables.values())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._root, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._root(*arguments, **keywords)

    def __repr__(self) -> str:
        found = {name: getattr(self._root, name) for name in own_functions(self._node)}
        return "\n".join(
            [
                super().__repr__(),
                *(f"  .{name}{f.spec.signature() or ''}" for name, f in found.items()),
            ]
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *dir(self._root)]


class LoadedObject:
    """A tracked object; its children are attributes, its functions can be called."""

    def __init__(
        self,
        node: ObjectNode,
        store: FunctionStore,
        variables: Mapping[int, keras.Variable],
    ) -> None:
        self._node = node
        self._store = store
        self._variables = variables

    def __getattr__(self, name: str) -> Any:
        node = self.__dict__.get("_node")
        if node is None or name not in node.children:
            raise AttributeError(f"The SavedModel has no object '{name}' here.")
        return self._child(node.children[name])

    def __getitem__(self, key: int | str) -> Any:
        if str(key) not in self._node.children:
            raise KeyError(key)
        return self._child(self._node.children[str(key)])

    def __iter__(self) -> Iterator[Any]:
        return (self._child(item) for item in self._node.items())

    def __len__(self) -> int:
        return sum(1 for _ in self._node.items())

    def _child(self, node: ObjectNode | Variable) -> Any:
        if isinstance(node, Variable):
            live = self._variables.get(node.node_id)
            return live if live is not None else _value(node)
        if node.kind == "constant":
            return self._store.capture(node.node_id)
        function = self._store.function(node)
        if function is not None:
            return function
        return LoadedObject(node, self._store, self._variables)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        function = self._store.function(self._node.child("__call__"))
        if function is None:
            raise TypeError("This object of the SavedModel can't be called.")
        return function(*arguments, **keywords)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._node.children]


def _value(node: Variable) -> Any:
    return None if node.value is None else node.value.read()


def _live_variable(node: Variable) -> keras.Variable | None:
    """A Keras variable, unless only the host can hold the value exactly."""
    if node.value is None or None in node.shape or node.dtype == "string":
        return None
    if held_dtype(node.dtype) != node.dtype:
        return None
    return keras.Variable(
        node.value.read(),
        dtype=node.dtype,
        trainable=node.trainable,
        autocast=False,
        name=(node.name or "variable").replace("/", "__").partition(":")[0],
    )


def _signatures(root: ObjectNode, store: FunctionStore) -> dict[str, Signature]:
    found: dict[str, Signature] = {}
    node = root.child("signatures")
    for name, child in node.children.items() if node is not None else ():
        if not isinstance(child, ObjectNode) or child.kind != "bare_concrete_function":
            continue
        concrete = child.message.bare_concrete_function.concrete_function_name
        if concrete not in store.concrete_functions:
            raise FormatError(
                "A signature names a function that the file doesn't have",
                object_path=f"signatures.{name}",
                received=concrete,
            )
        found[name] = SignatureFunction(
            store.library, name, store.concrete_functions[concrete], store.capture
        )
    return found


# ------------------------------------------------------------ TensorFlow 1


class _LoadedGraph(LoadedModel):
    """A SavedModel of TensorFlow 1: one graph, variables by name."""

    def __init__(
        self, path: str, store: FunctionStore, tensors: Mapping[str, Any]
    ) -> None:
        self.path = path
        meta_graph = store.meta_graph
        self._resources = store.library.resources
        self._resources.tensors = tensors
        self.graph = MainGraph(meta_graph.graph.nodes, store.library)
        if meta_graph.saver is not None and tensors:
            filename, _, restore = meta_graph.saver
            self.graph.run([], {filename: b""}, targets=[restore])
        self._to_device()
        self._initialize(meta_graph)
        self.signatures = {
            name: GraphSignature(self.graph, name, signature)
            for name, signature in meta_graph.signatures.items()
            if name != _INIT_OP
        }
        store.library.compile_calls()

    @property
    def variables(self) -> list[keras.Variable]:
        return [
            resource.variable
            for resource in self._resources.variables.values()
            if isinstance(resource, KerasVariable)
        ]

    def _to_device(self) -> None:
        """Makes variables that the device can hold exactly Keras' variables."""
        for name, resource in self._resources.variables.items():
            if not isinstance(resource, HostVariable) or not resource.is_initialized:
                continue
            value = np.asarray(resource.read())
            if value.dtype == object or held_dtype(str(value.dtype)) != value.dtype:
                continue
            variable = keras.Variable(
                value,
                dtype=str(value.dtype),
                autocast=False,
                name=name.replace("/", "__"),
            )
            self._resources.variables[name] = KerasVariable(variable)

    def _initialize(self, meta_graph: ir.MetaGraph) -> None:
        """Runs what fills tables, fed with the names of the asset files."""
        targets = _init_ops(meta_graph)
        if targets:
            feeds = {name: filename.encode() for name, filename in meta_graph.assets}
            self.graph.run([], feeds, targets=targets)

    def run(self, fetches: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Computes tensors of the graph by name, as a session does.

        Args:
            fetches: Names such as `"add:0"`.
            feeds: Values of other tensors by name.
        """
        return self.graph.run(fetches, feeds)


def _init_ops(meta_graph: ir.MetaGraph) -> list[str]:
    """The op that the writer named; else those of tables and of local variables."""
    signature = meta_graph.signatures.get(_INIT_OP)
    for info in signature.outputs.values() if signature is not None else ():
        return [_op_name(info.name)]
    for collection in _INIT_COLLECTIONS:
        for item in meta_graph.collections.get(collection, ()):
            return [_op_name(item)]
    local = meta_graph.collections.get("local_variables", ())
    names = [
        *meta_graph.collections.get("table_initializer", ()),
        *(initializer_of(item) for item in local if isinstance(item, bytes)),
    ]
    return [name for name in map(_op_name, names) if name]


def _op_name(item: bytes | str) -> str:
    text = item.decode(errors="replace") if isinstance(item, bytes) else str(item)
    return text.partition(":")[0]
