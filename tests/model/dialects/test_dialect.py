"""Versions and eras."""

from __future__ import annotations

import pytest

from regraft.model.dialects.dialect import Dialect


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Dialect(1, (1, 0, 0), False)),
        ("1.2.2", Dialect(1, (1, 2, 2), False)),
        ("2.2.4", Dialect(2, (2, 2, 4), False)),
        ("2.2.4-tf", Dialect(2, (2, 2, 4), True)),
        ("2.3.0-tf", Dialect(2, (2, 3, 0), True)),
        ("2.4.0", Dialect(2, (2, 4, 0), True)),
        ("2.21.0.dev2026", Dialect(2, (2, 21, 0), True)),
        ("3.15.1", Dialect(3, (3, 15, 1), False)),
    ],
)
def test_keras_version_of_a_file_gives_its_dialect(text, expected):
    assert Dialect.from_keras_version(text) == expected


@pytest.mark.parametrize("text", ["2.2.4-tf", "2.4.0", "2.15.0", "3.15.1"])
def test_keras_version_is_spelled_as_files_spell_it(text):
    assert Dialect.from_keras_version(text).keras_version == text


def test_eras():
    old, new = map(Dialect.from_keras_version, ("2.6.0", "2.11.0"))
    assert old.masked_loss_counts_masked_steps
    assert not new.masked_loss_counts_masked_steps
    assert new.batch_norm_corrects_variance == "fused"
    assert old.batch_norm_corrects_variance == "fused"
    assert old.frozen_batch_norm == "infers"
    first = Dialect.from_keras_version("2.2.4-tf")
    assert first.batch_norm_corrects_variance == "fused_images"
    assert first.logits_are_of_own_activation
    multi_backend = Dialect.from_keras_version("2.2.4")
    assert multi_backend.batch_norm_corrects_variance == "fused_always"
    assert multi_backend.frozen_batch_norm == "normalizes"
    assert Dialect.from_keras_version("2.0.9").frozen_batch_norm == "moves"


@pytest.mark.parametrize(
    ("version", "backend", "counts"),
    [
        ("2.0.0", "theano", False),
        ("2.0.9", "theano", True),
        ("2.1.5", "theano", False),
        ("2.0.9", "tensorflow", False),
    ],
)
def test_averages_counted_what_theano_padded_for_a_year(version, backend, counts):
    assert Dialect.from_keras_version(version, backend).average_counts_padding is counts
