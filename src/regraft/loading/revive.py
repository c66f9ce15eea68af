"""Objects of a SavedModel whose class nobody has → live layers over their traces."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras

from regraft import _compat
from regraft.errors import UnknownNameError
from regraft.graph.runtime.context import Table
from regraft.graph.runtime.saved_functions import SavedFunction
from regraft.loading.called_traces import TABLE_WRITERS
from regraft.loading.frozen import train_shared
from regraft.loading.functions import FunctionStore
from regraft.loading.places import added_metrics, below, with_nodes
from regraft.loading.read import own_functions
from regraft.loading.restore import Assignment, RestorePlan, plan_from_objects
from regraft.loading.revived_host import RevivedHostModel
from regraft.loading.revived_layer import (
    HoldsTables,
    MetricState,
    Revived,
    RevivedLayer,
    RevivedModel,
    RevivedObject,
    TracedRegularizer,
)
from regraft.loading.shapes import build_shapes, saved_specs
from regraft.model.compile.metrics import build_metric
from regraft.model.description import ObjectNode, Variable
from regraft.model.dialects.context import NODE, BuildContext
from regraft.model.dialects.objects import build_dtype, build_object
from regraft.model.dialects.topology import build_layer
from regraft.model.state_tree import set_child, state_tree

# Functions by preference: with all losses, with conditional ones, plain.
_FUNCTIONS = (
    "call_and_return_all_conditional_losses",
    "call_and_return_conditional_losses",
    "__call__",
)
# Children that Keras 2 adds to every layer, which are not attributes of its own.
KERAS_CHILDREN = frozenset(
    {
        *_FUNCTIONS,
        "variables",
        "trainable_variables",
        "non_trainable_variables",
        "regularization_losses",
        "keras_api",
        "signatures",
        "optimizer",
        "_default_save_signature",
        "activity_regularizer_fn",
    }
)
_FLOATS = ("float32", "float16", "bfloat16")
_LISTS = ("trackable_list_wrapper", "trackable_tuple_wrapper")
_METRIC = "_tf_keras_metric"
_OPTIMIZERS = ("optimizer", "experimentalOptimizer")
MODELS = ("_tf_keras_model", "_tf_keras_network", "_tf_keras_sequential")


class Reviver:
    """Makes live objects of the nodes of one file, each once.

    Args:
        store: The file's functions.
        context: Of the build.

    Attributes:
        store: The file's functions.
    """

    def __init__(self, store: FunctionStore, context: BuildContext) -> None:
        self.store = self._store = store
        self._context = context
        self._live: dict[int, Any] = {}
        self.revived: list[tuple[keras.Layer, ObjectNode]] = []

    def revive(self, entry: Mapping[str, Any], reason: Exception) -> keras.Layer:
        """Returns a layer for a config entry of which none can be made.

        Args:
            entry: The entry.
            reason: Why not: nobody has its class, or what the config names.

        Raises:
            ValueError: The file holds no such object, or no traces of it.
        """
        config = entry.get("config")
        name = config.get("name") if isinstance(config, Mapping) else None
        node = self._placed(entry.get(NODE), str(entry.get("class_name")))
        if node is None:
            node = self._find(name or entry.get("name"), str(entry.get("class_name")))
        if node.node_id in self._context.namesakes:
            self._context.note(
                f"layer {name!r}",
                f"its class {entry.get('class_name')!r} is not Keras' of that name: it "
                "runs from its traced functions; pass the class in `custom_objects`",
            )
        try:
            if (node.metadata or {}).get("must_restore_from_config"):
                raise ValueError("It can only be rebuilt from its class.")
            layer = self.layer(node)
        except ValueError as error:
            raise ValueError(f"{error}{self._way_out(' Or ')}") from error
        layer.lacks = getattr(reason, "what", "")
        return layer

    def root(self, node: ObjectNode) -> keras.Model:
        """Returns a live model for a root whose class nobody has.

        Raises:
            ValueError: The file holds no traces of it.
        """
        class_name = (node.metadata or {}).get("class_name")
        try:
            return self.layer(node)
        except ValueError as error:
            raise UnknownNameError(
                f"Unknown model class {class_name!r}: {error} Pass the class in "
                f"`custom_objects={{{class_name!r}: …}}`"
                + (self._way_out(", or ") or ".")
            ) from None

    def _way_out(self, begin: str) -> str:
        """How to use the file without the class; nothing if it has no functions."""
        root = self._store.objects.root
        signatures = root.child("signatures")
        names = own_functions(root) or (
            sorted(signatures.children) if signatures else ()
        )
        what = "functions" if own_functions(root) else "signatures"
        way = f"{begin}open the file with `regraft.load` to call its {what}: "
        return f"{way}{', '.join(names)}." if names else ""

    def has_traces(self, node: ObjectNode) -> bool:
        """Whether the file holds functions by which a model can be called."""
        return node.identifier in MODELS and bool(self._functions(node))

    def can_call(self, node: ObjectNode) -> bool:
        """Whether the file holds functions by which an object can be called."""
        return bool(self._functions(node))

    def bind(self, plan: RestorePlan) -> None:
        """Makes functions use the variables of a plan."""
        plan.assignments += self._unowned(plan)
        self._name_variables(plan)
        variables = {
            x.node_id: x.variable for x in plan.assignments if x.node_id is not None
        }
        self._store.bind(variables)
        train_shared(self._store.objects.root, variables)
        for layer, node in self.revived:
            listed = node.child("variables")
            if listed is not None and isinstance(layer, Revived):
                ids = [item.node_id for item in listed.items()]
                layer.order_weights(variables[i] for i in ids if i in variables)

    def _name_variables(self, plan: RestorePlan) -> None:
        """Gives variables of revived layers the paths that they had."""
        revived = {id(v) for layer, _ in self.revived for v in layer.variables}
        for item in plan.assignments:
            if item.node_id is None or id(item.variable) not in revived:
                continue
            node = self._store.objects.nodes[item.node_id]
            if isinstance(node, Variable) and node.name:
                _compat.set_path(item.variable, node.name.partition(":")[0])

    def _unowned(self, plan: RestorePlan) -> list[Assignment]:
        """Variables for what traces of revived layers count in no layer's weights.

        Metrics inside a layer do. A compiled step leaves what it assigned to anything
        else than a variable behind, where the next one must not find it.
        """
        owned = {item.node_id for item in plan.assignments}
        captured = {
            node_id
            for _, node in self.revived
            for function in self._functions(node).values()
            for trace in function.traces
            for node_id in trace.concrete.bound_inputs
        }
        found = []
        for node_id in sorted(captured - owned):
            node = self._store.objects.nodes[node_id]
            if (
                isinstance(node, Variable)
                and node.value is not None
                and node.dtype in _FLOATS
                and None not in node.shape
                and self._store.live_variable(node_id) is None
            ):
                variable = keras.Variable(
                    "zeros", node.shape, node.dtype, trainable=False
                )
                found.append(
                    Assignment(variable, node.value, node.name, node_id, False)
                )
        return found

    def _placed(self, node_id: Any, class_name: str) -> ObjectNode | None:
        """The object that the place of an entry leads to, if its class agrees."""
        if not isinstance(node_id, int) or node_id in self._live:
            return None
        node = self._store.objects.nodes[node_id]
        if isinstance(node, ObjectNode) and _is_class(node, class_name):
            return node
        return None

    def _find(self, name: Any, class_name: str) -> ObjectNode:
        for node in self._store.objects.nodes:
            if not isinstance(node, ObjectNode) or node.metadata is None:
                continue
            if node.node_id in self._live:
                continue
            if node.metadata.get("name") == name and _is_class(node, class_name):
                return node
        raise ValueError(f"The file holds no object of layer '{name}'.")

    def layer(self, node: ObjectNode, *, callable: bool = True) -> Revived:
        """Returns the live layer of a node that runs its traces.

        Args:
            node: The layer's object.
            callable: Whether it must have traces.

        Raises:
            ValueError: The file holds no traces of it.
        """
        functions = self._functions(node)
        if not functions and callable:
            raise ValueError(
                f"'{(node.metadata or {}).get('name')}' has no traced functions in the "
                "file (it was saved with `save_traces=False`, or never called)."
            )
        metadata = node.metadata or {}
        config = metadata.get("config")
        cls = RevivedModel if node.identifier in MODELS else RevivedLayer
        keywords = {"name": _name(metadata), **self._dtype(metadata)}
        regularizer = self.activity_regularizer(node)
        if regularizer is not None and _FUNCTIONS[1] in functions:
            functions.pop(_FUNCTIONS[0], None)
            keywords["output_regularizer"] = regularizer
        class_name = str(metadata.get("class_name"))
        if isinstance(config, dict) and "layers" in config and cls is RevivedModel:
            # No network any more: nothing must be built of its layers again.
            class_name = cls.__name__
            ends = config.get("output_layers")
            config = {"output_layers": ends} if ends else {}
        if node.node_id in self._context.namesakes and ">" not in class_name:
            # A reader must not take it for Keras' own once more.
            class_name = f"Custom>{class_name}"
        layer = cls(
            functions=functions,
            saved_class_name=class_name,
            saved_config=config if isinstance(config, dict) else {},
            saved_specs=saved_specs(metadata),
            **keywords,
        )
        self._live[node.node_id] = self._context.placed_layers[node.node_id] = layer
        self._add_children(layer, node)
        self._add_metrics(layer, node)
        self._add_listed(layer, node)
        self._constrain(layer, metadata)
        layer.built = True
        if isinstance(layer, RevivedModel):
            layer.saved_input_names = _signature_inputs(node)
            _compat.mark_called(layer)
        if isinstance(layer, RevivedModel) and (
            layer.reads_text or layer.takes_composites
        ):
            layer.__class__ = RevivedHostModel
        if metadata.get("trainable") is False:
            layer.trainable = False
        self.revived.append((layer, node))
        return layer

    def _dtype(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The dtype policy, and whether it casts, as far as it computes with floats."""
        try:
            policy = keras.dtype_policies.get(
                build_dtype(metadata.get("dtype"), self._context)
            )
        except (ValueError, TypeError):
            policy = None
        if policy is None or "float" not in str(policy.compute_dtype):
            return {"dtype": keras.config.floatx(), "autocast": False}
        return {"dtype": policy, "autocast": metadata.get("autocast") is not False}

    def activity_regularizer(self, node: ObjectNode) -> Any:
        """Returns a layer's regularizer of its output; `None` without.

        Raises:
            ValueError: Nobody knows it, and the file holds no trace of it.
        """
        spec = (node.metadata or {}).get("activity_regularizer")
        function = self._function(node, "activity_regularizer_fn")
        if spec is None and function is None:
            return None
        try:
            found = build_object("regularizers", spec, self._context, "a layer")
        except (ValueError, TypeError, NotImplementedError):
            if function is None:
                raise
            found = None
        if found is None and function is not None:
            return TracedRegularizer(function, True)
        return found

    def attached(self, node: ObjectNode) -> keras.Layer | None:
        """Returns a layer that is an attribute of a network.

        It may hold no function, as one that was never called: then it can't be.
        """
        return self._sublayer(node)

    def _functions(self, node: ObjectNode) -> dict[str, SavedFunction]:
        found = {}
        for name in _FUNCTIONS:
            function = self._function(node, name)
            if function is not None:
                found[name] = function
        return found

    def _function(self, node: ObjectNode, name: str) -> SavedFunction | None:
        """A function of a layer, which Keras 2 keeps in one of two places."""
        function = self._store.function(node.child(name))
        if function is None and (api := node.child("keras_api")) is not None:
            function = self._store.function(api.child(name))
        return function

    # ------------------------------------------------------------ children

    def _add_children(self, layer: keras.Layer, node: ObjectNode) -> None:
        # Layers first: what they own may also be listed beside them, as the weights
        # that a wrapper prunes.
        for name, child in sorted(node.children.items(), key=_comes_late):
            if name in KERAS_CHILDREN or name.startswith("layer_with_weights-"):
                continue
            value = self._child(layer, name, child)
            if value is None:
                continue
            set_child(layer, name, value)

    def _add_metrics(self, layer: keras.Layer, node: ObjectNode) -> None:
        """Adds the state of the metrics that the functions of the file update."""
        for name, child in _metrics(node).items():
            if self._captured.isdisjoint(c.node_id for c in child.children.values()):
                continue
            state = self._namespace(name, child, MetricState)
            state.saved_metric = dict(child.metadata or {})
            set_child(layer, name, state)
            if not state.show_by(self._metric(child)):
                self._context.note(
                    f"layer {layer.name!r}",
                    f"its metric {name!r} goes on counting, but is in no logs: nobody "
                    f"knows its class {(child.metadata or {}).get('class_name')!r}",
                )

    def _add_listed(self, layer: keras.Layer, node: ObjectNode) -> None:
        """Adds weights that no child leads to, but the list of all weights does.

        Of weights that a layer adds under one name, its object has the last alone.
        """
        listed = node.child("variables")
        metrics = added_metrics(node)
        children = {k: c for k, c in node.children.items() if k not in KERAS_CHILDREN}
        led_to = below(replace(node, children={**children, **metrics}))
        for item in listed.items() if listed is not None else ():
            if not isinstance(item, Variable) or item.node_id in led_to:
                continue
            variable = self._child(layer, "weight", item)
            if variable is None:
                continue
            name = f"listed_{item.node_id}"
            node.children[name] = item
            set_child(layer, name, variable)

    def _metric(self, node: ObjectNode) -> Any:
        """The metric that an object was; `None` if nobody knows its class."""
        try:
            return build_metric(node.metadata or {}, self._context)
        except (ValueError, TypeError, NotImplementedError):
            return None

    def _constrain(self, layer: keras.Layer, metadata: Mapping[str, Any]) -> None:
        """Gives weights the constraints that a config has; they are in no trace."""
        config = metadata.get("config")
        for key, spec in config.items() if isinstance(config, dict) else ():
            if not key.endswith("_constraint") or spec is None:
                continue
            weight = getattr(layer, key.removesuffix("_constraint"), None)
            try:
                found = build_object("constraints", spec, self._context, "a layer")
            except (ValueError, TypeError, NotImplementedError):
                found = None
            if found is not None and isinstance(weight, keras.Variable):
                weight.constraint = found
            else:
                self._context.note(
                    f"layer {layer.name!r}",
                    f"its {key!r} is unknown: nothing applies it",
                )

    @cached_property
    def _captured(self) -> frozenset[int]:
        """Nodes that functions capture."""
        return frozenset(
            node_id
            for concrete in self._store.concrete_functions.values()
            for node_id in concrete.bound_inputs
        )

    @cached_property
    def _written(self) -> frozenset[int]:
        """Nodes that functions capture which write tables."""
        functions = (
            function
            for node in self._store.objects.nodes
            if isinstance(node, ObjectNode) and node.metadata is not None
            for function in self._functions(node).values()
        )
        return frozenset(
            node_id
            for function in functions
            for trace in function.traces
            if trace.uses(TABLE_WRITERS)
            for node_id in trace.concrete.bound_inputs
            if getattr(self._store.objects.nodes[node_id], "kind", "") == "resource"
        )

    def _child(
        self, layer: keras.Layer, name: str, child: ObjectNode | Variable
    ) -> Any:
        if child.node_id in self._live:
            return self._live[child.node_id]
        placed = self._context.placed_layers.get(child.node_id)
        # One that a network was to call, which then could not be made, has no weights.
        if placed is not None and placed.built:
            return placed
        if isinstance(child, Variable):
            return self._variable(layer, name, child)
        value = self._object(layer, name, child)
        if value is not None:
            self._live[child.node_id] = value
        return value

    def _variable(self, layer: keras.Layer, name: str, node: Variable) -> Any:
        if None in node.shape or node.dtype in ("string", "resource", "variant"):
            return None
        label = node.name.rpartition("/")[2].partition(":")[0] or name
        variable = layer.add_weight(
            shape=node.shape,
            dtype=node.dtype,
            initializer="zeros",
            trainable=node.trainable,
            autocast=False,
            name=label,
        )
        self._live[node.node_id] = variable
        self._store.bind({node.node_id: variable})
        return variable

    def _object(self, layer: keras.Layer, name: str, node: ObjectNode) -> Any:
        if node.identifier == "_tf_keras_input_layer":
            return None
        if node.metadata is not None:
            return self._sublayer(node)
        if node.identifier in _LISTS:
            return self._list(layer, name, node)
        if node.identifier == "trackable_dict_wrapper":
            return self._dict(layer, name, node)
        if node.node_id in self._written and isinstance(layer, HoldsTables):
            table = self._store.capture(node.node_id)
            if isinstance(table, Table) and table.variable is None:
                layer.tables.keep(name, table)
        if node.identifier in _OPTIMIZERS and self._captured.isdisjoint(below(node)):
            self._context.note(
                f"layer {layer.name!r}",
                f"its optimizer {name!r} is left out: nothing but its class uses it",
            )
            return None
        if node.kind == "user_object" and _holds_state(node, self._written):
            return self._namespace(name, node)
        return None

    def _list(self, layer: keras.Layer, name: str, node: ObjectNode) -> Any:
        items = [
            self._child(layer, f"{name}_{index}", item)
            for index, item in enumerate(node.items())
        ]
        return items if any(item is not None for item in items) else None

    def _dict(self, layer: keras.Layer, name: str, node: ObjectNode) -> Any:
        items = {
            key: self._child(layer, f"{name}_{key}", item)
            for key, item in node.children.items()
        }
        return items if any(item is not None for item in items.values()) else None

    def _namespace(
        self, name: str, node: ObjectNode, cls: type[RevivedObject] = RevivedObject
    ) -> Any:
        holder = cls(dtype=keras.config.floatx(), autocast=False)
        holder.built = True
        self._live[node.node_id] = holder
        self._add_children(holder, node)
        return holder

    def _sublayer(self, node: ObjectNode) -> keras.Layer | None:
        """A layer inside a revived one: from its config if its class is known."""
        if node.identifier == _METRIC:
            return None
        metadata = node.metadata or {}
        config = metadata.get("config")
        if isinstance(config, dict):
            try:
                return self._from_config(node, metadata, config)
            except (ValueError, TypeError, NotImplementedError):
                self._live.pop(node.node_id, None)
                self._context.placed_layers.pop(node.node_id, None)
        return self.layer(node, callable=False)

    def _from_config(
        self, node: ObjectNode, metadata: Mapping[str, Any], config: Mapping[str, Any]
    ) -> keras.Layer:
        entry = {"class_name": metadata.get("class_name"), "config": config}
        entry = {**with_nodes(entry, node), NODE: node.node_id}
        with self._context.words_of_keras2():
            layer = build_layer(entry, self._context)
        if not layer.built and (shapes := build_shapes(layer, metadata, config)):
            with warnings.catch_warnings():
                # Without a `build` of its own it makes no variables, as is seen below.
                warnings.filterwarnings("ignore", "`build\\(\\)` was called")
                layer.build(*shapes)
        plan = plan_from_objects(state_tree(layer), node)
        if plan.missing or plan.unused:
            raise ValueError("The rebuilt layer has other variables than the file.")
        for item in plan.assignments:
            if item.node_id is not None:
                self._live.setdefault(item.node_id, item.variable)
        return layer


def _signature_inputs(node: ObjectNode) -> tuple[str, ...]:
    """What the default signature below a root calls its inputs."""
    signatures = node.child("signatures")
    found = None if signatures is None else signatures.child("serving_default")
    if found is None or found.kind != "bare_concrete_function":
        return ()
    return tuple(found.message.bare_concrete_function.argument_keywords)


def _metrics(node: ObjectNode) -> dict[str, ObjectNode]:
    """The metrics of a layer by name: those it added in a call, and its attributes."""
    places = [*added_metrics(node).items(), *node.children.items()]
    by_id = {
        child.node_id: (name, child)
        for name, child in places
        if isinstance(child, ObjectNode) and child.identifier == _METRIC
    }
    return dict(by_id.values())


def _is_class(node: ObjectNode, class_name: str) -> bool:
    """Whether a config's class is that of a node.

    A config in Keras 3's words, of a layer that was revived before, says so.
    """
    saved = str((node.metadata or {}).get("class_name"))
    plain = class_name.rpartition(">")[2]
    return plain in (saved.rpartition(">")[2], "RevivedLayer", "RevivedModel")


def _holds_state(node: ObjectNode, tables: frozenset[int]) -> bool:
    """Whether there is a variable, or a table, below an object that is no layer."""
    return any(
        isinstance(child, Variable) or child.node_id in tables
        for child in below(node).values()
    )


def _name(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("name") or "revived").replace("/", "__")


def _comes_late(item: tuple[str, ObjectNode | Variable]) -> bool:
    """Whether a child is neither a layer nor a collection that holds one."""
    child = item[1]
    if isinstance(child, Variable):
        return True
    below = (child, *child.children.values())
    return not any(isinstance(b, ObjectNode) and b.metadata is not None for b in below)
