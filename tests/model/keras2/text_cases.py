"""Keras 2's text and table layers in their options."""

from __future__ import annotations

from typing import Any

import numpy as np

WIDE = 2**40
ARRAYS = {
    "text": np.array(
        [["The dog, the CAT!"], ["  a cat ran\tfar  "], [""], ["Größe ÄÖ über dog's"]]
    ),
    "word": np.array([["red"], ["blue"], [""], ["mauve"]]),
    "words": np.array(
        [["red", "", "blue"], ["blue", "x", "blue"], ["", "", "y"], ["z", "red", "red"]]
    ),
    "id": np.array([[3], [WIDE + 3], [-7], [0]], "int64"),
    "ids": np.array([[3, 0, 5], [WIDE, 3, 3], [-7, -1, 9], [5, 0, 0]], "int64"),
    "small": np.array([[0, 2], [1, 1], [3, 0], [2, 2]], "int64"),
    "index": np.array([[1], [0], [4], [99]], "int64"),
    "number": np.array([[-1.5], [0.2], [0.5], [7.0]], "float32"),
    "numbers": np.array([[-1.5, 3], [0.2, 0.5], [0.5, 9], [7.0, -3]], "float32"),
}
COLORS = ["red", "green", "blue"]
NUMBERS = [3, 5, WIDE, WIDE + 3]
SMALL = [3, 5, -17, 2]
TEXTS = ["the cat sat", "on the mat", "a dog ran, and ran!", "ran far"]
WEIGHTS = [0.5, 1.25, 3.0]
_IDF = {"output_mode": "tf_idf", "idf_weights": WEIGHTS}


def _rows() -> dict[str, tuple[Any, ...]]:
    rows: dict[str, tuple[Any, ...]] = {}

    def row(name: str, inputs: str, class_name: str, **config: Any) -> None:
        rows[name] = (inputs.split(), [(class_name, config)])

    encodings = ("multi_hot", "count")
    for key, inputs, vocabulary in (
        ("string", "word", COLORS),
        ("integer", "id", NUMBERS),
    ):
        lookup = f"{key.title()}Lookup"
        mask: Any = "" if key == "string" else 0
        some: Any = {"vocabulary": vocabulary}
        row(f"{key}_int", inputs, lookup, **some)
        row(f"{key}_mask", inputs + "s", lookup, mask_token=mask, **some)
        row(f"{key}_oov3", inputs + "s", lookup, num_oov_indices=3, **some)
        row(
            f"{key}_special", inputs, lookup, num_oov_indices=2, mask_token=mask, **some
        )
        row(f"{key}_int32", inputs, lookup, dtype="int32", **some)
        row(f"{key}_one_hot", inputs, lookup, output_mode="one_hot", **some)
        back: Any = {"vocabulary": SMALL if key == "integer" else COLORS}
        row(f"{key}_invert", "index", lookup, invert=True, **back)
        row(f"{key}_invert_mask", "index", lookup, invert=True, mask_token=mask, **back)
        for mode in encodings:
            row(f"{key}_{mode}", inputs + "s", lookup, output_mode=mode, **some)
            row(
                *(f"{key}_{mode}_padded", inputs + "s", lookup),
                **{"output_mode": mode, "max_tokens": 9, "mask_token": mask, **some},
                pad_to_max_tokens=True,
            )
        idf = {**_IDF, "idf_weights": [0.5] * len(vocabulary)}
        row(f"{key}_tf_idf", inputs + "s", lookup, **idf, **some)
    row(
        "string_tf_idf_padded",
        "words",
        "StringLookup",
        vocabulary=COLORS,
        **_IDF,
        max_tokens=8,
        pad_to_max_tokens=True,
    )
    row(
        "string_float64",
        "words",
        "StringLookup",
        vocabulary=COLORS,
        output_mode="count",
        dtype="float64",
    )

    words = ["the", "cat", "dog", "ran", "a", "the dog", "r", "dogs", "über"]
    vectorize = "TextVectorization"
    for number, config in enumerate(
        (
            {},
            {"output_sequence_length": 3},
            {"output_sequence_length": 9},
            {"standardize": None},
            {"standardize": "lower"},
            {"standardize": "strip_punctuation"},
            {"split": "character"},
            {"split": None},
            {"ngrams": 2},
            {"ngrams": (2, 3), "output_sequence_length": 5},
            {"output_mode": "multi_hot"},
            {"output_mode": "count", "ngrams": 2},
            {"output_mode": "tf_idf", "idf_weights": [0.1 * i for i in range(9)]},
            {"output_mode": "count", "max_tokens": 20, "pad_to_max_tokens": True},
            {"output_mode": "multi_hot", "split": "character"},
        )
    ):
        row(f"text_{number}", "text", vectorize, vocabulary=words, **config)
    row(
        "text_unsplit",
        "words",
        vectorize,
        vocabulary=COLORS,
        split=None,
        output_sequence_length=2,
    )

    row("hash_word", "word", "Hashing", num_bins=11)
    row("hash_words_mask", "words", "Hashing", num_bins=11, mask_value="")
    row("hash_ids", "ids", "Hashing", num_bins=101)
    row("hash_ids_mask", "ids", "Hashing", num_bins=101, mask_value=3)
    row("hash_salt", "words", "Hashing", num_bins=97, salt=7)
    row("hash_salts", "ids", "Hashing", num_bins=97, salt=[133, 2**62 + 5])
    row("hash_one", "word", "Hashing", num_bins=1)
    row("hash_one_hot", "word", "Hashing", num_bins=5, output_mode="one_hot")
    row("hash_multi_hot", "words", "Hashing", num_bins=5, output_mode="multi_hot")
    row("hash_count", "ids", "Hashing", num_bins=5, output_mode="count")
    row("cross", "word id", "HashedCrossing", num_bins=53)
    row("cross_three", "word id index", "HashedCrossing", num_bins=1009)
    row(
        "cross_one_hot",
        "word word",
        "HashedCrossing",
        num_bins=6,
        output_mode="one_hot",
    )

    for mode in ("int", "one_hot", "multi_hot", "count"):
        row(
            f"bins_{mode}",
            "number",
            "Discretization",
            bin_boundaries=[-1.0, 0.5, 2.0],
            output_mode=mode,
        )
    row("bins_two", "numbers", "Discretization", bin_boundaries=[-1.0, 0.5, 2.0])
    for mode in encodings:
        row(
            f"category_{mode}",
            "small",
            "CategoryEncoding",
            num_tokens=4,
            output_mode=mode,
        )
    row("category_one", "index", "Hashing", num_bins=4)
    rows["category_one"][1].append(
        ("CategoryEncoding", {"num_tokens": 4, "output_mode": "one_hot"})
    )
    rows["chain"] = (
        ["word"],
        [
            ("StringLookup", {"vocabulary": COLORS}),
            ("StringLookup", {"vocabulary": COLORS, "invert": True}),
            ("Hashing", {"num_bins": 17}),
            ("CategoryEncoding", {"num_tokens": 17}),
        ],
    )
    rows["shaped"] = (
        ["words"],
        [
            ("Reshape", {"target_shape": (3, 1)}),
            ("Flatten", {}),
            ("StringLookup", {"vocabulary": COLORS}),
        ],
    )
    rows["shaped_ids"] = (
        ["ids"],
        [("Reshape", {"target_shape": (3, 1)}), ("Hashing", {"num_bins": 1000})],
    )
    rows["binned_cross"] = (
        ["number"],
        [
            ("Rescaling", {"scale": 2.0}),
            ("Discretization", {"bin_boundaries": [-1.0, 0.5, 2.0]}),
            ("Hashing", {"num_bins": 31}),
        ],
    )
    return rows


def _adapted() -> dict[str, tuple[Any, ...]]:
    def row(inputs: str, class_name: str, **config: Any) -> tuple[Any, ...]:
        return (inputs.split(), [(class_name, config)])

    colors = [["red", "blue", "red"], ["blue", "red", "teal"]]
    wide = [[WIDE + 3, 3, 3], [3, 5, WIDE + 3]]
    values = [[float(i)] for i in (-3, -1, 0, 0.2, 0.4, 1, 2, 3, 5, 8)]
    vectorize = "TextVectorization"
    return {
        "adapted_text": row("text", vectorize, adapt=TEXTS),
        "adapted_cut": row("text", vectorize, adapt=TEXTS, max_tokens=5),
        "adapted_count": row("text", vectorize, adapt=TEXTS, output_mode="count"),
        "adapted_idf": row("text", vectorize, adapt=TEXTS, output_mode="tf_idf"),
        "adapted_idf_pad": row(
            *("text", vectorize),
            adapt=TEXTS,
            output_mode="tf_idf",
            max_tokens=30,
            pad_to_max_tokens=True,
        ),
        "adapted_word": row("words", "StringLookup", adapt=colors),
        "adapted_hot": row(
            *("words", "StringLookup"), adapt=colors, output_mode="multi_hot"
        ),
        "adapted_ids": row("ids", "IntegerLookup", adapt=wide),
        "adapted_back": row("index", "StringLookup", adapt=colors, invert=True),
        "adapted_bins": row("number", "Discretization", adapt=values, num_bins=4),
        "adapted_number": row("numbers", "Normalization", adapt=[[1.0, 2], [3, 8.0]]),
    }


def _cases(rows: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "inputs": inputs, "layers": layers}
        for name, (inputs, layers) in rows.items()
    ]


CASES = _cases(_rows())
ADAPTED = _cases(_adapted())
