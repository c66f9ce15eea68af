"""The runtime around the kernels: plans, calls, errors, variables, shapes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import keras
import numpy as np
import pytest
import scipy.linalg
from jax import export
from packaging.version import Version

from graph.graphs import FLOAT, call, function, node
from regraft.errors import (
    FormatError,
    LimitError,
    MismatchError,
    UnsupportedError,
    UnsupportedOpError,
)
from regraft.graph import ir
from regraft.graph.runtime import structure, xla_options
from regraft.graph.runtime.context import HostVariable, KerasVariable, ResourceScope
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.main_graph import MainGraph, run_node
from regraft.graph.runtime.registry import KERNELS, kernel, register
from regraft.graph.runtime.xla_options import compiler_options


def _library(*functions: ir.Function, **options: Any) -> FunctionLibrary:
    return FunctionLibrary({f.name: f for f in functions}, **options)


def _run(library: FunctionLibrary, name: str, *inputs: Any) -> Any:
    return library.callable(name)(inputs)[0]


DOUBLE = function(
    "double", {"x": "float32"}, [node("d", "AddV2", "x", "x")], {"y": "d:z:0"}
)


def test_function_runs_whatever_the_order_of_its_nodes() -> None:
    nodes = [
        node("last", "Neg", "middle:y:0"),
        node("middle", "Square", "first:z:0"),
        node("first", "AddV2", "x", "x"),
    ]
    library = _library(function("f", {"x": "float32"}, nodes, {"out": "last:y:0"}))
    assert float(_run(library, "f", 3.0)) == -36.0


def test_argument_may_be_returned_as_it_is() -> None:
    library = _library(function("f", {"x": "float32"}, [], {"out": "x"}))
    assert float(_run(library, "f", 3.0)) == 3.0


def test_what_nobody_needs_does_not_run() -> None:
    nodes = [node("bad", "NoSuchOp", "x"), node("n", "Neg", "x")]
    library = _library(function("f", {"x": "float32"}, nodes, {"out": "n:y:0"}))
    assert float(_run(library, "f", 3.0)) == -3.0


def test_all_missing_ops_are_named_before_anything_runs() -> None:
    inner = function(
        "inner", {"x": "float32"}, [node("b", "MissingB", "x")], {"y": "b:y:0"}
    )
    variable = HostVariable(np.float32(1))
    outer = function(
        "outer",
        {"x": "float32", "v": "resource"},
        [
            node("a", "AssignVariableOp", "v", "x", dtype=FLOAT),
            node("m", "MissingA", "x"),
            call("c", "inner", "m:y:0"),
        ],
        {"y": "c:output:0"},
    )
    library = _library(inner, outer)
    with pytest.raises(UnsupportedOpError) as caught:
        library.callable("outer")([2.0], [variable])
    assert caught.value.ops == ("MissingA", "MissingB")
    assert "MissingB, in inner" in str(caught.value)
    assert variable.read() == 1
    assert library.missing_ops("inner") == {"MissingB": ["inner"]}


def _chain(depth: int) -> FunctionLibrary:
    """Each function calls the next one and adds its argument."""
    functions = [
        function(
            f"f{i}",
            {"x": "float32"},
            [call("c", f"f{i + 1}", "x"), node("d", "AddV2", "c:output:0", "x")],
            {"y": "d:z:0"},
        )
        for i in range(depth)
    ]
    return _library(*functions, function(f"f{depth}", {"x": "float32"}, [], {"y": "x"}))


def test_calls_nested_10000_deep_do_not_deepen_pythons_stack() -> None:
    library = _chain(10_000)
    assert float(_run(library, "f0", 1.0)) == 10_001
    assert library.missing_ops("f0") == {}


def _doubling(depth: int) -> FunctionLibrary:
    """Each function calls the next one twice."""
    functions = [
        function(
            f"f{i}",
            {"x": "float32"},
            [call("c", f"f{i + 1}", "x"), call("d", f"f{i + 1}", "c:output:0")],
            {"y": "d:output:0"},
        )
        for i in range(depth)
    ]
    last = function(f"f{depth}", {"x": "float32"}, [], {"y": "x"})
    return _library(*functions, last)


def test_calls_of_calls_are_counted_without_making_them() -> None:
    assert _doubling(10).expanded_calls("f0") == 2**11 - 2
    assert _doubling(60).expanded_calls("f0") > 2**60


def test_function_that_calls_itself_is_counted() -> None:
    name = "f"
    library = _library(
        function(name, {"x": "float32"}, [call("c", "f", "x")], {"y": "c:output:0"})
    )
    assert library.expanded_calls(name) == 1


def _python_calls(work: Callable[[], Any]) -> int:
    """How many Python functions a piece of work calls: its length on any machine."""
    count = 0

    def watch(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_work_of_nested_calls_grows_with_their_number_alone() -> None:
    short, long = (
        _python_calls(lambda depth=depth: _run(_chain(depth), "f0", 1.0))
        for depth in (500, 5000)
    )
    assert short > 500
    assert long / short < 12  # Ten times, where each is looked at once.


def test_calls_that_double_at_each_level_end_with_a_limit() -> None:
    depth = 64
    functions = [
        function(
            f"f{i}",
            {"x": "float32"},
            [call("a", f"f{i + 1}", "x"), call("b", f"f{i + 1}", "a:output:0")],
            {"y": "b:output:0"},
        )
        for i in range(depth)
    ]
    last = function(f"f{depth}", {"x": "float32"}, [], {"y": "x"})
    library = _library(*functions, last, max_calls=10_000)
    with pytest.raises(LimitError, match="max_function_calls"):
        _run(library, "f0", 1.0)
    with pytest.raises(LimitError, match="too often to be compiled"):
        jax.jit(lambda x: _run(library, "f0", x))(1.0)


def _endless_loop() -> tuple[ir.Function, ...]:
    truth = node("t", "Const", value=ir.TensorValue.from_numpy(np.array(True)))
    always = function("always", {"x": "float32"}, [truth], {"y": "t:output:0"})
    body = function("body", {"x": "float32"}, [node("n", "Neg", "x")], {"y": "n:y:0"})
    loop = node(
        "w",
        "While",
        "x",
        cond=ir.FunctionRef("always"),
        body=ir.FunctionRef("body"),
        T=(FLOAT,),
    )
    return always, body, function("f", {"x": "float32"}, [loop], {"y": "w:output:0"})


def test_loop_without_end_ends_with_a_limit() -> None:
    library = _library(*_endless_loop(), max_calls=1000)
    with pytest.raises(LimitError, match="at most 1000 calls"):
        _run(library, "f", 1.0)
    # The bound is a run's, not the library's: the next run has all of it.
    with pytest.raises(LimitError, match="at most 1000 calls"):
        _run(library, "f", 1.0)


def test_endless_loop_is_not_handed_to_the_compiler() -> None:
    library = _library(*_endless_loop(), max_calls=1000)
    with pytest.raises(LimitError, match="at most 1000 calls"):
        jax.jit(lambda x: _run(library, "f", x))(1.0)


def test_loop_that_the_data_end_has_a_gradient_where_its_rounds_are_bounded() -> None:
    kinds = {"i": "int32", "n": "int32", "x": "float32"}
    five, one, zero = (
        node(name, "Const", value=ir.TensorValue.from_numpy(np.array(number, np.int32)))
        for name, number in (("five", 5), ("one", 1), ("zero", 0))
    )
    cond = function(
        "cond",
        kinds,
        [
            five,
            node("few", "Less", "i", "five:output:0"),
            node("more", "Less", "i", "n"),
            node("both", "LogicalAnd", "few:z:0", "more:z:0"),
        ],
        {"y": "both:z:0"},
    )
    body = function(
        "body",
        kinds,
        [one, node("j", "AddV2", "i", "one:output:0"), node("y", "AddV2", "x", "x")],
        {"i_": "j:z:0", "n_": "n", "x_": "y:z:0"},
    )
    loop = node(
        "w",
        "While",
        *("zero:output:0", "n", "x"),
        cond=ir.FunctionRef("cond"),
        body=ir.FunctionRef("body"),
        T=(ir.DataType.of("int32"), ir.DataType.of("int32"), FLOAT),
    )
    given = {"n": "int32", "x": "float32"}
    whole = function("f", given, [zero, loop], {"y": "w:output:2"})
    library = _library(cond, body, whole)

    def run(x: Any, n: Any) -> Any:
        return library.callable("f")([n, x])[0]

    both = jax.jit(jax.value_and_grad(run))
    for rounds, expected in ((3, 8.0), (9, 32.0), (0, 1.0)):
        value, slope = both(1.5, np.int32(rounds))
        assert float(value) == 1.5 * expected
        assert float(slope) == expected
        assert float(jax.jit(run)(1.5, np.int32(rounds))) == 1.5 * expected


def test_function_that_stands_for_an_op_is_called() -> None:
    called = function("f", {"x": "float32"}, [node("c", "double", "x")], {"y": "c:y:0"})
    assert _run(_library(DOUBLE, called), "f", 1.5) == 3.0


def test_compiled_loop_without_end_ends_with_a_limit() -> None:
    always, body, f = _endless_loop()
    data = node("t", "GreaterEqual", "x", "x", T=FLOAT)
    always = function("always", {"x": "float32"}, [data], {"y": "t:z:0"})
    library = _library(always, body, f, max_calls=1000)
    library.compile_calls()
    for _ in range(2):
        with pytest.raises(LimitError, match="at most 1000 calls"):
            _run(library, "f", jax.numpy.float32(1.0))


def _convolution() -> ir.Function:
    convolution = node(
        "c",
        "Conv2D",
        "x",
        "k",
        T=FLOAT,
        strides=(1, 1, 1, 1),
        padding=b"SAME",
    )
    return function(
        "f", {"x": "float32", "k": "float32"}, [convolution], {"y": "c:output:0"}
    )


def test_convolutions_on_the_cpu_are_compiled_as_xlas_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = _library(_convolution())
    options = compiler_options([library.plan("f")])
    knows = Version(version("jaxlib")) >= Version("0.10")
    assert bool(options) or not knows
    monkeypatch.setenv("XLA_FLAGS", f"--{next(iter(options), 'other')}=A")
    assert compiler_options([library.plan("f")]) == {} or not options
    monkeypatch.undo()
    library.compile_calls()
    x = np.random.default_rng(0).normal(size=(2, 40, 40, 32)).astype("float32")
    k = np.random.default_rng(1).normal(size=(3, 3, 32, 32)).astype("float32")
    expected = jax.lax.conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    got = _run(library, "f", jax.numpy.asarray(x), jax.numpy.asarray(k))
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_options_that_xla_does_not_know_are_not_given() -> None:
    assert not xla_options._knows("xla_no_such_option", "1")
    chain = _chain(3)
    assert compiler_options([chain.plan("f0")]) == {}


def test_shape_that_only_values_know_is_refused_while_compiling() -> None:
    nodes = [node("w", "Where", "x", T=FLOAT)]
    library = _library(function("f", {"x": "float32"}, nodes, {"y": "w:index:0"}))
    x = np.array([0, 1, 2], np.float32)
    assert library.callable("f")([x])[0].tolist() == [[1], [2]]
    with pytest.raises(UnsupportedError, match="outside of jit"):
        jax.jit(lambda x: library.callable("f")([x])[0])(x)


def test_10000_nodes_are_traced_with_work_that_grows_with_their_number() -> None:
    calls = []
    for count in (1000, 10_000):
        nodes = [node("n0", "Neg", "x")]
        nodes += [node(f"n{i}", "Neg", f"n{i - 1}:y:0") for i in range(1, count)]
        f = function("f", {"x": "float32"}, nodes, {"y": f"n{count - 1}:y:0"})
        library = _library(f)
        traced = jax.make_jaxpr(lambda x, library=library: _run(library, "f", x))
        calls.append(_python_calls(lambda traced=traced: traced(1.0)))
    assert calls[1] / calls[0] < 12


def test_function_that_calls_itself_without_end_is_refused() -> None:
    library = _library(
        function("f", {"x": "float32"}, [call("c", "f", "x")], {"y": "c:output:0"})
    )
    with pytest.raises(LimitError, match="too deep"):
        _run(library, "f", 1.0)


def test_branches_nested_without_end_are_refused() -> None:
    branch = node(
        "i",
        "If",
        "x",
        "x",
        then_branch=ir.FunctionRef("f"),
        else_branch=ir.FunctionRef("f"),
        Tin=(FLOAT,),
        Tout=(FLOAT,),
    )
    library = _library(function("f", {"x": "float32"}, [branch], {"y": "i:output:0"}))
    with pytest.raises((LimitError, UnsupportedError)):
        _run(library, "f", 1.0)


@pytest.mark.parametrize(
    ("nodes", "output", "text"),
    [
        ([node("a", "Neg", "b:y:0"), node("b", "Neg", "a:y:0")], "a:y:0", "cycle"),
        ([node("a", "Neg", "gone:y:0")], "a:y:0", "no such node"),
        ([node("a", "Neg", "x")], "a:wrong:0", "no such tensor"),
        ([node("a", "AddV2", "x")], "a:z:0", "number of inputs"),
        ([node("a", "Cast", "x")], "a:y:0", "Missing attribute 'DstT'"),
        ([node("a", "Unpack", "x", num=1 << 40)], "a:output:0", "length of a list"),
    ],
)
def test_broken_function_is_refused(
    nodes: list[ir.Node], output: str, text: str
) -> None:
    library = _library(function("f", {"x": "float32"}, nodes, {"y": output}))
    with pytest.raises(FormatError, match=text):
        _run(library, "f", 1.0)


def test_wrong_number_of_arguments_names_them() -> None:
    with pytest.raises(MismatchError, match="takes 1 arguments: x"):
        _library(DOUBLE).callable("double")([1.0, 2.0])
    with pytest.raises(MismatchError, match="no function 'gone'"):
        _library(DOUBLE).callable("gone")


def test_error_of_a_kernel_names_the_node() -> None:
    library = _library(
        function(
            "f", {"x": "float32"}, [node("m", "MatMul", "x", "x")], {"y": "m:product:0"}
        )
    )
    x = np.zeros((2, 3), np.float32)
    given = r"float32\[2, 3\], float32\[2, 3\]"
    said = rf"Can't compute node 'm' \(MatMul\) of 'f' of {given}: "
    with pytest.raises(MismatchError, match=said):
        _run(library, "f", x)
    with pytest.raises(MismatchError, match=said):
        jax.jit(lambda x: _run(library, "f", x))(x)


def test_kernel_of_an_op_is_registered_once() -> None:
    with pytest.raises(ValueError, match="two kernels"):
        register("MatMul", lambda a, b: a)
    with pytest.raises(ValueError, match="no inputs"):
        kernel("NoSuchOp", static=("z",))(lambda x: x)


def test_known_values_stay_numpys_while_tracing() -> None:
    """A shape is read, changed and used, and none of it reaches the compiler."""
    nodes = [
        node("s", "Shape", "x", out_type=ir.DataType.of("int32")),
        node("p", "Prod", "s:output:0", "zero:output:0"),
        node("zero", "Const", value=ir.TensorValue.from_numpy(np.array([0], np.int32))),
        node("k", "Pack", "p:output:0", N=1),
        node("r", "Reshape", "x", "k:output:0"),
    ]
    library = _library(function("f", {"x": "float32"}, nodes, {"y": "r:output:0"}))
    traced = jax.make_jaxpr(lambda x: _run(library, "f", x))(
        np.zeros((2, 3), np.float32)
    )
    assert [e.primitive.name for e in traced.eqns] == ["reshape"]


def test_batch_size_may_be_a_symbol() -> None:
    nodes = [
        node("s", "Shape", "x", out_type=ir.DataType.of("int32")),
        node("minus", "Const", value=ir.TensorValue.from_numpy(np.int32(6))),
        node("zero", "Const", value=ir.TensorValue.from_numpy(np.array([0], np.int32))),
        node("one", "Const", value=ir.TensorValue.from_numpy(np.array([1], np.int32))),
        node(
            "b",
            "StridedSlice",
            "s:output:0",
            "zero:output:0",
            "one:output:0",
            "one:output:0",
            shrink_axis_mask=1,
        ),
        node("k", "Pack", "b:output:0", "minus:output:0", N=2),
        node("r", "Reshape", "x", "k:output:0"),
    ]
    library = _library(function("f", {"x": "float32"}, nodes, {"y": "r:output:0"}))
    (batch,) = export.symbolic_shape("b")
    given = jax.ShapeDtypeStruct((batch, 2, 3), np.float32)
    made = export.export(jax.jit(lambda x: _run(library, "f", x)))(given)
    assert str(made.out_avals[0].shape) == "(b, 6)"


def test_number_of_examples_may_be_a_symbol_that_becomes_a_float() -> None:
    nodes = [
        node("s", "Size", "x", out_type=ir.DataType.of("int32")),
        node("k", "Pack", "s:output:0", N=1),
        node("l", "ConcatV2", "k:output:0", "k:output:0", "zero:output:0", N=2),
        node("zero", "Const", value=ir.TensorValue.from_numpy(np.int32(0))),
        node("c", "Cast", "l:output:0", SrcT=ir.DataType.of("int32"), DstT=FLOAT),
    ]
    library = _library(function("f", {"x": "float32"}, nodes, {"y": "c:y:0"}))
    (batch,) = export.symbolic_shape("b")
    given = jax.ShapeDtypeStruct((batch, 2), np.float32)
    made = export.export(jax.jit(lambda x: _run(library, "f", x)))(given)
    found = made.call(np.zeros((3, 2), np.float32))
    np.testing.assert_array_equal(found, np.float32([6, 6]))


def test_shape_that_depends_on_values_is_refused_while_compiling() -> None:
    nodes = [node("r", "Reshape", "x", "s")]
    library = _library(
        function("f", {"x": "float32", "s": "int32"}, nodes, {"y": "r:output:0"})
    )
    x, shape = np.zeros((2, 3), np.float32), np.array([6], np.int32)
    assert library.callable("f")([x, shape])[0].shape == (6,)
    with pytest.raises(UnsupportedError, match="outside of jit"):
        jax.jit(lambda s: library.callable("f")([x, s])[0])(shape)


def test_64_bit_numbers_stay_exact_on_the_host() -> None:
    nodes = [
        node("m", "FloorMod", "x", "seven:output:0"),
        node("seven", "Const", value=ir.TensorValue.from_numpy(np.int64(7))),
    ]
    library = _library(function("f", {"x": "int64"}, nodes, {"y": "m:z:0"}))
    assert int(_run(library, "f", np.int64(2**40 + 3))) == (2**40 + 3) % 7


def test_variable_is_written_through_keras_stateless_scope() -> None:
    variable = keras.Variable(np.float32(1), autocast=False)
    f = function(
        "f",
        {"x": "float32", "v": "resource"},
        [
            node("a", "AssignAddVariableOp", "v", "x", dtype=FLOAT),
            node("r", "ReadVariableOp", "v", "^a", dtype=FLOAT),
        ],
        {"y": "r:value:0"},
    )
    library = _library(f)
    held = KerasVariable(variable)

    def step(value: Any, x: Any) -> tuple[Any, Any]:
        with keras.StatelessScope([(variable, value)]) as scope:
            (out,) = library.callable("f")([x], [held])
        return out, scope.get_current_value(variable)

    out, after = jax.jit(step)(variable.value, np.float32(2))
    assert (float(out), float(after), float(variable.value)) == (3, 3, 1)
    library.callable("f")([2.0], [held])
    assert float(variable.value) == 3


def test_random_ops_draw_from_the_seed_that_is_given() -> None:
    shape = node("s", "Const", value=ir.TensorValue.from_numpy(np.array([4], np.int32)))
    f = function(
        "f",
        {},
        [shape, node("u", "RandomUniform", "s:output:0", dtype=FLOAT, T=FLOAT)],
        {"y": "u:output:0"},
    )
    library = _library(f)

    def draw(seed: int) -> Any:
        generator = keras.random.SeedGenerator(seed)
        run = library.callable("f")
        return [run([], seed_generator=generator)[0] for _ in range(2)]

    first, second = draw(1)
    assert np.abs(first - second).max() > 0
    np.testing.assert_array_equal(draw(1), [first, second])
    assert np.abs(draw(2)[0] - first).max() > 0


@pytest.mark.parametrize(
    ("op", "mean", "deviation"),
    [
        ("RandomUniform", 0.5, 12**-0.5),
        ("RandomStandardNormal", 0.0, 1.0),
        ("TruncatedNormal", 0.0, 0.87962566),
    ],
)
def test_random_numbers_have_the_right_distribution(
    op: str, mean: float, deviation: float
) -> None:
    row = ir.Node("n", op, attrs={"dtype": FLOAT, "T": ir.DataType.of("int32")})
    (found,) = run_node(row, [np.array([20000], np.int32)], FunctionLibrary({}))
    assert abs(float(np.mean(found)) - mean) < 0.03
    assert abs(float(np.std(found)) - deviation) < 0.03


def test_table_is_filled_from_an_asset_and_from_nothing_else() -> None:
    text = ir.DataType.of("string")
    number = ir.DataType.of("int64")
    nodes = [
        ir.Node("t", "HashTableV2", attrs={"key_dtype": text, "value_dtype": number}),
        ir.Node("name", "Placeholder", attrs={"dtype": text}),
        ir.Node(
            "fill",
            "InitializeTableFromTextFileV2",
            ("t", "name"),
            {"key_index": -2, "value_index": -1, "vocab_size": -1},
        ),
        ir.Node("keys", "Placeholder", attrs={"dtype": text}),
        ir.Node(
            "none", "Const", attrs={"value": ir.TensorValue.from_numpy(np.int64(-1))}
        ),
        ir.Node(
            "find",
            "LookupTableFindV2",
            ("t", "keys", "none", "^fill"),
            {"Tin": text, "Tout": number},
        ),
    ]
    library = _library(resources=ResourceScope({"words.txt": b"red\ngreen\n"}))
    graph = MainGraph(nodes, library)
    (found,) = graph.run(["find"], {"name": "assets/words.txt", "keys": ["green", "x"]})
    assert found.tolist() == [1, -1]
    with pytest.raises(MismatchError, match="no asset"):
        graph.run(["find"], {"name": "/etc/hostname", "keys": ["x"]})


def test_table_that_nothing_filled_gives_no_defaults() -> None:
    """TensorFlow says of it: table not initialized."""
    text = ir.DataType.of("string")
    kinds = {"key_dtype": text, "value_dtype": text}
    for op, filled in (("HashTableV2", False), ("MutableHashTableV2", True)):
        nodes = [
            ir.Node("t", op, attrs=kinds),
            ir.Node("key", "Placeholder", attrs={"dtype": text}),
            ir.Node(
                "find",
                "LookupTableFindV2",
                ("t", "key", "key"),
                {"Tin": text, "Tout": text},
            ),
        ]
        graph = MainGraph(nodes, _library())
        if filled:
            assert graph.run(["find"], {"key": "x"})[0].item() == b"x"
        else:
            with pytest.raises(MismatchError, match="nothing in the file has filled"):
                graph.run(["find"], {"key": "x"})


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("Fill", [np.array([1 << 20, 1 << 20], np.int64), np.float32(0)]),
        ("Fill", [np.array([-1], np.int32), np.float32(0)]),
        ("Range", [np.int64(0), np.int64(1 << 60), np.int64(1)]),
        ("LinSpace", [np.float32(0), np.float32(1), np.int64(1 << 40)]),
        ("Tile", [np.zeros(4, np.float32), np.array([1 << 40], np.int64)]),
        ("BroadcastTo", [np.float32(0), np.array([1 << 40], np.int64)]),
        ("OneHot", [np.int32(0), np.int64(1 << 40), np.float32(1), np.float32(0)]),
        (
            "ScatterNd",
            [
                np.zeros((1, 1), np.int64),
                np.float32([1]),
                np.array([1 << 40], np.int64),
            ],
        ),
    ],
)
def test_tensor_beyond_all_bounds_is_refused(op: str, inputs: list[Any]) -> None:
    row = ir.Node("n", op)
    with pytest.raises(LimitError, match="Invalid shape in a graph"):
        run_node(row, [np.asarray(i) for i in inputs], FunctionLibrary({}))


@pytest.mark.parametrize("width", [1 << 61, (1 << 63) - 9])
def test_array_that_numpy_refuses_to_make_is_a_limit_error(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a kernel doesn't look at the size itself."""
    large = dataclasses.replace(KERNELS["Neg"], function=lambda x: np.zeros(width))
    monkeypatch.setitem(KERNELS, "Neg", large)
    with pytest.raises(LimitError, match=r"can't be made.*In node 'n' \(Neg\)"):
        run_node(ir.Node("n", "Neg"), [np.zeros(4, "f")], FunctionLibrary({}))
    pads = [np.zeros(4, np.float32), np.array([[0, width]]), np.float32(1)]
    with pytest.raises(LimitError, match=r"Invalid shape.*\s*In node 'n' \(PadV2\)"):
        run_node(ir.Node("n", "PadV2"), [*map(np.asarray, pads)], FunctionLibrary({}))


def test_unfed_placeholder_is_named() -> None:
    nodes = [
        ir.Node("x", "Placeholder", attrs={"dtype": FLOAT}),
        ir.Node("y", "Neg", ("x",), {"T": FLOAT}),
    ]
    with pytest.raises(MismatchError, match="Placeholder 'x' was not fed"):
        MainGraph(nodes, _library()).run(["y"])


def test_identical_call_sites_share_one_plan() -> None:
    f = function(
        "f",
        {"x": "float32"},
        [call("a", "double", "x"), call("b", "double", "a:output:0")],
        {"y": "b:output:0"},
    )
    library = _library(DOUBLE, f)
    assert float(_run(library, "f", 1.5)) == 6.0
    assert library.plan("double") is library.plan("double")


def test_stablehlo_module_runs_as_jax_runs_it() -> None:
    def model(x: Any, y: Any) -> Any:
        return jax.nn.softmax(x @ y), x.sum()

    x, y = np.ones((2, 3), np.float32), np.arange(12, dtype=np.float32).reshape(3, 4)
    made = export.export(jax.jit(model))(x, y)
    row = ir.Node(
        "n",
        "XlaCallModule",
        attrs={
            "Tin": (FLOAT, FLOAT),
            "Tout": (FLOAT, FLOAT),
            "Sout": (ir.TensorShape((2, 4)), ir.TensorShape(())),
            "version": made.calling_convention_version,
            "module": made.mlir_module_serialized,
            "platforms": (b"CPU",),
        },
    )
    library = FunctionLibrary({})
    eager = run_node(row, [x, y], library)
    compiled = jax.jit(lambda a, b: run_node(row, [a, b], library))(x, y)
    for found in (eager, compiled):
        for ours, theirs in zip(found, model(x, y), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_constant_that_stands_for_more_than_memory_holds_is_refused() -> None:
    shape = ir.TensorShape((2**40,))
    one = ir.TensorValue.from_numpy(np.ones(1, "float32"))
    value = dataclasses.replace(one, shape=shape, packed=False)
    with pytest.raises(LimitError, match="too often"):
        value.numpy()


def test_matrix_exponential_is_scipys() -> None:
    matrix = np.random.RandomState(3).normal(size=(2, 3, 3)).astype("float32")
    (found,) = run_node(
        ir.Node("e", "MatrixExponential", attrs={"T": FLOAT}),
        [matrix],
        FunctionLibrary({}),
    )
    np.testing.assert_allclose(found, scipy.linalg.expm(matrix), rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "state", "count"),
    [
        ("SPARSE_TENSOR_SPEC", (ir.TensorShape((None, 4)), FLOAT), 3),
        ("RAGGED_TENSOR_SPEC", (ir.TensorShape((None, None)), FLOAT, 1, FLOAT), 2),
        ("RAGGED_TENSOR_SPEC", (ir.TensorShape((None,) * 3), FLOAT, 2, FLOAT), 3),
    ],
)
def test_old_files_dont_say_of_how_many_tensors_something_is_made(
    kind: str, state: tuple[object, ...], count: int
) -> None:
    spec = ir.TypeSpec(ir.TypeSpecClass[kind], state)
    assert spec.component_count == count
    flat = structure.flat_specs(spec)
    parts = [np.zeros([n or 2 for n in s.shape.dims], s.dtype.name) for s in flat]
    parts[-1:] = [np.array([9, 4])] if kind.startswith("SPARSE") else parts[-1:]
    assert structure.difference(spec, parts, "x") is None
    assert structure.difference(spec, parts[:1], "x") is not None


def test_type_of_a_library_is_made_of_the_tensors_that_its_state_describes() -> None:
    one = ir.TensorSpec(ir.TensorShape((None,)), FLOAT)
    parts = {"loc": one, "scale": [one, ir.NamedTupleValue("Rest", (("of", one),))]}
    distribution = ir.TypeSpec(275837168, (1, ("module", "Normal"), parts))
    assert distribution.component_count == 3
    assert ir.TypeSpec(ir.TypeSpecClass.DATA_DATASET_SPEC, (one,)).component_count == 0


def test_elements_that_are_skipped_are_not_made() -> None:
    library = FunctionLibrary({}, max_calls=1000)
    ctx = library.context()
    attrs = {
        "output_types": (ir.DataType.of("int64"),),
        "output_shapes": (ir.TensorShape(()),),
    }

    def made(op: str, *inputs: Any) -> Any:
        row = ir.Node("row", op, attrs=attrs)
        return run_node(row, list(inputs), library, context=ctx)[0]

    numbers = made("RangeDataset", *(np.int64(n) for n in (0, 2**62, 1)))
    rest = made("SkipDataset", numbers, np.int64(2**61))
    assert next(iter(rest))[0] == 2**61
    # What can't be skipped is counted.
    twice = made("ConcatenateDataset", numbers, numbers)
    with pytest.raises(LimitError):
        next(iter(made("SkipDataset", twice, np.int64(2**61))))
    with pytest.raises(MismatchError, match="steps of 0"):
        made("RangeDataset", *(np.int64(n) for n in (0, 1, 0)))


def test_attribute_of_another_kind_than_its_op_declares_is_a_format_error() -> None:
    one = ir.TensorValue.from_numpy(np.float32(1))
    wrong: list[tuple[str, dict[str, ir.AttrValue]]] = [
        ("Const", {"value": 1.5, "dtype": FLOAT}),
        ("LeakyRelu", {"alpha": b"x"}),
        ("LeakyRelu", {"alpha": (1.0,)}),
        ("Squeeze", {"squeeze_dims": 3}),
        ("Squeeze", {"squeeze_dims": (FLOAT, b"x")}),
        ("Cast", {"DstT": ir.TensorShape((2,))}),
        ("PartitionedCall", {"f": b"name"}),
    ]
    for op, attrs in wrong:
        inputs = () if op == "Const" else ("c",)
        types: dict[str, ir.AttrValue] = {"T": FLOAT, "Tin": (FLOAT,), "Tout": (FLOAT,)}
        nodes = [
            ir.Node("c", "Const", attrs={"value": one, "dtype": FLOAT}),
            ir.Node("n", op, inputs, {**types, "SrcT": FLOAT, **attrs}),
        ]
        with pytest.raises(FormatError, match="Invalid attribute"):
            MainGraph(nodes, _library()).run(["n"])


def test_values_that_are_no_text_are_not_taken_for_it() -> None:
    for value in (np.float32(1), np.int64(2**40), np.array([3, 4])):
        with pytest.raises(MismatchError, match="Expected text"):
            values.argument(value, "string")
    with pytest.raises(MismatchError, match="received"):
        values.argument(np.array(["a"]), "float32")


def test_function_that_gives_less_than_it_says_is_a_format_error() -> None:
    spec = ir.TensorSpec(ir.TensorShape(()), FLOAT)
    ragged = ir.TypeSpec(
        ir.TypeSpecClass.RAGGED_TENSOR_SPEC, (spec.shape, FLOAT, 2**40, FLOAT)
    )
    for wanted in ({"a": spec, "b": spec}, [spec, ragged]):
        with pytest.raises(FormatError, match="output signature"):
            structure.rebuilt(wanted, iter([1.0]))
    odd = ir.TypeSpec(ir.TypeSpecClass.RAGGED_TENSOR_SPEC, (None, FLOAT, "x", None))
    assert odd.component_count == 0


def test_unknown_number_of_a_dtype_is_a_format_error_that_shows_it() -> None:
    unknown = ir.DataType(999)
    assert "999" in repr(unknown)
    with pytest.raises(FormatError, match="999"):
        _ = unknown.name
    assert repr(ir.DataType(101)) == repr(FLOAT)
    assert repr(ir.DataType(0)) == "DataType(0)"


@pytest.mark.parametrize("inputs", [(), ("^x",), ("x",)])
def test_parts_of_loops_without_their_inputs_are_format_errors(
    inputs: tuple[str, ...],
) -> None:
    nodes = [ir.Node("x", "Placeholder", attrs={"dtype": FLOAT})]
    others = () if inputs == ("x",) else ("Enter", "NextIteration", "Exit")
    for op in ("Switch", *others):
        wrong = ir.Node("wrong", op, inputs, {"T": FLOAT, "frame_name": b"f"})
        graph = MainGraph([*nodes, wrong], _library())
        with pytest.raises(FormatError, match="Invalid number of inputs"):
            graph.run(["wrong"], {"x": np.float32(1)})


@pytest.mark.parametrize("op", ["Pad", "MirrorPad"])
def test_border_that_no_tensor_holds_is_refused(op: str) -> None:
    """XLA would end the process."""
    widths = np.full((2, 2), 2**31 - 1, np.int32)
    attrs: dict[str, ir.AttrValue] = {"T": FLOAT, "mode": b"REFLECT"}
    node = ir.Node("n", op, attrs=attrs)
    with pytest.raises(LimitError):
        run_node(node, [values.to_tensor(np.ones((2, 2), "f")), widths], _library())
