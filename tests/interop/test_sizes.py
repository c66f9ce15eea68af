"""The graphs of whole architectures are as small as tf_keras' own, and shown so."""

from __future__ import annotations

from interop import sizes
from interop.models import APPLICATIONS


def test_every_architecture_was_measured_and_is_small_enough():
    results = sizes.load_results()
    assert sorted(results) == APPLICATIONS
    assert not {name: size for name, size in results.items() if not size.holds()}


def test_page_shows_the_sizes_that_were_measured():
    assert sizes.table(sizes.load_results()) in sizes.PAGE.read_text()
