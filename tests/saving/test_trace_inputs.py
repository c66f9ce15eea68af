"""What models without symbolic inputs are called with, and accept."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import regraft
from interop.examples import make_example
from interop.models import Row
from interop.readers import COLUMNS, peers, read
from regraft.saving.trace_inputs import model_inputs


class Towers(keras.Model):
    """Ids and numbers by name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.items = L.Embedding(9, 3)
        self.dense = L.Dense(2)

    def call(self, inputs, training=None):
        return self.dense(self.items(inputs["item"])) * inputs["weight"][:, None]


class Pair(keras.Model):
    """A list of inputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.towers = [L.Dense(3, activation="relu"), L.Dense(3)]

    def call(self, inputs, training=None):
        left, right = inputs
        return ops.concatenate([self.towers[0](left), self.towers[1](right)], axis=-1)


class Boxes(keras.Model):
    """A dict that holds a dict and a pair; gives a dict that holds a list."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(4)

    def call(self, inputs, training=None):
        left, right = inputs["pair"]
        x = self.dense(inputs["first"]["x"])
        return {"parts": [x, {"deep": x * left}], "last": ops.sum(right, axis=-1) + x}


def _boxes():
    model = Boxes()
    rng = np.random.default_rng(0)
    x, left, right = (
        rng.normal(size=shape).astype("float32")
        for shape in ((3, 2), (3, 4), (3, 4, 2))
    )
    given = {"first": {"x": x}, "pair": (left, right)}
    model(given)
    return model, {"first_x": x, "pair_1": left, "pair_2": right}, given


def _towers():
    model = Towers()
    rng = np.random.default_rng(0)
    given = {
        "item": rng.integers(0, 9, (4,)).astype("int32"),
        "weight": rng.normal(size=(4,)).astype("float32"),
    }
    model(given)
    return model, given, given


def _pair():
    model = Pair()
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(4, n)).astype("float32") for n in (3, 5)]
    model(given)
    return model, dict(zip(("input_1", "input_2"), given, strict=True)), given


def _edges():
    """Finds edges with a kernel that the network holds."""
    image = keras.Input((None, None, 1), name="image")
    kernel = ops.convert_to_tensor(np.float32([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]))
    found = ops.nn.conv(image, ops.reshape(kernel, (3, 3, 1, 1)), padding="same")
    model = keras.Model(image, ops.sqrt(found**2 + 1))
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 1)).astype("float32")
    return model, {"image": x}, x


class Ratings(keras.Model):
    """Pairs of ids in one array, and the best of each batch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.users, self.films = L.Embedding(9, 3), L.Embedding(9, 3)

    def call(self, inputs, training=None):
        user, film = self.users(inputs[:, 0]), self.films(inputs[:, 1])
        return ops.top_k(ops.matmul(user, ops.transpose(film)), 2)[0]


def _ratings():
    model = Ratings()
    pairs = np.random.default_rng(0).integers(0, 9, (4, 2)).astype("int32")
    model(pairs)
    return model, {"input_1": pairs}, pairs


def test_ids_of_a_subclassed_model_are_integers():
    model, _, _ = _towers()
    dtypes = {name: tensor.dtype for name, tensor in model_inputs(model).items()}
    assert dtypes == {"item": "int32", "weight": "float32"}
    assert model_inputs(_ratings()[0]).dtype == "int32"


@pytest.mark.peer
@pytest.mark.parametrize("make", [_towers, _pair, _boxes, _edges, _ratings])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensorflow_and_tf_keras_take_what_the_model_takes(make, tmp_path):
    model, inputs, given = make()
    example = make_example(Row("", lambda: (model, inputs, given)), tmp_path)
    with peers() as ask:
        for reader in ("saved_model", "regraft", "tf_keras"):
            if reader == "tf_keras" and isinstance(given, list):
                # What its `fit` and `predict` make of a list.
                example.given = tuple(given)
            for column, cell in read(reader, example, ask).items():
                assert cell.holds(1e-5 * COLUMNS[column]), (column, cell)


@pytest.mark.parametrize("name", ["model", "model.h5"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_arrays_that_a_network_holds_are_in_its_configuration(name, tmp_path):
    model, _, x = _edges()
    regraft.save_model(model, tmp_path / name, save_traces=False)
    again = regraft.load_model(tmp_path / name)
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize("name", ["model", "model.h5"])
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_quantized_model_comes_back_from_its_configuration(name, tmp_path):
    tokens = keras.Input((6,), dtype="int32")
    x = L.Dense(8, activation="relu")(L.Embedding(20, 8)(tokens))
    model = keras.Model(tokens, L.Dense(3)(L.Flatten()(x)))
    with pytest.warns(UserWarning, match="does not have a `quantize` method"):
        model.quantize("int8")
    with pytest.warns(UserWarning, match="Keras 2 has no quant"):
        regraft.save_model(model, tmp_path / name)
    again = regraft.load_model(tmp_path / name)
    given = np.random.default_rng(0).integers(0, 20, (4, 6)).astype("int32")
    np.testing.assert_array_equal(model(given), again(given))
    # What `quantize` makes anew comes after what it leaves.
    trained = [[v.path for v in m.trainable_variables] for m in (model, again)]
    assert trained[0] == trained[1] == ["dense/bias", "dense_1/bias"]
    layer = again.layers[2]
    assert layer.quantization_mode == "int8"
    if hasattr(layer, "quantization_config"):  # since Keras 3.13
        assert layer.quantization_config.activation_quantizer.output_dtype == "int8"


class Titles(keras.Model):
    """Ids whose padding is masked, and places that are only indices."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.words = keras.Sequential([L.Embedding(9, 4, mask_zero=True), L.GRU(3)])
        self.dense = L.Dense(3)

    def call(self, inputs, training=None):
        x = ops.slice_update(inputs["cache"], (0, inputs["place"][0, 0]), inputs["x"])
        return self.dense(x) + self.words(inputs["words"])


def _titles():
    model = Titles()
    rng = np.random.default_rng(0)
    given = {
        "words": rng.integers(0, 9, (4, 5)).astype("int32"),
        "cache": rng.normal(size=(4, 6)).astype("float32"),
        "place": np.full((4, 1), 2, "int32"),
        "x": rng.normal(size=(4, 2)).astype("float32"),
    }
    model(given)
    return model, given, given


def test_padded_ids_and_places_are_integers():
    model, _, _ = _titles()
    dtypes = {name: tensor.dtype for name, tensor in model_inputs(model).items()}
    assert dtypes == {
        "words": "int32",
        "cache": "float32",
        "place": "int32",
        "x": "float32",
    }


class Several(keras.Model):
    """Several arguments, one of them a structure, and a layer that nothing reaches."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left, self.right = L.Dense(3), L.Dense(3)
        self.rest = L.Dense(3)

    def build(self, a_shape, b_shape=None, c_shape=None):
        self.left.build(a_shape)
        if b_shape is not None:
            self.right.build(b_shape[0])

    def call(self, a, b=None, c=None, training=None):
        y = self.left(a)
        y = y if b is None else y * ops.tanh(self.right(b[0])) + b[1]
        return y if c is None else self.rest(c)


@pytest.mark.peer
@pytest.mark.parametrize("count", [1, 2])
def test_models_of_several_arguments_run_in_tensorflow(count, tmp_path, peer):
    model = Several()
    rng = np.random.default_rng(0)
    a, b0, b1 = (rng.normal(size=(4, n)).astype("float32") for n in (2, 5, 3))
    given = [a, (b0, b1)][:count]
    expected = np.asarray(model(*given))
    regraft.save_model(model, tmp_path / "model")
    named = {"input_1": a} if count == 1 else {"input_1": a, "b": b0, "b_1": b1}
    got = peer.call("interop.session", str(tmp_path / "model"), named)
    np.testing.assert_allclose(got["output_1"], expected, rtol=1e-5, atol=1e-6)
    regraft.save_model(regraft.load_model(tmp_path / "model"), tmp_path / "again")
    got = peer.call("interop.session", str(tmp_path / "again"), named)
    np.testing.assert_allclose(got["output_1"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.peer
def test_parameter_of_a_name_that_nodes_cannot_have_runs_in_tensorflow(tmp_path, peer):
    """TensorFlow Probability's `VariableLayer` calls what it leaves alone `_`."""

    class Plain(keras.layers.Layer):
        def call(self, _):
            return _ * 2

    class Hidden(keras.layers.Layer):
        def call(self, __größe, *, _mal=None):
            return __größe + _mal

    x = keras.Input((2,))
    y = Plain(name="plain")(x)
    model = keras.Model(x, [y, Plain(name="equal")(y), Hidden()(x, _mal=y)])
    regraft.save_model(model, tmp_path / "model")
    given = np.ones((3, 2), "float32")
    got, _ = peer.call("saved_functions.call", str(tmp_path / "model"), given)
    for left, right in zip(got, model(given), strict=True):
        np.testing.assert_array_equal(left, right)


def test_model_that_keras_could_not_build_says_how_to_tell_its_inputs(tmp_path):
    """Keras remembers no shapes where a layer makes a variable by itself in a call."""

    class Owner(keras.layers.Layer):
        def build(self, shape):
            self.scale = keras.Variable(np.ones(shape[-1], "float32"))

        def call(self, x):
            return x * self.scale

    class Whole(keras.Model):
        def __init__(self):
            super().__init__()
            self.owner = Owner()

        def call(self, x):
            return self.owner(x)

    model, x = Whole(), np.ones((2, 3), "float32")
    model(x)
    with pytest.warns(UserWarning, match="regraft.export_signature"):
        regraft.save_model(model, tmp_path / "m")
    spec = keras.InputSpec(shape=(None, 3), dtype="float32")
    signature = regraft.export_signature(model, [spec])
    regraft.save_model(model, tmp_path / "told", signatures=signature)
    loaded = regraft.load_model(tmp_path / "told")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), x)
