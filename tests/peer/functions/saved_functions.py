"""What TensorFlow, TensorFlow Lite and OpenVINO make of functions in a SavedModel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def _arrays(outputs):
    import tensorflow as tf

    return [
        np.asarray(value, np.float64 if value.dtype == tf.float64 else np.float32)
        for value in tf.nest.flatten(outputs)
    ]


def call(path, inputs, training=None):
    """Calls the object that `tf.saved_model.load` gives.

    Returns:
        Outputs, and after a call in training what each variable holds by name.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    given = tf.nest.map_structure(tf.constant, inputs)
    outputs = (
        loaded(given, training=training) if training is not None else loaded(given)
    )
    held = {}
    if training:
        held = {v.name: v.numpy() for v in tf.nest.flatten(loaded.variables)}
    return _arrays(outputs), held


def gradients(path, inputs):
    """Names of variables that a call in training reads, and which get no gradient."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    given = tf.nest.map_structure(tf.constant, inputs)
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(loaded(given, training=True))
        loss = sum(tf.reduce_sum(tf.cast(o, tf.float32) ** 2) for o in outputs)
    variables = tape.watched_variables()
    found = tape.gradient(loss, variables)
    missing = [v.name for v, g in zip(variables, found, strict=True) if g is None]
    return len(variables), missing


def serve(path, inputs):
    """Calls `serving_default` by names, in TensorFlow 2 and in a session of 1."""
    import tensorflow as tf

    signature = tf.saved_model.load(path).signatures["serving_default"]
    new = {
        k: v.numpy()
        for k, v in signature(**{k: tf.constant(v) for k, v in inputs.items()}).items()
    }
    graph = tf.Graph()
    with tf.compat.v1.Session(graph=graph) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
        info = meta.signature_def["serving_default"]
        feed = {info.inputs[k].name: v for k, v in inputs.items()}
        fetch = {k: v.name for k, v in info.outputs.items()}
        old = session.run(fetch, feed)
    return new, old


def serve_batches(path, batches):
    """Calls `serving_default` on one batch after the other."""
    import tensorflow as tf

    signature = tf.saved_model.load(path).signatures["serving_default"]
    return [
        _arrays(signature(**{key: tf.constant(value) for key, value in batch.items()}))
        for batch in batches
    ]


def lite(path, inputs):
    """Converts to TensorFlow Lite with its own ops alone, and runs it by names."""
    import tensorflow as tf

    model = tf.lite.TFLiteConverter.from_saved_model(path).convert()
    interpreter = tf.lite.Interpreter(model_content=model)
    runner = interpreter.get_signature_runner("serving_default")
    return {key: np.asarray(value) for key, value in runner(**inputs).items()}


def openvino(path, inputs):
    """Runs OpenVINO's own reading of a SavedModel by input names."""
    import openvino as ov

    # Some processors compute in bfloat16 otherwise.
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    model = ov.Core().compile_model(ov.Core().read_model(path), "CPU", config)
    feed = {}
    for port in model.inputs:
        key = next(k for k in inputs if any(k in name for name in port.names))
        feed[port] = inputs[key]
    return [np.asarray(value) for value in model(feed).values()]


def revive(path, inputs):
    """Loads with tf_keras without the classes of custom layers, and trains.

    Returns:
        Predictions, losses, class names of the layers, losses of two epochs.
    """
    import tensorflow as tf
    import tf_keras

    model = tf_keras.models.load_model(path)
    given = tf.nest.map_structure(tf.constant, inputs)
    outputs = model(given, training=False)
    losses = [float(loss) for loss in model.losses]
    model.compile("sgd", "mse")
    history = model.fit(given, outputs, epochs=2, verbose=0).history["loss"]
    names = [type(layer).__name__ for layer in model.layers]
    return _arrays(outputs), losses, names, history


def application_ops(path, name, shape):
    """Counts ops behind `serving_default`: in a file, and in tf_keras' own of a model.

    Args:
        path: A SavedModel directory.
        name: Of an architecture of `tf_keras.applications`.
        shape: Of its input.
    """
    import tempfile

    import tf_keras

    model = getattr(tf_keras.applications, name)(weights=None, input_shape=shape)
    with tempfile.TemporaryDirectory() as own:
        model.save(own)
        return _served_ops(path), _served_ops(own), _size(path), _size(own)


def _size(path):
    import os

    return os.path.getsize(os.path.join(path, "saved_model.pb"))


# They cost nothing when a graph runs.
_FREE = frozenset({"Const", "Identity", "NoOp", "ReadVariableOp"})


def _served_ops(path):
    import collections
    import pathlib

    from tensorflow.core.protobuf import saved_model_pb2

    data = pathlib.Path(path, "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(data).meta_graphs[0].graph_def
    library = {f.signature.name: f for f in graph.library.function}
    counts = collections.Counter()
    pending = [
        node.attr["f"].func.name
        for node in graph.node
        if "signature_wrapper" in node.attr["f"].func.name
    ]
    while pending:
        for node in library[pending.pop()].node_def:
            if (called := node.attr["f"].func.name) in library:
                pending.append(called)
            elif node.op not in _FREE:
                counts[node.op] += 1
    return dict(counts)


def fingerprints(path):
    """What `fingerprint.pb` says, and what TensorFlow computes of the other files."""
    import tensorflow as tf
    from tensorflow.core.protobuf import fingerprint_pb2
    from tensorflow.python.saved_model.pywrap_saved_model import fingerprinting

    written = tf.saved_model.experimental.read_fingerprint(path)
    computed = fingerprint_pb2.FingerprintDef()
    computed.ParseFromString(fingerprinting.CreateFingerprintDef(path))
    names = [
        "saved_model_checksum",
        "graph_def_program_hash",
        "signature_def_hash",
        "saved_object_graph_hash",
        "checkpoint_hash",
    ]
    return [{name: getattr(one, name) for name in names} for one in (written, computed)]


def farmhash(texts):
    """TensorFlow's hash of texts."""
    import tensorflow as tf

    data = tf.constant(texts)
    hashes = tf.fingerprint(tf.reshape(data, (-1, 1)), "farmhash64").numpy()
    return [int.from_bytes(row.tobytes(), "little") for row in hashes]


def options(kind, rows):
    """Returns the names of TensorFlow's options, and what it raises for each value."""
    import tensorflow as tf

    cls = getattr(tf.saved_model, kind)
    raised = []
    for name, value in rows:
        try:
            cls(**{name: value})
        except Exception as error:
            raised.append(type(error).__name__)
        else:
            raised.append("")
    return list(cls.__slots__), raised


def derivatives(path, inputs):
    """Derivatives of the sum of what a call in training gives, by variable's name."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    variables = loaded.trainable_variables
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loaded(tf.constant(inputs), training=True))
    found = tape.gradient(total, variables)
    return {v.name: g.numpy() for v, g in zip(variables, found, strict=True)}


def same(path, names):
    """Loads a Keras model; says of each dotted name which name before is the same."""
    import tf_keras

    def find(name):
        found = model
        for part in name.split("."):
            if isinstance(found, Mapping):
                found = found[part]
            else:
                found = found[int(part)] if part.isdigit() else getattr(found, part)
        return found

    model = tf_keras.models.load_model(path)
    found = [find(name) for name in names]
    return [next(i for i, one in enumerate(found) if one is each) for each in found]
