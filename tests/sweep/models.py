"""A compiled model with a branch for each of some cases, in whichever Keras is given.

One model holds many layers, side by side: each has inputs and outputs of its own, so
that one save and one step compare them all. Runs in both environments, so it imports
neither Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sweep.cases import Case

BATCH = 4
FLOATS = ("float32", "float16", "bfloat16")


class _Layers:
    """`keras.layers`, and what tf_keras calls experimental, by one name."""

    def __init__(self, layers: Any) -> None:
        self._layers = layers

    def __getattr__(self, name: str) -> Any:
        if hasattr(self._layers, name):
            return getattr(self._layers, name)
        return getattr(self._layers.experimental, name)


def random_state(cases: Sequence[Case]) -> np.random.RandomState:
    """Draws the same for the same cases in every process."""
    return np.random.RandomState(sum(map(ord, cases[0].name)) % 2**31)


def draw(cases: Sequence[Case], rng: np.random.RandomState) -> list[np.ndarray]:
    """The inputs of all cases, one batch."""
    found = []
    for case in cases:
        for item in case.inputs:
            if isinstance(item[0], tuple):
                shape, high = item
                value = rng.randint(0, high, (BATCH, *shape)).astype("int32")
            else:
                value = rng.normal(size=(BATCH, *item)).astype("float32")
            if case.masked:
                value[:, 2] = 0
                value[1, 0] = 0
            found.append(value)
    return found


def build(keras: Any, cases: Sequence[Case]) -> tuple[Any, list[dict[str, Any]]]:
    """Makes the model and compiles it.

    Returns:
        The model, and for each case its number of `outputs` and its `layers` by name.
    """
    keras.utils.set_random_seed(1)
    inputs: list[Any] = []
    outputs: list[Any] = []
    branches = []
    for index, case in enumerate(cases):
        made, results, layer = _branch(keras, case, index)
        inputs += made
        outputs += results
        branches.append({"outputs": len(results), "layer": layer.name})
    model = keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        outputs if len(outputs) > 1 else outputs[0],
    )
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, ["mean_squared_error"] * len(outputs))
    return model, branches


def make_layer(keras: Any, case: Case, index: int) -> Any:
    """Makes the layer of a case from its config."""
    expression = case.expression.replace("a_name_of_its_own", f"own_name_{index}")
    layer = eval(expression, {"L": _Layers(keras.layers), "keras": keras})
    # What a Keras forgets in its own configs is in no file.
    return type(layer).from_config(layer.get_config())


def _branch(keras: Any, case: Case, index: int) -> tuple[list[Any], list[Any], Any]:
    layers = keras.layers
    layer = make_layer(keras, case, index)
    batch = BATCH if case.stateful else None
    inputs, tensors = [], []
    for number, item in enumerate(case.inputs):
        is_ids = isinstance(item[0], tuple)
        shape, dtype = (item[0], "int32") if is_ids else (item, "float32")
        name = f"case{index}_in{number}"
        made = keras.Input(shape, batch_size=batch, dtype=dtype, name=name)
        inputs.append(made)
        if case.masked:
            made = layers.Masking(name=f"case{index}_mask{number}")(made)
        no_gradient = ".Random" in case.expression or ".Discr" in case.expression
        if not is_ids and not no_gradient:
            # Before the layer, so that gradients go through it; TensorFlow has none
            # of some random layers, and where nothing has, it refuses to train.
            before = layers.Dense(shape[-1], name=f"case{index}_before{number}")
            made = before(made)
        tensors.append(made)
    apart = type(layer).__name__ in ("MultiHeadAttention", "GroupedQueryAttention")
    if len(tensors) == 1:
        result = layer(tensors[0])
    else:
        result = layer(*tensors) if apart else layer(tensors)
    results = list(result) if isinstance(result, list | tuple) else [result]
    outputs = [
        _head(layers, tensor, f"case{index}_out{number}")
        for number, tensor in enumerate(results)
    ]
    return inputs, outputs, layer


def _head(layers: Any, tensor: Any, name: str) -> Any:
    if len(tensor.shape) == 4 and None in tensor.shape[1:3]:
        tensor = layers.GlobalAveragePooling2D(name=f"{name}_mean")(tensor)
    if "int" in str(tensor.dtype) or len(tensor.shape) < 2 or tensor.shape[-1] is None:
        return tensor
    return layers.Dense(2, name=name)(tensor)


def spread(model: Any, rng: np.random.RandomState) -> None:
    """Gives every weight a value of its own."""
    for layer in model.layers:
        values = []
        for variable, value in zip(layer.weights, layer.get_weights(), strict=True):
            value = np.asarray(value)
            if str(value.dtype) in FLOATS:
                name = getattr(variable, "path", variable.name)
                spread_out = "variance" in name or "stddev" in name
                low, high = (0.3, 1.2) if spread_out else (-0.4, 0.8)
                value = rng.uniform(low, high, value.shape).astype(value.dtype)
            values.append(value)
        if values:
            layer.set_weights(values)


def given(arrays: list[np.ndarray]) -> Any:
    return arrays if len(arrays) > 1 else arrays[0]


def as_arrays(outputs: Any) -> list[np.ndarray]:
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [np.asarray(value).astype("float32") for value in outputs]


def targets(predictions: Sequence[np.ndarray], rng: np.random.RandomState) -> Any:
    """What each output should be."""
    return given([rng.normal(size=p.shape).astype("float32") for p in predictions])


def weights_by_layer(model: Any) -> dict[str, list[np.ndarray]]:
    return {layer.name: _values(layer) for layer in model.layers if layer.weights}


def _values(layer: Any) -> list[np.ndarray]:
    """Trained weights first, as Keras 2 has them; Keras 3 has its own order."""
    pairs = zip(layer.weights, layer.get_weights(), strict=True)
    values = {id(variable): value for variable, value in pairs}
    ordered = [*layer.trainable_weights, *layer.non_trainable_weights]
    return [np.asarray(values[id(v)]).astype("float32") for v in ordered]


def follow(model: Any, x: Any, y: Any) -> dict[str, Any]:
    """What a compiled model gives, and what it gives after a step."""
    found: dict[str, Any] = {"predictions": as_arrays(model.predict(x, verbose=0))}
    found["compiled"] = bool(getattr(model, "optimizer", None))
    if model.trainable_weights and found["compiled"]:
        model.train_on_batch(x, y)
    found["weights"] = weights_by_layer(model)
    found["after"] = as_arrays(model.predict(x, verbose=0))
    return found


def differences(
    cases: Sequence[Case],
    branches: Sequence[dict[str, Any]],
    found: dict[str, Any],
    expected: dict[str, Any],
) -> dict[str, str]:
    """What differs in each case, by its name; empty where all is equal."""
    wrong: dict[str, str] = {}
    place = 0
    for index, (case, branch) in enumerate(zip(cases, branches, strict=True)):
        here = slice(place, place + branch["outputs"])
        place += branch["outputs"]
        texts = []
        keys = ("predictions",) if case.is_random else ("predictions", "after")
        for key in keys:
            off = worst(found[key][here], expected[key][here])
            if off > tolerance(case) * (1 if key == "predictions" else 5):
                texts.append(f"{key} {off:.2g}")
        for name, values in expected["weights"].items():
            if name != branch["layer"] and not name.startswith(f"case{index}_"):
                continue
            if name not in found["weights"]:
                texts.append(f"no weights of {name}")
            elif not case.is_random:
                off = worst(found["weights"][name], values)
                if off > 10 * tolerance(case):
                    texts.append(f"weights of {name} {off:.2g}")
        if texts:
            wrong[case.name] = ", ".join(texts)
    return wrong


def tolerance(case: Case) -> float:
    """Relative to the largest number of an array, at least 1."""
    return 2e-2 if "float16" in case.expression else 2e-5


def worst(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """The largest difference, relative to the largest number, at least 1."""
    if [a.shape for a in ours] != [b.shape for b in theirs]:
        return float("inf")
    found = 0.0
    for a, b in zip(ours, theirs, strict=True):
        finite = np.isfinite(b)
        if not np.array_equal(np.isfinite(a), finite):
            return float("inf")
        a, b = a[finite], b[finite]
        if a.size:
            scale = max(1.0, float(np.max(np.abs(b))))
            found = max(found, float(np.max(np.abs(a - b))) / scale)
    return found
