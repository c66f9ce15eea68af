"""The rooms of the house and who may import whom: the tables below are the law."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from peer import fresh_process

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "regraft"

# A room is a module or package of `regraft`; the longest match counts. Each names
# the rooms it may import besides itself. Imports go one way, downward.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "dtypes": {"errors"},
    "options": {"errors"},
    "blame": set(),
    "_version": set(),
    "_backend": set(),
    "_compat": {"errors", "dtypes"},
    "storage": {"errors", "dtypes", "options"},
    "graph": {"errors", "dtypes", "options", "storage"},
    "model": {"errors", "dtypes", "options", "storage", "graph", "_compat"},
    "saving": {
        *("errors", "dtypes", "options", "storage", "graph", "model", "_compat")
    },
    "loading": {
        *("errors", "dtypes", "options", "storage", "graph", "model", "_compat")
    },
    "signatures": {"errors", "dtypes", "options", "graph", "model", "saving"},
    "other_backends": {
        *("errors", "options", "graph", "model", "_compat", "saving", "loading")
    },
    "trace_process": {"api"},
    "filepaths": {"errors", "options", "storage", "model", "loading"},
    "inspection": {
        *("errors", "dtypes", "options", "storage", "graph", "model", "loading")
    },
    "api": {
        *("errors", "dtypes", "options", "storage", "graph", "model", "_compat"),
        *("saving", "loading", "signatures", "inspection", "other_backends"),
        *("blame", "filepaths"),
    },
    "weights": {
        *("errors", "options", "storage", "model", "_compat", "saving", "loading"),
        "filepaths",
    },
    "keras_hook": {"options", "api", "storage", "filepaths", "weights"},
    "cli": {
        *("errors", "dtypes", "options", "storage", "graph", "model", "inspection"),
        *("api", "loading", "_version"),
    },
    "": {
        "_version",
        "_backend",
        "errors",
        "options",
    },  # `regraft/__init__.py`: all else by `__getattr__`.
}

# Where a library may be imported; a row ends with the libraries' names. Any other
# place that imports one of these fails.
LIBRARIES: dict[str, set[str]] = {
    "keras": {
        "_compat",
        "graph.runtime",
        "model.dialects",
        "model.keras2",
        "model.optimizers",
        "model.compile",
        "model.state_tree",
        "model.values",
        "model.attribute_order",
        "model.ordering",
        "saving",
        "loading",
        "signatures",
        "api",
        "other_backends",
        "trace_process",
        "weights",
        "keras_hook",
    },
    "jax": {"_compat", "graph.tracing", "graph.runtime", "loading", "saving", "api"},
    "google.protobuf": {"storage.proto"},
    "google_crc32c": {"storage"},
    "h5py": {"storage", "filepaths"},
    "fsspec": {"storage.filesystem"},
    "re2": {"graph.runtime.kernels.regex"},
    "typer": {"cli"},
    "rich": {"cli", "loading.report", "api"},
    "numpy": {""},
    "ml_dtypes": {""},
    "tensorflow": set(),
    "tf_keras": set(),
    "torch": set(),
    "absl": set(),
    "etils": set(),
}

# Imports inside a function, each with its reason. None of them hides a cycle.
LATE_IMPORTS: dict[tuple[str, str], str] = {
    ("regraft._compat", "jax"): "Where Keras runs on JAX only.",
    ("regraft._compat.lengths", "jax"): "Where Keras runs on JAX only.",
    (
        "regraft.filepaths",
        "h5py",
    ): "Its absence has an error that helps.",
    ("regraft.graph.runtime.kernels.values", "jax"): "Where Keras runs on JAX only.",
    ("regraft.storage.filesystem", "fsspec"): "An extra; missing for most users.",
    ("regraft.graph.runtime.kernels.regex", "re2"): "Few graphs need it.",
    ("regraft.loading.report", "rich.console"): "Only when a report is printed.",
    ("regraft.loading.report", "rich.table"): "Only when a report is printed.",
    ("regraft.loading.report", "rich.text"): "Only when a report is printed.",
}

# Modules that must not load Keras or JAX: they answer in a tenth of a second.
LIGHT = ("regraft", "regraft.inspection", "regraft.loading.read", "regraft.cli")

# Facts in a table, written by a script.
GENERATED = ("src/regraft/graph/op_defs.py",)
LINES_PER_MODULE = 600


class Module(NamedTuple):
    """A source file under `src/regraft`."""

    name: str
    path: Path
    tree: ast.Module


class Import(NamedTuple):
    """One imported module, absolute."""

    importer: str
    imported: str
    line: int
    late: bool


@functools.cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, ast.parse(path.read_text(), str(path))))
    return tuple(found)


def imports(module: Module) -> Iterator[Import]:
    names = {other.name for other in modules()}
    typing_only = {id(node) for node in _type_checking_nodes(module.tree)}
    late = {
        id(node)
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(module.tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` imports the module.
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [d if d in names else node.module for d in dotted]
        else:
            continue
        for target in dict.fromkeys(targets):
            yield Import(module.name, target, node.lineno, id(node) in late)


def _type_checking_nodes(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for statement in node.body:
                yield from ast.walk(statement)


ALL_IMPORTS = tuple(found for module in modules() for found in imports(module))


def is_under(name: str, place: str) -> bool:
    return not place or name == place or name.startswith(f"{place}.")


def room_of(module: str) -> str:
    inside = module.removeprefix("regraft").removeprefix(".")
    return max((room for room in ROOMS if is_under(inside, room)), key=len)


def library_of(module: str) -> str | None:
    found = [library for library in LIBRARIES if is_under(module, library)]
    return max(found, key=len, default=None)


def complaints(lines: list[str]) -> str:
    return "\n".join(["", *lines])


def test_every_room_of_the_table_can_be_reached_one_way():
    order: list[str] = []
    waiting = dict(ROOMS)
    while waiting:
        ready = [room for room, below in waiting.items() if below <= set(order)]
        assert ready, f"A cycle among the rooms {sorted(waiting)}"
        order += ready
        for room in ready:
            del waiting[room]


def test_every_module_stands_in_a_room():
    stray = [
        module.name
        for module in modules()
        if not room_of(module.name) and module.name != "regraft"
    ]
    assert not stray


def test_rooms_import_only_the_rooms_below_them():
    wrong = []
    for found in ALL_IMPORTS:
        if not is_under(found.imported, "regraft"):
            continue
        here, there = room_of(found.importer), room_of(found.imported)
        if here != there and there not in ROOMS[here]:
            wrong.append(
                f"{found.importer}:{found.line} imports {found.imported}: "
                f"{here or 'regraft'} may import {sorted(ROOMS[here])}"
            )
    assert not wrong, complaints(wrong)


def test_libraries_are_imported_only_where_they_belong():
    wrong = []
    for found in ALL_IMPORTS:
        library = library_of(found.imported)
        if library is None:
            continue
        inside = found.importer.removeprefix("regraft").removeprefix(".")
        if not any(is_under(inside, place) for place in LIBRARIES[library]):
            wrong.append(
                f"{found.importer}:{found.line} imports {found.imported}: "
                f"only {sorted(LIBRARIES[library])} may"
            )
    assert not wrong, complaints(wrong)


def test_imports_stand_at_the_top_of_their_module():
    wrong = [
        f"{found.importer}:{found.line} imports {found.imported} inside a function"
        for found in ALL_IMPORTS
        if found.late and (found.importer, found.imported) not in LATE_IMPORTS
    ]
    assert not wrong, complaints(wrong)


def test_every_excused_late_import_is_still_there():
    late = {(found.importer, found.imported) for found in ALL_IMPORTS if found.late}
    assert set(LATE_IMPORTS) <= late


def test_private_names_of_keras_and_jax_stand_in_one_room():
    wrong = []
    for module in modules():
        if room_of(module.name) == "_compat":
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute):
                path = _dotted(node)
            elif isinstance(node, ast.ImportFrom):
                path = node.module or ""
            elif isinstance(node, ast.Import):
                path = node.names[0].name
            else:
                continue
            if re.match(r"(keras|jax)\.(.*\.)?(_(?!_)\w+|src)\b", path):
                wrong.append(f"{module.name}:{node.lineno} uses {path}")
    assert not wrong, complaints(wrong)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def test_source_holds_no_assert():
    wrong = [
        f"{module.name}:{node.lineno}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assert)
    ]
    assert not wrong


def test_source_runs_nothing_that_a_file_says():
    """No `eval`, `exec`, `pickle`, `marshal`, and no import by a name from a file."""
    banned_calls = {"eval", "exec", "compile", "__import__"}
    banned_modules = {"pickle", "marshal", "dill", "cloudpickle", "shelve"}
    wrong = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in ALL_IMPORTS
        if found.imported.partition(".")[0] in banned_modules
    ]
    for module in modules():
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in banned_calls
            ):
                wrong.append(f"{module.name}:{node.lineno} calls {node.func.id}")
    assert not wrong, complaints(wrong)


def test_modules_stay_small():
    long = {
        str(module.path.relative_to(ROOT)): lines
        for module in modules()
        if (lines := len(module.path.read_text().splitlines())) > LINES_PER_MODULE
    }
    assert set(long) <= set(GENERATED), long


def test_no_module_is_a_drawer():
    names = {module.path.stem for module in modules()}
    assert not names & {"utils", "util", "helpers", "helper", "misc", "common"}


@pytest.mark.parametrize("module", LIGHT)
def test_light_module_loads_neither_keras_nor_jax(module):
    script = f"""
        import importlib, sys
        importlib.import_module({module!r})
        print(*sorted({{"keras", "jax"}} & sys.modules.keys()))
    """
    assert fresh_process(script).stdout == "\n"


# Written in pieces, so that this file is not its own finding.
MACHINE_PATHS = re.compile(
    "|".join(
        (
            r"(?<![\w.<{])/" + r"work/\w",
            "/" + r"home/\w",
            "/" + r"root/\w",
            "/" + r"Users/\w",
            r"[A-Z]:\\" + r"Users",
            "/" + "opt/pypi",
        )
    )
)
TEXT = {".py", ".pyi", ".md", ".toml", ".yml", ".yaml", ".txt", ".json", ".proto", ""}
FOLDERS = ("src", "tests", "docs", "examples", "benchmarks", "tools", ".ci")


def _project_texts() -> Iterator[Path]:
    # In a second work tree `.git` is a file that says where the repository is.
    yield from (p for p in ROOT.iterdir() if p.is_file() and p.name != ".git")
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def test_no_file_names_a_path_of_the_machine_it_was_written_on():
    wrong = []
    for path in _project_texts():
        if path.suffix not in TEXT:
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines()):
            if MACHINE_PATHS.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number + 1}: {line[:80]}")
    assert not wrong, complaints(wrong)
