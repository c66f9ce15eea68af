"""The tests' side of the peer process."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from peer.channel import receive, send

_ROOT = Path(__file__).resolve().parents[2]
_SERVER = Path(__file__).with_name("server.py")

PEER_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    # Rounding that does not depend on which oneDNN kernel a machine picks.
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # `tf.keras` is the Keras that writes SavedModels.
    "TF_USE_LEGACY_KERAS": "1",
}


class PeerError(Exception):
    """A function of the peer raised, or the peer died.

    Attributes:
        error: Name of the exception's class in the peer.
        message: The exception's own text.
        output: What the peer printed during the call.
    """

    def __init__(self, text: str, error: str, message: str, output: str) -> None:
        super().__init__(text)
        self.error = error
        self.message = message
        self.output = output


def find_peers_python() -> Path:
    """Returns the Python of the peers' environment.

    It is `$REGRAFT_PEERS_PYTHON`, or else `.venv-peers/bin/python` in the project.

    Raises:
        PeerError: There is none; the text says how to build it.
    """
    named = os.environ.get("REGRAFT_PEERS_PYTHON")
    python = Path(named) if named else _ROOT / ".venv-peers" / "bin" / "python"
    if not python.exists():
        text = (
            f"No peers' environment: {python} does not exist. `make test` builds it "
            "(TensorFlow, tf_keras, OpenVINO) and runs the tests; or let "
            "REGRAFT_PEERS_PYTHON name the Python of an environment with what "
            "tests/peer/requirements*.txt list."
        )
        raise PeerError(text, "FileNotFoundError", text, "")
    return python


class Peer:
    """A process of the peers' environment; started by the first call.

    Args:
        blocked: Modules that it must not import, as if not installed.
        environment: Environment variables on top of `PEER_ENVIRONMENT`.
        python: Of another environment than the peers' common one.
    """

    def __init__(
        self,
        blocked: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        python: str | os.PathLike[str] | None = None,
    ) -> None:
        self._python = python
        self._blocked = blocked
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: str | None = None
        self.output = ""

    def call(
        self, function: str, /, *args: Any, timeout_s: float = 600.0, **kwargs: Any
    ) -> Any:
        """Calls `tests/peer/functions/<module>.py`'s function in the peer.

        Args:
            function: `"module.function"`.
            *args: Positional arguments; they must pickle.
            timeout_s: After this many seconds the peer is killed.
            **kwargs: Keyword arguments; they must pickle.

        Returns:
            What the function returned. `self.output` holds what it printed.

        Raises:
            PeerError: It raised, or the peer died.
        """
        process = self._start()
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        try:
            send(process.stdin, (function, args, kwargs))
            reply = receive(process.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise self._death(function, timeout_s, not timer.is_alive()) from error
        finally:
            timer.cancel()
        self.output = reply["output"]
        if "error" in reply:
            text = f"{function} failed in the peer:\n{reply['traceback']}"
            if self.output:
                text += f"\nIt printed:\n{self.output}"
            raise PeerError(text, reply["error"], reply["message"], self.output)
        return reply["value"]

    def close(self) -> None:
        """Ends the process and removes its files."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()
            self._process = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            python = self._python or find_peers_python()
            self._directory = tempfile.mkdtemp(prefix="regraft-peer-")
            environment = {
                name: value
                for name, value in os.environ.items()
                if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
            }
            environment |= PEER_ENVIRONMENT
            environment["KERAS_HOME"] = os.path.join(self._directory, "keras")
            environment |= self._environment
            self._process = subprocess.Popen(
                [python, _SERVER, self._log_path, *self._blocked],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
        return self._process

    @property
    def _log_path(self) -> str:
        return os.path.join(str(self._directory), "log")

    def _death(self, function: str, timeout_s: float, timed_out: bool) -> PeerError:
        with open(self._log_path, errors="replace") as log:
            output = log.read()[-4000:]
        status = self._process.wait() if self._process is not None else None
        reason = (
            f"was killed after {timeout_s} s"
            if timed_out
            else f"died with status {status}"
        )
        self.close()
        text = f"The peer {reason} in {function}. Its last words:\n{output}"
        return PeerError(text, "PeerDied", text, output)
