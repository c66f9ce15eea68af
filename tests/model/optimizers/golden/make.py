"""Writes trajectories of TensorFlow's optimizers: `python make.py`.

Run it once in an environment of each TensorFlow of which a `trajectories-*.npz`
lies here (1.15, 2.0, 2.3, 2.6, 2.11, 2.15) and of tf_keras (2.21). It is written for
Python 3.7, the newest that TensorFlow 1.15 runs on. `python make.py --addons`, beside
TensorFlow 2.15 and TensorFlow Addons 0.23, writes the optimizers of the latter.

Each case is one optimizer with six steps over four variables; `table` gets sparse
gradients (`tf.IndexedSlices` with a repeated row), as `Embedding` does. The file
holds what an HDF5 file would hold of the optimizer before the first and the fourth
step, its config, the gradients, and the variables after every step.
"""

import json
import os
import sys

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf  # noqa: E402

try:
    import tf_keras as tf_keras
except ImportError:
    tf_keras = tf.keras
if not tf.executing_eagerly():
    tf.compat.v1.enable_v2_behavior()

STEPS = 6
ROWS = ((0, 2, 2), (1, 2, 5), (0, 0, 4), (2, 3, 3), (1, 1, 1), (4, 2, 0))
# A clipped sparse gradient is clipped before repeated rows are added.
DISTINCT_ROWS = ((0, 2, 3), (1, 2, 5), (0, 3, 4), (2, 3, 1), (1, 0, 5), (4, 2, 0))
SHAPES = {"kernel": (4, 3), "bias": (3,), "table": (6, 2), "other": (3, 2)}


def values(seed):
    """Initial variables and the gradients of each step, float32."""
    random = np.random.RandomState(seed)
    start = {name: random.normal(size=shape) for name, shape in SHAPES.items()}
    steps = []
    for rows in ROWS:
        gradients = {
            name: random.normal(size=shape)
            for name, shape in SHAPES.items()
            if name != "table"
        }
        gradients["table"] = random.normal(size=(len(rows), 2))
        steps.append(gradients)
    cast = {name: value.astype("float32") for name, value in start.items()}
    return cast, [
        {name: value.astype("float32") for name, value in step.items()}
        for step in steps
    ]


def common_cases(schedules):
    """Cases that every version and both kinds of optimizers know."""
    yield "sgd", "SGD", {"learning_rate": 0.1}
    yield "sgd_momentum", "SGD", {"learning_rate": 0.1, "momentum": 0.9}
    yield (
        "sgd_nesterov",
        "SGD",
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
    )
    yield "sgd_clipnorm", "SGD", {"learning_rate": 0.1, "clipnorm": 0.7}
    yield "sgd_clipvalue", "SGD", {"learning_rate": 0.1, "clipvalue": 0.3}
    yield "adam", "Adam", {"learning_rate": 0.01}
    yield "adam_epsilon", "Adam", {"learning_rate": 0.01, "epsilon": 0.1}
    yield "adam_amsgrad", "Adam", {"learning_rate": 0.01, "amsgrad": True}
    yield "adamax", "Adamax", {"learning_rate": 0.01}
    yield "nadam", "Nadam", {"learning_rate": 0.01}
    yield "rmsprop", "RMSprop", {"learning_rate": 0.01}
    yield "rmsprop_epsilon", "RMSprop", {"learning_rate": 0.01, "epsilon": 0.1}
    yield (
        "rmsprop_momentum",
        "RMSprop",
        {"learning_rate": 0.01, "momentum": 0.8, "epsilon": 0.01},
    )
    yield (
        "rmsprop_centered",
        "RMSprop",
        {"learning_rate": 0.01, "centered": True, "epsilon": 0.01},
    )
    yield (
        "rmsprop_centered_momentum",
        "RMSprop",
        {"learning_rate": 0.01, "centered": True, "momentum": 0.8, "epsilon": 0.01},
    )
    yield "adagrad", "Adagrad", {"learning_rate": 0.1}
    yield (
        "adagrad_epsilon",
        "Adagrad",
        {"learning_rate": 0.1, "initial_accumulator_value": 0.5, "epsilon": 0.1},
    )
    yield "adadelta", "Adadelta", {"learning_rate": 1.0, "epsilon": 0.01}
    yield "ftrl", "Ftrl", {"learning_rate": 0.1}
    yield (
        "ftrl_regularized",
        "Ftrl",
        {
            "learning_rate": 0.1,
            "l1_regularization_strength": 0.01,
            "l2_regularization_strength": 0.02,
            "initial_accumulator_value": 0.2,
        },
    )
    yield (
        "ftrl_shrinkage",
        "Ftrl",
        {"learning_rate": 0.1, "l2_shrinkage_regularization_strength": 0.03},
    )
    yield (
        "exponential",
        "SGD",
        {"learning_rate": schedules.ExponentialDecay(0.1, 2, 0.7, staircase=True)},
    )
    yield (
        "piecewise",
        "Adam",
        {"learning_rate": schedules.PiecewiseConstantDecay([1, 4], [0.1, 0.05, 0.01])},
    )
    yield (
        "polynomial",
        "RMSprop",
        {"learning_rate": schedules.PolynomialDecay(0.1, 4, 0.01, power=2.0)},
    )
    yield (
        "inverse_time",
        "SGD",
        {"learning_rate": schedules.InverseTimeDecay(0.1, 3, 0.5), "momentum": 0.5},
    )
    if hasattr(schedules, "CosineDecay"):
        yield "cosine", "SGD", {"learning_rate": schedules.CosineDecay(0.1, 5, 0.1)}
        yield (
            "cosine_restarts",
            "SGD",
            {"learning_rate": schedules.CosineDecayRestarts(0.1, 2, 2.0, 0.5)},
        )


def legacy_cases():
    yield "sgd_decay", "SGD", {"learning_rate": 0.1, "decay": 0.3, "momentum": 0.9}
    yield "adam_decay", "Adam", {"learning_rate": 0.1, "decay": 0.3}
    yield "ftrl_decay", "Ftrl", {"learning_rate": 0.1, "decay": 0.3}
    yield "nadam_decay", "Nadam", {"learning_rate": 0.01, "decay": 0.3}
    yield "both_clips", "SGD", {"learning_rate": 0.1, "clipnorm": 0.7, "clipvalue": 0.3}
    yield "global_clip", "Adam", {"learning_rate": 0.1, "global_clipnorm": 0.7}
    yield "ftrl_beta", "Ftrl", {"learning_rate": 0.1, "beta": 0.4}


def new_cases(schedules):
    yield "sgd_decoupled", "SGD", {"learning_rate": 0.1, "weight_decay": 0.05}
    yield "global_clip", "Adam", {"learning_rate": 0.1, "global_clipnorm": 0.7}
    yield "both_clips", "SGD", {"learning_rate": 0.1, "clipnorm": 0.7, "clipvalue": 0.3}
    yield "ftrl_beta", "Ftrl", {"learning_rate": 0.1, "beta": 0.4}
    yield "adamw", "AdamW", {"learning_rate": 0.1, "weight_decay": 0.02}
    yield "adafactor", "Adafactor", {"learning_rate": 0.1}
    yield "adafactor_absolute", "Adafactor", {"relative_step": False}
    yield "lion", "Lion", {"learning_rate": 0.01}
    yield "lion_decoupled", "Lion", {"learning_rate": 0.01, "weight_decay": 0.1}
    yield (
        "sgd_average",
        "SGD",
        {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.7},
    )
    yield (
        "adam_average",
        "Adam",
        {
            "learning_rate": 0.1,
            "use_ema": True,
            "ema_momentum": 0.7,
            "ema_overwrite_frequency": 2,
        },
    )
    try:
        warm = schedules.CosineDecay(0.1, 4, 0.1, warmup_target=0.2, warmup_steps=2)
    except TypeError:
        return
    yield "cosine_warmup", "SGD", {"learning_rate": warm}


def addons_cases(addons, legacy):
    """Optimizers of TensorFlow Addons; they come made, as some hold others."""
    found = addons.optimizers
    schedules = legacy.schedules
    decay = {"learning_rate": 0.05, "weight_decay": 0.02}
    spared = {"exclude_from_weight_decay": ["bias", "oth"]}
    yield "adamw", found.AdamW(**decay)
    yield "adamw_spared", found.AdamW(amsgrad=True, **spared, **decay)
    falling = schedules.ExponentialDecay(0.02, 2, 0.5)
    yield "adamw_schedule", found.AdamW(weight_decay=falling, learning_rate=0.05)
    yield "sgdw", found.SGDW(**decay)
    yield "sgdw_momentum", found.SGDW(momentum=0.9, decay=0.1, **decay)
    yield "lamb", found.LAMB(**decay)
    yield "lamb_spared", found.LAMB(beta_1=0.8, **spared, **decay)
    layers = ["kernel"]
    yield "lamb_layers", found.LAMB(exclude_from_layer_adaptation=layers, **decay)
    yield "radam", found.RectifiedAdam(0.05)
    yield "radam_trusted", found.RectifiedAdam(beta_2=0.6, amsgrad=True, **decay)
    yield (
        "radam_warmup",
        found.RectifiedAdam(0.05, total_steps=5, warmup_proportion=0.4, min_lr=0.001),
    )
    yield "lazy", found.LazyAdam(0.05)
    yield "ranger", found.Lookahead(found.RectifiedAdam(0.05), sync_period=2)
    inner = legacy.SGD(0.1, momentum=0.9, clipnorm=0.1)
    yield "lookahead", found.Lookahead(inner, sync_period=3, slow_step_size=0.7)
    inner = found.AdamW(**spared, **decay)
    yield "lookahead_clipnorm", found.Lookahead(inner, sync_period=3, clipnorm=0.7)
    rate = found.TriangularCyclicalLearningRate(0.01, 0.1, 2)
    yield "triangular", legacy.SGD(rate)
    yield "triangular2", legacy.SGD(found.Triangular2CyclicalLearningRate(0.01, 0.1, 1))
    rate = found.ExponentialCyclicalLearningRate(0.01, 0.1, 3, gamma=0.7)
    yield "exponential_cycles", legacy.SGD(rate)
    penalties = {"l1_regularization_strength": 0.1, "l2_regularization_strength": 0.2}
    yield "yogi", found.Yogi(0.05)
    yield "yogi_penalties", found.Yogi(0.05, decay=0.1, activation="tanh", **penalties)
    yield "yogi_still", found.Yogi(0.05, beta1=0.0, l2_regularization_strength=0.3)
    yield "novograd", found.NovoGrad(0.05)
    yield "novograd_averaging", found.NovoGrad(grad_averaging=True, **decay)
    yield "swa", found.SWA(legacy.SGD(0.1), average_period=2, start_averaging=1)
    inner = legacy.Adam(0.05, clipnorm=0.1)
    yield "swa_clipnorm", found.SWA(inner, average_period=1, clipnorm=0.7)
    yield "average", found.MovingAverage(legacy.Adam(0.05), average_decay=0.8)
    inner = found.LAMB(**decay)
    yield "average_dynamic", found.MovingAverage(inner, start_step=2, dynamic_decay=True)
    yield "average_known", found.MovingAverage(found.Yogi(0.05), num_updates=4)
    yield "adabelief", found.AdaBelief(0.05)
    yield "adabelief_trusted", found.AdaBelief(beta_2=0.6, amsgrad=True, **decay)
    yield "adabelief_plain", found.AdaBelief(0.05, rectify=False, total_steps=5)
    yield "proximal", found.ProximalAdagrad(0.1)
    yield "proximal_penalties", found.ProximalAdagrad(0.1, **penalties)
    yield "conditional", found.ConditionalGradient(0.9, lambda_=0.5)
    yield "conditional_nuclear", found.ConditionalGradient(0.9, 0.5, ord="nuclear")
    yield "cocob_dense", found.COCOB(10.0)


def state(optimizer, legacy):
    variables = optimizer.variables
    variables = variables() if callable(variables) else variables
    if hasattr(optimizer, "_optimizer"):
        variables = optimizer.weights  # Of the inner one too, as in an HDF5 file.
    # Copies: some kernels of TensorFlow 2.3 write into what `numpy()` looks at.
    found = [(v.name, np.array(v.numpy())) for v in variables]
    if getattr(optimizer, "_u_product", None) is not None:
        found.append(("_u_product", np.array(optimizer._u_product.numpy())))
    return found


def trajectory(optimizer, start, gradients, legacy, arrays, prefix):
    variables = [tf.Variable(start[name], name=name) for name in SHAPES]
    if legacy:
        optimizer.iterations  # noqa: B018  makes the variable
        if hasattr(optimizer, "_create_all_weights"):
            optimizer._create_all_weights(variables)
        else:
            optimizer._create_hypers()
            optimizer._create_slots(variables)
    else:
        optimizer.build(variables)

    def step(values, rows):
        slices = [
            tf.IndexedSlices(value, rows, SHAPES[name]) if name == "table" else value
            for name, value in zip(SHAPES, values)
        ]
        if "dense" in prefix:
            slices = [tf.convert_to_tensor(value) for value in slices]
        if legacy and hasattr(optimizer, "_clip_gradients"):
            # Up to 2.3 `Model.fit` clips before it applies.
            slices = optimizer._clip_gradients(slices)
        elif legacy and not hasattr(optimizer, "_transform_gradients"):
            slices = clip_as_get_gradients(optimizer, slices)
        optimizer.apply_gradients(list(zip(slices, variables)))

    names = {}
    signature = [tf.TensorSpec(gradients[0][name].shape) for name in SHAPES]
    # One graph for all steps, traced twice, as `Model.train_function` is: what an
    # optimizer does in Python happens twice.
    if not legacy:
        rows = tf.TensorSpec((3,), tf.int32)
        tf.function(step).get_concrete_function(signature, rows)
    step = tf.function(step)
    table_rows = DISTINCT_ROWS if "clip" in prefix else ROWS
    for position in range(STEPS):
        if position in (0, 3):
            found = state(optimizer, legacy)
            names[position] = [name for name, _ in found]
            for index, (_, value) in enumerate(found):
                arrays["%s/state%d/%d" % (prefix, position, index)] = value
        step(
            [tf.constant(gradients[position][name]) for name in SHAPES],
            tf.constant(table_rows[position]),
        )
        for name, variable in zip(SHAPES, variables):
            arrays["%s/after%d/%s" % (prefix, position, name)] = np.array(variable.numpy())
    return names


def clip_as_get_gradients(optimizer, gradients):
    """What `get_gradients` of TensorFlow 1.15, which needs a graph, does."""
    if hasattr(optimizer, "clipnorm"):
        gradients = [tf.clip_by_norm(g, optimizer.clipnorm) for g in gradients]
    if hasattr(optimizer, "clipvalue"):
        limit = optimizer.clipvalue
        gradients = [tf.clip_by_value(g, -limit, limit) for g in gradients]
    return gradients


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value


def main(folder, addons):
    optimizers = tf_keras.optimizers
    schedules = optimizers.schedules
    start, gradients = values(7)
    arrays, about = {}, {}
    for name in SHAPES:
        arrays["start/" + name] = start[name]
        for position in range(STEPS):
            arrays["gradient%d/%s" % (position, name)] = gradients[position][name]
    arrays["rows"] = np.array(ROWS)
    arrays["distinct_rows"] = np.array(DISTINCT_ROWS)
    version = ".".join(tf.__version__.split(".")[:2])
    kinds = {"legacy": optimizers}
    if addons is not None:
        version, kinds = "addons", {}
        optimizers.legacy.schedules = schedules
        for case, optimizer in addons_cases(addons, optimizers.legacy):
            prefix = "addons/" + case
            names = trajectory(optimizer, start, gradients, True, arrays, prefix)
            config = plain(optimizers.serialize(optimizer))
            about[prefix] = {"names": names, "config": config}
    elif hasattr(optimizers, "legacy"):
        kinds = {"legacy": optimizers.legacy, "new": optimizers}
    for kind, module in kinds.items():
        extra = legacy_cases() if kind == "legacy" else new_cases(schedules)
        for case, class_name, arguments in list(common_cases(schedules)) + list(extra):
            if not hasattr(module, class_name):
                continue
            prefix = kind + "/" + case
            try:
                optimizer = getattr(module, class_name)(**arguments)
            except (TypeError, ValueError) as error:
                print("no", prefix, error)
                continue
            names = trajectory(
                optimizer, start, gradients, kind == "legacy", arrays, prefix
            )
            about[prefix] = {
                "names": names,
                "config": plain(optimizers.serialize(optimizer)),
            }
    path = os.path.join(folder, "trajectories-%s.npz" % version)
    # A thousand tiny arrays as one, as each entry of a zip file costs 300 bytes.
    about["arrays"] = [(key, np.shape(value)) for key, value in arrays.items()]
    flat = [np.ravel(value).astype("float32") for value in arrays.values()]
    np.savez_compressed(
        path,
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        values=np.concatenate(flat),
    )
    print(version, len(about) - 1, "cases", os.path.getsize(path), "bytes")


if __name__ == "__main__":
    addons = None
    if "--addons" in sys.argv:
        sys.argv.remove("--addons")
        import tensorflow_addons as addons
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(__file__), addons)
