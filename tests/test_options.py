"""Options are TensorFlow's: the same names, and the same errors for wrong values."""

from __future__ import annotations

import dataclasses

import keras
import pytest

import regraft

SAVE = (
    *[("namespace_whitelist", v) for v in (None, [], ["a"], "a", ("a",), [1], 5)],
    *[("experimental_custom_gradients", v) for v in (True, False, None, 1)],
    *[("experimental_debug_stripper", v) for v in (True, False)],
    *[
        ("experimental_variable_policy", v)
        for v in (None, "save_variable_devices", "SAVE_VARIABLE_DEVICES", "none", 3)
    ],
    ("experimental_variable_policy", "expand_distributed_variables"),
    *[("extra_tags", v) for v in (None, ["a"], ("a", "b"))],
    *[("experimental_io_device", v) for v in (None, "/job:worker")],
    *[("experimental_image_format", v) for v in (False, True)],
    *[("experimental_sharding_callback", v) for v in (None, 1, "x")],
    *[("experimental_skip_saver", v) for v in (False, True)],
    *[("save_debug_info", v) for v in (False, True)],
    *[("function_aliases", v) for v in (None, {})],
)
LOAD = (
    *[("allow_partial_checkpoint", v) for v in (False, True)],
    *[("experimental_skip_checkpoint", v) for v in (False, True)],
    *[
        ("experimental_variable_policy", v)
        for v in (None, "save_variable_devices", "copy", 3)
    ],
)


def _raised(cls, name, value):
    try:
        cls(**{name: value})
    except Exception as error:
        return type(error).__name__
    return ""


@pytest.mark.parametrize(
    ("kind", "rows"), [("SaveOptions", SAVE), ("LoadOptions", LOAD)]
)
def test_options_are_tensorflows(kind, rows, peer):
    names, expected = peer.call("saved_functions.options", kind, rows)
    cls = getattr(regraft, kind)
    assert set(names) <= {field.name for field in dataclasses.fields(cls)}
    found = [_raised(cls, *row) for row in rows]
    assert dict(zip(map(str, rows), found, strict=True)) == dict(
        zip(map(str, rows), expected, strict=True)
    )


class Callback:
    """As TensorFlow's `ShardingCallback`."""

    description = "one shard"

    def __call__(self, tensors):
        return [tensors]


def test_objects_of_tensorflow_are_options():
    class Policy:
        value = None

    regraft.SaveOptions(experimental_variable_policy=Policy())
    regraft.SaveOptions(experimental_sharding_callback=Callback())


def test_a_model_is_saved_without_extra_tags(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    options = regraft.SaveOptions(extra_tags=None, namespace_whitelist=["Custom"])
    regraft.save_model(model, tmp_path / "model", options=options)
    assert regraft.load(tmp_path / "model", tags=["serve"]).signatures


@keras.saving.register_keras_serializable("test_options")
class WithoutConfig(keras.layers.Layer):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def call(self, x):
        return x * self.size

    def get_config(self):
        raise NotImplementedError("no config")


def test_without_traces_a_layer_needs_its_config(tmp_path):
    model = keras.Sequential([keras.Input((3,)), WithoutConfig(2)])
    with pytest.raises(NotImplementedError):
        regraft.save_model(model, tmp_path / "model", save_traces=False)
    assert not (tmp_path / "model").exists()


class Unknown(keras.layers.Layer):
    def call(self, x):
        return x * 2


def test_without_traces_a_layer_needs_its_class(tmp_path):
    model = keras.Sequential([keras.Input((3,)), Unknown(name="twice")])
    regraft.save_model(model, tmp_path / "model", save_traces=False)
    with pytest.raises(ValueError, match="Unknown"):
        regraft.load_model(tmp_path / "model")
    again = regraft.load_model(tmp_path / "model", {"Unknown": Unknown})
    assert type(again.layers[-1]) is Unknown
