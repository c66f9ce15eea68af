"""Rows of `kernels/words.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Case, Program, text, texts

_LETTERS = texts(
    [
        *("Ünï Côdé", "e\u0301", "ﬁ ① ｱ", "Straße ǅ İ", "Å\u0323\u0307", ""),
        *(
            "\u1e9b\u0323",
            "가",
            "soft\u00adhyphen\u200d\ufe0f",
            "ΑΣ Σ",
            "\U0001d518\U0001d55f",
        ),
        b"a\xff\xfeB",
    ]
)
_SENTENCES = texts([["Hello,  world! it's 2 x", ""], [" a", "Ünï-côdé; \u4f60\u597d"]])
# As the basic tokenizer of BERT splits.
_BERT = (
    r"\s+|[!-/]|[:-@]|[\[-`]|[{-~]|[\p{P}]|[\x{4E00}-\x{9FFF}]",
    r"[!-/]|[:-@]|[\[-`]|[{-~]|[\p{P}]|[\x{4E00}-\x{9FFF}]",
)
_PATTERNS = {
    "spaces": (r"(\s+)", ""),
    "kept": (r"(\s+)", " "),
    "bert": (f"({_BERT[0]})", f"({_BERT[1]})"),
    "no-group": (r"\s+", r"\s"),
    "part": ("l(l)o", "l"),
    "begin": (r"(^\w)", r"\w"),
}

_VOCABULARY = texts(
    [
        *("[UNK]", "don", "##'", "##t", "tread", "##ness", "hel", "##lo", "wor"),
        *("##ld", "un", "##", "a", "##a", "##ab", "ab", "你", "##好", "ü", "##b"),
    ]
)
_WORDS = texts(
    [
        *("don't", "treadness", "hello", "world", "unx", "aaab", "ababa", "你好", "ü"),
        *("xü", "", "abx", "ax你", "好", "a" * 12, "hellohello"),
        b"a\xff",
    ]
)
_PIECES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-unknown": {"use_unknown_token": False},
    "characters": {"split_unknown_characters": True},
    "own-characters": {"split_unknown_characters": True, "use_unknown_token": False},
    "short": {"max_chars_per_token": 2},
    "bytes": {"max_bytes_per_word": 8},
    "splits": {"output_row_partition_type": "row_splits"},
}


def _cut(options: dict[str, Any]) -> Any:
    def build(tf: Any, pieces: Any, words: Any) -> Any:
        import tensorflow_text  # noqa: F401
        from tensorflow.python.framework import op_def_library  # noqa: TID251

        table = tf.raw_ops.HashTableV2(
            key_dtype=tf.string, value_dtype=tf.int64, shared_name=f"pieces_{options}"
        )
        filled = tf.raw_ops.LookupTableImportV2(
            table_handle=table,
            keys=pieces,
            values=tf.range(len(_VOCABULARY), dtype=tf.int64),
        )
        attrs = {
            "suffix_indicator": "##",
            "max_bytes_per_word": 100,
            "max_chars_per_token": 0,
            "use_unknown_token": True,
            "unknown_token": "[UNK]",
            "split_unknown_characters": False,
            "output_row_partition_type": "row_lengths",
            **options,
        }
        with tf.control_dependencies([filled]):
            return list(
                op_def_library.apply_op(
                    "WordpieceTokenizeWithOffsets",
                    input_values=words,
                    vocab_lookup_table=table,
                    **attrs,
                )
            )

    return build


ROWS = [
    *(
        Case("NormalizeUTF8", {"input": _LETTERS}, {"normalization_form": form}, form)
        for form in ("NFC", "NFD", "NFKC", "nfkd")
    ),
    Case("CaseFoldUTF8", {"input": np.reshape(_LETTERS, (3, 4))}),
    *(
        Case(
            "RegexSplitWithOffsets",
            {
                "input": _SENTENCES.reshape(-1),
                "delim_regex_pattern": text(delimiter),
                "keep_delim_regex_pattern": text(keep),
            },
            {},
            label,
        )
        for label, (delimiter, keep) in _PATTERNS.items()
    ),
    *(
        Program(
            f"wordpieces-{label}",
            _cut(options),
            (_VOCABULARY, _WORDS),
            eager_only="Text.",
        )
        for label, options in _PIECES.items()
    ),
]
