"""What an optimizer spares from weight decay is spared after loading, too."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import regraft

X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = X[:, :1] * 2 + 1


def _trained(policy: str | None = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, dtype=policy),
            keras.layers.LayerNormalization(),
            keras.layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(
        var_list=[model.layers[2].kernel], var_names=["bias", "gamma"]
    )
    if policy is not None:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse")
    for _ in range(3):
        model.train_on_batch(X, Y)
    return model


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("policy", [None, "mixed_float16"])
@pytest.mark.parametrize("name", ["model", "model.h5"])
def test_spared_variables_are_spared_again(name, policy, tmp_path):
    model = _trained(policy)
    with pytest.warns(UserWarning, match="exclude_from_weight_decay"):
        regraft.save_model(model, tmp_path / name)
    loaded = regraft.load_model(tmp_path / name)
    with pytest.warns(UserWarning, match="exclude_from_weight_decay"):
        regraft.save_model(loaded, tmp_path / f"again-{name}")
    again = regraft.load_model(tmp_path / f"again-{name}")
    assert not [n for n in regraft.load_report(again).notes if "decay" in n]
    for each in (model, loaded, again):
        each.train_on_batch(X, Y)
    for other in (loaded, again):
        for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_files_that_do_not_say_it_are_told_of(tmp_path):
    _trained().save(tmp_path / "model.h5")
    loaded = regraft.load_model(tmp_path / "model.h5")
    notes = regraft.load_report(loaded).notes
    assert [note for note in notes if "falls on all weights" in note]


def test_optimizers_that_spare_nothing_say_nothing(recwarn, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(0.01), "mse")
    model.train_on_batch(X, Y)
    regraft.save_model(model, tmp_path / "model.h5")
    loaded = regraft.load_model(tmp_path / "model.h5")
    assert not regraft.load_report(loaded).notes
    assert not [w for w in recwarn if "decay" in str(w.message)]
