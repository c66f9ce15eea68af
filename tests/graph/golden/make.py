"""Lets real TensorFlow compute what every row of `tests/graph/cases` gives.

Run where TensorFlow is, from anywhere:

    python tests/graph/golden/make.py            # all rows
    python tests/graph/golden/make.py MatMul …   # rows whose id begins so

Rows of `words.py` need `tensorflow_text`, which was there for TensorFlow 2.19 last.

It writes `kernels.npz` beside itself: results by `<row>/<number>`; of programs also
the graph, by `<row>/graph`, and its names, by `<row>/names`.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import numpy as np
import tensorflow as tf

from graph.cases import CASES, PROGRAMS

TARGET = HERE / "kernels.npz"


def as_tensor(value):
    if isinstance(value, list):
        return [as_tensor(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return tf.constant(value.tolist(), tf.string, shape=value.shape)
    return tf.constant(value)


def flat(results):
    if isinstance(results, (list, tuple)):
        return [item for part in results for item in flat(part)]
    return [] if results is None else [results]


def plain(array):
    """An array that needs no pickle: text as its hexadecimal digits."""
    array = np.asarray(array, object if isinstance(array, bytes) else None)
    if array.dtype == object:
        digits = [bytes(item).hex() for item in array.reshape(-1).tolist()]
        return np.array([json.dumps({"shape": array.shape, "hex": digits})])
    return array


def run_foreign(case):
    """Runs an op that is not TensorFlow's own, in a session."""
    import tensorflow_text  # noqa: F401
    from tensorflow.python.framework import op_def_library

    with tf.Graph().as_default():
        results = op_def_library.apply_op(case.op, **case.inputs, **case.attrs)
        with tf.compat.v1.Session() as session:
            found = session.run(flat(list(results) if isinstance(results, tuple) else results))
    return {f"{case.id}/{i}": plain(r) for i, r in enumerate(found)}


def run_case(case):
    if not hasattr(tf.raw_ops, case.op):
        return run_foreign(case)
    inputs = {name: as_tensor(value) for name, value in case.inputs.items()}
    attrs = dict(case.attrs)
    results = getattr(tf.raw_ops, case.op)(**inputs, **attrs)
    return {f"{case.id}/{i}": plain(r.numpy()) for i, r in enumerate(flat(results))}


def run_program(program):
    graph = tf.Graph()
    with graph.as_default():
        feeds = []
        for value in program.inputs:
            dtype = tf.string if value.dtype == object else value.dtype
            feeds.append(tf.compat.v1.placeholder(dtype, value.shape))
        fetches = flat(program.build(tf, *feeds))
    with tf.compat.v1.Session(graph=graph) as session:
        given = dict(zip(feeds, program.inputs))
        results = session.run(fetches, given)
    names = {"feeds": [f.name for f in feeds], "fetches": [f.name for f in fetches]}
    found = {f"{program.name}/{i}": plain(r) for i, r in enumerate(results)}
    data = graph.as_graph_def().SerializeToString(deterministic=True)
    found[f"{program.name}/graph"] = np.frombuffer(data, np.uint8)
    found[f"{program.name}/names"] = np.array([json.dumps(names)])
    return found


def save(arrays):
    """Writes an .npz whose bytes depend on its contents alone."""
    with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(arrays):
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with file.open(info, "w") as stream:
                np.lib.format.write_array(stream, np.asanyarray(arrays[name]))


def main(prefixes):
    arrays = {}
    if prefixes and TARGET.exists():
        with np.load(TARGET) as file:
            arrays = dict(file)
    failed = 0
    for row, run in [(c, run_case) for c in CASES] + [(p, run_program) for p in PROGRAMS]:
        name = getattr(row, "id", None) or row.name
        if prefixes and not name.startswith(tuple(prefixes)):
            continue
        try:
            arrays.update(run(row))
        except Exception as error:
            failed += 1
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}")
    save(arrays)
    print(f"TensorFlow {tf.__version__}: {len(arrays)} arrays, {failed} rows failed")


if __name__ == "__main__":
    main(sys.argv[1:])
