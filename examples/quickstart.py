"""Regraft in a minute: `make quickstart` runs this.

A Keras 3 model on JAX is trained, saved as a TensorFlow SavedModel and as HDF5, and
loaded in another process that has no code of it; then a file that TensorFlow 2.6
wrote is opened and trained on. Every line with a check mark is a comparison that was
made, with its number. The exit status says whether all of them held.
"""

from __future__ import annotations

import importlib.util
import lzma
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import regraft  # First: it picks JAX where Keras has no backend configured.

# isort: split
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
VINTAGE = HERE.parent / "tests" / "data" / "vintage" / "open.tar.xz"
WRITTEN_BY_TENSORFLOW_2_6 = "open/2.6.5/recurrent"
PREDICT_TOLERANCE = 1e-5
STEP_TOLERANCE = 1e-4

console = Console(highlight=False, width=min(Console().width, 88))
failures: list[str] = []


def check(holds: bool, text: str) -> None:
    """Prints a comparison with its outcome, and remembers a failure."""
    mark = "[green]✓[/]" if holds else "[bold red]✗[/]"
    console.print(f"  {mark} {text}")
    if not holds:
        failures.append(text)


def say(text: str) -> None:
    console.print(f"    [dim]{text}[/]")


def title(text: str) -> None:
    console.print()
    console.print(f"[bold]{text}[/]")


def largest_difference(ours: np.ndarray, expected: np.ndarray) -> float:
    """Relative to the largest expected value."""
    return float(np.max(np.abs(ours - expected)) / np.max(np.abs(expected)))


def size_of(path: Path) -> str:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e3:,.0f} kB"


def make_model() -> keras.Model:
    """A convolutional net with an optimizer that has state."""
    image = keras.Input((16, 16, 1), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", name="edges")(image)
    x = keras.layers.BatchNormalization(name="normalize")(x)
    x = keras.layers.ReLU(max_value=6.0, name="clip")(x)
    x = keras.layers.MaxPooling2D(4, name="pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(16, activation="gelu", name="features")(x)
    quadrant = keras.layers.Dense(4, activation="softmax", name="quadrant")(x)
    model = keras.Model(image, quadrant, name="where_is_the_spot")
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 20, 0.9)
    model.compile(keras.optimizers.Adam(schedule), "categorical_crossentropy")
    return model


def make_data(batches: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images with a bright spot, and in which quarter it is: `[batch, 32, ...]`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.3, (batches, 32, 16, 16, 1)).astype("float32")
    rows, columns = rng.integers(0, 16, (2, batches, 32))
    batch, item = np.indices(rows.shape)
    x[batch, item, rows, columns] += 3.0
    return x, np.eye(4, dtype="float32")[rows // 8 * 2 + columns // 8]


def show_environment() -> None:
    title("1  The environment")
    found = importlib.util.find_spec("tensorflow") is not None
    text = (
        "TensorFlow is not installed here"
        if not found
        else "TensorFlow is installed here"
    )
    check(not found, text + " (looked for it)")
    say(
        f"Python {sys.version.split()[0]}, Keras {keras.__version__} on "
        f"{keras.backend.backend()}, Regraft {regraft.__version__}"
    )


def train_and_save(folder: Path) -> tuple[keras.Model, dict[str, Path]]:
    title("2  Train a Keras 3 model and save it")
    model = make_model()
    losses = [
        model.train_on_batch(x, y) for x, y in zip(*make_data(60, 0), strict=True)
    ]
    say(f"60 steps of training: loss {losses[0]:.3f} → {losses[-1]:.3f}")
    paths = {"SavedModel": folder / "spots", "HDF5": folder / "spots.h5"}
    for name, path in paths.items():
        start = time.perf_counter()
        regraft.save_model(model, path)
        took = time.perf_counter() - start
        say(
            f"{name:10} {path.name + ('/' if path.is_dir() else ''):10} "
            f"{size_of(path):>8} in {took * 1e3:.0f} ms"
        )
    return model, paths


def load_elsewhere(path: Path, data: Path) -> dict[str, np.ndarray]:
    """Loads and trains on in a new process, and returns what came out there."""
    results = path.with_suffix(".results.npz")
    command = [sys.executable, HERE / "load_elsewhere.py", path, data, results]
    subprocess.run(command, check=True)
    return dict(np.load(results))


def compare_with_elsewhere(
    model: keras.Model, paths: dict[str, Path], folder: Path
) -> None:
    title("3  Load it in another process, without its code, and train on")
    x = make_data(1, 1)[0][0]
    next_x, next_y = make_data(5, 2)
    data = folder / "data.npz"
    np.savez(data, x=x, next_x=next_x, next_y=next_y)
    there = {name: load_elsewhere(path, data) for name, path in paths.items()}

    before = model.predict(x, verbose=0)
    steps = zip(next_x, next_y, strict=True)
    model.reset_metrics()  # Keras 3.12 returns the mean loss since the last reset.
    losses = np.array([model.train_on_batch(*step) for step in steps])
    after = model.predict(x, verbose=0)

    table = Table("step", "in memory", *there, box=None, header_style="dim")
    for step, loss in enumerate(losses):
        row = [f"{result['losses'][step]:.8f}" for result in there.values()]
        table.add_row(str(61 + step), f"{loss:.8f}", *row)
    for name, result in there.items():
        same = np.array_equal(result["predictions"], before)
        worst = largest_difference(result["predictions"], before)
        how = "equal to the bit" if same else f"differ by {worst:.1e}"
        check(same, f"{name:10} predictions {how}")
        same = np.array_equal(result["losses"], losses)
        worst = largest_difference(result["losses"], losses)
        how = "equal to the bit" if same else f"differ by {worst:.1e}"
        check(same, f"{name:10} losses of the next 5 steps {how}")
        same = np.array_equal(result["predictions_after"], after)
        worst = largest_difference(result["predictions_after"], after)
        how = "equal to the bit" if same else f"differ by {worst:.1e}"
        check(same, f"{name:10} predictions after them {how}")
    check(
        not any(result["tensorflow_imported"] for result in there.values()),
        "the other processes imported no TensorFlow",
    )
    console.print(table)


def open_a_file_of_tensorflow_2_6(folder: Path) -> None:
    title("4  Open a file that TensorFlow 2.6 wrote in 2021's format")
    with lzma.open(VINTAGE) as stream, tarfile.open(fileobj=stream) as archive:
        members = [
            member
            for member in archive.getmembers()
            if member.name.startswith(f"{WRITTEN_BY_TENSORFLOW_2_6}/")
        ]
        archive.extractall(folder, members, filter="data")
    case = folder / WRITTEN_BY_TENSORFLOW_2_6
    arrays = np.load(case / "io.npz")

    model = regraft.load_model(case / "saved_model")
    say(" → ".join(type(layer).__name__ for layer in model.layers))
    say(
        f"{type(model.optimizer).__name__} at step {int(model.optimizer.iterations)}, "
        f"loss {getattr(model.loss, 'name', model.loss)}"
    )
    worst = largest_difference(
        model.predict(arrays["in_0"], verbose=0), arrays["out_0"]
    )
    check(
        worst < PREDICT_TOLERANCE,
        f"predictions as TensorFlow 2.6 made them (to {worst:.1e})",
    )
    model.train_on_batch(arrays["tx_0"], arrays["ty_0"])
    worst = largest_difference(
        model.predict(arrays["in_0"], verbose=0), arrays["next_0"]
    )
    check(
        worst < STEP_TOLERANCE,
        f"after one more training step, as TensorFlow 2.6 after it (to {worst:.1e})",
    )


def main() -> int:
    """Runs the four parts; returns the exit status."""
    show_environment()
    with tempfile.TemporaryDirectory(prefix="regraft-quickstart-") as name:
        folder = Path(name)
        model, paths = train_and_save(folder)
        compare_with_elsewhere(model, paths, folder)
        open_a_file_of_tensorflow_2_6(folder)
    console.print()
    if failures:
        console.print(f"[bold red]{len(failures)} of the checks did not hold.[/]")
        return 1
    console.print("[bold green]All checks held.[/] Next: docs/quickstart.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
