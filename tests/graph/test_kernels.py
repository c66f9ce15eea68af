"""Every kernel gives what TensorFlow gives; rows stand in `tests/graph/cases`."""

from __future__ import annotations

import inspect
import itertools
import json
import runpy
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

from graph.cases import CASES, PROGRAMS
from graph.cases.case import Case, Program
from peer import fresh_process
from regraft.graph import ir, op_defs
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.main_graph import MainGraph, run_node
from regraft.graph.runtime.registry import KERNELS
from regraft.graph.serde import graph_from_proto
from regraft.storage import proto
from regraft.storage.proto import messages

GOLDEN = Path(__file__).with_name("golden") / "kernels.npz"

# Rows name attributes as TensorFlow's Python does; these differ in the op itself.
ATTR_NAMES = {("Squeeze", "axis"): "squeeze_dims"}


@pytest.fixture(scope="module")
def golden() -> Any:
    with np.load(GOLDEN) as file:
        yield file


def _expected(golden: Any, row: str) -> list[Any]:
    found = []
    while f"{row}/{len(found)}" in golden:
        found.append(_decoded(golden[f"{row}/{len(found)}"]))
    return found


def _decoded(array: Any) -> Any:
    if array.dtype.kind != "U":
        return array
    text = json.loads(str(array[0]))
    out = np.empty(text["shape"], object)
    out.reshape(-1)[:] = [bytes.fromhex(digits) for digits in text["hex"]]
    return out


def _assert_same(found: list[Any], expected: list[Any], tolerance: float) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        dtype = values.dtype_of(ours)
        name = "string" if theirs.dtype == object else _name(theirs.dtype)
        assert dtype in (name, values.device_dtype(name))
        assert tuple(ours.shape) == theirs.shape
        if dtype == "string":
            assert ours.tolist() == theirs.tolist()
            continue
        ours = np.asarray(ours)
        if theirs.dtype.kind not in "fcV":
            np.testing.assert_array_equal(ours, theirs)
            continue
        finite = theirs[np.isfinite(theirs)]
        scale = float(np.abs(finite).max()) if finite.size else 1.0
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=tolerance * max(scale, 1e-3), equal_nan=True
        )


def _name(dtype: Any) -> str:
    return "bfloat16" if dtype == ml_dtypes.bfloat16 else np.dtype(dtype).name


def _node(case: Case) -> ir.Node:
    """The row as a node, its types taken from the inputs."""
    op_def = op_defs.builtin(case.op)
    assert op_def is not None
    kinds = {attr.name: attr.type for attr in op_def.attrs}
    attrs: dict[str, Any] = {}
    for arg, value in zip(op_def.inputs, case.inputs.values(), strict=True):
        items = value if isinstance(value, list) else [value]
        types = tuple(ir.DataType.of(values.dtype_of(np.asarray(i))) for i in items)
        if arg.number_attr:
            attrs[arg.number_attr] = len(items)
        if arg.type_attr:
            attrs[arg.type_attr] = types[0]
        if arg.type_list_attr:
            attrs[arg.type_list_attr] = types
    for name, value in case.attrs.items():
        name = ATTR_NAMES.get((case.op, name), name)
        attrs[name] = _attr(kinds[name], value)
    return ir.Node("row", case.op, attrs=attrs)


def _attr(kind: str, value: Any) -> ir.AttrValue:
    if kind.startswith("list("):
        return tuple(_attr(kind[5:-1], item) for item in value)
    if kind == "type":
        return ir.DataType.of(value)
    if kind == "shape":
        return ir.TensorShape(tuple(None if d in (None, -1) else d for d in value))
    if kind == "string":
        return str(value).encode()
    return float(value) if kind == "float" else value  # type: ignore[no-any-return]


def _flat_inputs(case: Case) -> list[tuple[Any, bool]]:
    """The row's inputs one by one, and whether each must stay concrete."""
    kernel = KERNELS[case.op]
    found = []
    for i, (given, value) in enumerate(case.inputs.items()):
        name = kernel.inputs[min(i, len(kernel.inputs) - 1)]
        for item in value if isinstance(value, list) else [value]:
            array = np.asarray(item)
            fixed = (
                name in kernel.static
                or given in case.fixed
                or array.dtype.kind in "OSU"
            )
            found.append((array, fixed))
    return found


def _run(case: Case, inputs: list[Any]) -> list[Any]:
    return run_node(_node(case), inputs, FunctionLibrary({}))


def _check(case: Case, found: list[Any], golden: Any) -> None:
    expected = _expected(golden, case.id)
    assert expected or KERNELS[case.op].op == "NoOp", "Run golden/make.py."
    # Outputs that only TensorFlow's own gradient reads are left out.
    if case.op.startswith("FusedBatchNorm"):
        found, expected = found[:3], expected[:3]
    if case.compare is not None:
        found = case.compare([np.asarray(f) for f in found])
        expected = case.compare(expected)
    _assert_same(found, expected, case.tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_concrete_values(case: Case, golden: Any) -> None:
    _check(case, _run(case, [array for array, _ in _flat_inputs(case)]), golden)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_tensors(case: Case, golden: Any) -> None:
    inputs = [a if fixed else values.to_tensor(a) for a, fixed in _flat_inputs(case)]
    _check(case, _run(case, inputs), golden)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_compiled(case: Case, golden: Any) -> None:
    inputs = _flat_inputs(case)
    if all(fixed for _, fixed in inputs):
        return  # Nothing that could be traced.

    def run(traced: list[Any]) -> list[Any]:
        rest = iter(traced)
        return _run(case, [a if fixed else next(rest) for a, fixed in inputs])

    traced = [values.to_tensor(a) for a, fixed in inputs if not fixed]
    _check(case, jax.jit(run)(traced), golden)


# Programs


def _program(program: Program, golden: Any) -> tuple[MainGraph, list[str], list[str]]:
    message = proto.parse(messages.GraphDef, golden[f"{program.name}/graph"].tobytes())
    graph = graph_from_proto(message)
    names = json.loads(str(golden[f"{program.name}/names"][0]))
    library = FunctionLibrary(graph.functions)
    return MainGraph(graph.nodes, library), names["feeds"], names["fetches"]


def _assert_program(found: list[Any], program: Program, golden: Any) -> None:
    expected = _expected(golden, program.name)
    if not program.random:
        _assert_same(found, expected, program.tolerance)
        return
    assert [tuple(f.shape) for f in found] == [e.shape for e in expected]
    for ours, theirs in zip(found, expected, strict=True):
        name = _name(theirs.dtype)
        assert values.dtype_of(ours) in (name, values.device_dtype(name))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program(program: Program, golden: Any) -> None:
    graph, feeds, fetches = _program(program, golden)
    given = dict(zip(feeds, program.inputs, strict=True))
    _assert_program(graph.run(fetches, given), program, golden)


@pytest.mark.parametrize(
    "program",
    [p for p in PROGRAMS if not p.eager_only and p.inputs],
    ids=lambda program: program.name,
)
def test_compiled_program(program: Program, golden: Any) -> None:
    graph, feeds, fetches = _program(program, golden)
    # Made outside: a generator that is made while tracing would leak.
    _ = graph.library.seed_generator
    seed = graph.library.seed_generator.state.value

    def run(*inputs: Any) -> list[Any]:
        found = graph.run(fetches, dict(zip(feeds, inputs, strict=True)))
        graph.library.seed_generator.state.assign(seed)
        return found

    _assert_program(jax.jit(run)(*program.inputs), program, golden)


@pytest.mark.parametrize("as_seed", [np.array, jax.numpy.array])
def test_seeds_that_are_computed_make_keys_of_their_own(as_seed: Any) -> None:
    make = KERNELS["StatelessRandomGetKeyCounter"].function
    draw = KERNELS["StatelessRandomUniformV2"].function

    def drawn(seed: Any) -> Any:
        key, counter = make(seed)
        return draw(np.int32([2000]), key, counter, np.int32(1), dtype="float32")

    seeds = [as_seed(pair, "int32") for pair in ([5, -7], [-7, 5], [5, -6])]
    found = [np.asarray(drawn(seed)) for seed in seeds]
    for one in found:
        assert abs(one.mean() - 0.5) < 0.03
    assert all((a != b).mean() > 0.9 for a, b in itertools.combinations(found, 2))
    compiled = jax.jit(drawn)(seeds[0])
    np.testing.assert_array_equal(compiled, drawn(jax.numpy.asarray(seeds[0])))


# The registry


def _covered() -> set[str]:
    found = {case.op for case in CASES} | {"Const", "Placeholder"}
    with np.load(GOLDEN) as file:
        for program in PROGRAMS:
            data = file[f"{program.name}/graph"].tobytes()
            message = proto.parse(messages.GraphDef, data)
            nodes = [*message.node]
            for function in message.library.function:
                nodes += function.node_def
            found |= {node.op for node in nodes}
    return found


# Kernels whose op TensorFlow itself no longer runs on a CPU, or that need a file.
WITHOUT_ROW = {
    "AnonymousHashTable": "Its handle cannot pass a session.",
    "AnonymousMutableHashTable": "Its handle cannot pass a session.",
    "ControlTrigger": "It computes nothing.",
    "Copy": "Only TensorFlow's debugger makes it.",
    "CudnnRNN": "Tested against tf_keras' layers.",
    "CudnnRNNV2": "Tested against tf_keras' layers.",
    "CudnnRNNV3": "Tested against tf_keras' layers.",
    "CudnnRNNCanonicalToParams": "Tested against tf_keras' layers.",
    "CudnnRNNCanonicalToParamsV2": "Tested against tf_keras' layers.",
    "CudnnRNNParamsToCanonical": "Tested against tf_keras' layers.",
    "CudnnRNNParamsToCanonicalV2": "Tested against tf_keras' layers.",
    "CudnnRNNParamsSize": "Tested against tf_keras' layers.",
    "DecodeAndCropJpeg": "Tested with Pillow.",
    "ModelDataset": "It changes no element; TensorFlow makes it as it runs.",
    "OptimizeDataset": "It changes no element; TensorFlow makes it as it runs.",
    "OptimizeDatasetV2": "It changes no element; TensorFlow makes it as it runs.",
    "ParallelMapDataset": "TensorFlow writes its second version, which has a row.",
    "OptionsDataset": "It changes no element; TensorFlow makes it as it runs.",
    "DecodeGif": "Tested with Pillow.",
    "Empty": "Its values are undefined.",
    "InitializeTableFromTextFile": "Tested with an asset.",
    "InitializeTableFromTextFileV2": "Tested with an asset.",
    "LookupTableExport": "Has the kernel of LookupTableExportV2.",
    "LookupTableImport": "Has the kernel of LookupTableImportV2.",
    "LookupTableInsert": "Has the kernel of LookupTableInsertV2.",
    "LookupTableSize": "Has the kernel of LookupTableSizeV2.",
    "CTCLossV2": "TensorFlow runs it on a GPU only; it is CTCLoss with class 0 blank.",
    "FakeParam": "Its values are undefined.",
    "MatrixExponential": "TensorFlow 2.21 itself cannot run it; tested against SciPy.",
    "MutableHashTable": "Has the kernel of MutableHashTableV2.",
    "LoopCond": "Becomes part of a While before it could run.",
    "PlaceholderV2": "Has the kernel of Placeholder.",
    "RandomPoisson": "TensorFlow 2.21 itself cannot run it; it is RandomPoissonV2.",
    "RefMerge": "Has the kernel of Merge.",
    "RefSwitch": "Has the kernel of Switch.",
    "RemoteCall": "Needs a device by name.",
    "RestoreV2": "Tested on the vintage corpus.",
    "ShardedFilename": "Tested on the vintage corpus.",
    "XlaSharding": "TensorFlow runs it in XLA only; it passes its input on.",
    "TopK": "TensorFlow 2.21 itself cannot run it; it is TopKV2 with a fixed k.",
    "XlaIf": "TensorFlow 2.21 itself cannot compile it; has the kernel of If.",
    "XlaCallModule": "Tested against JAX, which made the module.",
}


def test_every_kernel_has_a_row() -> None:
    assert sorted(set(KERNELS) - _covered() - set(WITHOUT_ROW)) == []
    assert set(WITHOUT_ROW) <= set(KERNELS)


@pytest.mark.parametrize("op", sorted(KERNELS))
def test_kernel_reads_or_ignores_every_attribute(op: str) -> None:
    kernel = KERNELS[op]
    op_def = op_defs.builtin(op)
    assert op_def is not None
    assert len(kernel.inputs) == len(op_def.inputs)
    counts = {a.number_attr for a in (*op_def.inputs, *op_def.outputs)}
    names = {attr.name for attr in op_def.attrs}
    read = set(kernel.attrs) | kernel.ignored | counts
    assert {a.name for a in op_def.attrs if not a.is_type} <= read
    assert set(kernel.attrs) <= names | {"node_name"}
    for parameter in inspect.signature(kernel.function).parameters.values():
        assert parameter.default is parameter.empty


def test_at_least_350_ops_have_a_kernel() -> None:
    assert len(KERNELS) >= 350


def test_page_of_ops_is_the_registrys() -> None:
    script = Path(__file__).parents[2] / "tools" / "make_ops_page.py"
    made = runpy.run_path(str(script))
    assert made["TARGET"].read_text(encoding="utf-8") == made["page"](), (
        "Run tools/make_ops_page.py."
    )


_IN_64_BITS = """\
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
from regraft.graph.runtime.kernels.math import UNARY

x = np.linspace(0.1, 0.9, 5)
for op in ("Ceil", "Cos", "Cosh", "Floor", "Sin", "Sinh", "Tan", "Tanh"):
    found = UNARY[op](jax.numpy.asarray(x))
    assert found.dtype == "float64", op
    np.testing.assert_allclose(found, getattr(np, op.lower())(x), rtol=1e-14)
"""


def test_float64_stays_float64_where_jax_has_it() -> None:
    fresh_process(_IN_64_BITS)
