"""The peer process and the fresh process do what the other tests rely on."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from peer import Peer, PeerError, fresh_process


@pytest.fixture
def plain_peer():
    peer = Peer(blocked=("tensorflow",))
    yield peer
    peer.close()


@pytest.mark.peer
class TestPeer:
    def test_arrays_and_structures_travel_both_ways(self, plain_peer):
        value = {
            "float": np.arange(6, dtype=np.float32).reshape(2, 3),
            "bfloat16": np.arange(3).astype(ml_dtypes.bfloat16),
            "strings": np.array([b"a", b"\xff"], dtype=object),
            "nested": [(1, None), {"x": b"bytes"}],
        }
        back = plain_peer.call("versions.echo", value)
        np.testing.assert_array_equal(back["float"], value["float"])
        np.testing.assert_array_equal(back["bfloat16"], value["bfloat16"])
        assert back["bfloat16"].dtype == ml_dtypes.bfloat16
        assert back["strings"].tolist() == [b"a", b"\xff"]
        assert back["nested"] == value["nested"]

    def test_output_of_a_call_is_captured(self, plain_peer, capfd):
        plain_peer.call("versions.echo", 0, text="printed")
        assert plain_peer.output.count("printed") == 2
        assert capfd.readouterr() == ("", "")

    def test_exception_comes_back_with_the_peers_traceback(self, plain_peer):
        with pytest.raises(PeerError, match=r"raise ValueError\(message\)") as caught:
            plain_peer.call("versions.fail", "no such layer")
        assert (caught.value.error, caught.value.message) == (
            "ValueError",
            "no such layer",
        )
        assert plain_peer.call("versions.echo", 1) == 1

    def test_dead_peer_is_reported_and_started_again(self, plain_peer):
        with pytest.raises(PeerError, match=r"died with status 3 in versions\.die"):
            plain_peer.call("versions.die", 3)
        assert plain_peer.call("versions.echo", 1) == 1

    def test_blocked_module_is_as_if_not_installed(self, plain_peer):
        with pytest.raises(PeerError, match="No module named 'tensorflow'"):
            plain_peer.call("versions.of", "tensorflow")

    def test_missing_environment_says_how_to_build_it(self, monkeypatch, tmp_path):
        monkeypatch.setenv("REGRAFT_PEERS_PYTHON", str(tmp_path / "python"))
        with pytest.raises(PeerError, match="`make test` builds it"):
            Peer().call("versions.python")


def test_tensorflow_is_the_version_that_defines_the_formats(peer):
    versions = peer.call("versions.of", "tensorflow", "tf_keras")
    assert {name: v.rpartition(".")[0] for name, v in versions.items()} == {
        "tensorflow": "2.21",
        "tf_keras": "2.21",
    }


def test_openvino_runs_without_tensorflow(openvino):
    assert openvino.call("versions.of", "openvino")["openvino"] >= "2025"
    with pytest.raises(PeerError, match="No module named 'tensorflow'"):
        openvino.call("versions.of", "tensorflow")


def test_fresh_process_has_no_tensorflow():
    script = """
        import importlib.util, sys
        try:
            import tensorflow
        except ModuleNotFoundError:
            print("none", *sys.argv[1:])
    """
    assert fresh_process(script, "a", "b").stdout == "none a b\n"


def test_fresh_process_failure_shows_its_output():
    with pytest.raises(RuntimeError, match=r"status 1(.|\n)*said(.|\n)*ZeroDivision"):
        fresh_process("print('said'); 1 / 0")
