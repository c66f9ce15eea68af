"""Models that mix classes with and without a config (promises 51 to 63)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import regraft
from peer import Peer
from promises.checks import (
    again,
    assert_same,
    assert_same_losses,
    assert_same_outputs,
    assert_same_weights,
    saved,
)

pytestmark = pytest.mark.peer


class BiasWithConfig(layers.Layer):
    """The Keras 3 twin of the class that the file was saved with."""

    def __init__(self, start: float, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.start = start

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(
            name="scale",
            shape=(),
            initializer=keras.initializers.Constant(self.start),
            regularizer=lambda scale: scale * 2.0,
        )
        self.bias = self.add_weight(name="bias", shape=shape[1:], initializer="ones")

    def call(self, inputs: Any) -> Any:
        self.add_loss(keras.ops.sum(inputs))
        return inputs + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["functional", "sequential", "subclass"])
@pytest.mark.parametrize("known", [False, True])
def test_big_mixed_model_comes_back(
    kind: str, known: bool, tmp_path: Path, peer: Peer
) -> None:
    """Promise 51: layers and models of every sort, nested, with losses."""
    theirs = saved(peer, "mixed", tmp_path / "m", kind=kind)
    objects = {"BiasWithConfig": BiasWithConfig} if known else None
    model = regraft.load_model(tmp_path / "m", custom_objects=objects)
    assert_same_weights(model, theirs)
    assert_same_outputs(model, theirs, training=False)
    assert_same_losses(model, theirs)
    assert [layer.name for layer in model.layers] == theirs["layers"]
    report = {entry.name: entry for entry in regraft.load_report(model).layers}
    for name, class_name, trainable in theirs["classes"]:
        layer = model.get_layer(name)
        assert report[name].class_name == class_name
        assert layer.trainable == trainable
        assert (type(layer) is BiasWithConfig) == (
            known and class_name == "BiasWithConfig"
        )


@pytest.mark.parametrize("case", ["nested_subclass", "sequential_subclass"])
def test_unregistered_models_come_back(case: str, tmp_path: Path, peer: Peer) -> None:
    """Promises 52 and 54: a model in a subclass, and a subclass of Sequential."""
    theirs = saved(peer, case, tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    second = again(model, tmp_path / "again")
    assert_same(model, theirs)
    assert_same(second, theirs)


class OwnNetwork(keras.Model):
    def __init__(self, classes: int, name: str | None = None, **rest: Any) -> None:
        inputs = keras.Input((2, 3), name="inputs")
        x = layers.Flatten(name="flatten")(inputs)
        outputs = layers.Dense(classes, name="outputs")(x)
        super().__init__(inputs, outputs, name=name, **rest)
        self.classes = classes


class OwnNetworkWithConfig(OwnNetwork):
    def get_config(self) -> dict[str, Any]:
        return {"classes": self.classes}

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
        return cls(config["classes"], name=config.get("name"))


class OwnNetworkWithName(OwnNetworkWithConfig):
    def get_config(self) -> dict[str, Any]:
        return {"classes": self.classes, "name": self.name}


@pytest.mark.parametrize("cls", [OwnNetwork, OwnNetworkWithConfig, OwnNetworkWithName])
@pytest.mark.parametrize("known", [False, True])
def test_functional_classes_with_configs_of_their_own(
    cls: type, known: bool, tmp_path: Path, peer: Peer
) -> None:
    """Promises 56, 57 and 58: Keras' config, an own one, an own one with the name."""
    theirs = saved(peer, "own_network", tmp_path / "m", class_name=cls.__name__)
    objects = {cls.__name__: cls} if known and cls is not OwnNetwork else None
    model = regraft.load_model(tmp_path / "m", custom_objects=objects)
    assert_same(model, theirs)
    assert (type(model) is cls) == (objects is not None)
    if cls is not OwnNetworkWithConfig:
        assert model.name == "a_network"


class DictNetwork(keras.Model):
    def __init__(self, units: int, **rest: Any) -> None:
        inputs = keras.Input((2, 3), name="inputs")
        outputs = {"output": layers.Dense(units, "relu", name="dense")(inputs)}
        super().__init__(inputs=inputs, outputs=outputs, **rest)
        self.units = units

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units}

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
        return cls(**config)


@pytest.mark.parametrize("known", [False, True])
def test_functional_class_with_outputs_in_a_dict(
    known: bool, tmp_path: Path, peer: Peer
) -> None:
    """Promise 59: the outputs' keys are kept."""
    theirs = saved(peer, "dict_network", tmp_path / "m")
    objects = {"DictNetwork": DictNetwork} if known else None
    model = regraft.load_model(tmp_path / "m", custom_objects=objects)
    assert_same(model, theirs, training=False)
    found = model(theirs["inputs"])
    assert list(found) == ["output"]


def test_config_that_lacks_an_argument_is_a_type_error(
    tmp_path: Path, peer: Peer
) -> None:
    """Promise 60: Python's own words, and nothing that hides them."""

    class WrongConfig(DictNetwork):
        pass

    saved(peer, "wrong_config", tmp_path / "m")
    with pytest.raises(TypeError, match="required positional argument"):
        regraft.load_model(tmp_path / "m", custom_objects={"WrongConfig": WrongConfig})


@pytest.mark.parametrize("sparse", [False, True])
def test_accuracy_by_its_short_name_stays_what_it_was(
    sparse: bool, tmp_path: Path, peer: Peer
) -> None:
    """Promise 61: "acc" is dense or sparse categorical accuracy, as before."""
    theirs = saved(peer, "short_accuracy", tmp_path / "m", sparse=sparse)
    model = regraft.load_model(tmp_path / "m")
    x, y = theirs["batch"]
    for loaded in (model, again(model, tmp_path / "again")):
        found = loaded.evaluate(x, y, verbose=0)
        np.testing.assert_allclose(found, theirs["evaluated"], rtol=1e-5)


@pytest.mark.parametrize("case", ["nested_subclass", "own_network"])
def test_shape_of_the_inputs_is_known(case: str, tmp_path: Path, peer: Peer) -> None:
    """Promise 62: a revived model is saved for the shapes that it was made for."""
    theirs = saved(peer, case, tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    for loaded in (model, again(model, tmp_path / "again")):
        (spec,) = keras.tree.flatten(loaded.input)
        assert tuple(spec.shape) == (None, *theirs["inputs"].shape[1:])
        assert spec.dtype == "float32"


def test_class_with_the_name_of_a_built_in_is_the_users(
    tmp_path: Path, peer: Peer
) -> None:
    """Promise 63: a registered `Dense` of the user's is taken before Keras'."""

    class Dense(layers.Layer):
        def __init__(self, units: int, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.units = units

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))

        def call(self, inputs: Any) -> Any:
            return keras.ops.matmul(inputs, self.kernel) * 7.0

    theirs = saved(peer, "own_dense", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m", custom_objects={"Dense": Dense})
    assert type(model.layers[-1]) is Dense
    assert_same(model, theirs)
