"""The graphs of whole architectures are as small as tf_keras' own."""

from __future__ import annotations

import pytest

from interop import sizes
from interop.models import APPLICATIONS


def test_graph_of_a_small_architecture_is_as_small_as_tf_keras_own(peer):
    size = sizes.measure("MobileNet", peer)
    assert size.holds(), size


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_graph_is_as_small_as_tf_keras_own(name, peer):
    size = sizes.measure(name, peer)
    assert size.holds(), size
