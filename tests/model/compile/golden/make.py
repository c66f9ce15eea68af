"""Writes values and gradients of TensorFlow's losses and metrics: `python make.py`.

Run it once in an environment of each TensorFlow of which a `losses-*.npz` lies here
(1.15 to 2.15) and of tf_keras (2.21). It is written for Python 3.7.

Each loss is called as `Model.fit` does, on probabilities and on activations of
logits, some of which are saturated, with sample weights and with a mask; the file
holds the loss and its gradient. Each metric holds the config that a SavedModel has,
and its result after two updates.
"""

import json
import os
import sys

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf  # noqa: E402

try:
    import tf_keras
except ImportError:
    tf_keras = tf.keras
if not tf.executing_eagerly():
    tf.compat.v1.enable_v2_behavior()

ROWS, CLASSES, STEPS = 6, 4, 3


def inputs():
    random = np.random.RandomState(3)
    logits = random.normal(size=(ROWS, CLASSES)) * 3
    logits[0] = [30.0, -30.0, 12.0, -45.0]
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    labels = random.randint(0, CLASSES, size=(ROWS,))
    found = {
        "logits": logits,
        "probabilities": shifted / shifted.sum(-1, keepdims=True),
        "values": random.normal(size=(ROWS, CLASSES)),
        "targets": random.normal(size=(ROWS, CLASSES)),
        "bits": random.randint(0, 2, size=(ROWS, CLASSES)),
        "labels": labels,
        "one_hot": np.eye(CLASSES)[labels],
        "weights": random.uniform(0.2, 2.0, size=(ROWS,)),
        "sequence": random.normal(size=(ROWS, STEPS, 2)),
        "sequence_targets": random.normal(size=(ROWS, STEPS, 2)),
        "mask": random.uniform(size=(ROWS, STEPS)) > 0.4,
    }
    found["probabilities"][1] = [1.0, 0.0, 0.0, 0.0]
    return {name: value.astype("float32") for name, value in found.items()}


def loss_cases():
    """Name, loss (a compile argument), target, prediction, activation."""
    regression = (
        "mean_squared_error",
        "mse",
        "mean_absolute_error",
        "mean_absolute_percentage_error",
        "mean_squared_logarithmic_error",
        "squared_hinge",
        "hinge",
        "categorical_hinge",
        "logcosh",
        "log_cosh",
        "cosine_similarity",
        "cosine_proximity",
        "cosine",
        "huber",
        "huber_loss",
        "poisson",
        "kullback_leibler_divergence",
        "kld",
    )
    for name in regression:
        yield name, name, "targets", "values", None
    for name in ("poisson", "kullback_leibler_divergence"):
        yield name + "_probabilities", name, "one_hot", "probabilities", None
    for name in ("hinge", "squared_hinge", "categorical_hinge"):
        yield name + "_bits", name, "bits", "values", None
    for name, target in (
        ("binary_crossentropy", "bits"),
        ("categorical_crossentropy", "one_hot"),
        ("sparse_categorical_crossentropy", "labels"),
        ("binary_focal_crossentropy", "bits"),
        ("categorical_focal_crossentropy", "one_hot"),
    ):
        activation = "sigmoid" if name.startswith("binary") else "softmax"
        yield name, name, target, "probabilities", None
        yield name + "_activation", name, target, "logits", activation
    losses = tf_keras.losses
    for name, target in (
        ("BinaryCrossentropy", "bits"),
        ("CategoricalCrossentropy", "one_hot"),
        ("SparseCategoricalCrossentropy", "labels"),
    ):
        cls = getattr(losses, name)
        yield name + "_logits", cls(from_logits=True), target, "logits", None
        if not name.startswith("Sparse"):
            smooth = cls(label_smoothing=0.2)
            yield name + "_smooth", smooth, target, "probabilities", None
    yield "Huber", losses.Huber(delta=0.5), "targets", "values", None
    yield (
        "sum",
        losses.MeanSquaredError(reduction="sum"),
        "targets",
        "values",
        None,
    )
    yield "many_hot", "categorical_crossentropy", "bits", "logits", "softmax"


def wrap(loss):
    if not isinstance(loss, str):
        return loss
    wrapper = getattr(losses_module(), "LossFunctionWrapper", None)
    return wrapper(tf_keras.losses.get(loss))


def losses_module():
    for place in (
        "tf_keras.src.losses",
        "keras.src.losses",
        "keras.losses",
        "tensorflow.python.keras.losses",
        "tensorflow_core.python.keras.losses",
    ):
        try:
            module = __import__(place, fromlist=["LossFunctionWrapper"])
        except ImportError:
            continue
        if module.__name__.startswith(("keras.losses",)) and tf.__version__ < "2.6":
            continue
        if hasattr(module, "LossFunctionWrapper"):
            return module
    raise RuntimeError("no LossFunctionWrapper")


def run_loss(loss, target, prediction, activation, weights):
    loss = wrap(loss)

    @tf.function
    def step(target, prediction, weights):
        with tf.GradientTape() as tape:
            tape.watch(prediction)
            output = prediction
            if activation:
                output = tf_keras.activations.get(activation)(prediction)
            value = loss(target, output, sample_weight=weights)
        return value, tape.gradient(value, prediction)

    value, gradient = step(
        tf.constant(target), tf.constant(prediction), tf.constant(weights)
    )
    return np.array(value.numpy()), np.array(gradient.numpy())


def masked_losses(given):
    """Losses of a masked sequence, alone and with weights per row and per step."""
    keras = tf_keras
    values = given["sequence"] * given["mask"][..., None]
    found = {}
    for case in ("mse", "sum", "weighted"):
        loss = keras.losses.MeanSquaredError(reduction="sum") if case == "sum" else "mse"
        model = keras.Sequential([keras.layers.Masking(input_shape=(STEPS, 2))])
        model.compile("sgd", loss)
        weights = given["weights"] if case == "weighted" else None
        found[case] = model.test_on_batch(values, given["sequence_targets"], weights)
    return found


def metric_cases():
    metrics = tf_keras.metrics
    for name, target, prediction in (
        ("MeanSquaredError", "targets", "values"),
        ("RootMeanSquaredError", "targets", "values"),
        ("MeanAbsoluteError", "targets", "values"),
        ("MeanAbsolutePercentageError", "targets", "values"),
        ("MeanSquaredLogarithmicError", "targets", "values"),
        ("LogCoshError", "targets", "values"),
        ("CosineSimilarity", "targets", "values"),
        ("Hinge", "bits", "values"),
        ("SquaredHinge", "bits", "values"),
        ("CategoricalHinge", "bits", "values"),
        ("Poisson", "one_hot", "probabilities"),
        ("KLDivergence", "one_hot", "probabilities"),
        ("KullbackLeiblerDivergence", "one_hot", "probabilities"),
        ("BinaryAccuracy", "bits", "probabilities"),
        ("CategoricalAccuracy", "one_hot", "probabilities"),
        ("SparseCategoricalAccuracy", "labels", "probabilities"),
        ("TopKCategoricalAccuracy", "one_hot", "probabilities"),
        ("SparseTopKCategoricalAccuracy", "labels", "probabilities"),
        ("Accuracy", "bits", "bits"),
        ("BinaryCrossentropy", "bits", "probabilities"),
        ("CategoricalCrossentropy", "one_hot", "probabilities"),
        ("SparseCategoricalCrossentropy", "labels", "probabilities"),
        ("AUC", "bits", "probabilities"),
        ("Precision", "bits", "probabilities"),
        ("Recall", "bits", "probabilities"),
        ("TruePositives", "bits", "probabilities"),
        ("FalseNegatives", "bits", "probabilities"),
        ("R2Score", "targets", "values"),
        ("F1Score", "one_hot", "probabilities"),
        ("BinaryIoU", "bits", "probabilities"),
    ):
        if hasattr(metrics, name):
            arguments = {"k": 2} if name.endswith("TopKCategoricalAccuracy") else {}
            yield name, getattr(metrics, name)(**arguments), target, prediction
    thresholds = metrics.Precision(thresholds=[0.2, 0.7], name="p")
    yield "precision_thresholds", thresholds, "bits", "probabilities"
    recall = metrics.Recall(top_k=2, class_id=1)
    yield "recall_top_k", recall, "one_hot", "probabilities"
    yield (
        "auc_pr",
        metrics.AUC(num_thresholds=20, curve="PR"),
        "bits",
        "probabilities",
    )
    yield (
        "sensitivity",
        metrics.SensitivityAtSpecificity(0.5, num_thresholds=20),
        "bits",
        "probabilities",
    )
    yield "iou", metrics.MeanIoU(num_classes=4), "labels", "labels"


def main(folder):
    given = inputs()
    arrays = {"given/" + name: value for name, value in given.items()}
    about = {"losses": {}, "metrics": {}}
    for case, loss, target, prediction, activation in loss_cases():
        try:
            value, gradient = run_loss(
                loss, given[target], given[prediction], activation, given["weights"]
            )
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            print("no", case, repr(error)[:80])
            continue
        arrays["loss/%s/value" % case] = value
        arrays["loss/%s/gradient" % case] = gradient
        entry = loss if isinstance(loss, str) else tf_keras.losses.serialize(loss)
        about["losses"][case] = [entry, target, prediction, activation]
    for case, value in masked_losses(given).items():
        arrays["masked/" + case] = np.array(value)
    for case, metric, target, prediction in metric_cases():
        weights = None
        if case not in ("R2Score", "BinaryIoU", "recall_top_k"):
            weights = given["weights"]
        half = ROWS // 2
        for part in (slice(0, half), slice(half, ROWS)):
            metric.update_state(
                given[target][part],
                given[prediction][part],
                sample_weight=None if weights is None else tf.constant(weights[part]),
            )
        arrays["metric/%s/result" % case] = np.array(metric.result())
        variables = [np.array(v.numpy()) for v in metric.variables]
        for index, value in enumerate(variables):
            arrays["metric/%s/%d" % (case, index)] = value
        names = [v.name for v in metric.variables]
        entry = tf_keras.metrics.serialize(metric)
        about["metrics"][case] = [entry, target, prediction, names]
    version = ".".join(tf.__version__.split(".")[:2])
    path = os.path.join(folder, "losses-%s.npz" % version)
    about["arrays"] = [(key, np.shape(value)) for key, value in arrays.items()]
    text = json.dumps(about, default=lambda value: np.asarray(value).tolist())
    np.savez_compressed(
        path,
        about=np.frombuffer(text.encode(), np.uint8),
        values=np.concatenate([np.ravel(v).astype("float32") for v in arrays.values()]),
    )
    counts = len(about["losses"]), len(about["metrics"])
    print(version, counts, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(__file__))
