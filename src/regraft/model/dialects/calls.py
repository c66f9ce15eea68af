"""Recorded calls: which tensors go into a layer, and under which arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras

from regraft import _compat
from regraft.errors import FormatError, UnsupportedError
from regraft.model.dialects.context import BuildContext, Entry
from regraft.model.dialects.objects import is_entry
from regraft.model.dialects.registry import is_builtin
from regraft.model.keras2.host_layers import HostLayer
from regraft.model.keras2.layers_merging import end_masks
from regraft.model.keras2.layers_recurrent import mask_sequences_beside_states
from regraft.model.keras2.op_layers import Traced, carry_shapes

Reference = tuple[str, int]
Tensors = Mapping[Reference, Sequence[Any]]

# What stands in the place of a layer name before a value that is no tensor.
CONSTANT = "_CONSTANT_VALUE"

# They heed a mask, and what they give has no steps any more.
_POOLS = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D)


def refuse_sparse(layer: Any, given: Iterable[Any], name: str) -> None:
    """Refuses a call in which zeros would be taken for values.

    Raises:
        UnsupportedError: The layer takes the values of a sparse tensor alone.
    """
    if isinstance(layer, HostLayer):
        refuses = not layer.reads_sparse
    else:
        refuses = isinstance(layer, keras.layers.CategoryEncoding)
    if refuses and any(getattr(tensor, "sparse", False) for tensor in given):
        raise UnsupportedError(
            f"Layer {name!r} takes the values of a sparse tensor; Keras 3 has the "
            "layer for dense ones alone, in which zeros are values, too."
        )


def is_reference(data: Any, layers: Mapping[str, Any]) -> bool:
    """Whether data is `[layer, node, tensor]` or `[layer, node, tensor, keywords]`."""
    if not (isinstance(data, (list, tuple)) and len(data) in (3, 4)):
        return False
    if not isinstance(data[0], str) or not isinstance(data[1], int):
        return False
    if len(data) == 4 and not isinstance(data[3], Mapping):
        return False
    if data[0] == CONSTANT:
        return data[1] == -1
    return isinstance(data[2], int) and data[0] in layers


def _is_keras_tensor(data: Any) -> bool:
    return is_entry(data) and data["class_name"] == "__keras_tensor__"


def _history(data: Any) -> tuple[str, int, int]:
    history = data["config"].get("keras_history")
    if not isinstance(history, (list, tuple)) or len(history) != 3:
        raise FormatError("Invalid __keras_tensor__", received=history)
    return history[0], history[1], history[2]


def references(data: Any, layers: Mapping[str, Any]) -> set[Reference]:
    """Returns the calls whose results a recorded call needs."""
    return {(name, node) for name, node, _ in _walk(data, layers)}


def _walk(data: Any, layers: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    stack = [data]
    while stack:
        item = stack.pop()
        if _is_keras_tensor(item):
            yield _history(item)
        elif is_reference(item, layers):
            if item[0] != CONSTANT:
                yield item[0], item[1], item[2]
            stack.extend(item[3:])
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)


def told_of_masks(entry: Entry, context: BuildContext) -> Entry:
    """A Softmax of Keras 2 that is given a mask says so in its config."""
    config = entry["config"]
    if (
        entry["class_name"] != "Softmax"
        or context.dialect.generation >= 3
        or not isinstance(config, Mapping)
        or not _says_mask(entry.get("inbound_nodes"))
    ):
        return entry
    return {**entry, "config": {"robust_masking": False, **config}}


def _says_mask(data: Any) -> bool:
    if isinstance(data, Mapping):
        given = data.get("mask") is not None
        return given or any(map(_says_mask, data.values()))
    return isinstance(data, (list, tuple)) and any(map(_says_mask, data))


def node_offsets(
    entries: Sequence[Any],
    names: Sequence[str],
    config: Mapping[str, Any],
    context: BuildContext,
) -> dict[str, int]:
    """Returns what the index of the first recorded call of each layer is.

    A network's own creation was its node 0 in Keras 2, so that its calls begin at
    1; not so for a Sequential that had no input yet. The references themselves
    tell; where they leave it open, the dialect does.
    """
    if not context.dialect.counts_own_node:
        return dict.fromkeys(names, 0)
    known = dict.fromkeys(names, True)
    seen: dict[str, set[int]] = {name: set() for name in names}
    nodes = [entry.get("inbound_nodes") for entry in entries]
    ends = [config.get("input_layers"), config.get("output_layers")]
    for name, node, _ in _walk([nodes, ends], known):
        if name in seen:
            seen[name].add(node)
    offsets = {}
    for name, entry, calls in zip(names, entries, nodes, strict=True):
        offset = 0
        inner = entry["config"]
        # Keras 1's config of a Sequential is the list of its layers.
        network = isinstance(inner, list) or (
            isinstance(inner, Mapping) and "layers" in inner
        )
        found = seen[name]
        if network and calls:
            offset = _offset(found, len(calls))
        elif calls and found and min(found) > 0 and max(found) >= len(calls):
            offset = 1  # A network whose class writes a config of its own.
        offsets[name] = offset
    return offsets


def _offset(seen: set[int], count: int) -> int:
    return 0 if 0 in seen and max(seen) < count else 1


def tensors_of(
    data: Any,
    tensors: Tensors,
    layers: Mapping[str, Any],
    sequence: Callable[[Any], Any] = list,
) -> Any:
    """Replaces references in a nested structure by the tensors they name.

    Args:
        data: The structure.
        tensors: Outputs of the calls so far.
        layers: Whatever a reference can name.
        sequence: Of the items of a tuple, what the call gets. Keras 2 recorded
            lists alone, whatever it was that its layers were called with.
    """

    def convert(item: Any) -> Any:
        return tensors_of(item, tensors, layers, sequence)

    if _is_keras_tensor(data):
        return _tensor(*_history(data), tensors)
    if is_reference(data, layers):
        if data[0] == CONSTANT:
            return plain(data[2])
        return _tensor(data[0], data[1], data[2], tensors)
    if isinstance(data, Mapping):
        if is_entry(data):
            return plain(data, convert)
        return {key: convert(value) for key, value in data.items()}
    if isinstance(data, list):
        return [convert(item) for item in data]
    if isinstance(data, tuple):
        return sequence(map(convert, data))
    return data


def _tensor(name: str, node: int, tensor: int, tensors: Tensors) -> Any:
    try:
        outputs = tensors[name, node]
    except KeyError:
        raise FormatError(
            "A model refers to a call that it doesn't record", received=[name, node]
        ) from None
    if not 0 <= tensor < len(outputs):
        raise FormatError(
            f"Layer {name!r} has no output {tensor}",
            expected=f"fewer than {len(outputs)}",
            received=tensor,
        )
    return outputs[tensor]


def plain(data: Any, convert: Any = None) -> Any:
    """Turns the JSON forms of Python values back into values."""
    convert = convert or plain
    if not is_entry(data) and not (
        isinstance(data, Mapping) and isinstance(data.get("class_name"), str)
    ):
        if isinstance(data, Mapping):
            return {key: convert(value) for key, value in data.items()}
        if isinstance(data, tuple):
            return tuple(convert(item) for item in data)
        if isinstance(data, list):
            return [convert(item) for item in data]
        return data
    name = data["class_name"]
    config = data.get("config", data)
    if name == "__tuple__":
        return tuple(convert(item) for item in data.get("items", config))
    if name == "__ellipsis__":
        return Ellipsis
    if name == "TensorShape":
        items = data.get("items")
        return None if items is None else tuple(items)
    if name in ("__tensor__", "__numpy__"):
        return keras.ops.convert_to_tensor(config["value"], dtype=config["dtype"])
    if name == "__slice__":
        return slice(config["start"], config["stop"], config["step"])
    if name == "__bytes__":
        return str(data.get("value", config)).encode()
    return data


def single(structure: Any) -> Any:
    """Unwraps a list of one tensor."""
    if isinstance(structure, list) and len(structure) == 1:
        return structure[0]
    return structure


def arguments(
    layer: Any, data: Any, tensors: Tensors, layers: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Returns positional and keyword arguments of a recorded call of `layer`."""
    if isinstance(data, Mapping) and set(data) == {"args", "kwargs"}:
        args = tensors_of(data["args"], tensors, layers, tuple)
        keywords = tensors_of(data["kwargs"], tensors, layers, tuple)
        return list(args), dict(keywords)
    keywords = {}
    for reference in _leaves(data, layers):
        if len(reference) == 4:
            keywords = tensors_of(reference[3], tensors, layers)
    inputs = tensors_of(data, tensors, layers)
    if not getattr(layer, "preserves_input_structure", False):
        inputs = single(inputs)
    return [inputs], keywords


def _leaves(data: Any, layers: Mapping[str, Any]) -> Iterator[Any]:
    stack = [data]
    while stack:
        item = stack.pop()
        if is_reference(item, layers):
            yield item
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)


def invoke(
    layer: Any, args: list[Any], keywords: dict[str, Any], *, masked: bool = False
) -> Any:
    """Calls a layer as the file's Keras called it.

    Args:
        layer: What is called.
        args: Positional arguments.
        keywords: Keyword arguments.
        masked: Whether a mask may come with them.
    """
    if _takes_states(layer) and args and isinstance(args[0], list):
        # Keras 2 recorded states as further inputs of the layer.
        sequences, *states = args[0]
        args = [sequences, *args[1:]]
        if states:
            keywords = {**keywords, "initial_state": states}
            if masked:
                mask_sequences_beside_states(layer)
    if isinstance(layer, keras.Model) and args and isinstance(args[0], Mapping):
        args = [_inputs_of(layer, args[0]), *args[1:]]
    if isinstance(layer, keras.layers.Layer):
        if not getattr(layer, "takes_constants", False):
            args = [_tensors_among(layer, item) for item in args]
        keywords = _known_keywords(layer, keywords)
    outputs = layer(*args, **keywords)
    if args and isinstance(layer, keras.layers.Layer):
        _infer_lengths(layer, args[0], outputs)
        carry_shapes(layer, args[0], outputs)
    return outputs


def expect_masks(layer: keras.layers.Layer) -> None:
    """Lets a layer that masks come to, and those in a network, do as Keras 2 did."""
    end_masks(layer)
    if hasattr(layer, "expect_mask"):
        layer.expect_mask()
    if not isinstance(layer, keras.Model):
        return
    for inner in _compat.all_layers(layer):
        end_masks(inner)
        given = _compat.first_inputs(inner) if _takes_states(inner) else None
        if isinstance(given, list):
            mask_sequences_beside_states(inner)


def hands_on_masks(layer: Any) -> bool:
    """Whether what a layer gives may have the mask that came to it."""
    if isinstance(layer, keras.layers.Bidirectional):
        layer = layer.forward_layer
    if isinstance(layer, keras.layers.RNN):
        return bool(layer.return_sequences)
    ends = isinstance(layer, _POOLS)
    return isinstance(layer, keras.Model) or (
        not ends and getattr(layer, "supports_masking", False)
    )


def _infer_lengths(layer: keras.layers.Layer, given: Any, made: Any) -> None:
    """Finds what Keras' layer leaves open and TensorFlow knew of an output's shape.

    `EinsumDense(output_shape=(None, 4))` has as many rows as it was given.
    """
    if not (
        isinstance(given, keras.KerasTensor) and isinstance(made, keras.KerasTensor)
    ):
        return
    if not is_builtin(type(layer)) or hasattr(layer, "layers"):
        return
    if None in given.shape[1:] or None not in made.shape[1:]:
        return
    try:
        found = Traced(layer.call).compute_output_spec(given)
    except Exception:  # Its lengths follow from values.
        return
    if isinstance(found, keras.KerasTensor) and len(found.shape) == len(made.shape):
        _compat.set_shape(made, (made.shape[0], *found.shape[1:]))


def _inputs_of(network: keras.Model, inputs: Mapping[str, Any]) -> Any:
    """What a network is called with that Keras 2 called with a dict.

    It took the values in the order of their keys where these were no names of inputs.
    """
    struct = getattr(network, "_inputs_struct", None)
    if struct is None or isinstance(struct, Mapping):
        return inputs
    names = {tensor.name for tensor in network.inputs}
    return inputs if names <= inputs.keys() else keras.tree.flatten(inputs)


def _tensors_among(layer: keras.layers.Layer, inputs: Any) -> Any:
    """Makes tensors of the constants among a list of inputs, as Keras 2 did.

    Raises:
        UnsupportedError: A constant is ragged or text.
    """
    if not isinstance(inputs, list):
        return inputs
    return [item if _has_tensors(item) else _constant(layer, item) for item in inputs]


def _has_tensors(item: Any) -> bool:
    return any(hasattr(leaf, "shape") for leaf in keras.tree.flatten(item))


def _constant(layer: keras.layers.Layer, item: Any) -> Any:
    leaves = keras.tree.flatten(item)
    if any(leaf in ("COMPOSITE", "COMPOSITE_FOR_KERAS") for leaf in leaves):
        kind = "a ragged or sparse tensor"
    elif any(isinstance(leaf, str | bytes) for leaf in leaves):
        kind = "text"
    else:
        numbers = leaves and all(isinstance(leaf, int | float) for leaf in leaves)
        return keras.ops.convert_to_tensor(item) if numbers else item
    raise UnsupportedError(
        f"Layer '{layer.name}' is called with a constant that is {kind}, which Keras' "
        f"{keras.backend.backend()} backend has no tensors for."
    )


def _takes_states(layer: Any) -> bool:
    return isinstance(layer, (keras.layers.RNN, keras.layers.Bidirectional))


def _known_keywords(
    layer: keras.layers.Layer, keywords: dict[str, Any]
) -> dict[str, Any]:
    """Leaves out keywords at their default that Keras 3's `call` doesn't have."""
    parameters = inspect.signature(layer.call).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return keywords
    return {k: v for k, v in keywords.items() if k in parameters or v is not None}
