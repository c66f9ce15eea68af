"""Signatures that a caller asks for, called by TensorFlow itself and by Regraft."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.errors import UnsupportedError

INPUTS = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
SPEC = keras.InputSpec(shape=(None, 3), dtype="float32")


def _model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2)])


def test_signatures_are_served_as_asked(tmp_path: Path, peer: Peer) -> None:
    model = _model()

    def normalized(x: Any, scale: Any) -> Any:
        scores = keras.ops.softmax(model(x / scale))
        return {"scores": scores, "best": keras.ops.argmax(scores, axis=-1)}

    signatures = {
        "serving_default": regraft.export_signature(model, [SPEC]),
        "normalized": regraft.export_signature(
            normalized, {"x": SPEC, "scale": ((), "float32")}
        ),
    }
    regraft.save_model(model, tmp_path / "m", signatures=signatures)

    logits = np.asarray(model(INPUTS / np.float32(2)))
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    arguments = {"x": INPUTS, "scale": np.float32(2)}
    theirs = peer.call(
        "modules.call_signature", tmp_path / "m", "normalized", arguments
    )
    ours = regraft.load(tmp_path / "m").signatures["normalized"](**arguments)
    for found in (theirs, ours):
        np.testing.assert_allclose(found["scores"], expected, rtol=1e-5)
        np.testing.assert_array_equal(found["best"], expected.argmax(-1))
    default = peer.call(
        "modules.call_signature", tmp_path / "m", "serving_default", {"x": INPUTS}
    )
    (values,) = default.values()
    np.testing.assert_allclose(values, model.predict(INPUTS, verbose=0), rtol=1e-5)


def test_loop_that_fills_an_array_is_compiled(tmp_path: Path, peer: Peer) -> None:
    """Every shape in its body stays static, whatever place a step writes to."""

    def filled(x: Any) -> Any:
        def step(i: Any, rows: Any) -> Any:
            row = keras.ops.expand_dims(keras.ops.sum(x * (i + 1), axis=-1), 0)
            return keras.ops.slice_update(rows, (i, 0), row)

        # The batch is no constant: its length is known when the function is called.
        rows = keras.ops.zeros_like(keras.ops.transpose(keras.ops.repeat(x, 2, 1)))
        return {"rows": keras.ops.fori_loop(0, 5, step, rows)}

    signature = regraft.export_signature(filled, [SPEC])
    regraft.save_model(_model(), tmp_path / "m", signatures=signature)
    default = regraft.load(tmp_path / "m").signatures["serving_default"]
    (name,) = default.inputs
    given = {name: INPUTS}
    theirs = peer.call(
        "modules.call_signature", tmp_path / "m", "serving_default", given
    )
    compiled = jax.jit(lambda value: default(**{name: value}))
    np.testing.assert_allclose(compiled(INPUTS)["rows"], theirs["rows"], rtol=1e-5)


def test_one_signature_is_the_default(tmp_path: Path) -> None:
    model = _model()
    doubled = regraft.export_signature(lambda x: {"y": 2 * model(x)}, [SPEC])
    regraft.save_model(model, tmp_path / "m", signatures=doubled)
    (name,) = regraft.load(tmp_path / "m").signatures
    assert name == "serving_default"


def _forms() -> dict[str, tuple[Any, Any, dict[str, Any], Any]]:
    """By form: function, specs, arguments of the call, and what it gives."""
    ops = keras.ops
    pairs = {"b": SPEC, "a": keras.InputSpec(shape=(None, 1), dtype="float32")}
    column = INPUTS[:, :1]
    nested = {"both": column, "both_1": INPUTS}
    added = {"output_0": INPUTS + column}
    return {
        "tensor": (lambda x: 2 * x, [SPEC], {"x": INPUTS}, {"output_0": 2 * INPUTS}),
        "list": (
            lambda x: [2 * x, x],
            [SPEC],
            {"x": INPUTS},
            {"output_0": 2 * INPUTS, "output_1": INPUTS},
        ),
        "named": (
            lambda x: -x,
            [keras.KerasTensor((None, 3), name="pixels")],
            {"pixels": INPUTS},
            {"output_0": -INPUTS},
        ),
        "dict argument": (lambda both: both["a"] + both["b"], [pairs], nested, added),
        "list argument": (
            lambda both: both[0] + both[1],
            {"both": [pairs["a"], pairs["b"]]},
            nested,
            added,
        ),
        "keyword": (
            lambda x, *, y: {"sum": x + y},
            {"x": SPEC, "y": pairs["a"]},
            {"x": INPUTS, "y": column},
            {"sum": INPUTS + column},
        ),
        "no argument": (lambda: ops.arange(3), [], {}, {"output_0": np.arange(3)}),
        "numbers": (
            lambda x: {"three": 3, "x": x},
            [((), "int64")],
            {"x": np.int64(7)},
            {"three": 3, "x": 7},
        ),
        "two names": (
            lambda x: {"a": x, "b": x},
            [((2, None), "uint8")],
            {"x": np.ones((2, 3), "uint8")},
            dict.fromkeys("ab", np.ones((2, 3), "uint8")),
        ),
    }


@pytest.mark.parametrize("form", _forms())
def test_form_of_a_signature_is_served(form: str, tmp_path: Path, peer: Peer) -> None:
    function, specs, arguments, expected = _forms()[form]
    signature = regraft.export_signature(function, specs)
    regraft.save_model(_model(), tmp_path / "m", signatures={"form": signature})
    theirs = peer.call("modules.call_signature", tmp_path / "m", "form", arguments)
    ours = regraft.load(tmp_path / "m").signatures["form"](**arguments)
    for found in (theirs, ours):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(np.asarray(found[name]), value, rtol=1e-6)


def test_names_of_inputs_and_outputs_are_those_of_a_tf_function(peer: Peer) -> None:
    """TensorFlow's own, of the same forms."""
    named = peer.call("modules.names_of_forms")
    for form, (inputs, outputs) in named.items():
        _, _, arguments, expected = _forms()[form]
        assert sorted(arguments) == inputs
        assert sorted(expected) == outputs


def test_signature_of_a_layer_and_of_a_method(tmp_path: Path, peer: Peer) -> None:
    class Coder(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = keras.layers.Dense(2)
            self.decoder = keras.layers.Dense(3)

        def encode(self, x: Any) -> Any:
            return self.encoder(x)

        def call(self, x: Any, training: Any = None) -> Any:
            return self.decoder(self.encode(x))

    keras.utils.set_random_seed(0)
    model = Coder()
    code = keras.InputSpec(shape=(None, 2), dtype="float32")
    decoded = np.asarray(model(INPUTS))
    signatures = {
        "encode": regraft.export_signature(model.encode, [SPEC]),
        "decode": regraft.export_signature(model.decoder, {"code": code}),
        "serving_default": regraft.export_signature(model, [SPEC]),
    }
    regraft.save_model(model, tmp_path / "m", signatures=signatures)

    def call(name: str, **arguments: Any) -> Any:
        return peer.call("modules.call_signature", tmp_path / "m", name, arguments)

    encoded = call("encode", x=INPUTS)["output_0"]
    np.testing.assert_allclose(encoded, np.asarray(model.encode(INPUTS)), rtol=1e-5)
    found = call("decode", code=encoded)["output_1"]
    np.testing.assert_allclose(found, decoded, rtol=1e-5)
    found = call("serving_default", x=INPUTS)["output_1"]
    np.testing.assert_allclose(found, decoded, rtol=1e-5)


@pytest.mark.parametrize(
    "function",
    [lambda x: {"a": {"b": x}}, lambda x: None, lambda x: [[x]], lambda x: {1: x}],
)
def test_results_that_no_signature_has_are_refused(
    function: Any, tmp_path: Path
) -> None:
    signature = regraft.export_signature(function, [SPEC])
    with pytest.raises(UnsupportedError, match="A function of a signature returns"):
        regraft.save_model(_model(), tmp_path / "m", signatures=signature)


class _Difference(keras.Model):
    """Called in one of three ways, which Keras tells apart."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.dense = keras.layers.Dense(2)

    def get_config(self) -> dict[str, Any]:
        return {"way": self.way}

    def call(self, x: Any, training: Any = False) -> Any:
        left, right = (x["left"], x["right"]) if self.way == "dict" else x
        return {"difference": self.dense(left) - 3 * self.dense(right)}


class _OfArguments(_Difference):
    def call(self, left: Any, right: Any, training: Any = False) -> Any:
        return super().call([left, right])


def _network(way: str) -> keras.Model:
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    inputs = {"right": right, "left": left} if way == "dict" else [left, right]
    difference = left - 3 * right
    return keras.Model(inputs, {"difference": keras.layers.Dense(2)(difference)})


# How a model of two inputs is made, its specs, and the names that its inputs have.
_OF_TWO = {
    "network, dict": ("network dict", [{"left": SPEC, "right": SPEC}], None),
    "network, parts": ("network dict", {"right": SPEC, "left": SPEC}, None),
    "network of a list": ("network list", [SPEC, SPEC], None),
    "network, by name": ("network list", {"right": SPEC, "left": SPEC}, None),
    "dict": ("dict", [{"left": SPEC, "right": SPEC}], None),
    "dict, its parts": ("dict", {"right": SPEC, "left": SPEC}, None),
    "list": ("list", [[SPEC, SPEC]], ("input_1", "input_2")),
    "list, its parts": ("list", {"a": SPEC, "b": SPEC}, ("a", "b")),
    "arguments": ("arguments", [SPEC, SPEC], None),
    "arguments by name": ("arguments", {"right": SPEC, "left": SPEC}, None),
}


def _of_two(kind: str) -> tuple[keras.Model, Any]:
    """A model of two inputs, and what it gives for what is tested."""
    keras.utils.set_random_seed(1)
    right = INPUTS[::-1].copy()
    if kind == "arguments":
        model = _OfArguments("list")
        return model, model(INPUTS, right)["difference"]
    way = kind.removeprefix("network ")
    model = _network(way) if kind.startswith("network") else _Difference(way)
    given = {"left": INPUTS, "right": right} if way == "dict" else [INPUTS, right]
    return model, model(given)["difference"]


@pytest.mark.parametrize("form", _OF_TWO)
def test_model_of_two_inputs_is_served(form: str, tmp_path: Path, peer: Peer) -> None:
    kind, specs, names = _OF_TWO[form]
    model, expected = _of_two(kind)
    signatures = {"served": regraft.export_signature(model, specs)}
    regraft.save_model(model, tmp_path / "m", signatures=signatures)
    values = INPUTS, INPUTS[::-1].copy()
    arguments = dict(zip(names or ("left", "right"), values, strict=True))
    theirs = peer.call("modules.call_signature", tmp_path / "m", "served", arguments)
    ours = regraft.load(tmp_path / "m").signatures["served"](**arguments)
    for found in (theirs, ours):
        np.testing.assert_allclose(found["difference"], expected, rtol=1e-5, atol=1e-6)


def test_signature_tells_what_a_model_of_arguments_is_called_with(
    tmp_path: Path, peer: Peer
) -> None:
    """Keras remembers the first argument alone: such a model was not traced."""
    model, expected = _of_two("arguments")
    with pytest.warns(UserWarning, match="'right'. `signatures=regraft.export_signa"):
        regraft.save_model(model, tmp_path / "m")
    signature = regraft.export_signature(model, [SPEC, SPEC])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regraft.save_model(model, tmp_path / "m", signatures=signature)
    values = [INPUTS, INPUTS[::-1].copy()]
    theirs = peer.call("modules.call_model", tmp_path / "m", values)
    loaded = regraft.load_model(tmp_path / "m")
    # Without its class, too.
    again = regraft.export_signature(loaded, [SPEC, SPEC])
    regraft.save_model(loaded, tmp_path / "again", signatures=again)
    names = dict(zip(("left", "right"), values, strict=True))
    served = peer.call(
        "modules.call_signature", tmp_path / "again", "serving_default", names
    )
    for found in (theirs, loaded(*values), served):
        np.testing.assert_allclose(found["difference"], expected, rtol=1e-5, atol=1e-6)


def test_layer_of_two_arguments_is_served(tmp_path: Path, peer: Peer) -> None:
    keras.utils.set_random_seed(0)
    layer = keras.layers.MultiHeadAttention(2, 2)
    x = keras.Input((4, 3))
    model = keras.Model(x, layer(x, x))
    spec = keras.InputSpec(shape=(None, None, 3), dtype="float32")
    signatures = {
        "listed": regraft.export_signature(layer, [spec, spec]),
        "named": regraft.export_signature(layer, {"value": spec, "query": spec}),
    }
    regraft.save_model(model, tmp_path / "m", signatures=signatures)
    rng = np.random.default_rng(0)
    arguments = {
        "query": rng.normal(size=(2, 4, 3)).astype("float32"),
        "value": rng.normal(size=(2, 5, 3)).astype("float32"),
    }
    expected = layer(**arguments)
    for name in signatures:
        found = peer.call("modules.call_signature", tmp_path / "m", name, arguments)
        np.testing.assert_allclose(found["output_1"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["network dict", "network list", "dict", "list"])
def test_bare_function_takes_what_the_model_takes(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    """Its inputs have the names of the default signature."""
    model, expected = _of_two(kind)
    regraft.save_model(model, tmp_path / "default")
    default = regraft.load(tmp_path / "default").signatures["serving_default"]
    names = sorted(default.inputs)

    def doubled(x: Any) -> Any:
        return {"doubled": 2 * model(x)["difference"]}

    signatures = {"serving_default": model, "doubled": doubled}
    regraft.save_model(model, tmp_path / "m", signatures=signatures)
    given = dict(zip(names, (INPUTS, INPUTS[::-1].copy()), strict=True))
    for name, factor in (("serving_default", 1), ("doubled", 2)):
        found = peer.call("modules.call_signature", tmp_path / "m", name, given)
        (values,) = found.values()
        expected_values = factor * np.asarray(expected)
        np.testing.assert_allclose(values, expected_values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("signatures", "message"),
    [({"a": 3}, "Invalid signature 'a'"), ("predict", "Received: 'predict'")],
)
def test_what_is_no_function_is_no_signature(
    tmp_path: Path, signatures: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        regraft.save_model(_model(), tmp_path / "m", signatures=signatures)


def test_signatures_need_traces(tmp_path: Path) -> None:
    model = _model()
    with pytest.raises(ValueError, match="save_traces"):
        regraft.save_model(
            model,
            tmp_path / "m",
            signatures=regraft.export_signature(model, [SPEC]),
            save_traces=False,
        )


@pytest.mark.parametrize(
    ("function", "specs", "error"),
    [
        (3, [SPEC], TypeError),
        (lambda x: x, [3], TypeError),
        (lambda: 0, [SPEC], ValueError),
        (lambda x: x, [keras.InputSpec(ndim=2)], TypeError),
        (lambda x: x, {"y": SPEC}, TypeError),
        (lambda x, y: x, [SPEC], TypeError),
        (lambda x, x_1: x, [[SPEC, SPEC], SPEC], ValueError),
    ],
)
def test_specs_without_shape_or_name_are_refused(
    function: Any, specs: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        regraft.export_signature(function, specs)


def test_tensorflow_reads_aliases_and_lines_of_functions(
    tmp_path: Path, peer: Peer
) -> None:
    model = _model()
    signature = regraft.export_signature(model, [SPEC])
    aliases = {"served": signature, "dense": model.layers[0]}
    options = regraft.SaveOptions(function_aliases=aliases, save_debug_info=True)
    target = tmp_path / "m"
    regraft.save_model(model, target, signatures=signature, options=options)

    found = peer.call("modules.function_names", target)
    assert found["aliases"] == ["dense", "served"]
    call = keras.layers.Dense.call.__code__
    assert (call.co_filename, call.co_firstlineno) in found["lines"].values()
    assert all("@" in key for key in found["lines"])


@pytest.mark.parametrize(
    ("target", "error"), [(len, TypeError), (keras.layers.ReLU(), ValueError)]
)
def test_alias_of_what_is_not_saved_is_refused(
    tmp_path: Path, target: Any, error: type[Exception]
) -> None:
    options = regraft.SaveOptions(function_aliases={"alias": target})
    with pytest.raises(error, match=r"function_aliases\['alias'\]"):
        regraft.save_model(_model(), tmp_path / "m", options=options)


def test_options_about_functions_need_functions(tmp_path: Path) -> None:
    options = regraft.SaveOptions(save_debug_info=True)
    with pytest.raises(ValueError, match="save_traces=True"):
        regraft.save_model(_model(), tmp_path / "m", options=options, save_traces=False)


def test_tags_besides_serve_are_those_that_were_asked_for(
    tmp_path: Path, peer: Peer
) -> None:
    options = regraft.SaveOptions(extra_tags=("gpu",))
    regraft.save_model(_model(), tmp_path / "m", options=options)
    assert peer.call("modules.tags", tmp_path / "m") == [["gpu", "serve"]]


def test_variable_policies_are_those_of_tensorflow() -> None:
    regraft.SaveOptions(experimental_variable_policy="SAVE_VARIABLE_DEVICES")
    with pytest.raises(ValueError, match="expand_distributed_variables"):
        regraft.SaveOptions(experimental_variable_policy="copy")
