"""The object graph of a checkpoint, in the ways that TensorFlow has written it."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.errors import FormatError
from regraft.model.object_graph import read_object_graph
from regraft.storage.proto import messages
from regraft.storage.tensor import ArrayTensor


@pytest.mark.parametrize(
    ("name", "key"),
    [("table", "counts/.ATTRIBUTES/table"), ("", "counts/.ATTRIBUTES/")],
    ids=["2.8 and before", "2.9 to 2.12"],
)
def test_table_is_two_tensors(name: str, key: str) -> None:
    saved = messages.SavedObjectGraph()
    saved.nodes.add().children.add(node_id=1, local_name="counts")
    saved.nodes.add()
    checkpoint = messages.TrackableObjectGraph()
    checkpoint.nodes.add().children.add(node_id=1, local_name="counts")
    checkpoint.nodes.add().attributes.add(name=name, checkpoint_key=key)
    tensors = {
        f"counts/.ATTRIBUTES/table-{part}": ArrayTensor(np.arange(3))
        for part in ("keys", "values")
    }
    graph = read_object_graph(saved, checkpoint, tensors, {}, path="file")
    counts = graph.root.child("counts")
    assert counts is not None
    assert set(counts.attributes) == {"table-keys", "table-values"}
    with pytest.raises(FormatError, match="the bundle doesn't have"):
        read_object_graph(saved, checkpoint, {}, {}, path="file")
