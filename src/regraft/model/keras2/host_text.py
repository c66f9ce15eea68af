"""`TextVectorization`, the hashing layers, and those that cross columns."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import numpy as np

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph.runtime.kernels import hashing
from regraft.graph.runtime.kernels.sparse import sparse_cross, sparse_cross_v2
from regraft.model.keras2.host_layers import HostLayer, encoded, encoded_shape
from regraft.model.keras2.host_lookup import StringLookup, each, mode_of
from regraft.model.keras2.host_values import Array, is_text
from regraft.model.keras2.registration import registered

_PUNCTUATION = string.punctuation.encode()
_LOWER = ("lower", "lower_and_strip_punctuation")
_STRIP = ("strip_punctuation", "lower_and_strip_punctuation")


@registered
class TextVectorization(HostLayer):
    """Texts to the numbers of their tokens.

    Args:
        standardize: `"lower_and_strip_punctuation"`, `"lower"`,
            `"strip_punctuation"`, `None`, or a function of an array of `bytes`.
        split: `"whitespace"`, `"character"`, `None`, or a function of one text
            (`bytes`) that returns its tokens.
        ngrams: Largest number of tokens that are joined, or the numbers.
        lookup: Further arguments of the vocabulary, see `StringLookup`.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: Any = None,
        output_mode: str | None = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="string", **kwargs)
        if ragged:
            raise UnsupportedError(
                f"Layer '{self.name}' gives ragged tensors (ragged=True), which this "
                "backend doesn't have. Save the model with ragged=False."
            )
        owner = f"layer '{self.name}'"
        self.standardize = _word(
            standardize, (*_LOWER, "strip_punctuation", None), "standardize", owner
        )
        self.split = _word(split, ("whitespace", "character", None), "split", owner)
        if output_mode is None and self.split is not None:
            raise UnsupportedError(
                f"{owner[0].upper()}{owner[1:]} gives ragged tensors of text "
                "(output_mode=None), which this backend doesn't have."
            )
        self.ngrams = ngrams
        self.output_mode = output_mode and mode_of(
            output_mode, ("int", "multi_hot", "count", "tf_idf"), owner
        )
        self.output_sequence_length = output_sequence_length
        self._lookup_layer = StringLookup(
            max_tokens=max_tokens,
            mask_token="",
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            pad_to_max_tokens=pad_to_max_tokens,
            output_mode=self.output_mode or "int",
            sparse=sparse,
            encoding=encoding,
            name=f"{self.name}_lookup",
        )

    @property
    def lookup(self) -> StringLookup:
        """The layer that has the vocabulary."""
        return self._lookup_layer

    @property
    def idf(self) -> Array | None:
        """Weights of all indices; see `StringLookup`."""
        return self.lookup.idf

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Sets the tokens; see `StringLookup`."""
        self.lookup.set_vocabulary(vocabulary, idf_weights)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Returns the tokens; see `StringLookup`."""
        return self.lookup.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """Returns the number of indices."""
        return self.lookup.vocabulary_size()

    @property
    def gives_text(self) -> bool:
        return self.output_mode is None

    @property
    def device_dtype(self) -> str:
        return super().device_dtype if self.gives_text else self.lookup.device_dtype

    @property
    def widths(self) -> tuple[int, ...]:
        """How many tokens are joined, in the order of the result."""
        if self.ngrams is None:
            return ()
        if isinstance(self.ngrams, int):
            return tuple(range(1, self.ngrams + 1))
        return tuple(int(width) for width in self.ngrams)

    def compute(self, inputs: Any) -> Array:
        texts = self._standardized(inputs)
        if self.split is None:
            return self._unsplit(texts)
        if texts.ndim > 1:
            if texts.shape[-1] != 1:
                raise MismatchError(
                    f"Layer '{self.name}' splits texts, so its input has one text in "
                    f"the last dimension. Received shape: {texts.shape}"
                )
            texts = texts[..., 0]
        rows = [self._joined(self._tokens(text)) for text in texts.reshape(-1)]
        return self._rows(rows, texts.shape)

    def _standardized(self, texts: Array) -> Array:
        if callable(self.standardize):
            return np.asarray(self.standardize(texts), object)
        lower, strip = self.standardize in _LOWER, self.standardize in _STRIP

        def standard(text: bytes) -> bytes:
            text = text.lower() if lower else text
            return text.translate(None, _PUNCTUATION) if strip else text

        return each(standard, texts, object) if lower or strip else texts

    def _tokens(self, text: bytes) -> list[bytes]:
        if callable(self.split):
            return list(self.split(text))
        if self.split == "character":
            return [sign.encode() for sign in text.decode("utf-8", "replace")]
        return text.split()

    def _joined(self, tokens: list[bytes]) -> list[bytes]:
        if self.ngrams is None:
            return tokens
        return [
            b" ".join(tokens[start : start + width])
            for width in self.widths
            for start in range(len(tokens) - width + 1)
        ]

    def _unsplit(self, texts: Array) -> Array:
        if self.ngrams is not None:
            rows = [self._joined(row.tolist()) for row in np.atleast_2d(texts)]
            made = np.empty((len(rows), len(rows[0]) if rows else 0), object)
            for number, row in enumerate(rows):
                made[number, :] = row
            texts = made if texts.ndim > 1 else made[0]
        if self.output_mode is None:
            return texts
        found = self.lookup.compute(texts)
        length = self.output_sequence_length
        if self.output_mode != "int" or length is None:
            return found
        found = found[..., :length]
        missing = length - found.shape[-1]
        return np.pad(found, [(0, 0)] * (found.ndim - 1) + [(0, missing)])

    def _rows(self, rows: list[list[bytes]], shape: tuple[int, ...]) -> Array:
        width = max((len(row) for row in rows), default=0)
        if self.output_mode == "int" and self.output_sequence_length is not None:
            width = self.output_sequence_length
        padded = np.full((len(rows), width), b"", object)
        for number, row in enumerate(rows):
            kept = row[:width]
            padded[number, : len(kept)] = kept
        # The empty text is the mask: 0 as an index, and not counted.
        return self.lookup.compute(padded.reshape(*shape, width))

    def output_shape_of(self, shape: Any) -> tuple[int | None, ...]:
        shape = tuple(shape)
        if self.split is None:
            if self.ngrams is not None and shape[-1] is not None:
                count = sum(max(shape[-1] - width + 1, 0) for width in self.widths)
                shape = (*shape[:-1], count)
        else:
            shape = (*(shape[:-1] if len(shape) > 1 else shape), None)
        if self.output_mode is None:
            return shape
        if self.output_mode == "int":
            length = self.output_sequence_length
            return shape if length is None else (*shape[:-1], length)
        return self.lookup.output_shape_of(shape)

    def get_config(self) -> dict[str, Any]:
        inner = self.lookup.get_config()
        config = super().get_config()
        for key in ("standardize", "split", "ngrams", "output_mode"):
            config[key] = getattr(self, key)
        config["output_sequence_length"] = self.output_sequence_length
        for key in (
            *("max_tokens", "pad_to_max_tokens", "sparse", "vocabulary"),
            *("idf_weights", "encoding", "has_input_vocabulary"),
        ):
            config[key] = inner[key]
        config["vocabulary_size"] = self.vocabulary_size()
        config["ragged"] = False
        config["dtype"] = "string"
        return config


def _word(value: Any, allowed: tuple[Any, ...], key: str, owner: str) -> Any:
    if value in allowed or callable(value):
        return value
    raise UnsupportedError(
        f"{owner[0].upper()}{owner[1:]} has {key}={value!r}: a function of "
        "TensorFlow's. Pass one that takes and gives NumPy arrays of bytes in "
        f"`custom_objects={{{_function_name(value)!r}: …}}`."
    )


def _function_name(value: Any) -> str:
    if isinstance(value, dict):
        config = value.get("config")
        value = config if isinstance(config, str) else value.get("class_name")
    return str(value)


def _bins(name: str, mask: Any, salt: Any, count: int) -> Callable[[Any], int]:
    """Returns the function that puts one value into a bin."""
    masked = mask is not None and count > 1
    count -= int(masked)
    key = None if salt is None else tuple(int(part) for part in salt)
    if masked and isinstance(mask, str):
        mask = mask.encode("utf-8", "surrogateescape")

    def place(item: Any) -> int:
        if masked and item == mask:
            return 0
        data = item if isinstance(item, bytes) else str(int(item)).encode()
        found = (
            hashing.fingerprint64(data) if key is None else hashing.siphash(data, key)
        )
        return found % count + int(masked)

    return place


@registered
class Hashing(HostLayer):
    """Text or whole numbers into bins, by TensorFlow's hashes."""

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        owner = f"layer {kwargs.get('name')!r}"
        self.output_mode = mode_of(
            output_mode, ("int", "one_hot", "multi_hot", "count"), owner
        )
        super().__init__(dtype=integer_dtype(dtype, self.output_mode), **kwargs)
        if not isinstance(num_bins, int) or num_bins < 1:
            raise ValueError(f"`num_bins` of {owner} must be positive: {num_bins!r}.")
        self.num_bins = num_bins
        self.mask_value = mask_value
        self.salt = [salt, salt] if isinstance(salt, int) else salt
        self.sparse = bool(sparse)

    def compute(self, inputs: Any) -> Array:
        if not is_text(inputs) and inputs.dtype.kind not in "iu":
            raise MismatchError(
                f"Layer '{self.name}' hashes text and whole numbers. Received: "
                f"{inputs.dtype}"
            )
        place = _bins(self.name, self.mask_value, self.salt, self.num_bins)
        return encoded(
            each(place, inputs, "int64"),
            self.output_mode,
            self.num_bins,
            self.compute_dtype,
            owner=self.name,
        )

    def output_shape_of(self, shape: Any) -> tuple[int | None, ...]:
        return encoded_shape(shape, self.output_mode, self.num_bins)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in ("num_bins", "mask_value", "salt", "output_mode", "sparse"):
            config[key] = getattr(self, key)
        return config


def integer_dtype(dtype: Any, mode: str) -> Any:
    """Returns the dtype of an encoding layer; indices are whole numbers."""
    name = getattr(dtype, "name", dtype)
    if mode == "int":
        return name if name in ("int32", "int64") else "int64"
    return None if name in ("string", "int64", "int32") else dtype


# What TensorFlow begins a cross of columns with.
_HASH_KEY = 0xDECAFCAFFE


@registered
class HashedCrossing(HostLayer):
    """Several columns into the bins of their combinations."""

    several = True

    def __init__(
        self,
        num_bins: int,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        owner = f"layer {kwargs.get('name')!r}"
        self.output_mode = mode_of(output_mode, ("int", "one_hot"), owner)
        super().__init__(dtype=integer_dtype(dtype, self.output_mode), **kwargs)
        self.num_bins = num_bins
        self.sparse = bool(sparse)

    def compute(self, inputs: Any) -> Array:
        columns = [item.reshape(-1, 1) for item in inputs]
        for item in inputs:
            if item.shape != inputs[0].shape or (
                item.ndim > 1 and (item.ndim > 2 or item.shape[-1] != 1)
            ):
                raise MismatchError(
                    f"Layer '{self.name}' crosses columns of one value per row. "
                    f"Received shapes: {[i.shape for i in inputs]}"
                )
        _, found, _ = sparse_cross(
            *([], [], [], columns),
            hashed_output=True,
            num_buckets=self.num_bins,
            hash_key=_HASH_KEY,
        )
        return encoded(
            np.asarray(found, "int64").reshape(inputs[0].shape),
            self.output_mode,
            self.num_bins,
            self.compute_dtype,
            owner=self.name,
        )

    def output_shape_of(self, shape: Any) -> tuple[int | None, ...]:
        return encoded_shape(shape[0], self.output_mode, self.num_bins)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in ("num_bins", "output_mode", "sparse"):
            config[key] = getattr(self, key)
        return config


@registered
class CategoryCrossing(HostLayer):
    """Several columns into texts of all their combinations (TensorFlow 2.3 to 2.7)."""

    several = True

    def __init__(
        self, depth: Any = None, separator: str | None = None, **kwargs: Any
    ) -> None:
        kwargs.pop("dtype", None)
        super().__init__(dtype="string", **kwargs)
        if depth is not None:
            raise UnsupportedError(
                f"Layer '{self.name}' crosses some of its columns (depth={depth!r}), "
                "which Regraft doesn't do; all of them (depth=None) it does."
            )
        self.depth = depth
        self.separator = "_X_" if separator is None else separator

    @property
    def gives_text(self) -> bool:
        return True

    def compute(self, inputs: Any) -> Array:
        columns = [item if item.ndim == 2 else item.reshape(-1, 1) for item in inputs]
        separator = np.array(self.separator.encode(), object)
        _, found, shape = sparse_cross_v2([], [], [], columns, separator)
        return np.asarray(found, object).reshape(shape)

    def output_shape_of(self, shape: Any) -> tuple[int | None, ...]:
        width: int | None = 1
        for item in shape:
            length = item[1] if len(item) > 1 else 1
            width = None if width is None or length is None else width * length
        return (shape[0][0], width)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "depth": self.depth,
            "separator": self.separator,
        }
