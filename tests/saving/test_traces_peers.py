"""What we save runs wherever TensorFlow's SavedModels run."""

from __future__ import annotations

import jax
import keras
import numpy as np
import pytest

import regraft
from peer import fresh_process
from regraft.storage.saved_model_directory import read_saved_model_directory
from saving.traced_models import MODELS, NOT_LITE

TOLERANCE = {"mixed": 0.03}


@pytest.fixture(scope="module", params=MODELS)
def saved(request, tmp_path_factory):
    """Name, path, inputs, outputs and losses of a model that was saved."""
    model, inputs = MODELS[request.param]()
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    path = tmp_path_factory.mktemp("saved") / request.param
    regraft.save_model(model, path)
    arrays = list(inputs.values())
    given = arrays if len(arrays) > 1 else arrays[0]
    outputs = model(given, training=False)
    flat = [np.asarray(x, "float32") for x in keras.tree.flatten(outputs)]
    losses = [float(loss) for loss in model.losses]
    return request.param, str(path), inputs, given, flat, losses


def _assert_close(name, got, want):
    assert len(got) == len(want)
    for left, right in zip(got, want, strict=True):
        np.testing.assert_allclose(
            left, right, rtol=1e-4, atol=TOLERANCE.get(name, 1e-5)
        )


def _by_shape(arrays):
    return sorted(arrays, key=lambda array: array.shape)


def test_tensorflow_calls_the_model(saved, peer):
    name, path, _, given, outputs, _ = saved
    got, _ = peer.call("saved_functions.call", path, given, training=False)
    _assert_close(name, got, outputs)


def test_gradients_flow_to_every_variable(saved, peer):
    _, path, _, given, _, _ = saved
    count, missing = peer.call("saved_functions.gradients", path, given)
    assert count
    assert not missing


def test_signature_serves_in_both_tensorflows(saved, peer):
    name, path, inputs, _, outputs, _ = saved
    new, old = peer.call("saved_functions.serve", path, inputs)
    assert new.keys() == old.keys()
    _assert_close(name, _by_shape(new.values()), _by_shape(outputs))
    _assert_close(name, _by_shape(old.values()), _by_shape(outputs))


def test_tf_keras_revives_and_trains_without_our_classes(saved, peer):
    name, path, _, given, outputs, losses = saved
    got, their_losses, _, history = peer.call("saved_functions.revive", path, given)
    _assert_close(name, got, outputs)
    np.testing.assert_allclose(sorted(their_losses), sorted(losses), rtol=1e-4)
    assert np.isfinite(history).all()


def test_lite_runs_it_with_its_own_ops(saved, peer):
    name, path, inputs, _, outputs, _ = saved
    if name in NOT_LITE:
        pytest.skip(NOT_LITE[name])
    got = peer.call("saved_functions.lite", path, inputs)
    _assert_close(name, _by_shape(got.values()), _by_shape(outputs))


def test_openvino_runs_it(saved, openvino):
    name, path, inputs, _, outputs, _ = saved
    got = openvino.call("saved_functions.openvino", path, inputs)
    _assert_close(name, _by_shape(got), _by_shape(outputs))


def test_training_updates_variables(peer, tmp_path):
    # A mean near zero has few digits that don't depend on the order of its sum.
    keras.utils.set_random_seed(1)
    model, inputs = MODELS["custom"]()
    regraft.save_model(model, tmp_path / "model")
    _, held = peer.call(
        "saved_functions.call", str(tmp_path / "model"), inputs["x"], training=True
    )
    assert held[next(name for name in held if name.endswith("seen:0"))] == 4.0
    model(inputs["x"], training=True)
    means = [v for v in model.weights if "moving_mean" in v.path]
    got = next(value for name, value in held.items() if "moving_mean" in name)
    np.testing.assert_allclose(got, np.asarray(means[0]), rtol=1e-5)


@pytest.mark.parametrize("again", [False, True])
def test_states_go_on_from_call_to_call(again, peer, tmp_path):
    """Those of stateful cells, from where they were when the model was saved."""
    x = keras.Input(batch_shape=(2, 3, 4), name="x")
    h = keras.layers.LSTM(3, stateful=True, return_sequences=True)(x)
    model = keras.Model(x, keras.layers.GRU(2, stateful=True)(h))
    batches = np.random.default_rng(0).normal(size=(3, 2, 3, 4)).astype("float32")
    model(batches[0])
    path = tmp_path / "model"
    regraft.save_model(model, path)
    if again:
        model = regraft.load_model(path)
        regraft.save_model(model, path)
    found = peer.call(
        "saved_functions.serve_batches", str(path), [{"x": b} for b in batches]
    )
    for outputs, batch in zip(found, batches, strict=True):
        (output,) = keras.tree.flatten(outputs)
        np.testing.assert_allclose(output, model(batch), rtol=1e-5, atol=1e-6)


class Steps(keras.layers.Layer):
    """Counts its calls in 64 bits, which JAX doesn't have."""

    def build(self, shape):
        self.steps = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="steps"
        )

    def call(self, x, training=False):
        if training:
            self.steps.assign(self.steps + 1)
        return x * keras.ops.cast(self.steps, x.dtype)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_counters_of_64_bits_are_read_and_written_as_such(peer, tmp_path):
    x = keras.Input((3,), name="x")
    model = keras.Model(x, Steps()(x))
    model.layers[1].steps.assign(4)
    regraft.save_model(model, tmp_path / "model")
    given = np.ones((2, 3), "float32")
    outputs, held = peer.call(
        "saved_functions.call", str(tmp_path / "model"), given, training=True
    )
    np.testing.assert_array_equal(outputs[0], 5 * given)
    (steps,) = (value for name, value in held.items() if name.endswith("steps:0"))
    assert steps == 5
    assert np.asarray(steps).dtype == np.int64


class Rows(keras.layers.Layer):
    """Looks ids up, as a layer that no Keras has."""

    def build(self, shape):
        self.table = self.add_weight(shape=(20, 3), name="table")

    def call(self, ids):
        return keras.ops.take(self.table, ids, axis=0)


# JAX says so of what it makes 32 bits of.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_functions_take_the_dtypes_that_inputs_promise(peer, tmp_path):
    ids = keras.Input((6,), dtype="int64", name="ids")
    scale = keras.Input((3,), dtype="float64", name="scale")
    rows = keras.layers.GlobalAveragePooling1D()(Rows()(ids))
    joined = keras.layers.Multiply()([rows, keras.layers.Dense(3)(scale)])
    model = keras.Model([ids, scale], keras.layers.Dense(2)(joined))
    rng = np.random.default_rng(0)
    given = [rng.integers(0, 20, (4, 6)), rng.normal(size=(4, 3))]
    outputs = np.asarray(model(given))
    path = str(tmp_path / "model")
    regraft.save_model(model, path)
    got, _ = peer.call("saved_functions.call", path, given, training=False)
    _assert_close("wide", got, [outputs])
    got, _, _, history = peer.call("saved_functions.revive", path, given)
    _assert_close("wide", got, [outputs])
    assert np.isfinite(history).all()
    inputs = dict(zip(["ids", "scale"], given, strict=True))
    new, old = peer.call("saved_functions.serve", path, inputs)
    for served in (new, old):
        _assert_close("wide", list(served.values()), [outputs])
    again = regraft.load_model(path, custom_objects={})
    _assert_close("wide", [np.asarray(again(given))], [outputs])


_IN_64_BITS = """\
import jax, sys
jax.config.update("jax_enable_x64", True)
import keras
import numpy as np
import regraft

keras.config.set_floatx("float64")
keras.utils.set_random_seed(1)

class Squashed(keras.layers.Layer):
    def call(self, x, training=False):
        return x / (1 + x * x) if training else x / keras.ops.sqrt(1 + x * x)

x = keras.Input((3,), name="x")
hidden = Squashed()(keras.layers.Dense(4, activation="relu")(x))
model = keras.Model(x, keras.layers.Dense(2)(hidden))
regraft.save_model(model, sys.argv[1])
given = np.random.default_rng(0).normal(size=(6, 3))
calls = [np.asarray(model(given, training=training)) for training in (False, True)]
np.savez(sys.argv[2], given, *calls)
"""


def test_functions_compute_in_64_bits_where_jax_does(peer, tmp_path):
    path = str(tmp_path / "model")
    fresh_process(_IN_64_BITS, path, tmp_path / "calls.npz")
    with np.load(tmp_path / "calls.npz") as calls:
        given, *outputs = calls.values()
    assert outputs[0].dtype == np.float64
    for training, expected in zip((False, True), outputs, strict=True):
        (got,), _ = peer.call("saved_functions.call", path, given, training=training)
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert np.abs(outputs[0] - outputs[1]).max() > 0.1
    _, served = peer.call("saved_functions.serve", path, {"x": given})
    np.testing.assert_allclose(*served.values(), outputs[0], rtol=1e-12)


class _Awkward(keras.layers.Layer):
    """Computes what TensorFlow's ops of the same name have no gradient of."""

    def call(self, x):
        rows = keras.ops.reshape(x % 0.7, (-1, 4, 4))
        square = keras.ops.matmul(rows, keras.ops.swapaxes(rows, 1, 2))
        return keras.ops.slogdet(square + keras.ops.eye(4))[1]


@pytest.mark.filterwarnings("ignore:.*_Awkward:UserWarning")
def test_gradients_are_those_of_jax_where_tensorflows_ops_have_none(peer, tmp_path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            keras.layers.Conv2D(4, 3, groups=2, activation="relu", padding="same"),
            keras.layers.Conv2D(4, 3, dilation_rate=2),
            _Awkward(),
        ]
    )
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    expected = model(x)
    factors = np.linspace(-1, 1, expected.size, dtype="float32")
    regraft.save_model(model, tmp_path / "model")
    found = peer.call(
        "sweep.call_traced", "saved_model", str(tmp_path / "model"), [x], [factors]
    )["False"]
    np.testing.assert_allclose(found["outputs"][0], expected, atol=1e-5)
    gradient = jax.grad(lambda given: (model(given) * factors).sum())(x)
    np.testing.assert_allclose(found["by_input"][0], gradient, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*output_rank=3:UserWarning")
def test_categories_of_more_than_a_vector_run_from_their_traces(peer, tmp_path):
    """Keras 2 encodes to matrices at most, and refuses what Keras 3 does."""
    layers = keras.layers
    x, ids = keras.Input((3,)), keras.Input((2,), dtype="int32")
    bins = layers.Discretization([0.0, 1.0], output_mode="one_hot")(x)
    codes = layers.CategoryEncoding(4, output_mode="one_hot")(ids)
    every = layers.Discretization([0.0, 1.0], output_mode="multi_hot")(x)
    model = keras.Model([x, ids], [layers.Dense(2)(bins), codes, every])
    regraft.save_model(model, tmp_path / "m")
    given = [
        np.linspace(-2, 2, 6).reshape(2, 3).astype("float32"),
        np.array([[0, 1], [2, 3]], "int32"),
    ]
    want = [np.asarray(y) for y in model(given)]
    assert [y.ndim for y in want] == [3, 3, 2]
    got, _, _, _ = peer.call("saved_functions.revive", str(tmp_path / "m"), given)
    _assert_close("", got, want)
    loaded = regraft.load_model(tmp_path / "m")
    assert type(loaded.layers[1]) is layers.Discretization
    _assert_close("", [np.asarray(y) for y in loaded(given)], want)


@pytest.mark.filterwarnings("ignore:.*Python code of Keras 3:UserWarning")
def test_lambda_over_operations_runs_from_its_traces(peer, tmp_path):
    keras.utils.set_random_seed(1)
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    tower = keras.layers.Dense(3)

    def distance(pair):
        return keras.ops.norm(pair[0] - pair[1], axis=-1, keepdims=True)

    apart = keras.layers.Lambda(distance, output_shape=(1,), name="apart")
    outputs = keras.layers.Dense(1)(apart([tower(left), tower(right)]))
    model = keras.Model([left, right], outputs)
    path = tmp_path / "model"
    regraft.save_model(model, path)
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(5, 4)).astype("float32") for _ in range(2)]
    expected = np.asarray(model(given))
    got, _, _, history = peer.call("saved_functions.revive", str(path), given)
    np.testing.assert_allclose(got[0], expected, rtol=1e-5)
    assert np.isfinite(history).all()
    for how in ({}, {"custom_objects": {"apart": distance}}):
        loaded = regraft.load_model(path, **how)
        assert isinstance(loaded.get_layer("apart"), keras.layers.Lambda) == bool(how)
        np.testing.assert_allclose(np.asarray(loaded(given)), expected, rtol=1e-5)
        regraft.save_model(loaded, tmp_path / "again")
        again = peer.call("saved_functions.call", str(tmp_path / "again"), given)
        np.testing.assert_allclose(again[0][0], expected, rtol=1e-5)


def test_a_file_holds_no_function_that_nothing_calls(saved):
    _, path, *_ = saved
    graph = read_saved_model_directory(path).saved_model.meta_graphs[0]
    bodies = {f.signature.name: f.node_def for f in graph.graph_def.library.function}
    concrete = set(graph.object_graph_def.concrete_functions)
    called = {
        function.name
        for nodes in (graph.graph_def.node, *bodies.values())
        for node in nodes
        for value in node.attr.values()
        for function in (value.func, *value.list.func)
        if function.name
    }
    assert called | concrete == set(bodies)
    kept = {
        name
        for node in graph.object_graph_def.nodes
        for name in (
            *node.function.concrete_functions,
            node.bare_concrete_function.concrete_function_name,
        )
    }
    assert kept - {""} == concrete


def test_equal_layers_share_a_body():
    from regraft.saving.trace_layers import trace_model

    layers = [keras.layers.Dense(8) for _ in range(20)]
    model = keras.Sequential([keras.Input((8,)), *layers])
    traces = trace_model(model)
    products = [
        name
        for name, function in traces.functions.items()
        if any(node.op == "MatMul" for node in function.nodes)
    ]
    assert len(products) == 2  # One for all layers, and the flat one that is served.


def test_signature_requests_become_signatures():
    from regraft.saving.trace_inputs import SignatureRequest, TensorInput
    from regraft.saving.trace_layers import trace_model

    model, _ = MODELS["dense"]()
    request = SignatureRequest(
        lambda image, scale: {"best": keras.ops.argmax(model(image / scale), -1)},
        {
            "image": TensorInput((None, 3), "float32"),
            "scale": TensorInput((), "float32"),
        },
    )
    traces = trace_model(model, signatures={"best": request})
    signature = traces.signatures["best"]
    assert list(signature.inputs) == ["image", "scale"]
    assert list(signature.outputs) == ["best"]
    assert signature.allowed_positional_arguments == 0
    assert str(signature.outputs["best"]) == "int32(?) 'best'"
