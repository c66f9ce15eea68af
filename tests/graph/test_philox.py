"""Random numbers of a seed are the same wherever and however they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from keras import ops

from regraft.graph.runtime.kernels import philox
from regraft.graph.runtime.registry import KERNELS

Draw = Callable[[tuple[Any, ...], str, philox.Stream], Any]
_SEED = np.array([5, -7], np.int32)
_DRAWS = pytest.mark.parametrize(
    ("draw", "dtype"),
    [
        *(
            (draw, dtype)
            for draw in (philox.uniform, philox.normal, philox.truncated_normal)
            for dtype in ("float16", "float32", "float64")
        ),
        (philox.any_integers, "uint32"),
        (lambda *given: philox.integers(*given, np.array(-3), np.array(1000)), "int32"),
    ],
)


def _known(draw: Draw, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    found = draw(shape, dtype, philox.stream_of_seed(_SEED))
    assert isinstance(found, np.ndarray)
    return found


def _same(found: Any, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(
        np.asarray(found, np.float64), expected.astype(np.float64), rtol=2e-5, atol=2e-6
    )


@_DRAWS
@pytest.mark.parametrize("shape", [(), (0, 3), (7, 3)])
def test_seed_that_is_computed(shape: tuple[int, ...], draw: Draw, dtype: str) -> None:
    make = KERNELS["StatelessRandomGetKeyCounter"].function

    def drawn(seed: Any) -> Any:
        return draw(shape, dtype, philox.stream_of_state(*make(seed)))

    expected = _known(draw, shape, dtype)
    _same(drawn(ops.convert_to_tensor(_SEED)), expected)
    _same(jax.jit(drawn)(_SEED), expected)


@_DRAWS
def test_length_that_is_unknown(draw: Draw, dtype: str) -> None:
    def drawn(rows: Any) -> Any:
        return draw((rows.shape[0], 3), dtype, philox.stream_of_seed(_SEED))

    (length,) = jax.export.symbolic_shape("b")
    exported = jax.export.export(jax.jit(drawn))(
        jax.ShapeDtypeStruct((length,), "float32")
    )
    for count in (1, 6):
        rows = np.zeros(count, np.float32)
        _same(exported.call(rows), _known(draw, (count, 3), dtype))


def test_more_numbers_than_are_made_on_the_host() -> None:
    found = philox.normal((70_000,), "float32", philox.stream_of_seed(_SEED))
    assert not isinstance(found, np.ndarray)
    _same(found[:9], _known(philox.normal, (9,), "float32"))
    assert abs(float(ops.std(found)) - 1) < 0.01
