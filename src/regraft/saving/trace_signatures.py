"""The functions behind signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regraft.dtypes import name_of
from regraft.graph.tracing.function_graph import Graph, used_operands
from regraft.graph.tracing.tracer import Call, Tracing
from regraft.saving.trace_calls import node_name
from regraft.saving.trace_inputs import TensorInput
from regraft.saving.trace_specs import tensor_spec
from regraft.saving.trace_text import as_traced
from regraft.saving.traces import SignatureTrace, TracedFunction


def signature_trace(
    tracing: Tracing,
    call: Call,
    inputs: Mapping[str, TensorInput],
    places: Mapping[str, int],
    output_labels: Sequence[str],
) -> SignatureTrace:
    """Returns a function whose arguments and results are in order of names.

    It is flat: TensorFlow Lite mixes variables up where two calls share a body.
    """
    graph = Graph(tracing, is_flat=True)
    jaxpr, avals = call.jaxpr.jaxpr, call.jaxpr.out_avals
    operands: list[Any] = [None] * len(jaxpr.invars)
    for name in sorted(inputs):
        aval = call.jaxpr.in_avals[places[name]]
        label = node_name(name).lower()
        value = graph.argument(label, inputs[name].dtype, tuple(aval.shape))
        operands[places[name]] = as_traced(graph, value, name_of(aval.dtype))
    wanted = [*call.mark.outputs, *call.mark.updates]
    captures = []
    for i in sorted(used_operands(jaxpr, wanted) & call.variables.keys()):
        aval = call.jaxpr.in_avals[i]
        captures.append(call.variables[i])
        operands[i] = graph.variable(
            "unknown", name_of(aval.dtype), tuple(aval.shape), call.variables[i]
        )
    results = graph.run(jaxpr, call.jaxpr.consts, operands, wanted)
    graph.write_back(
        (operands[i], results[out])
        for out, i in call.mark.updates.items()
        if operands[i] is not None and results[out] is not operands[i]
    )
    kept = dict(zip(output_labels, call.mark.outputs, strict=True))
    function = graph.finish(
        "signature_wrapper",
        [("identity", graph.result(results[kept[name]])) for name in sorted(kept)],
        keeps_shapes=True,
    )
    captures += [tracing.constants[name] for name in graph.passed_symbols]
    specs = {
        name: tensor_spec(inputs[name].shape, inputs[name].dtype, name)
        for name in sorted(inputs)
    }
    outputs = {
        name: tensor_spec(avals[i].shape, avals[i].dtype, name)
        for name, i in sorted(kept.items())
    }
    name = tracing.library.add_distinct(function)
    traced = TracedFunction(name, tuple(captures), ((), specs), outputs)
    return SignatureTrace(traced, specs, outputs)
