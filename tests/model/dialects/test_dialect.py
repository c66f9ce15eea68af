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
    multi_backend = Dialect.from_keras_version("2.2.4")
    assert multi_backend.batch_norm_corrects_variance == "fused_always"
