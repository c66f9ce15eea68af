"""Writes files of TensorFlow Addons and what it computed: `python make.py OUT_DIR`.

Runs beside TensorFlow 2.15 and TensorFlow Addons 0.23. Each case is a small model,
compiled with something of the package and saved after three training steps:
`<name>.h5`, `<name>/` (a SavedModel; of some) and `<name>.npz`: inputs `x`, targets `y`,
`predict` of them `out`, what `evaluate` gave as `names` and `values`, and both again
after one more step: `next`, `next_values`.

`python make.py OUT_DIR FOLDER` opens what else wrote such cases, in FOLDER, and fails
where they compute something else. `corpus.py` beside packs them.
"""

import os
import sys

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf  # noqa: E402
import tensorflow_addons as tfa  # noqa: E402

keras = tf.keras
legacy = keras.optimizers.legacy
BATCH = 4
# What no file of the package opens without.
UNREGISTERED = {
    "HammingLoss": tfa.metrics.HammingLoss,
    "sigmoid_focal_crossentropy": tfa.losses.sigmoid_focal_crossentropy,
    "pinball_loss": tfa.losses.pinball_loss,
}


def data(seed=5):
    random = np.random.RandomState(seed)
    return random.normal(size=(11, 4)).astype("float32")


def classifier(activation=None, units=3):
    return keras.Sequential(
        [
            keras.Input((4,), name="features"),
            keras.layers.Dense(5, "tanh", name="hidden"),
            keras.layers.Dense(units, activation, name="head"),
        ]
    )


def regression():
    return np.random.RandomState(6).normal(size=(11, 3)).astype("float32")


def optimizers():
    """Name, optimizer, and whether it is written as a SavedModel too."""
    found = tfa.optimizers
    decay = {"learning_rate": 0.05, "weight_decay": 0.02}
    yield "yogi", found.Yogi(0.05), True
    yield "novograd", found.NovoGrad(grad_averaging=True, **decay), True
    inner = legacy.Adam(0.05)
    yield "swa", found.SWA(inner, average_period=2, start_averaging=1), True
    inner = found.AdamW(**decay)
    yield "average", found.MovingAverage(inner, average_decay=0.8), False
    yield "average_sgd", found.MovingAverage("sgd", dynamic_decay=True), True
    yield "adabelief", found.AdaBelief(0.05), False
    yield "cocob", found.COCOB(), True
    yield "conditional", found.ConditionalGradient(0.9, lambda_=0.5), True
    yield "proximal", found.ProximalAdagrad(0.1, l1_regularization_strength=0.01), True
    yield "ranger", found.Lookahead(found.RectifiedAdam(0.05), sync_period=2), False


def one_hot():
    return np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2, 2, 1, 0, 1, 1]]


def boxes():
    random = np.random.RandomState(8)
    low = random.uniform(size=(11, 2))
    return np.concatenate([low, low + random.uniform(size=(11, 2))], 1).astype("f")


def box_model():
    model = classifier(units=2)
    sides = keras.layers.Dense(2, "sigmoid", name="sides")(model.output)
    low = keras.layers.Dense(2, "tanh", name="low")(model.output)
    high = keras.layers.Add(name="high")([low, sides])
    return keras.Model(model.input, keras.layers.Concatenate(name="box")([low, high]))


def similarities():
    """Of each row to all of its batch."""
    model = classifier()
    pairs = tf.matmul(model.output, model.output, transpose_b=True)
    return keras.Model(model.input, pairs)


def losses():
    """Name, model, loss and targets."""
    found = tfa.losses
    classes = np.array([0, 0, 1, 1, 0, 1, 0, 1, 2, 2, 0], "float32")[:, None]
    some = (one_hot() + one_hot()[::-1] > 0).astype("float32")
    pairs = (regression()[:, :1] > 0).astype("float32")
    # Of what isn't reduced `evaluate` counts larger batches for more than their size.
    focal = found.SigmoidFocalCrossEntropy()
    yield "focal", classifier("sigmoid"), focal, some[: 2 * BATCH]
    focal = found.SigmoidFocalCrossEntropy(True, 0.4, 1.5, reduction="sum")
    yield "focal_logits", classifier(), focal, some
    focal = found.SigmoidFocalCrossEntropy(reduction="sum_over_batch_size", alpha=0.0)
    yield "focal_mean", classifier("softmax"), focal, one_hot()
    yield "focal_function", classifier("sigmoid"), found.sigmoid_focal_crossentropy, some
    yield "contrastive", classifier(units=1), found.ContrastiveLoss(0.7), pairs
    yield "pinball", classifier(), found.PinballLoss(0.3), regression()
    yield "pinball_function", classifier(), found.pinball_loss, regression()
    yield "giou", box_model(), found.GIoULoss(), boxes()
    yield "iou", box_model(), found.GIoULoss("iou"), boxes()
    yield "sparsemax", classifier(), found.SparsemaxLoss(), one_hot()
    kappa = found.WeightedKappaLoss(num_classes=3)
    yield "kappa", classifier("softmax"), kappa, one_hot()
    kappa = found.WeightedKappaLoss(num_classes=3, weightage="linear", epsilon=0.01)
    yield "kappa_linear", classifier("softmax"), kappa, one_hot()
    yield "semihard", classifier(), found.TripletSemiHardLoss(), classes
    semihard = found.TripletSemiHardLoss(0.5, "angular")
    yield "semihard_angular", classifier(), semihard, classes
    yield "hard", classifier(), found.TripletHardLoss(), classes
    hard = found.TripletHardLoss(soft=True, distance_metric="squared-L2")
    yield "hard_soft", classifier(), hard, classes
    yield "lifted", classifier(), found.LiftedStructLoss(1.5), classes
    yield "npairs", similarities(), found.NpairsMultilabelLoss(), some
    mean = keras.losses.MeanSquaredError(reduction="none")
    yield "of_each", classifier(), mean, regression()[: 2 * BATCH]


def metrics_by_target():
    """Name, model, metrics and targets."""
    found = tfa.metrics
    kinds = ["micro", "macro", "weighted"]
    some = (one_hot() + one_hot()[::-1] > 0).astype("float32")
    metrics = [found.F1Score(3, kind, name="f1_" + kind) for kind in kinds]
    metrics += [
        found.F1Score(3),
        found.FBetaScore(3, "macro", beta=2.0, threshold=0.4),
        found.CohenKappa(3),
        found.CohenKappa(3, name="linear", weightage="linear"),
        found.CohenKappa(3, name="quadratic", weightage="quadratic"),
        found.MatthewsCorrelationCoefficient(3),
        found.HammingLoss("multiclass"),
    ]
    yield "classes", classifier("softmax"), metrics, one_hot()
    metrics = [
        found.F1Score(3, "macro", threshold=0.5),
        found.HammingLoss("multilabel", threshold=0.5),
    ]
    yield "labels", classifier("sigmoid"), metrics, some
    metrics = [
        found.RSquare(),
        found.RSquare("raw", multioutput="raw_values"),
        found.RSquare("weighted", multioutput="variance_weighted"),
    ]
    yield "values", classifier(), metrics, regression()
    binary = (regression()[:, :1] > 0).astype("float32")
    yield "binary", classifier("sigmoid", 1), [found.CohenKappa(2)], binary
    ratings = np.argmax(one_hot(), 1).astype("float32")[:, None]
    metrics = [
        found.CohenKappa(3, sparse_labels=True, regression=True),
        found.RSquare(),
    ]
    yield "ratings", classifier(units=1), metrics, ratings


ACTIVATIONS = (
    *("gelu", "hardshrink", "lisht", "mish"),
    *("snake", "softshrink", "sparsemax", "tanhshrink"),
)


def layers():
    """Name and model."""
    chain = [keras.Input((4,), name="features")]
    for name in ACTIVATIONS:
        function = getattr(tfa.activations, name)
        chain.append(keras.layers.Dense(6, function, name=name))
        chain.append(keras.layers.Activation(function, name=name + "_alone"))
    yield "activations", keras.Sequential([*chain, keras.layers.Dense(3, name="head")])
    found = tfa.layers
    regularized = {"gamma_regularizer": "l2", "beta_initializer": "random_normal"}
    chain = [
        keras.Input((4,), name="features"),
        keras.layers.Dense(36, "tanh", name="hidden"),
        keras.layers.Reshape((2, 3, 6), name="image"),
        found.GroupNormalization(3, epsilon=1e-2, name="groups", **regularized),
        keras.layers.Conv2D(4, 2, padding="same", name="conv"),
        found.InstanceNormalization(center=False, name="instances"),
        keras.layers.Permute((3, 1, 2), name="channels_first"),
        found.GroupNormalization(2, axis=1, scale=False, name="first"),
        found.InstanceNormalization(axis=1, name="firsts"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(3, name="head"),
    ]
    yield "norms", keras.Sequential(chain)


def cases():
    """Name, uncompiled model, compile arguments, targets, and whether as SavedModel."""
    for name, optimizer, both in optimizers():
        arguments = {"optimizer": optimizer, "loss": "mse"}
        yield "optimizer_" + name, classifier(), arguments, regression(), both
    for name, model in layers():
        arguments = {"optimizer": legacy.SGD(0.1), "loss": "mse"}
        yield "layers_" + name, model, arguments, regression(), True
    for name, model, loss, y in losses():
        arguments = {"optimizer": legacy.SGD(0.1), "loss": loss}
        yield "loss_" + name, model, arguments, y, name == "focal"
    for name, model, metrics, y in metrics_by_target():
        arguments = {"optimizer": legacy.SGD(0.1), "loss": "mse", "metrics": metrics}
        yield "metrics_" + name, model, arguments, y, name == "classes"


def step(model, x, y):
    model.train_on_batch(x[:BATCH], y[:BATCH])


def computed(model, x, y):
    found = model.evaluate(x, y, batch_size=BATCH, verbose=0, return_dict=True)
    names = sorted(found)
    return model.predict(x, verbose=0), names, [np.ravel(found[name]) for name in names]


def write(folder, only=""):
    for name, model, arguments, y, both in cases():
        if not name.startswith(only):
            continue
        keras.utils.set_random_seed(1)
        model = keras.models.clone_model(model)
        x = data()[: len(y)]
        model.compile(**arguments)
        for _ in range(3):
            step(model, x, y)
        path = os.path.join(folder, name)
        model.save(path + ".h5")
        if both:
            model.save(path, save_format="tf")
            # Not a thing of it is read.
            os.remove(os.path.join(path, "fingerprint.pb"))
        out, names, values = computed(model, x, y)
        step(model, x, y)
        after, _, next_values = computed(model, x, y)
        np.savez_compressed(
            path + ".npz",
            x=x,
            y=y,
            out=out,
            names=np.array(names),
            values=np.concatenate(values),
            next=after,
            next_values=np.concatenate(next_values),
        )
        print(name, names, np.concatenate(values))


def check(folder, again):
    """Opens what was saved again of each case."""
    found = 0
    for path in sorted(os.listdir(again)):
        name = path.split(".")[0]
        expected = np.load(os.path.join(folder, name + ".npz"))
        if name == "loss_npairs":
            continue  # The package can't make the loss of its config.
        model = keras.models.load_model(os.path.join(again, path), UNREGISTERED)
        x, y = expected["x"], expected["y"]
        out, names, values = computed(model, x, y)
        assert names == list(expected["names"]), (path, names)
        np.testing.assert_allclose(out, expected["out"], 1e-5, 1e-6, err_msg=path)
        values = np.concatenate(values)
        np.testing.assert_allclose(values, expected["values"], 1e-5, 1e-6, err_msg=path)
        step(model, x, y)
        after, _, values = computed(model, x, y)
        np.testing.assert_allclose(after, expected["next"], 1e-5, 1e-6, err_msg=path)
        found += 1
    print(found, "open and compute the same")


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    if len(sys.argv) > 2:
        check(*sys.argv[1:])
    else:
        write(sys.argv[1])
