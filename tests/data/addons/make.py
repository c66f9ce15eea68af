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


def data(seed=5):
    random = np.random.RandomState(seed)
    return random.normal(size=(10, 4)).astype("float32")


def classifier(activation=None, units=3):
    return keras.Sequential(
        [
            keras.Input((4,), name="features"),
            keras.layers.Dense(5, "tanh", name="hidden"),
            keras.layers.Dense(units, activation, name="head"),
        ]
    )


def regression():
    return np.random.RandomState(6).normal(size=(10, 3)).astype("float32")


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


def cases():
    """Name, uncompiled model, compile arguments, targets, and whether as SavedModel."""
    for name, optimizer, both in optimizers():
        arguments = {"optimizer": optimizer, "loss": "mse"}
        yield "optimizer_" + name, classifier(), arguments, regression(), both


def step(model, x, y):
    model.train_on_batch(x[:BATCH], y[:BATCH])


def computed(model, x, y):
    found = model.evaluate(x, y, batch_size=BATCH, verbose=0, return_dict=True)
    names = sorted(found)
    return model.predict(x, verbose=0), names, [np.ravel(found[name]) for name in names]


def write(folder):
    for name, model, arguments, y, both in cases():
        keras.utils.set_random_seed(1)
        model = keras.models.clone_model(model)
        x = data()
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
        model = keras.models.load_model(os.path.join(again, path))
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
