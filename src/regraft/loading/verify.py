"""Do rebuilt layers compute what the file's traced functions compute?

A SavedModel holds each layer twice: its config, from which it is rebuilt, and its
traced functions. Both are run on the same random input here, over the same weights.
Nothing of the model changes: everything that is written lands in a scope that is
thrown away, and is compared too.
"""

from __future__ import annotations

import dataclasses
import inspect
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import ml_dtypes
import numpy as np

from regraft import _compat
from regraft.errors import RegraftError, UnsupportedOpError
from regraft.graph import ir
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.saved_functions import SavedFunction, Trace
from regraft.loading.functions import FunctionStore
from regraft.loading.report import Check
from regraft.loading.restore import RestorePlan
from regraft.loading.revived_layer import Revived, RevivedObject
from regraft.model.description import ModelDescription, ObjectNode
from regraft.options import LoadOptions
from regraft.storage.saved_model_directory import read_saved_model_directory

# Allowed differences, of the largest expected value, by the coarsest dtype around.
TOLERANCES: Mapping[str, float] = {
    "float64": 1e-4,
    "float32": 1e-4,
    "float16": 1e-2,
    "bfloat16": 5e-2,
}
# Functions by preference: with all losses, with those of the call, plain.
_FUNCTIONS = (
    "call_and_return_all_conditional_losses",
    "call_and_return_conditional_losses",
    "__call__",
)
# Lengths tried where a trace leaves a dimension open: a layer may need more.
_OPEN_LENGTHS = (6, 36, 80)
# Samples of the input, and of a second one where the first says too little.
_BATCHES = (2, 16)
# How much more than its own sensitivity a result may differ.
_MARGIN = 8.0
# A tolerance above this says little.
_LOOSE = 0.05
# One layer may have been traced for many kinds of arguments.
_TRACES_PER_MODE = 2
_WORDS = (b"the", b"cat", b"sat", b"on", b"a", b"mat", b"", b"tree", b"house")

INFERENCE = "inference"
TRAINING = "training"


def check_tensors(description: ModelDescription) -> int:
    """Reads every tensor of a file, which checks its CRC32C; returns how many.

    Raises:
        ChecksumError: The bytes of a tensor are not those that were written.
    """
    count = 0
    for tensor in _tensors(description):
        tensor.read()
        count += 1
    return count


def check_file(path: str) -> int:
    """Reads every tensor of a SavedModel, of Keras or not; returns how many.

    Raises:
        ChecksumError: The bytes of a tensor are not those that were written.
    """
    variables = read_saved_model_directory(path).variables
    if variables is None:
        return 0
    for tensor in variables.values():
        tensor.read()
    return len(variables)


def _tensors(description: ModelDescription) -> Iterator[Any]:
    if description.functions is not None:
        directory, _ = description.functions
        if directory.variables is not None:
            yield from directory.variables.values()
    if description.weights is not None:
        for layer in description.weights.layers:
            yield from (tensor for _, tensor in layer.weights)
        yield from (tensor for _, tensor in description.weights.top_level)
    yield from (tensor for _, tensor in description.optimizer_weights or ())
    yield from (tensor for _, tensor in description.accumulated_gradients)


def check_whole(
    model: keras.Model, plan: RestorePlan, store: FunctionStore
) -> Check | None:
    """Compares a model with its trace of inference; `None` if the file holds none.

    Args:
        model: As it was built, with its values.
        plan: Where they came from.
        store: What `function_store` returns.
    """
    root = next((node for layer, node in plan.layers if layer is model), None)
    if root is None:
        return None
    variables = [item.variable for item in plan.assignments]
    return next(_check_layer(model, root, store, variables, (INFERENCE,)), None)


def check_layers(
    model: keras.Model,
    description: ModelDescription,
    plan: RestorePlan,
    options: LoadOptions,
) -> dict[int, tuple[Check, ...]]:
    """Compares each layer, and the model, with its traces.

    Args:
        model: As it was built, with its values.
        description: Of the file.
        plan: Where the values of `model` came from.
        options: How much a trace may call.

    Returns:
        What was found, by `id` of the layer.
    """
    store = function_store(description, plan, options)
    if store is None:
        reason = "the format holds no functions"
        return {
            id(layer): (Check(INFERENCE, None, reason=reason),)
            for layer in _compat.all_layers(model)
        }
    variables = [item.variable for item in plan.assignments]
    return {
        id(layer): tuple(_check_layer(layer, node, store, variables))
        for layer, node in plan.layers
    }


def check_layer(
    layer: keras.Layer, node: ObjectNode, store: FunctionStore
) -> Iterator[Check]:
    """Yields how a layer without weights compares with the traces of its object."""
    yield from _check_layer(layer, node, store, ())


def traced_ops(node: ObjectNode, store: FunctionStore) -> Iterator[list[str]]:
    """Yields the ops of each trace by which an object is called."""
    function, _ = _function(node, store)
    for trace in () if function is None else function.traces:
        yield trace.ops()


def function_store(
    description: ModelDescription, plan: RestorePlan, options: LoadOptions
) -> FunctionStore | None:
    """Returns the functions of a file over the variables of a plan, if it has any.

    A store of its own: what traces write must not reach those of revived layers.
    """
    if description.functions is None or description.objects is None:
        return None
    directory, meta_graph = description.functions
    store = FunctionStore(directory, meta_graph, description.objects, options)
    store.bind(
        {
            item.node_id: item.variable
            for item in plan.assignments
            if item.node_id is not None
        }
    )
    return store


def _check_layer(
    layer: keras.Layer,
    node: ObjectNode,
    store: FunctionStore,
    variables: Sequence[keras.Variable],
    modes: Sequence[str] = (INFERENCE, TRAINING),
) -> Iterator[Check]:
    if isinstance(layer, Revived | RevivedObject):
        yield Check(INFERENCE, None, reason="it runs its traces itself")
        return
    if isinstance(layer, keras.layers.InputLayer):
        return
    function, with_losses = _function(node, store)
    if function is None:
        yield Check(INFERENCE, None, reason="the file holds no trace of it")
        return
    names = function.spec.args
    for mode in modes:
        traces = [t for t in function.traces if _mode(names, t) == mode]
        checks = [
            _check_trace(layer, _Call(trace, names, with_losses, mode), variables)
            for trace in traces[:_TRACES_PER_MODE]
        ]
        if checks:
            yield max(checks, key=_severity)


def _severity(check: Check) -> float:
    return -1.0 if check.difference is None else check.difference


def _function(
    node: ObjectNode, store: FunctionStore
) -> tuple[SavedFunction | None, bool]:
    api = node.child("keras_api")
    for name in _FUNCTIONS:
        found = store.function(node.child(name))
        if found is None and api is not None:
            found = store.function(api.child(name))
        if found is not None:
            return found, name != "__call__"
    return None, False


def _mode(names: Sequence[str], trace: Trace) -> str:
    training = trace.arguments(names).get("training")
    return TRAINING if training is True else INFERENCE


@dataclass(frozen=True)
class _Call:
    """A trace and how it is called."""

    trace: Trace
    names: Sequence[str]
    with_losses: bool
    mode: str


@dataclass
class _Result:
    """What a run gave: outputs, the sum of its losses, variables afterwards."""

    outputs: list[Any]
    loss: Any
    updates: dict[str, Any]


class _NotCheckableError(Exception):
    """Why a trace and a layer can't be compared."""


def _check_trace(
    layer: keras.Layer, call: _Call, variables: Sequence[keras.Variable]
) -> Check:
    try:
        call.trace.check()
        is_random = call.trace.draws_random_numbers()
        if call.mode == TRAINING and is_random:
            raise _NotCheckableError("it draws random numbers")
        for batch in _BATCHES:
            check = _compared(layer, call, variables, batch)
            if check.tolerance <= _LOOSE:
                break
        # In inference few traces draw any, and those of dropout are in no branch taken.
        if is_random and not check.passed:
            raise _NotCheckableError("it draws random numbers")
        return check
    except UnsupportedOpError as error:
        return Check(call.mode, None, reason=f"no kernel for {', '.join(error.ops)}")
    except _NotCheckableError as error:
        return Check(call.mode, None, reason=str(error))
    except RegraftError as error:
        return Check(call.mode, None, reason=f"its trace can't be run: {error}")


def _compared(
    layer: keras.Layer, call: _Call, variables: Sequence[keras.Variable], batch: int
) -> Check:
    ours, theirs, moved = _results(layer, call, variables, batch)
    tolerance = _tolerance(layer, theirs)
    difference, place = _difference(ours, theirs, call.with_losses)
    if tolerance < difference < float("inf"):
        # A deep network that normalizes few values makes much of a last bit: two
        # images that end as two values are normalized by their difference. What the
        # trace itself makes of a last bit in its input says how much.
        sensitivity, _ = _difference(moved(), theirs, call.with_losses)
        tolerance = max(tolerance, _MARGIN * sensitivity)
    return Check(call.mode, difference, tolerance=tolerance, place=place)


def _results(
    layer: keras.Layer, call: _Call, variables: Sequence[keras.Variable], batch: int
) -> tuple[_Result, _Result, Callable[[], _Result]]:
    """Runs both on random input, a larger one where the first is too small.

    Returns:
        What the layer gave and what the trace gave, and what runs the trace again on
        input that differs in its last bits.
    """
    failed: Exception | None = None
    for length in _OPEN_LENGTHS:
        inputs = _Inputs(layer, length, batch)
        args = tuple(
            inputs.filled(spec, None if place else _built_shape(layer))
            for place, spec in enumerate(call.trace.args)
        )
        kwargs = {key: inputs.filled(spec) for key, spec in call.trace.kwargs.items()}
        try:
            theirs = _traced(call, args, kwargs, variables)
            ours = _live(layer, call, args, kwargs, variables)
        except (RegraftError, _NotCheckableError):
            raise
        except Exception as error:
            # Whatever a layer raises for input that it doesn't like.
            failed = failed or error
            if not inputs.is_open:
                break
            continue
        moved = keras.tree.map_structure(_moved, args)
        return ours, theirs, lambda: _traced(call, moved, kwargs, variables)  # noqa: B023
    raise _NotCheckableError(
        f"it can't be run on random input ({type(failed).__name__}: "
        f"{str(failed).splitlines()[0] if str(failed) else ''})"
    )


def _traced(
    call: _Call,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    variables: Sequence[keras.Variable],
) -> _Result:
    found = _run(lambda: call.trace.run(args, kwargs), variables)
    if not call.with_losses:
        return found
    outputs, losses = found.outputs[0]
    return dataclasses.replace(found, outputs=[outputs], loss=_sum(losses))


def _moved(value: Any) -> Any:
    """A tensor whose numbers differ in their last bits, each the other way."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fcV":
        return value
    signs = np.resize([1.0, -1.0, -1.0], value.shape)
    step = 4 * float(ml_dtypes.finfo(value.dtype).eps)
    return (value * (1 + signs * step)).astype(value.dtype)


def _live(
    layer: keras.Layer,
    call: _Call,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    variables: Sequence[keras.Variable],
) -> _Result:
    names = list(call.names[: len(args)])
    given = dict(zip(names[1:], args[1:], strict=False)) | dict(kwargs)
    known = inspect.signature(layer.call).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    keywords = {}
    for name, value in given.items():
        if value is None or all(item is None for item in keras.tree.flatten(value)):
            continue
        if name in known or takes_any:
            keywords[name] = value
        elif not isinstance(value, bool):
            raise _NotCheckableError(f"its trace takes '{name}', it doesn't")
    positional = [_without_list(value) for value in (args[:1] if names else args)]
    return _run(lambda: layer(*positional, **keywords), variables)


def _without_list(value: Any) -> Any:
    """A tensor for a list of one, which older Keras made of every input."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _run(run: Callable[[], Any], variables: Sequence[keras.Variable]) -> _Result:
    with keras.StatelessScope(collect_losses=True) as scope:
        outputs = run()
    updates = {
        f"{variable.path}#{index}": value
        for index, variable in enumerate(variables)
        if not variable.trainable
        and (value := scope.get_current_value(variable)) is not None
    }
    return _Result([outputs], _sum(scope.losses), updates)


def _sum(losses: Any) -> Any:
    return sum(float(np.asarray(loss).sum()) for loss in keras.tree.flatten(losses))


# -------------------------------------------------------------------- random input


class _Inputs:
    """Random values for the specs of a trace; the same for the same layer.

    Attributes:
        is_open: Whether a dimension was left to choose.
    """

    def __init__(self, layer: keras.Layer, length: int, batch: int) -> None:
        self._random = np.random.default_rng(zlib.crc32(layer.name.encode()))
        self._length = length
        self._batch = batch
        self._bound = _id_bound(layer)
        self.is_open = False

    def filled(self, spec: Any, known: Any = None) -> Any:
        """Returns a structure with arrays in the places of its specs.

        Args:
            spec: Of a trace.
            known: Shape of a tensor where the trace may leave lengths open.

        Raises:
            _NotCheckableError: A spec is not that of a tensor.
        """
        if isinstance(spec, ir.TensorSpec | ir.BoundedTensorSpec):
            return self._array(spec.dtype.name, self._shape(spec.shape.dims, known))
        if isinstance(spec, ir.TypeSpec):
            raise _NotCheckableError(f"it takes a {spec.label}")
        if isinstance(spec, ir.NamedTupleValue):
            return tuple(self.filled(item) for _, item in spec.items)
        if isinstance(spec, list | tuple):
            return type(spec)(self.filled(item) for item in spec)
        if isinstance(spec, Mapping):
            return {key: self.filled(item) for key, item in spec.items()}
        return spec

    def _shape(self, dims: Sequence[int | None] | None, known: Any) -> tuple[int, ...]:
        if isinstance(known, tuple) and (dims is None or len(dims) == len(known)):
            pairs = zip(dims or known, known, strict=True)
            dims = [length if length is not None else other for length, other in pairs]
        if dims is None:
            raise _NotCheckableError("its trace takes a tensor of any rank")
        self.is_open = self.is_open or None in dims[1:]
        return tuple(
            dim if dim is not None else self._length if place else self._batch
            for place, dim in enumerate(dims)
        )

    def _array(self, dtype: str, shape: tuple[int, ...]) -> Any:
        if dtype == "string":
            flat = self._random.choice(len(_WORDS), shape)
            words = np.empty(shape, object)
            words.reshape(-1)[:] = [_WORDS[i] for i in flat.reshape(-1)]
            return words
        if dtype == "bool":
            return self._random.random(shape) < 0.7
        if "int" in dtype:
            numbers = self._random.integers(0, self._bound, shape)
            if len(shape) > 1:
                # Sequences of several lengths: what is padded with 0 may be masked.
                numbers[1::2, ..., -(-shape[-1] // 2) :] = 0
            return numbers.astype(dtype)
        found = self._random.normal(size=shape)
        if dtype.startswith("complex"):
            found = found + 1j * self._random.normal(size=shape)
        target = values.numpy_dtype(dtype)
        return found.astype(target)


def _built_shape(layer: keras.Layer) -> Any:
    """The shape that a layer was built for; `None` where it doesn't say one."""
    config = layer.get_build_config() or {}
    shape = config.get("input_shape")
    if not isinstance(shape, list | tuple):
        return None
    single = all(dim is None or isinstance(dim, int) for dim in shape)
    return tuple(shape) if single else None


def _id_bound(layer: keras.Layer) -> int:
    """Below what whole numbers a layer takes: ids of an embedding or category."""
    bounds = [
        bound
        for part in _compat.all_layers(layer)
        for name in ("input_dim", "num_tokens")
        if isinstance(bound := getattr(part, name, None), int) and bound > 0
    ]
    return min(bounds, default=2)


# --------------------------------------------------------------------- comparison


def _tolerance(layer: keras.Layer, result: _Result) -> float:
    dtypes = {str(getattr(v, "dtype", "")) for v in keras.tree.flatten(result.outputs)}
    for part in _compat.all_layers(layer):
        dtypes.add(str(part.compute_dtype))
    found = [TOLERANCES[dtype] for dtype in dtypes if dtype in TOLERANCES]
    return max(found, default=TOLERANCES["float32"])


def _difference(ours: _Result, theirs: _Result, with_losses: bool) -> tuple[float, str]:
    """Returns the largest difference of its scale, and where it is."""
    found = [(_apart_all(ours.outputs, theirs.outputs), "output")]
    if with_losses:
        found.append((_apart(ours.loss, theirs.loss), "loss"))
    for name, value in theirs.updates.items():
        # What the trace changes, the layer must change likewise.
        place = f"update of {name.partition('#')[0]}"
        if name in ours.updates:
            found.append((_apart(ours.updates[name], value), place))
        else:
            found.append((float("inf"), place))
    return max(found)


def _apart_all(ours: Any, theirs: Any) -> float:
    first, second = (
        [item for item in keras.tree.flatten(part) if item is not None]
        for part in (ours, theirs)
    )
    if len(first) != len(second):
        return float("inf")
    return max(map(_apart, first, second), default=0.0)


def _apart(ours: Any, theirs: Any) -> float:
    one, other = np.asarray(ours), np.asarray(theirs)
    if one.shape != other.shape:
        return float("inf")
    if one.dtype.kind in "OSU" or other.dtype.kind in "OSU":
        same = [_text(a) for a in one.flat] == [_text(b) for b in other.flat]
        return 0.0 if same else float("inf")
    kind = "complex128" if "c" in (one.dtype.kind, other.dtype.kind) else "float64"
    one, other = one.astype(kind), other.astype(kind)
    nowhere = ~np.isfinite(other)
    if not np.array_equal(one[nowhere], other[nowhere], equal_nan=True):
        return float("inf")
    one, other = one[~nowhere], other[~nowhere]
    if not one.size:
        return 0.0
    scale = max(float(np.abs(other).max()), 1e-6)
    apart = float(np.abs(one - other).max()) / scale
    return apart if np.isfinite(apart) else float("inf")


def _text(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
