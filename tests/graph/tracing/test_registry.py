"""What the registry of lowerings promises."""

from __future__ import annotations

from jax.extend.core import primitives

from regraft.graph.tracing import tracer
from regraft.graph.tracing.builder import op_def
from regraft.graph.tracing.registry import COMPOSITES, LOWERINGS, NOT_LOWERED


def _primitives() -> set[str]:
    return {getattr(primitives, n).name for n in dir(primitives) if n.endswith("_p")}


def test_each_primitive_of_jax_is_lowered_or_has_a_reason():
    assert tracer
    assert not _primitives() - LOWERINGS.keys() - NOT_LOWERED.keys()


def test_no_primitive_is_both():
    assert not LOWERINGS.keys() & NOT_LOWERED.keys()


def test_each_reason_is_a_few_words():
    assert all(reason and not reason.endswith(".") for reason in NOT_LOWERED.values())


def test_composites_say_what_they_read():
    assert all(callable(row.function) for row in COMPOSITES.values())


def test_ops_are_tensorflows():
    assert op_def("MatMul").outputs[0].name == "product"
