"""Rows of `kernels/string.py`."""

from __future__ import annotations

import numpy as np

from graph.cases.case import Case, f32, i32, i64, text, texts

_WORDS = texts(["Hello, World!", "  Ünï côdé ", "", "tab\tnew\nline  x"])
_REGEX = {
    "punctuation": (r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']', ""),
    "groups": (r"(\w+)\W+(\w+)", r"\2-\1"),
    "class": (r"[[:space:]\pL]+", "_"),
    "end": (r"!$", "?"),
    "case": (r"(?i)hello", r"<\0>"),
    "empty": ("x*", "-"),
    "empty-letters": (r"\pL*", r"<\0>"),
    "bounds": (r"\b", "|"),
    "begin": ("^", ">"),
    "lines": (r"(?m)^\s*|$", "|"),
    "dot": ("(?s).", "."),
    "no-newline": (".+", "_"),
    "first-alternative": ("(H|He)(llo|l)", r"\2\1"),
    "lazy": ("l+?", "L"),
    "negated": (r"[^\d\s]", "_"),
    "quoted": (r"\Q, \E", r"\\"),
    "unicode-case": ("(?i)ÜN", "?"),
    "named": ("(?P<first>[A-Z])(?P<rest>[a-z]*)", r"\2\1"),
    "not-posix": ("[[:^alpha:]]", ""),
    "not-letters": (r"[^\PL]", "x"),
    "counted": (r"\w{2,3}", "#"),
    "script": (r"\p{Latin}+", "L"),
    "nested": ("(a+)+$", "!"),
    "codes": (r"\x{e9}|\xfc|\t", "*"),
    "end-of-text": (r"\z", "."),
}
# Texts that a machine which backtracks would take years for, and broken UTF-8.
_HARD = texts([b"a" * 60 + b"!", b"\xff\xfea\xc3", b"aaa", b"\xe2\x82\xac\xe2\x82"])
_HASHED = texts(
    [
        "",
        "a",
        "abc",
        "12345678",
        "sixteen bytes ok",
        "x" * 17,
        "y" * 32,
        "z" * 33,
        "w" * 64,
        "v" * 65,
        "Regraft" * 40,
    ]
)
_NGRAMS = {
    "data": texts("a", "b", "c", "d", "e", "f"),
    "data_splits": i64(0, 3, 4, 4, 6),
}

ROWS = [
    *(
        Case(
            "StaticRegexReplace",
            {"input": _WORDS},
            {"pattern": pattern, "rewrite": rewrite},
            label,
        )
        for label, (pattern, rewrite) in _REGEX.items()
    ),
    *(
        Case(
            "StaticRegexReplace",
            {"input": _HARD},
            {"pattern": pattern, "rewrite": "_"},
            f"hard-{label}",
        )
        for label, pattern in (
            ("nested", "(a+)+$"),
            ("alternatives", "(a|aa)+$"),
            ("dot", "."),
            ("empty", "b*"),
        )
    ),
    Case("StaticRegexFullMatch", {"input": _HARD}, {"pattern": "(a*)*b?"}, "nested"),
    Case("RegexFullMatch", {"input": _HARD, "pattern": text("(?s).+")}, label="dot"),
    Case(
        "StaticRegexReplace",
        {"input": _WORDS},
        {"pattern": "l", "rewrite": "L", "replace_global": False},
        "first",
    ),
    Case(
        "RegexReplace", {"input": _WORDS, "pattern": text(r"\s+"), "rewrite": text(" ")}
    ),
    Case("RegexFullMatch", {"input": _WORDS, "pattern": text(r"[^!]*")}),
    Case("StaticRegexFullMatch", {"input": _WORDS}, {"pattern": r".*x"}),
    *(
        Case(op, {"input": _WORDS}, {"encoding": encoding}, encoding)
        for op in ("StringLower", "StringUpper")
        for encoding in ("", "utf-8")
    ),
    Case("StringStrip", {"input": _WORDS}),
    Case("StringLength", {"input": _WORDS}, {"unit": "BYTE"}),
    Case("StringLength", {"input": _WORDS}, {"unit": "UTF8_CHAR"}, "characters"),
    Case(
        "Substr",
        {"input": texts("Hello", "World"), "pos": i32(1, -3), "len": i32(2, 9)},
    ),
    Case(
        "Substr",
        {"input": texts("Ünï", "côdé"), "pos": i32(1), "len": i32(2)},
        {"unit": "UTF8_CHAR"},
        "characters",
    ),
    Case(
        "StringJoin",
        {"inputs": [texts("a", "b"), text("-"), texts("c", "d")]},
        {"separator": "+"},
    ),
    Case(
        "ReduceJoin",
        {"inputs": texts([["a", "b"], ["c", "d"]]), "reduction_indices": i32(1)},
        {"separator": ","},
    ),
    Case(
        "ReduceJoin",
        {"inputs": texts([["a", "b"], ["c", "d"]]), "reduction_indices": i32(1, 0)},
        {"keep_dims": True},
        "all",
    ),
    Case(
        "UnsortedSegmentJoin",
        {
            "inputs": texts("a", "b", "c"),
            "segment_ids": i32(1, 0, 1),
            "num_segments": i32(3),
        },
        {"separator": "|"},
    ),
    Case(
        "StringFormat",
        {"inputs": [text("x"), i32(3)]},
        {"template": "a=%s b=%s", "placeholder": "%s"},
    ),
    Case("StringSplitV2", {"input": texts(["a b  c", "", " d "]), "sep": text("")}),
    Case(
        "StringSplitV2",
        {"input": texts(["a,b,,c", ",d"]), "sep": text(",")},
        {},
        "comma",
    ),
    Case(
        "StringSplitV2",
        {"input": texts(["a,b,,c", ",d"]), "sep": text(",")},
        {"maxsplit": 1},
        "once",
    ),
    Case("StringSplit", {"input": texts(["a,b;c", ",d"]), "delimiter": text(",;")}),
    Case(
        "StringSplit",
        {"input": texts(["ab", ""]), "delimiter": text("")},
        {"skip_empty": False},
        "bytes",
    ),
    Case(
        "StringNGrams",
        _NGRAMS,
        {
            "separator": " ",
            "ngram_widths": [2],
            "left_pad": "",
            "right_pad": "",
            "pad_width": 0,
            "preserve_short_sequences": False,
        },
    ),
    Case(
        "StringNGrams",
        _NGRAMS,
        {
            "separator": "_",
            "ngram_widths": [2, 3],
            "left_pad": "<",
            "right_pad": ">",
            "pad_width": -1,
            "preserve_short_sequences": False,
        },
        "padded",
    ),
    Case(
        "StringNGrams",
        _NGRAMS,
        {
            "separator": "_",
            "ngram_widths": [3],
            "left_pad": "",
            "right_pad": "",
            "pad_width": 0,
            "preserve_short_sequences": True,
        },
        "short",
    ),
    Case(
        "StringToNumber",
        {"string_tensor": texts("1.5", "-2e3", "inf")},
        {"out_type": "float32"},
    ),
    Case(
        "StringToNumber",
        {"string_tensor": texts("9007199254740993", "-7")},
        {"out_type": "int64"},
        "int64",
    ),
    Case("AsString", {"input": f32(1.5, -2, 1e10)}),
    Case("AsString", {"input": f32(1.5, -2)}, {"precision": 2}, "precision"),
    Case("AsString", {"input": f32(1.5, 2e20)}, {"scientific": True}, "scientific"),
    Case("AsString", {"input": f32(1.5, 2e20)}, {"shortest": True}, "shortest"),
    Case("AsString", {"input": i32(1, -20)}, {"width": 4, "fill": "0"}, "integers"),
    Case("AsString", {"input": np.array([True, False])}, {}, "bool"),
    Case("StringToHashBucketFast", {"input": _HASHED}, {"num_buckets": 2**62}),
    Case(
        "StringToHashBucketStrong",
        {"input": _HASHED},
        {"num_buckets": 2**62, "key": [123, 456]},
    ),
    Case("StringToHashBucket", {"string_tensor": _HASHED}, {"num_buckets": 2**62}),
    Case("Fingerprint", {"data": i32([[1, 2], [3, 4]]), "method": text("farmhash64")}),
    Case("EncodeBase64", {"input": _HASHED}),
    Case("EncodeBase64", {"input": _HASHED}, {"pad": True}, "pad"),
    Case("DecodeBase64", {"input": texts("YWJj", "YQ", "_-8")}),
    Case(
        "DecodeRaw",
        {"bytes": texts(b"\x01\x00\x02\x00", b"\x03\x00\x04\x01")},
        {"out_type": "int16"},
    ),
    Case(
        "DecodeRaw",
        {"bytes": texts(b"\x01\x00\x02\x00")},
        {"out_type": "int16", "little_endian": False},
        "big",
    ),
    Case(
        "DecodePaddedRaw",
        {
            "input_bytes": texts(b"\x01\x00", b"\x03\x00\x04\x01\x05"),
            "fixed_length": i32(4),
        },
        {"out_type": "int16"},
    ),
    Case(
        "UnicodeTranscode",
        {"input": texts("Ünï", b"a\xffb")},
        {"input_encoding": "UTF-8", "output_encoding": "UTF-16-BE"},
    ),
    Case(
        "UnicodeTranscode",
        {"input": texts("Ünï", b"a\xffb")},
        {"input_encoding": "UTF-8", "output_encoding": "UTF-8", "errors": "ignore"},
        "ignore",
    ),
    Case(
        "UnicodeDecode", {"input": texts("Ünï", "", "a😀")}, {"input_encoding": "UTF-8"}
    ),
    Case(
        "UnicodeDecodeWithOffsets",
        {"input": texts("Ünï", "", "a😀")},
        {"input_encoding": "UTF-8"},
    ),
    Case(
        "UnicodeEncode",
        {"input_values": i32(220, 110, 128512, 65), "input_splits": i64(0, 2, 2, 4)},
        {"output_encoding": "UTF-8"},
    ),
]
