"""Whole architectures of tf_keras were verified, and are shown so."""

from __future__ import annotations

from interop import verified


def test_every_layer_that_was_compared_equals_its_trace():
    results = verified.load_results()
    assert set(results) <= set(verified.NAMES)
    assert not {name: found for name, found in results.items() if not found.holds()}


def test_page_shows_what_was_measured():
    assert verified.table(verified.load_results()) in verified.PAGE.read_text()
