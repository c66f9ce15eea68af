"""What every test stands on: JAX as Keras' backend, the peers, the vintage corpus."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

# Before anything imports Keras. Its home is ours, so that no user's keras.json counts.
_KERAS_HOME = tempfile.mkdtemp(prefix="regraft-keras-home-")
os.environ["KERAS_BACKEND"] = os.environ.get("REGRAFT_TEST_BACKEND", "jax")
os.environ["KERAS_HOME"] = _KERAS_HOME
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The vintage models come in seven versions and three formats: compiled once.
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(_KERAS_HOME, "compiled")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

from data.vintage import corpus  # noqa: E402
from peer import Peer  # noqa: E402


def pytest_unconfigure() -> None:
    shutil.rmtree(_KERAS_HOME, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what asks a peer, so that no test that does runs where there is none."""
    for item in items:
        if {"peer", "openvino"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("peer")


@pytest.fixture(scope="session")
def peer() -> Iterator[Peer]:
    """TensorFlow and tf_keras in one long-lived process."""
    process = Peer()
    yield process
    process.close()


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keras and JAX compute in float64."""
    import jax
    import keras
    from keras.src.backend.common import dtypes as promotion

    floatx = keras.config.floatx()
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    # Keras on JAX computes means of float64 in float32 otherwise.
    monkeypatch.setitem(promotion.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    yield
    keras.config.set_floatx(floatx)
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="session")
def openvino() -> Iterator[Peer]:
    """OpenVINO in a process that cannot import TensorFlow or Keras."""
    process = Peer(blocked=("tensorflow", "tf_keras", "keras"))
    yield process
    process.close()


@pytest.fixture(scope="session")
def vintage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vintage corpus, unpacked: `<TensorFlow version>/<case>/…`."""
    return corpus.unpack(tmp_path_factory.mktemp("vintage"))


@pytest.fixture(autouse=True)
def _fresh_keras_names() -> None:
    """Each test names layers from zero, whatever ran before it."""
    # Tests of rooms below Keras do not pay for its import.
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=False)
