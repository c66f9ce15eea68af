"""A Sequential of Keras 1 that begins with several branches, as a graph.

`Merge` could stand first in a Sequential and hold the networks that it merged. Keras
1 wrote the weights of all these layers side by side, so the graph is flat, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft.errors import FormatError

Entry = dict[str, Any]
Reference = list[Any]


def begins_with_branches(entries: list[Any]) -> bool:
    """Whether the first layer of a Sequential merges networks that it holds."""
    first = entries[0] if entries else None
    return (
        isinstance(first, Mapping)
        and first.get("class_name") == "Merge"
        and isinstance(first.get("config"), Mapping)
        and bool(first["config"].get("layers"))
    )


def as_graph(name: str, entries: list[Any]) -> dict[str, Any]:
    """Returns the config of the Functional model that computes the same.

    Args:
        name: Of the model.
        entries: Of the Sequential's layers.

    Raises:
        FormatError: A branch has no input shape, or no layer.
    """
    graph = _Graph()
    output = graph.sequence(entries)
    return {
        "name": name,
        "layers": graph.layers,
        "input_layers": graph.inputs,
        "output_layers": [output],
    }


class _Graph:
    def __init__(self) -> None:
        self.layers: list[Entry] = []
        self.inputs: list[Reference] = []

    def sequence(self, entries: list[Any]) -> Reference:
        """Adds layers one after the other; returns what the last one makes."""
        if not entries:
            raise FormatError("A branch of a Merge layer has no layers")
        if begins_with_branches(entries):
            first = entries[0]
            branches = [self.branch(item) for item in first["config"]["layers"]]
            merged = {k: v for k, v in first["config"].items() if k != "layers"}
            output = self._call("Merge", merged, branches)
        else:
            shape = _config(entries[0]).get("batch_input_shape")
            if entries[0].get("class_name") == "InputLayer":
                output = self._input(_config(entries[0]))
            elif shape is None:
                raise FormatError(
                    "The first layer of a branch has no input shape",
                    received=_config(entries[0]).get("name"),
                )
            else:
                config = _config(entries[0])
                output = self._input(
                    {
                        "name": f"{config.get('name')}_input",
                        "batch_input_shape": shape,
                        "input_dtype": config.get("input_dtype"),
                    }
                )
                inner = entries[0]["class_name"]
                output = self._call(inner, entries[0]["config"], [output])
        for entry in entries[1:]:
            output = self._call(entry["class_name"], entry["config"], [output])
        return output

    def branch(self, entry: Any) -> Reference:
        """Adds one branch: a Sequential, a Model or a layer."""
        if not isinstance(entry, Mapping) or "config" not in entry:
            raise FormatError("Invalid branch of a Merge layer")
        config = entry["config"]
        if entry.get("class_name") == "Sequential":
            layers = config if isinstance(config, list) else config["layers"]
            return self.sequence(list(layers))
        if isinstance(config, Mapping) and "output_layers" in config:
            self.layers += config["layers"]
            self.inputs += config["input_layers"]
            return list(config["output_layers"][0])
        return self.sequence([entry])

    def _input(self, config: Mapping[str, Any]) -> Reference:
        name = config.get("name")
        entry = {"class_name": "InputLayer", "name": name, "config": dict(config)}
        self.layers.append({**entry, "inbound_nodes": []})
        self.inputs.append([name, 0, 0])
        return [name, 0, 0]

    def _call(self, class_name: str, config: Any, inputs: list[Reference]) -> Reference:
        name = _config({"config": config}).get("name")
        if name is None:  # a network, whose config was a list of layers
            name = f"{class_name.lower()}_{len(self.layers)}"
        entry = {"class_name": class_name, "name": name, "config": config}
        self.layers.append({**entry, "inbound_nodes": [inputs]})
        return [name, 0, 0]


def _config(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    config = entry.get("config")
    return config if isinstance(config, Mapping) else {}
