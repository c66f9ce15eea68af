"""What came back from a file and what did not, per layer, as data and as a table."""

from __future__ import annotations

import io
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

FROM_CONFIG = "config"
FROM_CLASS = "your class"
FROM_TRACES = "traces"


@dataclass(frozen=True)
class LayerReport:
    """How one layer came back.

    Attributes:
        name: Its name in the file.
        class_name: Its class in the file.
        source: `"config"` (rebuilt as Keras' or Regraft's layer), `"your class"`
            (a registered or passed class) or `"traces"` (its traced functions).
        reason: Why it was not rebuilt from its config; else `""`.
        weights: Number of its variables that got a value.
        notes: What differs from the Keras that wrote it.
    """

    name: str
    class_name: str
    source: str
    reason: str = ""
    weights: int = 0
    notes: tuple[str, ...] = ()


@dataclass
class LoadReport:
    """What `load_model` did with a file.

    Attributes:
        path: The file or directory.
        written_by: Such as `"Keras 2.6.0, TensorFlow 2.6.5"`.
        layers: One entry per layer, nested ones after the model they are in.
        optimizer: Such as `"Adam: 8 slots, iteration 12"`; `""` without one.
        compiled: Whether the model came back compiled.
        notes: What could not be kept or differs, with the place in front.
        unused: Values of the file that no variable took.
    """

    path: str
    written_by: str
    layers: list[LayerReport] = field(default_factory=list)
    optimizer: str = ""
    compiled: bool = False
    notes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all of the file came back as it was."""
        return not self.notes and not self.unused

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=100, record=True, file=io.StringIO())
        console.print(self)
        return console.export_text()

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table

        table = Table(title=f"{self.path}\n{self.written_by}", title_justify="left")
        for heading in ("Layer", "Class", "Came from", "Weights", "Notes"):
            table.add_column(
                heading, justify="right" if heading == "Weights" else "left"
            )
        for layer in self.layers:
            notes = "; ".join([*filter(None, [layer.reason]), *layer.notes])
            table.add_row(
                layer.name, layer.class_name, layer.source, str(layer.weights), notes
            )
        lines = [f"Optimizer: {self.optimizer or 'none'}"]
        lines.append(f"Compiled: {'yes' if self.compiled else 'no'}")
        lines += [f"Note: {note}" for note in self.notes]
        lines += [f"Unused value in the file: {place}" for place in self.unused]
        return Group(table, *lines)

    def _repr_html_(self) -> str:
        from rich.console import Console

        console = Console(width=110, record=True, file=io.StringIO())
        console.print(self)
        return console.export_html(
            inline_styles=True, code_format='<pre style="line-height:1.2">{code}</pre>'
        )


_REPORTS: weakref.WeakKeyDictionary[Any, LoadReport] = weakref.WeakKeyDictionary()


def remember(model: Any, report: LoadReport) -> None:
    """Keeps a model's report for as long as the model lives."""
    _REPORTS[model] = report


def load_report(model: Any) -> LoadReport:
    """Returns what `load_model` did to bring a model back.

    Args:
        model: What `regraft.load_model` returned.

    Raises:
        ValueError: The model was not loaded by Regraft.
    """
    try:
        return _REPORTS[model]
    except (KeyError, TypeError):
        raise ValueError(
            "There is no load report for this model: it was not returned by "
            "`regraft.load_model`."
        ) from None
