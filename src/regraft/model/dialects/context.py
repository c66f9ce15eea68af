"""What goes along while one file's configs become live objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras

from regraft.errors import plain
from regraft.model.dialects.dialect import KERAS_2_WITH_FUNCTIONS, Dialect

Entry = Mapping[str, Any]
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Note:
    """Something that did not go over exactly.

    Attributes:
        object_path: Where, such as `layer 'dense_1'` or `optimizer`.
        text: What differs, in one sentence. What it cites of Keras is put on one
            line, without codes for terminals.
    """

    object_path: str
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", " ".join(plain(self.text).split()))


# Key of a layer's entry that says which object of the file it is.
NODE = "regraft_node"
# Module of a layer's entry in Keras 2's words within a model in Keras 3's.
IN_KERAS_2 = "tf_keras.layers"


@dataclass
class BuildContext:
    """The rules and the memory of one build.

    Attributes:
        dialect: What the configs are written in.
        custom_objects: The caller's classes and functions by name.
        safe_mode: False lets Keras `Lambda` bytecode be loaded.
        notes: Filled with what did not go over exactly.
        revive: Asked for a layer that could not be made of its config, with the error
            that says why; may raise `ValueError`.
        fill: Given each new layer and its name in the file, for state that is in no
            variable.
        stored_shape: Asked for the shape of a weight, by a layer's entry and the
            weight's name; `None` where the file doesn't say it.
        shared_objects: Objects built so far by class and `shared_object_id`.
        placed_layers: Layers built so far by the object that each is in the file.
        original_names: The file's name of each layer that had to be renamed.
        depth: How many networks or wrappers the layer being built is in.
        keras1_layout: Layout of images where a layer of Keras 1 doesn't say it.
        call_failed: Whether a layer could not be called as the file says it was.
        stuck: The layer that could not be called, where it is known.
        namesakes: Objects of the file whose class only shares its name with Keras'.
        unknown_networks: The classes of networks that came back without them.
    """

    dialect: Dialect
    custom_objects: Mapping[str, Any] = field(default_factory=dict)
    safe_mode: bool = True
    notes: list[Note] = field(default_factory=list)
    revive: Callable[[Entry, Exception], keras.Layer] | None = None
    fill: Callable[[keras.Layer, str], None] | None = None
    stored_shape: Callable[[Entry, str], Shape | None] | None = None
    shared_objects: dict[tuple[str, int], Any] = field(default_factory=dict)
    placed_layers: dict[int, keras.Layer] = field(default_factory=dict)
    original_names: dict[str, str] = field(default_factory=dict)
    depth: int = 0
    keras1_layout: str | None = None
    call_failed: bool = False
    stuck: keras.Layer | None = None
    namesakes: set[int] = field(default_factory=set)
    unknown_networks: list[str] = field(default_factory=list)

    @contextmanager
    def words_of_keras2(self) -> Iterator[None]:
        """Takes configs for Keras 2's, as they are in what Regraft saved, too.

        Only of a whole model it also keeps the config in Keras 3's words.
        """
        dialect = self.dialect
        if dialect.generation > 2:
            self.dialect = KERAS_2_WITH_FUNCTIONS
        try:
            yield
        finally:
            self.dialect = dialect

    def note(self, object_path: str, text: str) -> None:
        """Adds a note once."""
        note = Note(object_path, text)
        if note not in self.notes:
            self.notes.append(note)
