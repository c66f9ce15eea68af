"""TensorFlow, tf_keras and OpenVINO, asked across a process boundary.

`Peer` starts a process with the Python of the peers' environment and keeps it:
importing TensorFlow alone takes eight seconds. A request names a function of
`tests/peer/functions/<module>.py`, which is imported in the peer only:

    def test_reads_what_tensorflow_writes(peer, tmp_path):
        expected = peer.call("checkpoints.write", tmp_path / "ckpt", seed=1)

Arguments and results are pickled (NumPy arrays, builtins, paths), between our own
two processes. An exception comes back as `PeerError` with the peer's traceback, and
all that the peer printed.
"""

from __future__ import annotations

from peer.client import Peer, PeerError, find_peers_python
from peer.fresh import FreshProcess, fresh_process

__all__ = ["FreshProcess", "Peer", "PeerError", "find_peers_python", "fresh_process"]
