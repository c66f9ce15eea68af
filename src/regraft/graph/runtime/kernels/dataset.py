"""Pipelines of `tf.data` that a graph itself makes and uses up."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.lists import MAX_ITEMS
from regraft.graph.runtime.registry import kernel, register

Element = Sequence[Any]


class Dataset:
    """Elements that are made anew each time somebody goes through them.

    Args:
        start: Returns an iterator over the elements, each a list of tensors.
        after: Returns the elements without the first ones, where that is known
            without going through these.

    Attributes:
        made_by: The function that made it, where it is an object of a file.
    """

    made_by: ir.ConcreteFunction | None = None

    def __init__(
        self,
        start: Callable[[], Iterator[Element]],
        after: Callable[[int], Dataset] | None = None,
    ) -> None:
        self._start = start
        self._after = after

    def without(self, count: int) -> Dataset:
        """Returns the elements without the first ones."""
        if self._after is not None:
            return self._after(count)
        return Dataset(lambda: itertools.islice(self, min(count, sys.maxsize), None))

    def __iter__(self) -> Iterator[Element]:
        return self._start()


_SHAPES = ("output_shapes", "output_types", "metadata")
_MAPS = (*_SHAPES, "Targuments", "use_inter_op_parallelism", "preserve_cardinality")


def _counted(ctx: Context, places: range, element: Callable[[int], Element]) -> Dataset:
    """An element for each number; a run has no more of them than its budget."""

    def start() -> Iterator[Element]:
        for place in places:
            ctx.budget.spend_many(None, 1)
            yield element(place)

    return Dataset(start, lambda count: _counted(ctx, places[count:], element))


def _slices(ctx: Context, components: list[Any]) -> Dataset:
    """The rows of tensors."""
    count = values.shape_of(components[0])[0]
    return _counted(
        ctx,
        range(int(count)),
        lambda place: [component[place, ...] for component in components],
    )


register(
    "TensorSliceDataset",
    _slices,
    ignored=(*_SHAPES, "Toutput_types", "is_files", "replicate_on_split"),
)


@kernel("TensorDataset", ignored=(*_SHAPES, "Toutput_types"))
def tensor_dataset(ctx: Context, components: list[Any]) -> Dataset:
    """One element."""
    return _counted(ctx, range(1), lambda _: components)


@kernel(
    "RangeDataset",
    static=("start", "stop", "step"),
    ignored=("output_shapes", "metadata", "replicate_on_split"),
)
def range_dataset(
    ctx: Context, start: Any, stop: Any, step: Any, *, output_types: tuple[str, ...]
) -> Dataset:
    """Numbers."""
    if not int(step):
        raise MismatchError("A pipeline of numbers has steps of 0.")
    bounds = range(int(start), int(stop), int(step))
    kind = values.numpy_dtype(output_types[0])
    return _counted(ctx, bounds, lambda number: [np.asarray(number, kind)])


def _mapped(
    ctx: Context, data: Dataset, others: list[Any], f: ir.FunctionRef
) -> Dataset:
    plan = ctx.plan(f)
    return Dataset(lambda: (ctx.call(plan, [*item, *others]) for item in data))


@kernel("MapDataset", ignored=(*_MAPS, "force_synchronous"))
def map_dataset(
    ctx: Context,
    input_dataset: Dataset,
    other_arguments: list[Any],
    *,
    f: ir.FunctionRef,
) -> Dataset:
    """A function of each element."""
    return _mapped(ctx, input_dataset, other_arguments, f)


@kernel(
    "ParallelMapDatasetV2",
    "ParallelMapDataset",
    ignored=(*_MAPS, "deterministic", "sloppy", "use_unbounded_threadpool"),
)
def parallel_map_dataset(
    ctx: Context,
    input_dataset: Dataset,
    other_arguments: list[Any],
    num_parallel_calls: Any,
    *,
    f: ir.FunctionRef,
) -> Dataset:
    """A function of each element, one after the other."""
    del num_parallel_calls
    return _mapped(ctx, input_dataset, other_arguments, f)


@kernel("FlatMapDataset", ignored=(*_SHAPES, "Targuments"))
def flat_map_dataset(
    ctx: Context,
    input_dataset: Dataset,
    other_arguments: list[Any],
    *,
    f: ir.FunctionRef,
) -> Dataset:
    """The elements of the pipelines that a function makes of each element."""
    made = _mapped(ctx, input_dataset, other_arguments, f)
    return Dataset(lambda: itertools.chain.from_iterable(inner for (inner,) in made))


def _holds(
    ctx: Context, predicate: ir.FunctionRef, others: list[Any]
) -> Callable[[Element], bool]:
    plan = ctx.plan(predicate)
    return lambda item: bool(values.static(ctx.call(plan, [*item, *others])[0]))


@kernel("FilterDataset", ignored=(*_SHAPES, "Targuments"))
def filter_dataset(
    ctx: Context,
    input_dataset: Dataset,
    other_arguments: list[Any],
    *,
    predicate: ir.FunctionRef,
) -> Dataset:
    """The elements that a function says yes to."""
    holds = _holds(ctx, predicate, other_arguments)
    return Dataset(lambda: filter(holds, input_dataset))


@kernel("TakeWhileDataset", ignored=(*_SHAPES, "Targuments"))
def take_while_dataset(
    ctx: Context,
    input_dataset: Dataset,
    other_arguments: list[Any],
    *,
    predicate: ir.FunctionRef,
) -> Dataset:
    """The elements up to the first that a function says no to."""
    holds = _holds(ctx, predicate, other_arguments)
    return Dataset(lambda: itertools.takewhile(holds, input_dataset))


def _batched(data: Dataset, size: Any, drop_remainder: bool) -> Dataset:
    count = int(size)
    if not 0 < count <= MAX_ITEMS:
        raise UnsupportedError(f"Batches of {count} elements.")

    def start() -> Iterator[Element]:
        items = iter(data)
        while batch := list(itertools.islice(items, count)):
            if len(batch) == count or not drop_remainder:
                yield [xp.stack(list(column)) for column in zip(*batch, strict=True)]

    return Dataset(start)


@kernel("BatchDataset", static=("batch_size",), ignored=_SHAPES)
def batch_dataset(input_dataset: Dataset, batch_size: Any) -> Dataset:
    """So many elements in one."""
    return _batched(input_dataset, batch_size, False)


@kernel(
    "BatchDatasetV2",
    static=("batch_size", "drop_remainder"),
    ignored=(*_SHAPES, "parallel_copy"),
)
def batch_dataset_v2(
    input_dataset: Dataset, batch_size: Any, drop_remainder: Any
) -> Dataset:
    """So many elements in one; the rest of them too, or not."""
    return _batched(input_dataset, batch_size, bool(drop_remainder))


@kernel(
    "ParallelBatchDataset",
    static=("batch_size", "drop_remainder"),
    ignored=(*_SHAPES, "parallel_copy", "deterministic"),
)
def parallel_batch_dataset(
    input_dataset: Dataset,
    batch_size: Any,
    num_parallel_calls: Any,
    drop_remainder: Any,
) -> Dataset:
    """So many elements in one; the rest of them too, or not."""
    del num_parallel_calls
    return _batched(input_dataset, batch_size, bool(drop_remainder))


@kernel("TakeDataset", static=("count",), ignored=_SHAPES)
def take_dataset(input_dataset: Dataset, count: Any) -> Dataset:
    """The first elements; all of them for -1."""
    stop = None if count < 0 else int(count)
    return Dataset(lambda: itertools.islice(input_dataset, stop))


@kernel("SkipDataset", static=("count",), ignored=_SHAPES)
def skip_dataset(input_dataset: Dataset, count: Any) -> Dataset:
    """The elements without the first ones; none of them for -1."""
    if count < 0:
        return Dataset(lambda: iter(()))
    return input_dataset.without(int(count))


@kernel("RepeatDataset", static=("count",), ignored=_SHAPES)
def repeat_dataset(input_dataset: Dataset, count: Any) -> Dataset:
    """The elements over and over; for ever for -1."""

    def start() -> Iterator[Element]:
        rounds = itertools.count() if count < 0 else range(int(count))
        for _ in rounds:
            items = iter(input_dataset)
            first = next(items, None)
            if first is None:
                # Nothing, over and over, would never end.
                return
            yield first
            yield from items

    return Dataset(start)


@kernel("ZipDataset", ignored=_SHAPES)
def zip_dataset(input_datasets: list[Dataset]) -> Dataset:
    """The elements of several pipelines side by side, as long as all have some."""

    def start() -> Iterator[Element]:
        for items in zip(*input_datasets, strict=False):
            yield [tensor for item in items for tensor in item]

    return Dataset(start)


@kernel("ConcatenateDataset", ignored=_SHAPES)
def concatenate_dataset(input_dataset: Dataset, another_dataset: Dataset) -> Dataset:
    """The elements of one pipeline after those of another."""
    return Dataset(lambda: itertools.chain(input_dataset, another_dataset))


@kernel(
    "ScanDataset",
    ignored=(
        *(*_SHAPES, "Targuments", "Tstate"),
        *("preserve_cardinality", "use_default_device"),
    ),
)
def scan_dataset(
    ctx: Context,
    input_dataset: Dataset,
    initial_state: list[Any],
    other_arguments: list[Any],
    *,
    f: ir.FunctionRef,
) -> Dataset:
    """What a function makes of each element and a state, which it makes too."""
    plan = ctx.plan(f)

    def start() -> Iterator[Element]:
        state = list(initial_state)
        for item in input_dataset:
            found = ctx.call(plan, [*state, *item, *other_arguments])
            state, given = found[: len(state)], found[len(state) :]
            yield given

    return Dataset(start)


@kernel(
    "ReduceDataset",
    ignored=(*_SHAPES, "Targuments", "Tstate", "use_inter_op_parallelism"),
)
def reduce_dataset(
    ctx: Context,
    input_dataset: Dataset,
    initial_state: list[Any],
    other_arguments: list[Any],
    *,
    f: ir.FunctionRef,
) -> list[Any]:
    """What a function makes of all elements, one after the other."""
    plan = ctx.plan(f)
    state = list(initial_state)
    for item in input_dataset:
        state = ctx.call(plan, [*state, *item, *other_arguments])
    return state


@kernel("DatasetToSingleElement", ignored=_SHAPES)
def dataset_to_single_element(dataset: Dataset) -> list[Any]:
    """The only element.

    Raises:
        MismatchError: There is none, or more.
    """
    found = list(itertools.islice(dataset, 2))
    if len(found) != 1:
        raise MismatchError("A pipeline that must have one element has another number.")
    return list(found[0])


# What only says how fast elements shall come


@kernel("ModelDataset", ignored=(*_SHAPES, "algorithm", "cpu_budget", "ram_budget"))
def model_dataset(input_dataset: Dataset) -> Dataset:
    """The same elements."""
    return input_dataset


@kernel("OptionsDataset", ignored=(*_SHAPES, "serialized_options"))
def options_dataset(input_dataset: Dataset) -> Dataset:
    """The same elements."""
    return input_dataset


@kernel("OptimizeDataset", ignored=(*_SHAPES, "optimization_configs"))
def optimize_dataset(input_dataset: Dataset, optimizations: Any) -> Dataset:
    """The same elements."""
    del optimizations
    return input_dataset


@kernel("OptimizeDatasetV2", ignored=(*_SHAPES, "optimization_configs"))
def optimize_dataset_v2(
    input_dataset: Dataset,
    optimizations_enabled: Any,
    optimizations_disabled: Any,
    optimizations_default: Any,
) -> Dataset:
    """The same elements."""
    del optimizations_enabled, optimizations_disabled, optimizations_default
    return input_dataset


@kernel(
    "PrefetchDataset",
    ignored=(*_SHAPES, "slack_period", "legacy_autotune", "buffer_size_min"),
)
def prefetch_dataset(input_dataset: Dataset, buffer_size: Any) -> Dataset:
    """The same elements."""
    del buffer_size
    return input_dataset
