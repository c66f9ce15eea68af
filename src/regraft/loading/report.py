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


def printable(text: str) -> str:
    """Returns a text of a file as a terminal may show it: it can't steer it."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode()
        for c in text
    )


@dataclass(frozen=True)
class Check:
    """What verifying found about a layer in one mode.

    Attributes:
        mode: `"inference"` or `"training"`.
        difference: Largest difference to what the file's trace gives, relative to
            the largest value of the trace; `inf` where shapes or non-numbers
            differ; `None` where nothing could be compared.
        tolerance: What `difference` may be.
        place: Where it is: `"output"`, `"loss"` or an update of a variable.
        reason: Why nothing could be compared.
    """

    mode: str
    difference: float | None
    tolerance: float = 0.0
    place: str = ""
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing differs; also where nothing could be compared."""
        return self.difference is None or self.difference <= self.tolerance

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.mode}: not checked, {self.reason}"
        if self.passed:
            return f"{self.mode}: equal to {self.difference:.1g}"
        return f"{self.mode}: {self.place} differs by {self.difference:.2g}"


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
        slots: Number of values that the optimizer got for them.
        notes: What differs from the Keras that wrote it.
        checks: What `LoadOptions(verify=True)` found; else empty.
    """

    name: str
    class_name: str
    source: str
    reason: str = ""
    weights: int = 0
    slots: int = 0
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


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
        checks: What `LoadOptions(verify=True)` found of the model as a whole.
        tensors_checked: How many tensors were then read and match their checksums.
    """

    path: str
    written_by: str
    layers: list[LayerReport] = field(default_factory=list)
    optimizer: str = ""
    compiled: bool = False
    notes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    checks: tuple[Check, ...] = ()
    tensors_checked: int = 0

    @property
    def differing(self) -> list[str]:
        """Layers that don't compute what the file's traces do, and how."""
        places = [(layer.name, layer.class_name, layer.checks) for layer in self.layers]
        return [
            f"{name} ({class_name}): {check}"
            for name, class_name, checks in [*places, ("model", "", self.checks)]
            for check in checks
            if not check.passed
        ]

    @property
    def complete(self) -> bool:
        """Whether all of the file came back as it was."""
        return not (self.notes or self.unused or self.differing)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=100, record=True, file=io.StringIO())
        console.print(self)
        return console.export_text()

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        # Brackets in names are no markup, and a path is copied best from one line.
        title = [
            Text(printable(line), "italic", no_wrap=True, overflow="ignore")
            for line in (self.path, self.written_by)
        ]
        table = Table()
        for heading in ("Layer", "Class", "Came from", "Weights", "Slots", "Notes"):
            number = heading in ("Weights", "Slots")
            table.add_column(heading, justify="right" if number else "left")
        for layer in self.layers:
            notes = "; ".join(
                [*filter(None, [layer.reason]), *layer.notes, *map(str, layer.checks)]
            )
            counts = (str(layer.weights), str(layer.slots))
            cells = (layer.name, layer.class_name, layer.source, *counts, notes)
            table.add_row(*(Text(printable(cell)) for cell in cells))
        lines = [f"Optimizer: {self.optimizer or 'none'}"]
        lines.append(f"Compiled: {'yes' if self.compiled else 'no'}")
        if self.tensors_checked:
            lines.append(f"Checksums: {self.tensors_checked} tensors match")
        lines += [f"The model as a whole, {check}" for check in self.checks]
        lines += [f"Note: {note}" for note in self.notes]
        lines += [f"Unused value in the file: {place}" for place in self.unused]
        return Group(*title, table, *(Text(printable(line)) for line in lines))

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
