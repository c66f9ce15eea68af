"""The outputs of a model, and compile arguments laid out by output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from regraft import _compat
from regraft._compat import compiled
from regraft.model.compile.names import FUNCTIONS, METRIC_OF_FUNCTION
from regraft.model.dialects.context import Note
from regraft.model.dialects.names import original_name
from regraft.model.keras2.logits import remember_logits, remembering
from regraft.model.keras2.losses import USES_LOGITS, Keras2Loss


@dataclass(frozen=True)
class Outputs:
    """How a model's outputs are nested and what they are called.

    Attributes:
        keys: Keys of a dict of outputs, sorted as Keras flattens them; else `None`.
        names: Name of each output in Keras 3, in Keras' order.
        file_names: The same in the file.
        layers: The layer that made each output, innermost.
    """

    keys: tuple[str, ...] | None
    names: tuple[str, ...]
    file_names: tuple[str, ...]
    layers: tuple[keras.layers.Layer, ...]

    @property
    def count(self) -> int:
        return len(self.names)

    def place(self, key: str) -> int | None:
        """Index of the output that a key of a dict argument means."""
        for names in (self.keys or (), self.file_names, self.names):
            if key in names:
                return names.index(key)
        return None


def outputs_of(model: keras.Model) -> Outputs | None:
    """Describes a network's outputs; `None` for a model that is code.

    A model that is revived from its traces may know its `output_names`, and one of code
    knows the keys of its outputs since it saw targets.
    """
    network = model
    if isinstance(model, keras.Sequential):
        functional = _compat.functional_of(model)
        if functional is None:
            return None
        network = functional
    if not hasattr(network, "operations") or not network.outputs:
        keys = getattr(model, "output_keys", None) or compiled.output_keys(model)
        known = tuple(keys or getattr(model, "output_names", None) or ())
        return Outputs(keys, known, known, ()) if known else None
    structure = _compat.structures(network)[1]
    flat = keras.tree.flatten(structure)
    makers = [_compat.keras_history(tensor)[0] for tensor in flat]
    keys = None
    if isinstance(structure, Mapping) and len(structure) == len(flat):
        keys = tuple(sorted(str(key) for key in structure))
    names = tuple(getattr(model, "output_names", None) or network.output_names)
    if len(names) != len(flat):
        names = tuple(maker.name for maker in makers)
    file_names = tuple(
        original_name(maker) if maker.name == name else name
        for maker, name in zip(makers, names, strict=True)
    )
    return Outputs(keys, names, file_names, tuple(_innermost(m) for m in makers))


def _innermost(layer: Any) -> Any:
    """The layer that makes a nested model's last output."""
    while isinstance(layer, keras.Model):
        inner = outputs_of(layer)
        # A model that is revived from its traces knows names of its outputs only.
        if inner is None or inner.count != 1 or not inner.layers:
            return layer
        layer = inner.layers[0]
    return layer


def _is_leaf(argument: Any) -> bool:
    return not isinstance(argument, list | tuple | Mapping) or (
        isinstance(argument, Mapping) and "class_name" in argument
    )


def is_entry(argument: Any) -> bool:
    """Whether an argument is one serialized object or name, not a collection."""
    return argument is not None and _is_leaf(argument)


def by_output(argument: Any, outputs: Outputs, *, spread: bool) -> list[Any] | None:
    """Lays an argument of `compile` out as a list with an item per output.

    Args:
        argument: One item, or a list or dict of them.
        outputs: Of the model.
        spread: Whether one item is for every output.

    Returns:
        The list; `None` if the argument's form doesn't fit the outputs.
    """
    if _is_leaf(argument):
        if outputs.count == 1 or spread:
            return [argument] * outputs.count
        return None
    if isinstance(argument, Mapping):
        found: list[Any] = [None] * outputs.count
        for key, item in argument.items():
            place = outputs.place(str(key))
            if place is None:
                return None
            found[place] = item
        return found
    # Keras 2 pairs them off, and never looks at what is beyond the outputs.
    return list(argument)[: outputs.count] if len(argument) >= outputs.count else None


def metrics_by_output(argument: Any, outputs: Outputs) -> list[list[Any]] | None:
    """Lays `metrics` out as a list of metrics per output.

    A flat list is for every output, as Keras 2 has it.
    """
    if argument is None:
        return [[] for _ in range(outputs.count)]
    if isinstance(argument, Mapping) and not _is_leaf(argument):
        laid = by_output(argument, outputs, spread=False)
        return None if laid is None else [_as_list(item) for item in laid]
    items = [argument] if _is_leaf(argument) else list(argument)
    if not any(_is_nested(item) for item in items):
        if outputs.count > 1 and len(items) == outputs.count and None in items:
            return [_as_list(item) for item in items]
        return [list(items) for _ in range(outputs.count)]
    if len(items) != outputs.count:
        return None
    return [_as_list(item) for item in items]


def _is_nested(item: Any) -> bool:
    return not _is_leaf(item)


def _as_list(item: Any) -> list[Any]:
    if item is None:
        return []
    if _is_leaf(item):
        return [item]
    found: Sequence[Any] = list(item.values()) if isinstance(item, Mapping) else item
    return [x for x in found if x is not None]


def without_output_names(laid: list[list[Any]], outputs: Outputs) -> list[list[Any]]:
    """Names metrics as the user did, per output.

    Keras 2 writes the metrics of several outputs with the outputs' names in front,
    and shows them so when it has loaded them; Keras 3 puts those names in front of
    what it is given.
    """
    found = []
    for place, items in enumerate(laid):
        names = [outputs.file_names[place], outputs.names[place]]
        names += [] if outputs.keys is None else [outputs.keys[place]]
        found.append([_renamed(item, names) for item in items])
    return found


def _renamed(entry: Any, output_names: list[str]) -> Any:
    name = _name_of(entry)
    for output in output_names:
        if name is not None and len(name) > len(output) + 1:
            own = name.removeprefix(f"{output}_")
            if own != name:
                return _with_name(entry, own)
    return entry


def _name_of(entry: Any) -> str | None:
    config = entry.get("config") if isinstance(entry, Mapping) else None
    name = config.get("name") if isinstance(config, Mapping) else None
    return name if isinstance(name, str) else None


def _with_name(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**entry, "config": {**entry["config"], "name": name}}


def with_output_name(entry: Any, output: str) -> Any:
    """Names a metric's entry as Keras 2 writes it in a model with several outputs."""
    entry = _as_metric(entry)
    name = _name_of(entry)
    return entry if name is None else _with_name(entry, f"{output}_{name}")


def _as_metric(entry: Any) -> Any:
    """Makes a metric's entry of a function's name, which has no place for another."""
    if not isinstance(entry, str):
        return entry
    if entry not in METRIC_OF_FUNCTION or entry == "accuracy":
        return entry
    config = {"name": entry, "dtype": "float32"}
    return {"class_name": METRIC_OF_FUNCTION[entry], "config": config}


def shape_back(items: list[Any], outputs: Outputs) -> Any:
    """The form in which Keras 3 takes a list with an item per output."""
    if outputs.count == 1 and outputs.keys is None:
        return items[0]
    if outputs.keys is not None:
        return dict(zip(outputs.keys, items, strict=True))
    return items


def remember_output_logits(outputs: Outputs | None, losses: Any) -> None:
    """Lets the output layers remember logits where a loss asks for them."""
    if outputs is None:
        return
    laid = by_output(losses, outputs, spread=True) or []
    remember_logits(
        layer
        for layer, loss in zip(outputs.layers, laid, strict=False)
        if isinstance(loss, Keras2Loss)
        and getattr(loss.fn, "__name__", "") in USES_LOGITS
    )


def note_other_logits(outputs: Outputs | None, losses: Any, notes: list[Note]) -> None:
    """Notes losses that Keras 2 computes from the logits of another activation.

    It takes the logits of a `softmax` beside a binary crossentropy, and of a `sigmoid`
    beside one of classes, for those of the activation that the loss is made for.
    """
    if outputs is None or not outputs.layers:
        return
    laid = by_output(losses, outputs, spread=True) or []
    for layer, loss in zip(outputs.layers, laid, strict=False):
        name, activation = _crossentropy(loss), remembering(layer)
        if name is None or activation is None:
            continue
        kind = activation.__name__
        made_for = "sigmoid" if name.startswith("binary") else "softmax"
        if kind != made_for or getattr(loss, "from_logits", False):
            text = (
                f"beside '{layer.name}' Keras 2 computes {name} from what its {kind} "
                f"is of, as if that were of a {made_for}: the loss differs there"
            )
            notes.append(Note("compile", text))


def _crossentropy(loss: Any) -> str | None:
    """The function of a crossentropy of Keras 3; `None` for another loss."""
    if isinstance(loss, Keras2Loss):
        return None
    if isinstance(loss, keras.losses.Loss):
        loss = getattr(loss, "fn", None)
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    name = FUNCTIONS.get(name, name)
    return name if name in USES_LOGITS else None
