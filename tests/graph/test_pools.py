"""Pools give what TensorFlow's give, and hand gradients to the same of equals."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.graph.runtime.kernels import kinks

pytestmark = pytest.mark.peer

POOLS = ("pairs", "overlapping", "dense", "uneven", "sparse", "explicit", "large")


@pytest.fixture(scope="module")
def saved(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("pools") / "m"
    return path, peer.call("pools.save_pools", str(path))


@pytest.mark.parametrize("name", POOLS)
def test_gradients_belong_to_the_first_of_equals(name: str, saved: Any) -> None:
    path, theirs = saved
    function = getattr(regraft.load(path), name)
    outputs, gradient = theirs[name]
    np.testing.assert_array_equal(function(theirs["x"]), outputs)

    def total(x: Any) -> Any:
        y = function(x)
        return jax.numpy.sum(y**2 + y)

    np.testing.assert_array_equal(jax.grad(total)(theirs["x"]), gradient)


def test_values_that_are_no_numbers_stay_so(saved: Any) -> None:
    path, theirs = saved
    x = theirs["x"].copy()
    x[0, 4, 4] = np.nan
    function = regraft.load(path).dense
    with kinks.without_own_gradients():
        expected = jax.jit(function)(x)
    assert np.isnan(expected).sum() == 27
    np.testing.assert_array_equal(jax.jit(lambda x: function(x))(x), expected)
