"""`StringLookup` and `IntegerLookup`: tokens to numbers by a vocabulary, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from regraft.errors import LimitError, MismatchError
from regraft.graph.runtime.kernels import hashing
from regraft.model.keras2.host_layers import HostLayer, encoded, encoded_shape
from regraft.model.keras2.host_values import Array
from regraft.model.keras2.registration import registered

OLD_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}
MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
# A vocabulary lists each of them; a few bytes can ask for any number.
MAX_OOV_INDICES = 2**24
_NEVER = np.iinfo("int64").max  # beyond every row: not counted


def mode_of(mode: str, allowed: Sequence[str], owner: str) -> str:
    """Returns an output mode by its name of today.

    Raises:
        ValueError: There is none.
    """
    mode = OLD_MODES.get(mode, mode)
    if mode not in allowed:
        raise ValueError(
            f"Unknown `output_mode` of {owner}: expected one of {', '.join(allowed)}. "
            f"Received: {mode!r}"
        )
    return mode


def each(function: Callable[[Any], Any], array: Array, dtype: Any) -> Array:
    """Applies a function to every element; once to equal ones."""
    known: dict[Any, Any] = {}
    out = []
    for item in array.reshape(-1).tolist():
        if item not in known:
            known[item] = function(item)
        out.append(known[item])
    made = np.empty(len(out), dtype)
    made[:] = out
    return made.reshape(array.shape)


class IndexLookup(HostLayer):
    """What both lookups share.

    Attributes:
        vocabulary: Tokens as keys, without the special ones, in order; `None` as long
            as it is not known.
        from_config: Whether its config has the vocabulary.
    """

    text_tokens = True

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: Any = None,
        oov_token: Any = None,
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        has_static_table: bool | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        owner = f"layer {kwargs.get('name')!r}"
        self.output_mode = mode_of(output_mode, MODES, owner)
        named = getattr(dtype, "name", dtype)
        if self.output_mode == "int" and named not in ("int32", "int64"):
            dtype = "int64"
        elif self.output_mode != "int" and named in ("string", "int64"):
            dtype = None
        super().__init__(dtype=dtype, **kwargs)
        self.invert = bool(invert)
        self.max_tokens = max_tokens
        if num_oov_indices > MAX_OOV_INDICES:
            raise LimitError(
                f"{type(self).__name__} has more than {MAX_OOV_INDICES} indices for "
                "unknown tokens",
                received=num_oov_indices,
            )
        self.num_oov_indices = int(num_oov_indices)
        self.mask_token = mask_token
        self.oov_token = oov_token
        self.sparse = bool(sparse)
        self.pad_to_max_tokens = bool(pad_to_max_tokens)
        self.vocabulary: list[Any] | None = None
        self.idf: Array | None = None
        self._table: dict[Any, int] = {}
        # A text is the path of a file, which is never opened.
        self.from_config = isinstance(vocabulary, list | tuple | np.ndarray)
        if self.from_config:
            self.set_vocabulary(vocabulary, idf_weights)

    # ------------------------------------------------------------ vocabulary

    def key(self, token: Any) -> Any:
        """Returns a token as tables have it: `bytes`, or a whole number."""
        if not self.text_tokens:
            return int(token)
        if isinstance(token, str):
            return token.encode("utf-8", "surrogateescape")
        return bytes(token)

    @property
    def oov_start(self) -> int:
        """Index of the first place for unknown tokens."""
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def token_start(self) -> int:
        """Index of the first token."""
        return self.oov_start + self.num_oov_indices

    def set_vocabulary(
        self, vocabulary: Iterable[Any], idf_weights: Any = None
    ) -> None:
        """Sets the tokens.

        Args:
            vocabulary: With the special tokens in front, or without them.
            idf_weights: One per token, for `output_mode="tf_idf"`.

        Raises:
            ValueError: A token stands twice, or weights are missing.
        """
        tokens = [self.key(token) for token in vocabulary]
        special = [self.mask_token] * self.oov_start
        special += [self.oov_token] * self.num_oov_indices
        front = [None if token is None else self.key(token) for token in special]
        found = tokens[: self.token_start] == front
        if self.output_mode == "tf_idf":
            if idf_weights is None or len(idf_weights) != len(tokens):
                raise ValueError(
                    f"Layer '{self.name}' needs one of `idf_weights` per token: "
                    f"{len(tokens)}."
                )
            weights = np.asarray(idf_weights, "float64")
            ahead = 0 if found else self.token_start
            self.idf = self._padded(
                np.concatenate([np.full(ahead, np.average(weights)), weights])
            )
        tokens = tokens[self.token_start :] if found else tokens
        if len(set(tokens)) != len(tokens):
            raise ValueError(f"The vocabulary of layer '{self.name}' repeats a token.")
        self.set_tokens(tokens)

    def _padded(self, weights: Array) -> Array:
        if not self.pad_to_max_tokens or self.max_tokens is None:
            return weights
        return np.pad(weights, (0, max(self.max_tokens - len(weights), 0)))

    def set_tokens(self, tokens: list[Any]) -> None:
        """Sets the tokens, as keys and without the special ones."""
        if self.max_tokens is not None and (
            self.token_start + len(tokens) > self.max_tokens
        ):
            raise ValueError(
                f"The vocabulary of layer '{self.name}' has more than its "
                f"max_tokens={self.max_tokens}."
            )
        self.vocabulary = tokens
        self._table = {
            token: self.token_start + index for index, token in enumerate(tokens)
        }

    def set_table(self, entries: Mapping[Any, Any]) -> None:
        """Sets the tokens from a table of a file, whose values or keys are indices.

        Raises:
            MismatchError: Its indices are not those of a vocabulary.
        """
        pairs = [
            (key, value.item() if isinstance(value, np.ndarray) else value)
            for key, value in entries.items()
        ]
        by_index = {
            int(key if self.invert else value): value if self.invert else key
            for key, value in pairs
        }
        # TensorFlow 2.5 numbers what it leaves out of a count by the largest of all.
        by_index.pop(_NEVER, None)
        start = self.token_start
        tokens = {i: self.key(t) for i, t in by_index.items() if i >= start}
        if sorted(tokens) != list(range(start, start + len(tokens))):
            raise MismatchError(
                f"The table of layer '{self.name}' doesn't number its tokens from "
                f"{start} on."
            )
        self.set_tokens([tokens[i] for i in range(start, start + len(tokens))])

    def set_idf(self, weights: Array) -> None:
        """Sets the weights of all indices, as a file keeps them."""
        self.idf = np.asarray(weights, "float64")

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Returns the tokens, by default with the special ones in front."""
        tokens = [self._shown(token) for token in self.vocabulary or ()]
        if not include_special_tokens:
            return tokens
        front = [self.mask_token] * self.oov_start
        return [*front, *[self.oov_token] * self.num_oov_indices, *tokens]

    def _shown(self, token: Any) -> Any:
        return token.decode("utf-8", "surrogateescape") if self.text_tokens else token

    def vocabulary_size(self) -> int:
        """Returns the number of indices, with those of special tokens."""
        return self.token_start + len(self.vocabulary or ())

    # --------------------------------------------------------------- calling

    @property
    def depth(self) -> int:
        """Length of an encoded row."""
        if self.pad_to_max_tokens and self.max_tokens:
            return self.max_tokens
        return self.vocabulary_size()

    @property
    def gives_text(self) -> bool:
        return self.invert and self.text_tokens

    def compute(self, inputs: Any) -> Array:
        if self.invert:
            return self._tokens(inputs)
        return self.encode(self.indices(inputs))

    def encode(self, indices: Array) -> Array:
        """Returns indices in the layer's output mode."""
        return encoded(
            indices,
            self.output_mode,
            self.depth,
            self.compute_dtype,
            owner=self.name,
            idf=self.idf,
        )

    def indices(self, inputs: Array) -> Array:
        """Returns the index of each token."""
        if not self.text_tokens:
            inputs = inputs.astype("int64")
        mask = None if self.mask_token is None else self.key(self.mask_token)
        masked = 0 if self.output_mode == "int" else _NEVER
        table, start, count = self._table, self.oov_start, self.num_oov_indices

        def index(token: Any) -> int:
            if token == mask:
                return masked
            found = table.get(token)
            if found is not None:
                return found
            if not count:
                raise MismatchError(
                    f"Layer '{self.name}' has no place for tokens that are not in its "
                    f"vocabulary (num_oov_indices=0). Received: {token!r}"
                )
            if count == 1:
                return start
            if isinstance(token, bytes):
                return start + hashing.fingerprint64(token) % count
            return start + int(token) % count

        return each(index, inputs, "int64")

    def _tokens(self, inputs: Array) -> Array:
        tokens = dict(enumerate(self.vocabulary or (), self.token_start))
        if self.mask_token is not None:
            tokens[0] = self.key(self.mask_token)
        unknown = self.key(self.oov_token)
        dtype: Any = object if self.text_tokens else "int64"
        return each(
            lambda index: tokens.get(index, unknown), inputs.astype("int64"), dtype
        )

    def output_shape_of(self, shape: Any) -> tuple[int | None, ...]:
        return encoded_shape(shape, self.output_mode, self.depth)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in (
            *("invert", "max_tokens", "num_oov_indices", "oov_token", "mask_token"),
            *("output_mode", "sparse", "pad_to_max_tokens"),
        ):
            config[key] = getattr(self, key)
        config["vocabulary"] = config["idf_weights"] = None
        if self.vocabulary is not None:
            config["vocabulary"] = self.get_vocabulary(self.output_mode == "tf_idf")
            config["vocabulary_size"] = self.vocabulary_size()
        if self.idf is not None:
            size = len(config["vocabulary"] or ())
            config["idf_weights"] = [float(weight) for weight in self.idf[:size]]
        config["has_input_vocabulary"] = self.vocabulary is not None
        return config


@registered
class StringLookup(IndexLookup):
    """Text to numbers by a vocabulary, or back (`invert=True`)."""

    def __init__(
        self,
        max_tokens: int | None = None,
        *,
        encoding: str = "utf-8",
        oov_token: Any = "[UNK]",
        **kwargs: Any,
    ) -> None:
        self.encoding = encoding
        super().__init__(max_tokens, oov_token=oov_token, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "encoding": self.encoding}


@registered
class IntegerLookup(IndexLookup):
    """Whole numbers to indices by a vocabulary, or back (`invert=True`)."""

    text_tokens = False

    def __init__(
        self,
        max_tokens: int | None = None,
        *,
        oov_token: Any = -1,
        vocabulary_dtype: str = "int64",
        **kwargs: Any,
    ) -> None:
        self.vocabulary_dtype = vocabulary_dtype
        super().__init__(max_tokens, oov_token=oov_token, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vocabulary_dtype": self.vocabulary_dtype}
