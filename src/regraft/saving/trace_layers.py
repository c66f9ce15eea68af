"""A live Keras model → TensorFlow functions for it and for each of its layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

import jax
import keras

from regraft import _compat
from regraft.errors import UnsupportedError
from regraft.graph import ir
from regraft.graph.tracing.function_graph import (
    CalledFunction,
    Graph,
    Mark,
    used_operands,
)
from regraft.graph.tracing.tracer import Call, Tracing, trace
from regraft.model.keras2.behaviour import computes_as_keras2
from regraft.model.keras2.host_layers import traced_by
from regraft.model.keras2.host_pass import host_layers
from regraft.model.keras2.regularizers import before_averaging
from regraft.model.state_tree import call_signature
from regraft.saving.trace_calls import (
    LayerCall,
    LayerCalls,
    check_standalone,
    distinct_calls,
    kept_variables,
    node_name,
    restored,
)
from regraft.saving.trace_composites import composites
from regraft.saving.trace_inputs import (
    HOW_TO_TELL,
    SignatureRequest,
    failures_of,
    flat_inputs,
    input_names,
    output_names,
    packed_inputs,
    renamed_lengths,
    saved_inputs,
    symbolic_inputs,
    told_inputs,
    with_lists,
    with_tuples,
)
from regraft.saving.trace_lengths import named_lengths
from regraft.saving.trace_operations import operation_layers
from regraft.saving.trace_regularizers import counted_here, regularized
from regraft.saving.trace_signatures import signature_trace
from regraft.saving.trace_specs import (
    call_spec,
    expects_training,
    full_arg_spec,
    handles_are_text,
    input_signature,
    promised_dtypes,
    structure,
    tensor_spec,
)
from regraft.saving.trace_text import HostLayerTracer, as_traced
from regraft.saving.trace_ways import (
    LOST_DERIVATIVE,
    NO_TRAINING,
    ROUND,
    SHORT,
    WAYS,
    Way,
)
from regraft.saving.traces import (
    LayerTraces,
    ModelTraces,
    SavedFunctionSpec,
    SignatureTrace,
    TracedFunction,
)

SERVING_DEFAULT = "serving_default"


@_compat.unfiltered_tracebacks()
def trace_model(
    model: keras.Model,
    *,
    inputs: Any = None,
    signatures: Mapping[str, SignatureRequest] | None = None,
) -> ModelTraces:
    """Traces a built model and all layers that its call reaches.

    Args:
        model: The model.
        inputs: Structure of `TensorInput`s to call it with; by default what it was
            built with.
        signatures: Signatures by name; by default `serving_default`, which calls the
            model.

    Raises:
        UnsupportedError: What it computes can't be written as TensorFlow ops.
    """
    given = told_inputs(model, signatures or {}) if inputs is None else inputs
    failure: Exception | None = None
    has_lengths = any(None in t.shape[1:] for t in flat_inputs(given))
    for way in WAYS if signatures is None else WAYS[:-1]:
        if way in ROUND and (not has_lengths or isinstance(failure, UnsupportedError)):
            continue
        if way in SHORT and not has_lengths:
            continue
        if way.least > 1 and failure and _compat.wants_multiples(failure):
            continue
        untrained: dict[int, keras.Layer] = {}
        while True:
            tracer = _ModelTracer(model, given, way, untrained)
            try:
                traces = tracer.traces(signatures)
            # Also what a layer's own code raises where a length is symbolic.
            except Exception as error:
                if (more := way.with_demand_of(error)) is not None:
                    way = more
                    continue
                failure = failure or error
                layer = tracer.untrainable()
                if layer is None:
                    break
                untrained[id(layer)] = layer
                continue
            notes = [(layer.name, NO_TRAINING) for layer in untrained.values()]
            if note := way.because(failure):
                notes.append((model.name, note))
            return replace(traces, notes=(*notes, *traces.notes))
    if isinstance(failure, UnsupportedError):
        raise failure
    text = f"Model '{model.name}' can't be traced: {failure}"
    if "missing a required argument" in text:
        text += f". {HOW_TO_TELL}"
    raise UnsupportedError(text) from failure


class _ModelTracer:
    def __init__(
        self,
        model: keras.Model,
        inputs: Any,
        way: Way,
        untrained: Mapping[int, keras.Layer],
    ) -> None:
        self._way = way
        self._model = model
        self._inputs = inputs
        self._tracing = Tracing()
        self._tracing.has_text = bool(host_layers(model)) or any(
            getattr(layer, "has_text", False) for layer in _compat.all_layers(model)
        )
        self._operations = operation_layers(model)
        self._calls = LayerCalls(self._tracing, untrained, self._operations)
        self._untrained = untrained
        self._notes: list[tuple[str, str]] = []
        self._taken: dict[str, TracedFunction] = {}
        self._arguments: dict[Any, tuple[dict[int, str], Any, LayerCall]] = {}
        self._call_specs: dict[Any, ir.FunctionSpec] = {}
        self._callers: dict[Any, tuple[ir.Function, Sequence[str]]] = {}
        self._regularizers: dict[int, SavedFunctionSpec] = {}
        self._below = {id(model): _compat.all_layers(model)}
        self._variables = kept_variables(model)

    def traces(self, signatures: Mapping[str, SignatureRequest] | None) -> ModelTraces:
        with handles_are_text(self._tracing.has_text):
            traces = self._traces(signatures)
        self._calls.release()
        return traces

    def _traces(self, signatures: Mapping[str, SignatureRequest] | None) -> ModelTraces:
        model = self._model
        takes_training = self._expects_training(model)
        flags = (True, False) if takes_training and self._way.trains else (False,)
        operands = symbolic_inputs(flat_inputs(self._inputs), self._way)
        first, rest = packed_inputs(self._inputs, operands)
        for training in flags:
            try:
                self._trace_call(model, first, rest, training, {})
            except UnsupportedError:
                if not self._way.is_partial:
                    raise
        self._trace_uncalled(flags)
        layers = self._layer_traces()
        if not layers:
            raise UnsupportedError(f"No layer of '{model.name}' can be traced.")
        requested = {SERVING_DEFAULT: None} if signatures is None else signatures
        done = {}
        for name, request in () if self._way.is_partial else requested.items():
            made = (
                self._default_signature()
                if request is None
                else self._signature(request)
            )
            if made is not None:
                done[name] = made
        lost = sorted(self._tracing.lost_derivatives)
        self._notes += [(model.name, LOST_DERIVATIVE.format(name)) for name in lost]
        return ModelTraces(
            functions=self._tracing.library.functions,
            layers=layers,
            default_save_signature=None,
            signatures=done,
            notes=tuple(self._notes),
        )

    def _trace_uncalled(self, flags: Sequence[bool]) -> None:
        """Traces what is inside of something that runs from a file's functions.

        Keras 2 makes a network of its config by calling each layer in it.
        """
        for layer in self._calls.uncalled(self._below[id(self._model)]):
            if not (inputs := saved_inputs(layer)):
                continue
            tensors = symbolic_inputs(keras.tree.flatten(inputs), self._way)
            given = keras.tree.pack_sequence_as(inputs, tensors)
            first, *others = given.items()
            settings = getattr(layer, "saved_settings", {})  # As `use_causal_mask`.
            for training in flags:
                try:
                    self._trace_call(layer, first[1], dict(others), training, settings)
                except failures_of(layer) as error:
                    self._notes.append((layer.name, str(error)))

    def untrainable(self) -> keras.Layer | None:
        """Returns the layer that could not be traced in training, if that is why."""
        if not self._calls.is_training or not self._way.trains:
            return None
        label = self._tracing.failed
        found = (r.layer for r in self._calls.records if r.label == label)
        layer = self._calls.failed or next(found, None)
        if layer is None or layer is self._model or id(layer) in self._untrained:
            return None
        return layer

    # Tracing

    def _trace_call(
        self,
        layer: keras.Layer,
        first: Any,
        rest: Mapping[str, Any],
        training: bool,
        settings: Mapping[str, Any],
    ) -> None:
        """Traces a layer's call on tensors, and with settings that are no tensors."""
        given = first, dict(rest)
        tensors = keras.tree.flatten(given)
        if self._expects_training(layer):
            settings = {**settings, "training": training}

        def run(*arrays: Any) -> Any:
            here, named = keras.tree.pack_sequence_as(given, arrays)
            return layer(here, **named, **settings)

        self._run(run, tensors, training)

    def _run(
        self, function: Callable[..., Any], tensors: Sequence[Any], training: bool
    ) -> tuple[CalledFunction, Call, Any]:
        """Traces a function over arrays that may use the model's variables."""
        calls, variables = self._calls, self._variables
        count = len(tensors)

        def pure(*operands: Any) -> Any:
            with calls.scope() as scope:
                for variable, value in zip(variables, operands[count:], strict=True):
                    scope.know(variable, value)
                return function(*operands[:count])

        values = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables]
        with (
            warnings.catch_warnings(),
            self._tracing.activate(),
            composites(),
            named_lengths(),
            traced_by(HostLayerTracer(self._tracing)),
            calls.activate(training),
        ):
            # JAX says that it has no 64-bit numbers; the signature casts.
            warnings.filterwarnings("ignore", "Explicitly requested dtype")
            jaxpr, shape = trace(pure, *tensors, *values)
        results = len(jaxpr.jaxpr.outvars)
        inputs, outputs = tuple(range(count)), tuple(range(results))
        mark = Mark("function", "function", (), inputs=inputs, outputs=outputs)
        known = {count + i: variable for i, variable in enumerate(variables)}
        called = self._tracing.add(jaxpr, mark, known, [True] * results)
        return called, Call(jaxpr, mark, known), shape

    def _expects_training(self, layer: keras.Layer) -> bool:
        below = self._below.get(id(layer))
        if below is None:
            below = self._below[id(layer)] = _compat.all_layers(layer)
        return expects_training(layer, below)

    def _call_spec(self, layer: keras.Layer, takes_training: bool) -> ir.FunctionSpec:
        """Returns the Python signature of a layer's functions, as others have it."""
        key = id(call_signature(layer)), takes_training
        if key not in self._call_specs:
            self._call_specs[key] = call_spec(layer, takes_training)
        return self._call_specs[key]

    # Layers

    def _layer_traces(self) -> dict[int, LayerTraces]:
        found: dict[int, list[LayerCall]] = {}
        for record in list(self._calls.records):
            found.setdefault(id(record.layer), []).append(record)
        traces = {}
        for key, records in found.items():
            try:
                traces[key] = self._traces_of(records, found)
            except UnsupportedError as error:
                self._notes.append((records[0].layer.name, str(error)))
        places = {id(layer): key for key, layer in self._operations.items()}
        return {places.get(key, key): each for key, each in traces.items()}

    def _traces_of(
        self, records: Sequence[LayerCall], traced: Container[int]
    ) -> LayerTraces:
        layer = records[0].layer
        takes_training = self._expects_training(layer)
        chosen = distinct_calls(self._complete(records, takes_training), takes_training)
        chosen = with_lists(chosen, self._model)
        spec = self._call_spec(layer, takes_training)
        plain = [self._concrete(record, takes_training, None) for record in chosen]
        if layer is self._model and (tuples := with_tuples(chosen)) != chosen:
            chosen = tuples
            plain += [self._concrete(r, takes_training, None) for r in chosen]
        conditional = full = SavedFunctionSpec(
            tuple(self._concrete(r, takes_training, r.losses) for r in chosen), spec
        )
        if any(record.activity_losses for record in chosen):
            losses = [(*record.losses, *record.activity_losses) for record in chosen]
            every = map(self._concrete, chosen, repeat(takes_training), losses)
            full = SavedFunctionSpec(tuple(every), spec)
        # What `losses` of the model counts: in Keras 3 that of trainable weights alone.
        frozen_count = computes_as_keras2(self._model)
        weights = layer.weights if frozen_count else layer.trainable_weights
        return LayerTraces(
            call=SavedFunctionSpec(tuple(plain), spec),
            conditional_losses=conditional,
            all_conditional_losses=full,
            activity_regularizer=self._activity_regularizer(chosen[0]),
            regularization_losses=self._weight_regularizers(regularized(weights)),
            own_regularization_losses=self._weight_regularizers(
                counted_here(layer, weights, traced)
            ),
            expects_training=takes_training,
        )

    def _complete(
        self, records: Sequence[LayerCall], takes_training: bool
    ) -> list[LayerCall]:
        """Returns calls that stand alone, for both values of `training`."""
        alone = []
        for record in records:
            alone.append(record if self._is_alone(record) else self._again(record))
        flags = {record.training for record in alone}
        for missing in {True, False} - flags if takes_training else ():
            alone.append(
                self._again(alone[0], missing)
                if self._way.trains and id(alone[0].layer) not in self._untrained
                else replace(alone[0], training=missing)
            )
        return alone

    def _is_alone(self, record: LayerCall) -> bool:
        call = self._tracing.calls.get(record.label)
        if call is None:
            return False
        mark = call.mark
        wanted = [*mark.outputs, *mark.updates]
        wanted += [*record.losses, *record.activity_losses]
        used = used_operands(call.jaxpr.jaxpr, wanted)
        if used - set(mark.inputs) - call.variables.keys():
            return False
        live = [False] * len(call.jaxpr.out_avals)
        return not self._tracing.add(call.jaxpr, mark, call.variables, live).lengths

    def _again(self, record: LayerCall, training: bool | None = None) -> LayerCall:
        """Traces a layer's call by itself, outside of the model."""
        flag = record.training if training is None else training
        kwargs = {**record.kwargs}
        if "training" in kwargs:
            kwargs["training"] = flag

        def run(*arrays: Any) -> Any:
            args, named = restored((record.args, kwargs), arrays)
            return record.layer(*args, **named)

        with self._calls.anew():
            self._run(run, renamed_lengths(record.tensors, self._way), flag)
        return self._calls.records[-1]

    def _concrete(
        self, record: LayerCall, takes_training: bool, losses: Sequence[int] | None
    ) -> TracedFunction:
        """Returns a trace that gives the output, and the losses if asked for."""
        call = self._tracing.calls.get(record.label)
        if call is None:
            raise UnsupportedError(
                f"Layer '{record.layer.name}' is called where Regraft can't follow."
            )
        avals = call.jaxpr.out_avals
        live = [i in (losses or ()) for i in range(len(avals))]
        called = self._tracing.add(call.jaxpr, call.mark, call.variables, live)
        check_standalone(record, call, called)
        specs = [tensor_spec(avals[i].shape, avals[i].dtype) for i in call.mark.outputs]
        output = structure(record.outputs, specs)
        if losses is not None:
            specs = [tensor_spec(avals[i].shape, avals[i].dtype) for i in losses]
            output = (output, specs)
        promised, given = self._arguments_of(record, takes_training, call)
        traced = TracedFunction(called.name, called.captures, given, output)
        places = {call.mark.inputs[i]: dtype for i, dtype in promised.items()}
        return self._named(traced, called, call, places)

    def _arguments_of(
        self, record: LayerCall, takes_training: bool, call: Call
    ) -> tuple[dict[int, str], Any]:
        """Returns what the arguments of all functions of a call are."""
        key = id(record), takes_training
        if key not in self._arguments:
            names, promised = call.mark.input_names, promised_dtypes(record)
            given = input_signature(record, takes_training, names, promised)
            # The record stays, so that its id is no other one's.
            self._arguments[key] = promised, given, record
        promised, given, _ = self._arguments[key]
        return promised, given

    def _named(
        self,
        traced: TracedFunction,
        called: CalledFunction,
        call: Call,
        promised: Mapping[int, str],
    ) -> TracedFunction:
        """Returns a trace under a name that no other trace has.

        A file says once per name what a function's captures and signatures are, but
        equal layers share one body; all but the first call it. So does one that was
        promised arguments of other dtypes than its body takes.
        """
        if not promised and self._taken.setdefault(traced.name, traced) is traced:
            return traced
        names = call.mark.inputs, call.mark.input_names, str(promised)
        # Callers of one body with arguments of the same names differ by their own name.
        way = called.name, called.operands, called.results, called.symbols, names
        if way not in self._callers:
            self._callers[way] = self._caller(called, call, promised)
        function, symbols = self._callers[way]
        label = f"{call.mark.name}_layer_call_fn"
        name = self._tracing.library.add_distinct(function, label)
        captures = [call.variables[i] for i in called.operands if i in call.variables]
        captures += [self._tracing.constants[s] for s in symbols]
        again = replace(traced, name=name, captures=tuple(captures))
        self._taken[name] = again
        return again

    def _caller(
        self, called: CalledFunction, call: Call, promised: Mapping[int, str]
    ) -> tuple[ir.Function, Sequence[str]]:
        """Returns a function that calls another one, and the symbols that it takes."""
        graph = Graph(self._tracing)
        operands: list[Any] = [None] * len(call.jaxpr.in_avals)
        names = dict(zip(call.mark.inputs, call.mark.input_names, strict=False))
        for i in called.operands:
            aval = call.jaxpr.in_avals[i]
            dtype, shape = graph.boundary(aval), tuple(aval.shape)
            if i in called.variables:
                captured = call.variables[i]
                operands[i] = graph.variable("unknown", dtype, shape, captured)
            else:
                given = promised.get(i, dtype)
                value = graph.argument(names.get(i, "args"), given, shape)
                operands[i] = as_traced(graph, value, dtype)
        graph.out = tuple(call.jaxpr.out_avals)
        results = graph.call_function(called, operands, "StatefulPartitionedCall")
        outputs = [("identity", results[i]) for i in called.results]
        return graph.finish("caller", outputs), graph.passed_symbols

    def _activity_regularizer(self, record: LayerCall) -> SavedFunctionSpec | None:
        regularizer = record.layer.activity_regularizer
        if regularizer is None or record.output_count != 1:
            return None
        call = self._tracing.calls[record.label]
        aval = call.jaxpr.out_avals[call.mark.outputs[0]]
        (spec,) = renamed_lengths([aval], self._way)
        name = f"{record.layer.name}_activity_regularizer"
        called, _ = self._helper(name, before_averaging(regularizer), [spec], ["x"])
        traced = TracedFunction(
            self._distinct_name(called),
            called.captures,
            ((tensor_spec(spec.shape, spec.dtype, "x"),), {}),
            tensor_spec((), aval.dtype),
        )
        return SavedFunctionSpec((traced,), full_arg_spec(["x"]))

    def _weight_regularizers(
        self, variables: Iterable[keras.Variable]
    ) -> tuple[SavedFunctionSpec, ...]:
        return tuple(map(self._weight_regularizer, variables))

    def _weight_regularizer(self, variable: keras.Variable) -> SavedFunctionSpec:
        known = self._regularizers.get(id(variable))
        if known is None:
            called, avals = self._helper(
                "loss_fn", lambda: variable.regularizer(variable), [], []
            )
            traced = TracedFunction(
                self._distinct_name(called),
                called.captures,
                ((), {}),
                tensor_spec(avals[0].shape, avals[0].dtype),
            )
            known = SavedFunctionSpec((traced,), full_arg_spec([]))
            self._regularizers[id(variable)] = known
        return known

    def _distinct_name(self, called: CalledFunction) -> str:
        """Returns a name for a small function that no other trace has."""
        functions = self._tracing.library
        name = called.name
        if name in self._taken:
            name = functions.add_distinct(functions.functions[name])
        self._taken[name] = TracedFunction(name, called.captures, None, None)
        return name

    def _helper(
        self,
        name: str,
        function: Callable[..., Any],
        tensors: Sequence[Any],
        names: Sequence[str],
    ) -> tuple[CalledFunction, Sequence[Any]]:
        """Traces a small function under a name of its own."""
        variables, count = self._variables, len(tensors)

        def pure(*operands: Any) -> Any:
            with self._calls.scope() as scope:
                for variable, value in zip(variables, operands[count:], strict=True):
                    scope.know(variable, value)
                return function(*operands[:count])

        values = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables]
        with self._tracing.activate(), composites():
            jaxpr, _ = trace(pure, *tensors, *values)
        mark = Mark(
            "function",
            node_name(name),
            (),
            inputs=tuple(range(count)),
            input_names=tuple(names),
            outputs=(0,),
        )
        known = {count + i: variable for i, variable in enumerate(variables)}
        return self._tracing.add(jaxpr, mark, known, [True]), jaxpr.out_avals

    # Signatures

    def _default_signature(self) -> SignatureTrace | None:
        record = next(
            (
                r
                for r in reversed(self._calls.records)
                if r.layer is self._model and not r.training
            ),
            None,
        )
        call = None if record is None else self._tracing.calls.get(record.label)
        if record is None or call is None:
            return None
        names = input_names(self._model, self._inputs)
        inputs = dict(zip(names, flat_inputs(self._inputs), strict=True))
        places = dict(zip(names, call.mark.inputs, strict=True))
        outputs = output_names(self._model, record)
        return signature_trace(self._tracing, call, inputs, places, outputs)

    def _signature(self, request: SignatureRequest) -> SignatureTrace:
        names = list(request.inputs)
        inputs = [request.inputs[name] for name in names]
        specs = symbolic_inputs(inputs, self._way, "s")
        found: list[str] = []

        def run(*arrays: Any) -> list[Any]:
            outputs = request.function(**dict(zip(names, arrays, strict=True)))
            found[:] = list(outputs)
            return list(outputs.values())

        _, call, _ = self._run(run, specs, training=False)
        places = {name: i for i, name in enumerate(names)}
        return signature_trace(self._tracing, call, request.inputs, places, found)
