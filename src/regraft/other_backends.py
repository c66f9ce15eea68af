"""Functions for models whose backend JAX can't trace (PyTorch, NumPy, …).

What a Keras layer computes is traced on JAX. Keras has one backend per process, so a
process of its own loads the model there, from a SavedModel without functions, and saves
it with them; from that file the functions are taken over, with the captures bound to
the variables of the model here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from regraft import _compat
from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.meta_graph_serde import meta_graph_from_proto
from regraft.graph.struct_serde import (
    concrete_function_from_proto,
    function_spec_from_proto,
)
from regraft.loading.read import read_saved_model
from regraft.loading.restore import RestorePlan, plan_from_objects
from regraft.model.description import ObjectNode
from regraft.model.dialects.registry import is_builtin
from regraft.model.state_tree import state_tree
from regraft.options import LoadOptions, SaveOptions
from regraft.saving.describe import describe
from regraft.saving.saved_model import write_saved_model
from regraft.saving.traces import (
    LayerTraces,
    ModelTraces,
    SavedFunctionSpec,
    SignatureTrace,
    TracedFunction,
)

_OUR_MODULES = ("keras.", "regraft.")


def traces_here() -> bool:
    """Whether the model's own process can trace it."""
    return bool(keras.backend.backend() == "jax")


def trace_elsewhere(model: keras.Model) -> ModelTraces:
    """Traces a built model in another process, on JAX.

    Args:
        model: The model. Classes of the caller's must be importable by their module's
            name, and compute with `keras.ops`.

    Raises:
        UnsupportedError: The other process can't build the model, or not trace it.
    """
    classes = _classes(model)
    with tempfile.TemporaryDirectory(prefix="regraft-trace-") as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        parts = describe(model, include_optimizer=False)
        write_saved_model(source, parts, SaveOptions())
        answer = _ask(
            {
                "source": str(source),
                "target": str(target),
                "modules": sorted(_registering_modules()),
                "classes": classes,
            }
        )
        if "error" in answer:
            raise UnsupportedError(
                f"Model '{model.name}' can't be traced on JAX, as functions for "
                f"TensorFlow are: {answer['error']}"
            )
        notes = [note.partition(": ") for note in answer["notes"]]
        return _taken_over(model, str(target), tuple((n[0], n[2]) for n in notes))


def _classes(model: keras.Model) -> list[tuple[str, str, str]]:
    """Returns name, module and qualified name of each class of the caller's.

    Raises:
        UnsupportedError: Another process can't import one.
    """
    found = {}
    for layer in _compat.all_layers(model):
        cls = type(layer)
        if is_builtin(cls) or cls.__module__.startswith(_OUR_MODULES):
            continue
        if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
            raise UnsupportedError(
                f"On the backend {keras.backend.backend()}, functions for TensorFlow "
                f"are traced on JAX in another process, which can't import "
                f"{cls.__name__} from {cls.__module__}. Move the class to a module of "
                "its own, or save the model with KERAS_BACKEND=jax."
            )
        name = keras.saving.get_registered_name(cls)
        found[name] = (name, cls.__module__, cls.__qualname__)
    return [found[name] for name in sorted(found)]


def _registering_modules() -> Iterator[str]:
    """Yields modules whose import registers something with Keras."""
    for value in keras.saving.get_custom_objects().values():
        module = getattr(value, "__module__", None) or ""
        if module not in ("", "__main__") and not module.startswith(_OUR_MODULES):
            yield module


def _ask(request: Mapping[str, Any]) -> dict[str, Any]:
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        # Modules are found there as they are here.
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "regraft.trace_process"],
        input=json.dumps(request),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"error": f"the process ended with status {done.returncode}: {last}"}


def _taken_over(
    model: keras.Model, path: str, notes: tuple[tuple[str, str], ...]
) -> ModelTraces:
    """Returns the functions of a SavedModel of the same model."""
    description = read_saved_model(path, LoadOptions())
    if description.functions is None or description.objects is None:
        raise UnsupportedError(
            f"Model '{model.name}' can't be traced on JAX: "
            + "; ".join(text for _, text in notes)
        )
    plan = plan_from_objects(state_tree(model), description.objects.root)
    plan.check(path)
    _, meta_graph = description.functions
    return _Reader(meta_graph, plan).traces(description.objects.root, notes)


class _Reader:
    """Functions of a file, captures bound to live variables."""

    def __init__(self, meta_graph: Any, plan: RestorePlan) -> None:
        self._concrete = meta_graph.object_graph_def.concrete_functions
        self._functions = meta_graph_from_proto(meta_graph).graph.functions
        self._variables = {item.node_id: item.variable for item in plan.assignments}
        self._layers = {id(layer): node for layer, node in plan.layers}
        self._specs: dict[int, SavedFunctionSpec] = {}

    def traces(
        self, root: ObjectNode, notes: tuple[tuple[str, str], ...]
    ) -> ModelTraces:
        layers = {}
        for key, node in self._layers.items():
            found = self._layer(node)
            if found is not None:
                layers[key] = found
        signatures = root.child("signatures")
        return ModelTraces(
            functions=dict(self._functions),
            layers=layers,
            default_save_signature=self._function(
                root.child("_default_save_signature")
            ),
            signatures={
                name: self._signature(node)
                for name, node in (signatures.children if signatures else {}).items()
                if isinstance(node, ObjectNode)
            },
            notes=notes,
        )

    def _layer(self, node: ObjectNode) -> LayerTraces | None:
        api = node.child("keras_api")
        call = self._function(node.child("__call__"))
        every = self._function(node.child("call_and_return_all_conditional_losses"))
        if api is None or call is None or every is None:
            return None
        some = self._function(api.child("call_and_return_conditional_losses"))
        losses = node.child("regularization_losses")
        listed = [self._function(item) for item in losses.items()] if losses else []
        return LayerTraces(
            call=call,
            conditional_losses=some or every,
            all_conditional_losses=every,
            activity_regularizer=self._function(node.child("activity_regularizer_fn")),
            regularization_losses=tuple(f for f in listed if f is not None),
        )

    def _function(self, node: Any) -> SavedFunctionSpec | None:
        if not isinstance(node, ObjectNode) or node.kind != "function":
            return None
        # One function in several places stays one.
        if node.node_id not in self._specs:
            message = node.message.function
            self._specs[node.node_id] = SavedFunctionSpec(
                tuple(self._traced(name) for name in message.concrete_functions),
                function_spec_from_proto(message.function_spec),
            )
        return self._specs[node.node_id]

    def _traced(self, name: str) -> TracedFunction:
        concrete = concrete_function_from_proto(name, self._concrete[name])
        return TracedFunction(
            name,
            tuple(self._variables[node_id] for node_id in concrete.bound_inputs),
            concrete.input_signature,
            concrete.output_signature,
        )

    def _signature(self, node: ObjectNode) -> SignatureTrace:
        function = self._traced(
            node.message.bare_concrete_function.concrete_function_name
        )
        inputs: Any = function.input_signature
        outputs: Any = function.output_signature
        return SignatureTrace(function, _sorted(inputs[1]), _sorted(outputs))


def _sorted(specs: Mapping[str, ir.TensorSpec]) -> dict[str, ir.TensorSpec]:
    return {name: specs[name] for name in sorted(specs)}
