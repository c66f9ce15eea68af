"""Commands over the public functions; exit code 1 where a command finds a fault.

`show` and `audit` read the file's own structure alone: neither Keras nor a backend
is imported and nothing of the file is run.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regraft.errors import RegraftError
from regraft.inspection import Contents, TensorInfo, inspect
from regraft.loading.report import printable

app = typer.Typer(
    help="Keras SavedModel and HDF5 files, without TensorFlow.",
    no_args_is_help=True,
    add_completion=False,
)
_console = Console()

# Ops of a graph that reach outside of it when they run.
_REACHING_OPS = frozenset(
    {
        "ReadFile",
        "WriteFile",
        "MatchingFiles",
        "PyFunc",
        "EagerPyFunc",
        "PyFuncStateless",
        "PrintV2",
        "DebugIdentity",
        "DebugIdentityV2",
        "TFRecordDatasetV2",
        "TextLineDataset",
        "FixedLengthRecordDatasetV2",
        "DatasetFromGraph",
        "Send",
        "Recv",
    }
)
Model = Annotated[Path, typer.Argument(help="SavedModel directory or HDF5 file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _say(line: str, err: bool = False) -> None:
    typer.echo(printable(line), err=err)


def _failure(error: Exception) -> typer.Exit:
    _say(f"Error: {error}", err=True)
    return typer.Exit(1)


def _inspect(path: Path) -> Contents:
    try:
        return inspect(path)
    except (RegraftError, OSError) as error:
        raise _failure(error) from None


def _shape(tensor: TensorInfo) -> str:
    dims = tensor.shape
    if dims is None:
        return "?"
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"


@app.command()
def show(model: Model, as_json: AsJson = False) -> None:
    """Shows what a file holds: layers, variables, signatures, ops."""
    contents = _inspect(model)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(contents), indent=1))
        return
    total = sum(tensor.size_bytes for tensor in contents.variables)
    size = f"{total:,} bytes" if total or not contents.variables else "without values"
    lines = [
        f"{contents.format} '{contents.path}'",
        f"  written by Keras {contents.keras_version or '-'}, TensorFlow "
        f"{contents.tensorflow_version or '-'}",
        f"  model {contents.model_class or '-'}, {len(contents.layers)} layers, "
        f"{len(contents.variables)} variables, {size}",
        f"  optimizer {contents.optimizer or '-'}, "
        f"{len(contents.optimizer_variables)} variables",
        f"  {contents.functions} functions, {sum(contents.ops.values())} ops of "
        f"{len(contents.ops)} kinds",
    ]
    for line in lines:
        _print(line)
    layers = Table("Layer", "Name", "Class")
    for layer in contents.layers:
        _add_row(layers, layer.path, layer.name, layer.class_name)
    variables = Table("Variable", "Dtype", "Shape", "Bytes")
    for tensor in contents.variables:
        size = f"{tensor.size_bytes:,}" if tensor.size_bytes else "-"
        _add_row(variables, tensor.name, tensor.dtype, _shape(tensor), size)
    for table in (layers, variables):
        if table.row_count:
            _console.print(table)
    for signature in contents.signatures:
        inputs = ", ".join(map(_described, signature.inputs))
        outputs = ", ".join(map(_described, signature.outputs))
        _print(f"Signature {signature.name}({inputs}) -> {outputs}")
    for name in contents.callables:
        _print(f"Function {name}, of what `regraft.load` returns")


def _described(tensor: TensorInfo) -> str:
    form = "" if tensor.form == "dense" else f"{tensor.form} "
    return f"{tensor.name}: {form}{tensor.dtype}{_shape(tensor)}"


def _print(line: str) -> None:
    """Prints a line that holds words of the file: they are no markup."""
    # Paths are to be copied, so that no line is broken.
    _console.print(Text(printable(line)), highlight=False, soft_wrap=True)


def _add_row(table: Table, *cells: str) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))


@app.command()
def audit(model: Model, as_json: AsJson = False) -> None:
    """Lists what in a file could run code or reach other files; exit 1 if any."""
    contents = _inspect(model)
    found = [
        f"op {name} ({count} times)"
        for name, count in contents.ops.items()
        if name in _REACHING_OPS
    ]
    found += [
        f"layer '{layer.name}' of class Lambda, which may hold code"
        for layer in contents.layers
        if layer.class_name.removeprefix("Keras3>") == "Lambda"
    ]
    if as_json:
        typer.echo(json.dumps({"path": contents.path, "found": found}))
    else:
        for line in found or ["nothing that runs code or reaches other files"]:
            _say(line)
    if found:
        raise typer.Exit(1)


@app.command()
def diff(first: Model, second: Model) -> None:
    """Compares the structure of two files; exit 1 if it differs."""
    pairs = [_lines(_inspect(path)) for path in (first, second)]
    removed = [line for line in pairs[0] if line not in set(pairs[1])]
    added = [line for line in pairs[1] if line not in set(pairs[0])]
    for sign, lines in (("-", removed), ("+", added)):
        for line in lines:
            _say(f"{sign} {line}")
    if removed or added:
        raise typer.Exit(1)


def _lines(contents: Contents) -> list[str]:
    return [
        *(f"layer {layer.name}: {layer.class_name}" for layer in contents.layers),
        *(
            f"variable {tensor.name}: {tensor.dtype}{_shape(tensor)}"
            for tensor in contents.variables
        ),
        f"optimizer {contents.optimizer}: "
        f"{len(contents.optimizer_variables)} variables",
    ]


@app.command()
def verify(model: Model, as_json: AsJson = False) -> None:
    """Checks a file against itself; exit 1 if anything is broken or differs.

    Every tensor is compared with its checksum. Each layer that is rebuilt from its
    config is run beside the function that its writer traced, on random input.
    """
    try:
        report = _api().verify_file(model)
    except (RegraftError, OSError, ValueError, NotImplementedError) as error:
        if not as_json:
            raise _failure(error) from None
        typer.echo(json.dumps({"path": str(model), "error": str(error)}, indent=1))
        raise typer.Exit(1) from None
    if as_json:
        found = {**dataclasses.asdict(report), "differing": report.differing}
        typer.echo(json.dumps(_finite(found), indent=1))
    else:
        _console.print(report)
        for line in report.differing:
            _say(f"Differs: {line}", err=True)
    if report.differing:
        raise typer.Exit(1)


def _finite(value: Any) -> Any:
    """JSON has no infinity: a difference that has no size is text."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if value == float("inf") else value


@app.command()
def convert(
    model: Model,
    target: Annotated[Path, typer.Argument(help="Where to, `.h5` or `.keras` or dir.")],
) -> None:
    """Loads a Keras model and saves it in the format that the target's name says."""
    api = _api()
    try:
        loaded = api.load_model(model)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("default", UserWarning)
            api.save_model(loaded, target)
    except (RegraftError, OSError, ValueError, NotImplementedError) as error:
        raise _failure(error) from None
    _console.print(importlib.import_module("regraft").load_report(loaded))
    for warning in said:
        if warning.category is UserWarning:
            _say(f"Saved with a loss: {warning.message}", err=True)


@app.command()
def run(
    model: Model,
    inputs: Annotated[Path, typer.Argument(help="`.npz` with an array per input.")],
    outputs: Annotated[Path, typer.Argument(help="`.npz` to write.")],
    signature: Annotated[str, typer.Option(help="Which one.")] = "serving_default",
) -> None:
    """Runs a signature of a SavedModel on arrays."""
    np = importlib.import_module("numpy")
    try:
        loaded = _api().load(model)
        if signature not in loaded.signatures:
            names = ", ".join(sorted(loaded.signatures)) or "none"
            raise ValueError(f"There is no signature '{signature}'. There is: {names}.")
        with np.load(inputs, allow_pickle=False) as arrays:
            found = loaded.signatures[signature](dict(arrays))
        np.savez(outputs, **{name: np.asarray(v) for name, v in found.items()})
    except (RegraftError, OSError, ValueError, NotImplementedError) as error:
        raise _failure(error) from None


def _api() -> Any:
    """Keras is imported only for the commands that need it."""
    importlib.import_module("regraft")
    return importlib.import_module("regraft.api")
