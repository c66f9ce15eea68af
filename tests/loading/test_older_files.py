"""What older TensorFlow leaves out of its SavedModels of own classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.loading import build
from regraft.loading.frozen import freeze_unknown
from regraft.storage.proto import messages

pytestmark = pytest.mark.peer

NO_WEIGHT = "is no weight of the model that was saved: it isn't trained"


def test_what_a_model_does_not_list_as_its_weights_is_not_trained(
    tmp_path: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow 1.15 to 2.4 find no weights in a `tf.Module`, nor train them."""
    path = tmp_path / "m"
    theirs = peer.call("own_layers.save", "weights_of_a_module", str(path))

    def as_before(plan: Any, description: Any, context: Any) -> None:
        root = description.objects.root
        module = root.child("layer_with_weights-1").child("module")
        hidden = module.variable("factors").node_id
        for name in ("variables", "trainable_variables"):
            listed = root.child(name).children
            known = [item for item in listed.values() if item.node_id != hidden]
            listed.clear()
            listed.update({str(place): item for place, item in enumerate(known)})
        freeze_unknown(plan, description, context)

    monkeypatch.setattr(build, "freeze_unknown", as_before)
    model = regraft.load_model(path)
    notes = regraft.load_report(model).notes
    assert notes == ["root.layer-1.module.factors: " + NO_WEIGHT]
    model.train_on_batch(*theirs["batch"])
    before = [value for _, _, value in theirs["weights"]]
    for place, variable in enumerate(model.weights):
        is_hidden = theirs["weights"][place][0].startswith("Variable")
        assert variable.trainable != is_hidden
        expected = (before if is_hidden else theirs["after"])[place]
        np.testing.assert_allclose(np.asarray(variable), expected, rtol=1e-5, atol=1e-6)


def test_network_without_a_config_opens_in_tf_keras_when_it_is_saved_again(
    tmp_path: Path, peer: Peer
) -> None:
    """Before TensorFlow 2.5 one layer without a config leaves its network without."""
    path = tmp_path / "m"
    theirs = peer.call("own_layers.save", "weights_of_a_module", str(path))
    file = path / "keras_metadata.pb"
    message = messages.KerasSavedMetadata()
    message.ParseFromString(file.read_bytes())
    metadata = json.loads(message.nodes[0].metadata)
    metadata["config"] = None
    metadata["model_config"] = {"class_name": metadata["class_name"]}
    message.nodes[0].metadata = json.dumps(metadata)
    file.write_bytes(message.SerializeToString())
    regraft.save_model(regraft.load_model(path), tmp_path / "again")
    found = peer.call("keras_models.predict", str(tmp_path / "again"), theirs["inputs"])
    np.testing.assert_allclose(found[0], theirs["outputs"], rtol=1e-5, atol=1e-6)
