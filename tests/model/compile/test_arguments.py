"""Compile arguments mean the same in tf_keras and here, in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.model.compile import build_compile_arguments, describe_compile_arguments
from regraft.model.dialects.context import BuildContext, Note
from regraft.model.dialects.dialect import KERAS_2, Dialect

TF_KERAS = Dialect.from_keras_version("2.21.0")
SGD = {"class_name": "SGD", "config": {"learning_rate": 0.1}}
ONE = [("o", 4, "softmax")]
BINARY = [("o", 1, "sigmoid")]
TWO = [("left", 1, None), ("right", 4, "softmax")]
CHANCES = [("left", 1, "sigmoid"), ("right", 4, "softmax")]


def network(outputs: list[tuple[str, int, str | None]]) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,), name="x")
    made = [keras.layers.Dense(s, a, name=n)(inputs) for n, s, a in outputs]
    return keras.Model(inputs, made[0] if len(made) == 1 else made)


def data(outputs: list[tuple[str, int, str | None]], sparse: bool = False) -> Any:
    random = np.random.default_rng(0)
    x = random.normal(size=(8, 3)).astype("float32")
    targets = []
    for _, size, _ in outputs:
        if size == 1:
            targets.append(random.integers(0, 2, size=(8, 1)).astype("float32"))
        elif sparse:
            targets.append(random.integers(0, size, size=(8,)))
        else:
            targets.append(np.eye(size, dtype="float32")[random.integers(0, size, 8)])
    return x, targets[0] if len(targets) == 1 else targets


def values(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in model.weights]


# Outputs, compile arguments of Keras 2 as its files spell them, sparse targets.
MEAN_METRIC = {
    "class_name": "MeanMetricWrapper",
    "config": {"name": "accuracy", "dtype": "float32", "fn": "categorical_accuracy"},
}
CONFIGS = {
    "names": (ONE, {"loss": "mse", "metrics": ["mae", "cosine_proximity"]}, False),
    "accuracy": (ONE, {"loss": "kld", "metrics": ["accuracy", "acc"]}, False),
    "sparse": (
        ONE,
        {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
        True,
    ),
    "binary": (BINARY, {"loss": "binary_crossentropy", "metrics": ["acc"]}, False),
    "wrapper": (
        ONE,
        {
            "loss": {
                "class_name": "CategoricalCrossentropy",
                "config": {
                    "reduction": "auto",
                    "name": "categorical_crossentropy",
                    "from_logits": False,
                    "label_smoothing": 0.1,
                    "fn": "categorical_crossentropy",
                },
            },
            "metrics": [[MEAN_METRIC]],
            "loss_weights": [0.5],
        },
        False,
    ),
    "two, one loss": (TWO, {"loss": "mse", "loss_weights": [1.0, 0.25]}, False),
    "two, dict": (
        TWO,
        {
            "loss": {"right": "categorical_crossentropy", "left": "mse"},
            "metrics": {"right": ["accuracy"], "left": "mae"},
            "loss_weights": {"left": 0.5, "right": 2.0},
        },
        False,
    ),
    "two, a loss missing": (TWO, {"loss": {"right": "mse"}}, False),
    "two, lists": (
        TWO,
        {"loss": ["mse", "mae"], "metrics": [["mae"], [MEAN_METRIC, "mse"]]},
        False,
    ),
    "two, flat metrics": (TWO, {"loss": ["mse", "mae"], "metrics": ["mse"]}, False),
    "weighted": (
        ONE,
        {"loss": "mse", "metrics": ["mse"], "weighted_metrics": ["mae"]},
        False,
    ),
    "objects": (
        BINARY,
        {
            "loss": {"class_name": "Huber", "config": {"delta": 0.3, "name": "h"}},
            "metrics": [
                [
                    {
                        "class_name": "AUC",
                        "config": {"name": "a", "num_thresholds": 50},
                    },
                    {"class_name": "Precision", "config": {"thresholds": 0.4}},
                ]
            ],
        },
        False,
    ),
}
DEFAULTS = {"metrics": None, "weighted_metrics": None, "loss_weights": None}


def results(model: keras.Model, x: Any, y: Any, weights: Any) -> dict[str, float]:
    found = model.test_on_batch(x, y, weights, return_dict=True)
    return {name: float(np.mean(value)) for name, value in found.items()}


# tf_keras makes functions of names when it loads, and names results after those.
NAMES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "cosine_proximity": "cosine_similarity",
}


def by_function(results: dict[str, float]) -> dict[str, float]:
    renamed = {}
    for name, value in results.items():
        output, _, short = name.rpartition("_")
        if name in NAMES:
            name = NAMES[name]
        elif short in NAMES:
            name = f"{output}_{NAMES[short]}"
        renamed[name] = value
    return renamed


def assert_same_results(found: dict[str, float], expected: dict[str, float]) -> None:
    found, expected = by_function(found), by_function(expected)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-5, abs=1e-6), name


@pytest.mark.parametrize("case", CONFIGS)
def test_training_config_of_keras_2_gives_its_results(case: str, peer: Peer) -> None:
    outputs, arguments, sparse = CONFIGS[case]
    config = {"optimizer_config": SGD, **DEFAULTS, **arguments}
    x, y = data(outputs, sparse)
    weights = np.linspace(0.5, 2, 8) if case == "weighted" else None
    model = network(outputs)
    expected = peer.call(
        "compile.evaluate",
        config,
        outputs,
        values(model),
        x,
        y,
        weights,
        written=False,
    )

    context = BuildContext(TF_KERAS)
    model.compile(**build_compile_arguments(config, model, context))
    assert context.notes == []
    ours = results(model, x, y, weights)
    if case == "two, a loss missing":
        # Keras 3 shows losses one by one if there are several.
        ours["right_loss"] = ours["loss"]
    assert_same_results(ours, expected)

    # And back: what is saved again compiles to the same in tf_keras.
    notes: list[Note] = []
    again = describe_compile_arguments(model, KERAS_2, notes)
    assert notes == []
    found = peer.call("compile.evaluate", again, outputs, values(model), x, y, weights)
    assert_same_results(found, expected)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "mae", "mse", "squared_hinge"])
def test_weights_meet_the_rows_of_targets_without_a_last_dimension(
    loss: str, peer: Peer
) -> None:
    outputs = [("y", 1, "sigmoid")]
    config = {"optimizer_config": SGD, **DEFAULTS, "loss": loss}
    x, y = data(outputs, False)
    y, weights = np.round(y[:, 0]), np.linspace(0, 2, 8)
    model = network(outputs)
    told = (config, outputs, values(model), x, y, weights)
    expected = peer.call("compile.evaluate", *told)
    model.compile(**build_compile_arguments(config, model, BuildContext(TF_KERAS)))
    assert_same_results(results(model, x, y, weights), expected)


KERAS_3 = {
    "strings": (ONE, {"loss": "log_cosh", "metrics": ["mse", "accuracy"]}),
    "functions": (
        BINARY,
        {
            "loss": keras.losses.squared_hinge,
            "metrics": [keras.metrics.mean_squared_error],
        },
    ),
    "objects": (
        ONE,
        {
            "loss": keras.losses.CategoricalFocalCrossentropy(gamma=1.5),
            "metrics": [
                keras.metrics.TopKCategoricalAccuracy(k=2, name="top"),
                keras.metrics.AUC(multi_label=True),
                keras.metrics.F1Score(average="macro"),
                keras.metrics.MeanMetricWrapper(keras.losses.poisson, name="p"),
            ],
        },
    ),
    "two": (
        TWO,
        {
            "loss": {"left": keras.losses.Huber(0.5), "right": "kl_divergence"},
            "loss_weights": {"left": 2.0, "right": 0.5},
            "metrics": {"left": [keras.metrics.RootMeanSquaredError()]},
            "weighted_metrics": [["mae"], []],
        },
    ),
    "two, metrics of the second": (
        TWO,
        {
            "loss": ["mse", "mae"],
            "metrics": [None, ["mae"]],
            "weighted_metrics": [None, "mse"],
        },
    ),
    "two, a metric each": (TWO, {"loss": "mse", "metrics": ["mae", "mse"]}),
}


@pytest.mark.parametrize("case", KERAS_3)
def test_keras_3_compile_arguments_mean_the_same_in_tf_keras(
    case: str, peer: Peer
) -> None:
    outputs, arguments = KERAS_3[case]
    x, y = data(outputs)
    model = network(outputs)
    model.compile("sgd", **arguments)
    notes: list[Note] = []
    config = describe_compile_arguments(model, KERAS_2, notes)
    assert notes == []
    found = peer.call("compile.evaluate", config, outputs, values(model), x, y)
    assert_same_results(found, results(model, x, y, None))


@pytest.mark.parametrize("outputs", [ONE, TWO], ids=["one", "two"])
def test_training_config_that_tf_keras_writes_is_understood(
    outputs: list[tuple[str, int, str | None]], peer: Peer
) -> None:
    loss = "mse" if len(outputs) == 1 else {"left": "mse", "right": "mae"}
    metrics = ["mae", "accuracy"]
    written = {"optimizer": "adam", "loss": loss, "metrics": metrics}
    written["weighted_metrics"] = ["mae"]
    config = peer.call("compile.training_config", outputs, written)
    model = network(outputs)
    context = BuildContext(TF_KERAS)
    model.compile(**build_compile_arguments(config, model, context))
    x, y = data(outputs)
    expected = peer.call("compile.evaluate", config, outputs, values(model), x, y)
    assert_same_results(results(model, x, y, None), expected)
    assert isinstance(model.optimizer, keras.optimizers.Adam)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "BinaryCrossentropy"])
@pytest.mark.parametrize(
    ("version", "binary"),
    [
        (None, True),
        ("2.2.4", True),
        ("2.3.1", True),
        ("2.2.4-tf", True),
        ("2.3.0-tf", False),
        ("2.4.0", False),
    ],
)
def test_accuracy_beside_binary_crossentropy_is_binary_in_old_files(
    version: str | None, binary: bool, loss: str
) -> None:
    # As those versions count themselves; tf_keras counts all files as the last two.
    outputs = [("a", 3, "sigmoid"), ("b", 3, "softmax")]
    entry = {"class_name": loss, "config": {}} if loss[0] == "B" else loss
    model = network(outputs)
    config = {
        **DEFAULTS,
        "loss": {"a": entry, "b": "mse"},
        "metrics": [["accuracy"], ["accuracy"]],
        "optimizer_config": SGD,
    }
    context = BuildContext(Dialect.from_keras_version(version))
    model.compile(**build_compile_arguments(config, model, context))
    x = data(ONE)[0]
    targets = np.random.default_rng(1).integers(0, 2, (8, 3)).astype("float32")
    found = model.evaluate(x, [targets, targets], verbose=0, return_dict=True)
    a, b = model.predict(x, verbose=0)
    both = [np.mean((a > 0.5) == targets), np.mean(a.argmax(-1) == targets.argmax(-1))]
    assert both[0] != both[1]
    assert found["a_accuracy"] == pytest.approx(both[0 if binary else 1])
    assert found["b_accuracy"] == pytest.approx(
        np.mean(b.argmax(-1) == targets.argmax(-1))
    )


def test_metric_that_nobody_knows_is_noted_and_left_out() -> None:
    model = network(ONE)
    context = BuildContext(TF_KERAS)
    config = {**DEFAULTS, "loss": "mse", "metrics": ["mae", "nobody"]}
    arguments = build_compile_arguments(
        {**config, "optimizer_config": SGD}, model, context
    )
    assert [metric.name for metric in arguments["metrics"]] == ["mae"]
    assert "nobody" in context.notes[0].text


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MeanIoU", {"num_classes": 10**6}),
        ("AUC", {"num_thresholds": 10**10}),
        ("AUC", {"num_thresholds": 10**5, "num_labels": 10**5}),
        ("MeanTensor", {"shape": [10**6, 10**6]}),
        ("MeanTensor", {"shape": [float("inf")]}),
    ],
)
def test_metric_that_no_memory_holds_is_left_out(
    name: str, arguments: dict[str, Any]
) -> None:
    """A config of a few bytes may ask for terabytes."""
    config = {
        "optimizer_config": SGD,
        "loss": "mse",
        "metrics": [{"class_name": name, "config": arguments}],
    }
    context = BuildContext(TF_KERAS)
    assert not build_compile_arguments(config, network(ONE), context).get("metrics")
    (note,) = context.notes
    assert f"Metric {name} keeps more than" in note.text


@pytest.mark.parametrize(
    ("loss", "named"),
    [("nobody", "nobody"), ("Mine>nobody", "nobody"), ("<lambda>", "<lambda>")],
)
def test_loss_that_nobody_knows_is_an_error_that_names_custom_objects(
    loss: str, named: str
) -> None:
    model = network(ONE)
    config = {**DEFAULTS, "loss": loss, "optimizer_config": SGD}
    with pytest.raises(ValueError, match=f"custom_objects={{'{named}': …}}"):
        build_compile_arguments(config, model, BuildContext(TF_KERAS))


@pytest.mark.parametrize("axis", [-1, 1, 0])
@pytest.mark.parametrize(
    "loss", ["categorical_crossentropy", "sparse_categorical_crossentropy"]
)
def test_crossentropy_behind_a_softmax_layer_is_of_logits(
    loss: str, axis: int, peer: Peer, tmp_path: Path
) -> None:
    x, y = data([("o", 4, None)], sparse=loss.startswith("sparse"))
    path = tmp_path / "model.h5"
    expected, after = peer.call("softmax_output.trained", str(path), axis, loss, x, y)
    model = regraft.load_model(path)
    np.testing.assert_allclose(model.train_on_batch(x, y), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0), after, atol=1e-5)


def test_loss_and_metric_of_the_caller() -> None:
    def mine(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(y_true - y_pred, axis=-1)

    model = network(ONE)
    context = BuildContext(TF_KERAS, {"mine": mine})
    config = {**DEFAULTS, "loss": "mine", "metrics": ["mine"], "optimizer_config": SGD}
    model.compile(**build_compile_arguments(config, model, context))
    x, y = data(ONE)
    found = results(model, x, y, None)
    assert found["loss"] == pytest.approx(found["mine"])


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("softmax", "bce"),
        ("softmax", keras.losses.BinaryFocalCrossentropy()),
        ("sigmoid", keras.losses.categorical_crossentropy),
        ("sigmoid", "categorical_focal_crossentropy"),
        ("softmax", keras.losses.CategoricalCrossentropy(from_logits=True)),
        ("softmax", "categorical_crossentropy"),
        ("sigmoid", keras.losses.BinaryCrossentropy()),
        ("sigmoid", "mse"),
    ],
)
def test_loss_of_another_activations_logits_is_noted(
    activation: str, loss: Any, peer: Peer
) -> None:
    outputs = [("y", 3, activation)]
    x, y = data(outputs)
    model = network(outputs)
    model.compile("sgd", loss)
    notes: list[Note] = []
    config = describe_compile_arguments(model, KERAS_2, notes)
    found = peer.call("compile.evaluate", config, outputs, values(model), x, y)
    ours = model.test_on_batch(x, y, return_dict=True)
    differs = abs(found["loss"] - float(ours["loss"])) > 1e-4
    assert differs == bool(notes)


class Bent:
    """An activation that compares by value, and so has no hash."""

    def __call__(self, x: Any) -> Any:
        return keras.ops.tanh(x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bent)


def test_activation_without_a_hash_remembers_no_logits() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, Bent())(inputs))
    model.compile("sgd", "binary_crossentropy")
    notes: list[Note] = []
    config = describe_compile_arguments(model, KERAS_2, notes)
    assert config is not None
    assert config["loss"] == "binary_crossentropy"
    assert not notes


def test_metrics_names_of_keras_3_mean_and_show_the_same(peer: Peer) -> None:
    names = ["mae", "MAPE", "acc", "kl_divergence", "precision", "AUC"]
    weighted = ["root_mean_squared_error", "f1_score", "true_positives", "mse"]
    x, y = data(ONE)
    model = network(ONE)
    model.compile("sgd", "mse", metrics=names, weighted_metrics=weighted)
    config = describe_compile_arguments(model, KERAS_2, [])
    found = peer.call("compile.evaluate", config, ONE, values(model), x, y)
    ours = results(model, x, y, None)
    assert found.keys() == ours.keys() == {"loss", *names, *weighted}
    assert found == pytest.approx(ours, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("outputs", "loss"),
    [
        (BINARY, "crossentropy"),
        (BINARY, ["CE"]),
        (CHANCES, "ce"),
        (CHANCES, ["mse", "ce"]),
        (CHANCES, {"left": "BCE", "right": "ce"}),
    ],
)
def test_loss_that_targets_resolve_is_written_as_what_it_became(
    outputs: list[tuple[str, int, str | None]], loss: Any, peer: Peer
) -> None:
    x, y = data(outputs)
    model = network(outputs)
    model.compile("sgd", loss)
    notes: list[Note] = []
    described = describe_compile_arguments(model, KERAS_2, notes)
    assert described is not None
    assert "no target has said" in notes[0].text

    ours = results(model, x, y, None)
    notes = []
    config = describe_compile_arguments(model, KERAS_2, notes)
    found = peer.call("compile.evaluate", config, outputs, values(model), x, y)
    assert_same_results(found, ours)
    assert not notes
