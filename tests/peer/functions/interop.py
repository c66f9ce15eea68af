"""What TensorFlow's and others' readers make of a SavedModel: columns of the matrix.

Each function takes a path and inputs by the names of the signature, and returns
outputs by name, unless it says otherwise.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import tempfile

import numpy as np


def _flat(outputs):
    import tensorflow as tf

    arrays = [np.asarray(value) for value in tf.nest.flatten(outputs)]
    return [x if x.dtype == np.float64 else x.astype(np.float32) for x in arrays]


def _weights(model):
    return {v.name.removesuffix(":0"): v.numpy() for v in model.weights}


def tf_keras(path, given, targets, floatx="float32"):
    """Loads without any class of ours, predicts, evaluates and takes a step.

    Its optimizers hold their learning rate in `floatx`, in which the file has it.

    Returns:
        `outputs`, `evaluated`, two flat outputs of calls in training (`live`), `loss`
        and `weights` of one `train_on_batch`, which of the layers were `revived`.
    """
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.backend.set_floatx(floatx)
    model = tf_keras.models.load_model(path)
    found = {"outputs": _flat(model.predict(given, verbose=0))}
    found["evaluated"] = float(
        np.ravel(model.evaluate(given, targets, batch_size=64, verbose=0))[0]
    )
    before = _weights(model)
    found["live"] = [_flat(model(given, training=True)) for _ in range(2)]
    for variable in model.weights:
        variable.assign(before[variable.name.removesuffix(":0")])
    found["loss"] = float(np.ravel(model.train_on_batch(given, targets))[0])
    found["weights"] = _weights(model)
    found["before"] = before
    return found


def saved_model(path, given, inputs):
    """What `tf.saved_model.load` gives.

    Returns:
        `outputs`, in training `live` (two calls) and `state` (variables by name after
        one), the `signature`'s outputs by name, `variables` by name before,
        `regularization` and `gradients` by name.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    tensors = tf.nest.map_structure(tf.constant, given)
    variables = list(loaded.variables)
    found = {"variables": {v.name.removesuffix(":0"): v.numpy() for v in variables}}
    with tf.GradientTape() as tape:
        outputs = loaded(tensors, training=False)
        total = tf.add_n(
            [
                tf.reduce_sum((tf.cast(x, tf.float32) if x.dtype.size < 4 else x) ** 2)
                for x in tf.nest.flatten(outputs)
            ]
        )
    found["outputs"] = _flat(outputs)
    trainable = list(loaded.trainable_variables)
    gradients = tape.gradient(total, trainable)
    found["gradients"] = {
        v.name.removesuffix(":0"): None
        if g is None
        else tf.convert_to_tensor(g).numpy()
        for v, g in zip(trainable, gradients, strict=True)
    }
    losses = [loss() for loss in loaded.regularization_losses]
    found["regularization"] = float(sum(np.sum(loss) for loss in losses))
    signature = loaded.signatures["serving_default"]
    named = {key: tf.constant(value) for key, value in inputs.items()}
    found["signature"] = {k: v.numpy() for k, v in signature(**named).items()}
    found["live"] = [_flat(loaded(tensors, training=True))]
    found["state"] = {v.name.removesuffix(":0"): v.numpy() for v in variables}
    found["live"].append(_flat(loaded(tensors, training=True)))
    return found


def session(path, inputs):
    """`tf.compat.v1.saved_model.load`."""
    import tensorflow as tf

    graph = tf.Graph()
    with tf.compat.v1.Session(graph=graph) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
        info = meta.signature_def["serving_default"]
        feed = {info.inputs[key].name: value for key, value in inputs.items()}
        fetch = {key: value.name for key, value in info.outputs.items()}
        return session.run(fetch, feed)


def command_line(path, inputs):
    """`saved_model_cli show --all` and `run`."""
    from tensorflow.python.tools import saved_model_cli

    with tempfile.TemporaryDirectory() as folder:
        given = []
        for key, value in inputs.items():
            np.save(os.path.join(folder, f"in_{key}.npy"), value)
            given.append(f"{key}={os.path.join(folder, f'in_{key}.npy')}")
        _run(saved_model_cli, ["show", "--dir", path, "--all"])
        out = os.path.join(folder, "out")
        os.mkdir(out)
        _run(
            saved_model_cli,
            [
                *("run", "--dir", path, "--tag_set", "serve"),
                *("--signature_def", "serving_default"),
                *("--inputs", ";".join(given), "--outdir", out),
            ],
        )
        return {
            name.removesuffix(".npy"): np.load(os.path.join(out, name))
            for name in os.listdir(out)
        }


def _run(tool, arguments):
    import sys

    from absl import app, flags

    argv = ["saved_model_cli", *arguments]
    before, run = sys.argv, app.run
    sys.argv = argv
    # `app.run` would end the process.
    app.run = lambda main: main(argv)
    flags.FLAGS(argv[:1])
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            tool.main()
    finally:
        sys.argv, app.run = before, run
    if not printed.getvalue():
        raise RuntimeError("saved_model_cli printed nothing.")


def lite(path, inputs):
    """TensorFlow Lite with its own ops alone."""
    import tensorflow as tf

    model = tf.lite.TFLiteConverter.from_saved_model(path).convert()
    interpreter = tf.lite.Interpreter(model_content=model)
    runner = interpreter.get_signature_runner("serving_default")
    return {key: np.asarray(value) for key, value in runner(**inputs).items()}


def lite_with_select_ops(path):
    """Converts to TensorFlow Lite with TensorFlow's ops where its own don't do."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(path)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    return len(converter.convert())


def save_again(path, target):
    """Lets tf_keras write its own file of a model that it loads."""
    import tf_keras

    tf_keras.models.load_model(path).save(target)


def openvino(path, inputs):
    """OpenVINO's own reading; outputs in its order."""
    import openvino as ov

    # A plugin may compute in bfloat16 or float16 otherwise.
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    core = ov.Core()
    model = core.compile_model(core.read_model(path), "CPU", config)
    feed = {}
    for port in model.inputs:
        key = next(k for k in inputs if any(k in name for name in port.names))
        feed[port] = inputs[key]
    return [np.asarray(value) for value in model(feed).values()]


def onnx_as_converted(path, inputs):
    """The same, without what tf2onnx makes of its graph when it optimizes it."""
    from unittest import mock

    with mock.patch("tf2onnx.optimizer.optimize_graph", lambda graph, *_, **__: graph):
        return onnx(path, inputs)


def onnx(path, inputs):
    """tf2onnx and onnxruntime."""
    import sys

    import onnxruntime
    from tf2onnx import convert

    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "model.onnx")
        before = sys.argv
        sys.argv = ["convert", "--saved-model", path, "--output", target]
        sys.argv += ["--opset", "18"]
        try:
            convert.main()
        finally:
            sys.argv = before
        session = onnxruntime.InferenceSession(target)
        names = [output.name for output in session.get_outputs()]
        feed = {i.name: inputs[i.name] for i in session.get_inputs()}
        return dict(zip(names, session.run(names, feed), strict=True))


def tensorflowjs(path, inputs, node_modules):
    """tensorflowjs' converter, and TensorFlow.js in Node, on its own CPU backend."""
    import json
    import subprocess
    import sys

    script = os.path.join(os.path.dirname(os.path.dirname(__file__)), "tfjs_run.js")
    with tempfile.TemporaryDirectory() as folder:
        from tensorflowjs.converters import converter

        arguments = ["--input_format=tf_saved_model"]
        arguments += ["--output_format=tfjs_graph_model", path, folder]
        converter.convert(arguments)
        given = {}
        for key, value in inputs.items():
            given[key] = {
                "shape": value.shape,
                "dtype": value.dtype.name,
                "data": value.ravel().tolist(),
            }
        with open(os.path.join(folder, "given.json"), "w") as file:
            json.dump(given, file)
        done = subprocess.run(
            ["node", script, folder],
            env={**os.environ, "NODE_PATH": node_modules},
            capture_output=True,
            text=True,
            check=False,
        )
        sys.stdout.write(done.stdout[-4000:] + done.stderr[-4000:])
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "Error" in line]
            raise RuntimeError((lines or ["node failed"])[0])
        with open(os.path.join(folder, "results.json")) as file:
            results = json.load(file)
    if all(":" in key for key in results):
        # The converter called them after tensors, in the order of their names.
        import tensorflow as tf

        signature = tf.saved_model.load(path).signatures["serving_default"]
        names = sorted(signature.structured_outputs)
        results = dict(zip(names, results.values(), strict=True))
    return {
        key: np.array(each["data"], np.float32).reshape(each["shape"])
        for key, each in results.items()
    }


# TensorFlow's C++ loader, through its C API


def c_api(path, inputs):
    """`TF_LoadSessionFromSavedModel` and `TF_SessionRun`."""
    from tensorflow.core.protobuf import meta_graph_pb2

    return _CSession(path, meta_graph_pb2.MetaGraphDef).run(inputs)


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    )


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class _CSession:
    def __init__(self, path, message):
        lib = self._lib = _c_library()
        self._status = lib.TF_NewStatus()
        options = lib.TF_NewSessionOptions()
        self._graph = lib.TF_NewGraph()
        buffer = lib.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(b"serve")
        self._session = lib.TF_LoadSessionFromSavedModel(
            *(options, None, os.fsencode(path), tags, 1),
            *(self._graph, buffer, self._status),
        )
        self._check()
        held = ctypes.cast(buffer, ctypes.POINTER(_Buffer)).contents
        meta = message.FromString(ctypes.string_at(held.data, held.length))
        lib.TF_DeleteBuffer(buffer)
        lib.TF_DeleteSessionOptions(options)
        self._signature = meta.signature_def["serving_default"]

    def _check(self):
        if self._lib.TF_GetCode(self._status):
            raise RuntimeError(self._lib.TF_Message(self._status).decode())

    def _place(self, name):
        operation, _, index = name.partition(":")
        found = self._lib.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise RuntimeError(f"No operation {operation}.")
        return _Output(found, int(index or 0))

    def run(self, inputs):
        import tensorflow as tf

        lib = self._lib
        keys = sorted(self._signature.outputs)
        places = [self._place(self._signature.inputs[key].name) for key in inputs]
        wanted = [self._place(self._signature.outputs[key].name) for key in keys]
        tensors = []
        for array in inputs.values():
            array = np.ascontiguousarray(array)
            dims = (ctypes.c_int64 * array.ndim)(*array.shape)
            dtype = tf.as_dtype(array.dtype).as_datatype_enum
            tensor = lib.TF_AllocateTensor(dtype, dims, array.ndim, array.nbytes)
            ctypes.memmove(lib.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
            tensors.append(tensor)
        results = (ctypes.c_void_p * len(wanted))()
        lib.TF_SessionRun(
            *(self._session, None),
            *(
                (_Output * len(places))(*places),
                (ctypes.c_void_p * len(tensors))(*tensors),
            ),
            *(len(places), (_Output * len(wanted))(*wanted), results, len(wanted)),
            *(None, 0, None, self._status),
        )
        self._check()
        found = {key: self._array(r) for key, r in zip(keys, results, strict=True)}
        for tensor in (*tensors, *results):
            lib.TF_DeleteTensor(tensor)
        lib.TF_CloseSession(self._session, self._status)
        lib.TF_DeleteSession(self._session, self._status)
        lib.TF_DeleteGraph(self._graph)
        lib.TF_DeleteStatus(self._status)
        return found

    def _array(self, tensor):
        import tensorflow as tf

        lib = self._lib
        shape = [lib.TF_Dim(tensor, i) for i in range(lib.TF_NumDims(tensor))]
        data = ctypes.string_at(
            lib.TF_TensorData(tensor), lib.TF_TensorByteSize(tensor)
        )
        dtype = tf.as_dtype(lib.TF_TensorType(tensor)).as_numpy_dtype
        return np.frombuffer(data, dtype).reshape(shape).copy()


def _c_library():
    import glob

    import tensorflow as tf

    folder = os.path.dirname(tf.__file__)
    found = glob.glob(os.path.join(folder, "libtensorflow_cc.*"))
    lib = ctypes.CDLL(found[0])
    pointer, status = ctypes.c_void_p, ctypes.c_void_p
    outputs = ctypes.POINTER(_Output)
    tensors = ctypes.POINTER(ctypes.c_void_p)
    for name, result, arguments in (
        ("TF_NewStatus", pointer, ()),
        ("TF_NewSessionOptions", pointer, ()),
        ("TF_NewGraph", pointer, ()),
        ("TF_NewBuffer", pointer, ()),
        ("TF_DeleteBuffer", None, (pointer,)),
        ("TF_DeleteSessionOptions", None, (pointer,)),
        ("TF_DeleteGraph", None, (pointer,)),
        ("TF_DeleteStatus", None, (pointer,)),
        ("TF_DeleteTensor", None, (pointer,)),
        ("TF_CloseSession", None, (pointer, status)),
        ("TF_DeleteSession", None, (pointer, status)),
        ("TF_GetCode", ctypes.c_int, (status,)),
        ("TF_Message", ctypes.c_char_p, (status,)),
        ("TF_GraphOperationByName", pointer, (pointer, ctypes.c_char_p)),
        (
            "TF_LoadSessionFromSavedModel",
            pointer,
            (
                *(pointer, pointer, ctypes.c_char_p),
                *(ctypes.POINTER(ctypes.c_char_p), ctypes.c_int),
                *(pointer, pointer, status),
            ),
        ),
        (
            "TF_AllocateTensor",
            pointer,
            (
                ctypes.c_int,
                ctypes.POINTER(ctypes.c_int64),
                ctypes.c_int,
                ctypes.c_size_t,
            ),
        ),
        ("TF_TensorData", pointer, (pointer,)),
        ("TF_TensorByteSize", ctypes.c_size_t, (pointer,)),
        ("TF_TensorType", ctypes.c_int, (pointer,)),
        ("TF_NumDims", ctypes.c_int, (pointer,)),
        ("TF_Dim", ctypes.c_int64, (pointer, ctypes.c_int)),
        (
            "TF_SessionRun",
            None,
            (
                *(pointer, pointer, outputs, tensors, ctypes.c_int),
                *(outputs, tensors, ctypes.c_int, pointer, ctypes.c_int),
                *(pointer, status),
            ),
        ),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib
