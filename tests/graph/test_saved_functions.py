"""Traced functions of a SavedModel: which trace is taken, and what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest

from data.vintage import corpus
from graph.saved_models import OpenModel
from peer import Peer
from regraft.errors import FormatError, MismatchError
from regraft.graph import ir
from regraft.graph.runtime import structure
from regraft.graph.runtime.kernels import carry, values
from regraft.graph.runtime.saved_functions import (
    SavedFunction,
    SignatureFunction,
    Trace,
)

NEWEST = [
    case
    for case in corpus.cases()
    if case.version == "2.21.0"
    and case.format == "saved_model"
    and case.name not in ("session_style", "text_and_tables")
]


def _open(vintage: Path, name: str, version: str = "2.21.0") -> OpenModel:
    return OpenModel(vintage / version / name / "saved_model")


def _functions(model: OpenModel) -> Iterator[tuple[tuple[str, ...], SavedFunction]]:
    """Every traced function once, by the names that lead to it."""
    queue: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    seen = {0}
    while queue:
        node_id, path = queue.pop(0)
        node = model.nodes[node_id]
        if node.WhichOneof("kind") == "function" and node.function.concrete_functions:
            yield path, model.function(*path)
        for child in node.children:
            if child.node_id not in seen and child.local_name != "signatures":
                seen.add(child.node_id)
                queue.append((child.node_id, (*path, child.local_name)))


def _specs(trace: Trace) -> list[ir.TensorSpec]:
    return [
        *structure.flat_specs(trace.args),
        *structure.flat_specs(dict(trace.kwargs)),
    ]


def _inputs(trace: Trace, salt: int) -> list[Any] | None:
    """Random inputs; `None` where the trace doesn't say how wide they are."""
    random = np.random.RandomState(salt)
    found = []
    for spec in _specs(trace):
        dims = spec.shape.dims
        if dims is None or None in dims[1:]:
            return None
        shape = tuple(3 if d is None else d for d in dims)
        if spec.dtype.name.startswith("float"):
            found.append(random.uniform(0, 2, shape).astype(spec.dtype.name))
        else:
            found.append(random.randint(0, 2, size=shape).astype(spec.dtype.name))
    return found


def _is_random(model: OpenModel, trace: Trace) -> bool:
    context = model.library.context()
    plans = carry.plans_within(context, [model.library.plan(trace.name)])
    return any(plan.random for plan in plans)


@pytest.mark.parametrize("case", NEWEST, ids=lambda case: case.id)
def test_every_trace_gives_what_tensorflow_gives(
    case: corpus.Case, vintage: Path, peer: Peer
) -> None:
    """Of each layer, in training and inference, with the variables it updates."""
    model = OpenModel(case.path(vintage))
    requests, found = [], []
    for path, function in _functions(model):
        for number, trace in enumerate(function.traces):
            inputs = _inputs(trace, len(requests))
            if inputs is None or _is_random(model, trace):
                continue
            requests.append((path, number, inputs))
            captures = [model.captures(i) for i in trace.concrete.bound_inputs]
            graph = model.library.callable(trace.name)
            found.append((trace.name, graph(inputs, captures)))
    expected = peer.call("traces.run", str(case.path(vintage)), requests)
    assert len(found) > 5
    for (name, ours), theirs in zip(found, expected, strict=True):
        assert not isinstance(theirs, str), (name, theirs)
        assert len(ours) >= len(theirs), name
        for a, b in zip(ours, theirs, strict=False):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("name", ["convnet", "recurrent", "custom_layer"])
def test_every_trace_compiles(name: str, vintage: Path) -> None:
    model = _open(vintage, name, "2.3.4")
    generator = keras.random.SeedGenerator(1)
    for _, function in _functions(model):
        for trace in function.traces:
            inputs = _inputs(trace, 0)
            if inputs is None:
                continue
            captures = [model.captures(i) for i in trace.concrete.bound_inputs]
            graph = model.library.callable(trace.name)
            state = [v.variable for v in model.variables.values()]

            def run(
                given: list[Any],
                graph: Any = graph,
                held: Any = captures,
                state: Any = state,
            ) -> Any:
                pairs = [(v, v.value) for v in (*state, generator.state)]
                with keras.StatelessScope(pairs):
                    return graph(given, held, seed_generator=generator)

            made = jax.eval_shape(run, [values.to_tensor(i) for i in inputs])
            expected = list(structure.flat_specs(trace.output_spec))
            assert len(made) >= len(expected)
            for ours, spec in zip(made, expected, strict=False):
                assert spec.shape.is_compatible_with(tuple(ours.shape))


def _layer(model: OpenModel, name: str) -> SavedFunction:
    """`call_and_return_conditional_losses` of the layer that owns a variable."""
    for path, function in _functions(model):
        if name in function.traces[0].name and path[-1].startswith("call_and_return"):
            return function
    raise AssertionError(name)


def test_training_flag_chooses_the_trace(vintage: Path) -> None:
    model = _open(vintage, "convnet")
    function = _layer(model, "batch_normalization")
    assert "training" in function.argument_names
    (spec, *_), _ = function.traces[0].concrete.input_signature
    x = np.ones([3 if d is None else d for d in spec.shape.dims], np.float32)
    training, _, _ = function.select((x,), {"training": True})
    inference, _, _ = function.select((x,), {"training": False})
    assert training is not inference
    assert training is function.select((x, True), {})[0]
    assert training.concrete.input_signature[0][1] is True


def test_training_updates_variables_and_inference_does_not(vintage: Path) -> None:
    model = _open(vintage, "convnet")
    function = _layer(model, "batch_normalization")
    (spec, *_), _ = function.traces[0].concrete.input_signature
    x = np.ones([3 if d is None else d for d in spec.shape.dims], np.float32)
    function(x, training=False)
    before = {k: np.array(v.read()) for k, v in model.variables.items()}
    function(x, training=False)
    for node, value in before.items():
        np.testing.assert_array_equal(model.variables[node].read(), value)
    function(x, training=True)
    changed = [
        node
        for node, value in before.items()
        if np.abs(np.asarray(model.variables[node].read()) - value).max() > 0
    ]
    assert len(changed) == 2


def test_losses_come_with_the_output(vintage: Path) -> None:
    model = _open(vintage, "custom_layer")
    for path, function in _functions(model):
        if path[-1] == "call_and_return_conditional_losses" and (
            len(_specs(function.traces[0])) == 1
        ):
            trace = function.traces[0]
            inputs = _inputs(trace, 1)
            if inputs is None:
                continue
            out, losses = function(inputs[0], *trace.args[1:])
            assert isinstance(losses, list)
            assert out.shape[0] == 3


def test_arguments_that_no_trace_takes_are_shown_with_each_difference(
    vintage: Path,
) -> None:
    function = _layer(_open(vintage, "convnet"), "batch_normalization")
    with pytest.raises(MismatchError) as caught:
        function(np.ones((3, 2), np.float32), training=True)
    text = str(caught.value)
    assert "received float32(3, 2)" in text
    assert "training: expected False, received True" in text or (
        text.count("inputs: expected") == 2
    )
    with pytest.raises(MismatchError, match="Unexpected arguments: wrong"):
        function(np.ones((3, 2), np.float32), wrong=1)
    with pytest.raises(MismatchError, match="Missing argument 'inputs'"):
        function()
    with pytest.raises(MismatchError, match="given twice"):
        function(1.0, inputs=1.0)


SPEC = ir.TensorSpec(ir.TensorShape((None, 3)), ir.DataType.of("float32"), "x")


@pytest.mark.parametrize(
    ("spec", "value", "fits"),
    [
        (SPEC, np.ones((2, 3), np.float32), True),
        (SPEC, np.ones((2, 3), np.float64), True),
        (SPEC, np.ones((2, 3), np.int32), True),
        (SPEC, [[1.0, 2.0, 3.0]], True),
        (SPEC, np.ones((2, 4), np.float32), False),
        (SPEC, np.ones((2, 3), bool), False),
        (SPEC, "text", False),
        (SPEC, None, False),
        (None, None, True),
        (None, 1, False),
        (True, True, True),
        (True, False, False),
        (True, np.bool_(True), True),
        (1.5, 1.5, True),
        ([SPEC], [np.ones((2, 3), np.float32)], True),
        ((SPEC,), [np.ones((2, 3), np.float32)], True),
        ([SPEC], [], False),
        ({"a": SPEC}, {"a": np.ones((2, 3), np.float32)}, True),
        ({"a": SPEC}, {"b": np.ones((2, 3), np.float32)}, False),
    ],
)
def test_value_fits_a_spec_or_the_difference_is_told(
    spec: Any, value: Any, fits: bool
) -> None:
    found = structure.difference(spec, value, "here")
    assert (found is None) == fits
    assert fits or str(found).startswith("here: expected")


def test_dict_arguments_are_flattened_by_sorted_keys_and_rebuilt() -> None:
    spec = {"b": SPEC, "a": [SPEC, None]}
    flat = [v for v, _ in structure.flat_tensors(spec, {"b": 2, "a": [1, None]})]
    assert flat == [1, 2]
    assert structure.rebuilt(spec, iter(flat)) == {"b": 2, "a": [1, None]}


def test_signature_whose_function_takes_positional_arguments(vintage: Path) -> None:
    model = _open(vintage, "seed_example")
    trace = next(t for _, f in _functions(model) for t in f.traces if t.args)
    signature = SignatureFunction(model.library, "mine", trace.concrete, lambda _: None)
    with pytest.raises(FormatError, match=r"signature 'mine' takes positional"):
        signature()
