"""Layers and models that run their traced functions, for classes that nobody has."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras

from regraft import _compat
from regraft._compat.calls import name_keywords
from regraft._compat.tensors import as_float
from regraft._compat.variables import without_casts
from regraft.dtypes import HANDLE
from regraft.graph import ir
from regraft.graph.runtime import composites, structure
from regraft.graph.runtime.kept_tables import KeptTables
from regraft.graph.runtime.kernels.loops import LOOPS
from regraft.graph.runtime.saved_functions import SavedFunction, Trace
from regraft.loading.callable_traces import CallableTraces
from regraft.loading.called_traces import why_uncompilable
from regraft.loading.run_trace import (
    called_with_words,
    has_words,
    run_trace,
    symbolic,
)
from regraft.model.dialects.names import original_name
from regraft.model.keras2.added_metrics import AddedMetric
from regraft.model.keras2.metrics import make_variables, variable_names
from regraft.model.metadata import spelled_shapes


class TracedRegularizer(keras.regularizers.Regularizer):
    """A regularization loss as the file traced it.

    Args:
        function: Its trace.
        takes_value: Whether it is of the value that it is called with, not of the
            variables that the function knows.
        before: Another loss, to which it is added.
    """

    def __init__(
        self, function: SavedFunction, takes_value: bool = False, before: Any = None
    ) -> None:
        self._function = function
        self._takes_value = takes_value
        self._before = before

    def __call__(self, x: Any) -> Any:
        found = self._function(x) if self._takes_value else self._function()
        return found if self._before is None else found + self._before(x)

    def get_config(self) -> dict[str, Any]:
        return {}


class HoldsTables:
    """Of a layer: tables that its functions write.

    They are no weights, but what functions are traced over.
    """

    @cached_property
    def tables(self) -> KeptTables:
        """Its own ones."""
        return KeptTables()

    @property
    def variables(self) -> list[keras.Variable]:
        """Its variables, and what stands for its tables."""
        own = super().variables  # type: ignore[misc]
        return [*own, *self.tables.variables()]


class Revived(HoldsTables):
    """What a revived layer and a revived model have in common.

    Attributes:
        saved_class_name: Name of the class that was saved.
        saved_config: Its config; `{}` where the file has none.
        saved_specs: What the file says that it was called and built with, by key.
        lacks: What nobody has of what its config names, as `regularizer 'mine'`; `""`
            where that is its class.
    """

    casts_first = True
    _is_called = False

    def __init__(
        self,
        *,
        functions: Mapping[str, SavedFunction],
        saved_class_name: str,
        saved_config: Mapping[str, Any],
        saved_specs: Mapping[str, Any],
        output_regularizer: Any = None,
        autocast: bool = True,
        **keywords: Any,
    ) -> None:
        super().__init__(**{**keywords, "autocast": autocast})
        # Not `activity_regularizer`, which a model heeds in `__call__` alone.
        self._output_regularizer = output_regularizer
        self.saved_class_name = saved_class_name
        self.saved_config = dict(saved_config)
        self.saved_specs = dict(saved_specs)
        self.lacks = ""
        # A plain object: Keras must not look for layers in it.
        self._traces = CallableTraces(functions)
        name_keywords(self, self._traces.setting_names())
        # Made here: one that is made while a step is compiled is lost with it.
        self._seed_generator = keras.random.SeedGenerator(name="seed_generator")
        self.supports_masking = True
        # Whether it was given a mask that its class may have handed on.
        self.loses_masks = False
        # Whether a mask comes to it that none of its traces takes.
        self.misses_mask = False
        self._places: dict[int, int] = {}

    @property
    def variables(self) -> list[keras.Variable]:
        """Its variables, its weights in the order that they had."""
        return self._in_order(super().variables)

    @property
    def weights(self) -> list[keras.Variable]:
        """Its weights in the order that they had."""
        return self._in_order(super().weights)  # type: ignore[misc]

    def _in_order(self, found: list[keras.Variable]) -> list[keras.Variable]:
        return sorted(found, key=lambda v: self._places.get(id(v), len(found)))

    def order_weights(self, weights: Iterable[keras.Variable]) -> None:
        """Lets its weights be listed in an order that Keras may not give them.

        One that comes twice, of layers that train it and do not, is where it is first.
        """
        self._places = {}
        for place, weight in enumerate(weights):
            self._places.setdefault(id(weight), place)

    @property
    def reads_text(self) -> bool:
        """Whether its traces take text."""
        return any(trace.reads_text for trace in self._traces.all())

    @cached_property
    def has_text(self) -> bool:
        """Whether its traces take or give text, for which handles stand in a model."""
        return any(trace.has_text for trace in self._traces.all())

    @property
    def takes_composites(self) -> bool:
        """Whether its first argument has sparse or ragged tensors."""
        return any(
            isinstance(spec, ir.TypeSpec) and composites.component_specs(spec)
            for spec in keras.tree.flatten(self._traces.first_argument())
        )

    @cached_property
    def uncompilable(self) -> str | None:
        """What its traces do that no compiled step can; `None`: nothing."""
        if self.takes_composites:
            return "take sparse or ragged tensors"
        return why_uncompilable(self.has_text, self._traces.all())

    @cached_property
    def has_loops(self) -> bool:
        """Whether its traces have loops."""
        return any(trace.uses(LOOPS) for trace in self._traces.all())

    @cached_property
    def written_weights(self) -> list[keras.Variable]:
        """Its weights that its traces write, or may write."""
        return self._traces.written()

    @property
    def adds_losses(self) -> bool:
        """Whether a call adds losses, in training at least."""
        return self._traces.add_losses()

    @property
    def traced_signature(self) -> inspect.Signature | None:
        """The signature of the class that was saved, as far as its traces have it."""
        return self._traces.signature()

    @property
    def saved_inputs(self) -> Mapping[str, Any]:
        """Symbolic tensors for what its first trace takes, by name."""
        return symbolic(self._traces.arguments(), HANDLE)

    @property
    def saved_settings(self) -> Mapping[str, Any]:
        """What else its first trace was made with, by name, where no default."""
        return self._traces.settings()

    def build(self, *shapes: Any, **keywords: Any) -> None:
        """Does nothing: the variables are those of the file."""
        self.built = True

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Calls the layer; Keras takes tensors alone by position."""
        if has_words((arguments, keywords)):
            return called_with_words(self, arguments, keywords)
        names = self._traces.argument_names()
        count = next(
            (i for i, value in enumerate(arguments) if not _holds_tensors(value)),
            len(arguments),
        )
        if count < len(arguments) <= len(names):
            named = dict(zip(names[count:], arguments[count:], strict=False))
            arguments, keywords = arguments[:count], {**named, **keywords}
        outer, vars(self)["_is_called"] = self._is_called, True
        try:
            return super().__call__(*arguments, **keywords)  # type: ignore[misc]
        finally:
            vars(self)["_is_called"] = outer

    def call(self, *arguments: Any, training: Any = None, **keywords: Any) -> Any:
        """Runs the trace that takes these arguments."""
        keywords = _with_mask(arguments, keywords)
        arguments, keywords = self._cast_first(arguments, keywords)
        function, trace, bound, rest = self._traces.select(
            arguments, {**keywords, "training": training}
        )
        found = self._run(trace, bound, rest)
        outputs, losses = found if function.returns_losses else (found, ())
        for loss in losses:
            # A loss in training alone is a number otherwise, which Keras 3 refuses.
            self.add_loss(keras.ops.convert_to_tensor(loss))  # type: ignore[attr-defined]
        if self._output_regularizer is not None:
            self._regularize(outputs)
        return outputs

    @property
    def autocast(self) -> bool:
        """Whether the layer casts what it is called with.

        Keras 3 would cast all of it, Keras 2 casts the first argument: so Keras finds
        no here while the layer is called.
        """
        return self.casts_first and not self._is_called

    @autocast.setter
    def autocast(self, value: bool) -> None:
        self.casts_first = value

    def _cast_first(
        self, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Casts the first argument's numbers to what the layer computes with."""
        if not self.casts_first:
            return arguments, keywords
        if arguments:
            return (self._cast(arguments[0]), *arguments[1:]), keywords
        for name in self._traces.argument_names()[:1]:
            if name in keywords:
                keywords = {**keywords, name: self._cast(keywords[name])}
        return arguments, keywords

    def _cast(self, given: Any) -> Any:
        dtype = self.compute_dtype  # type: ignore[attr-defined]
        return keras.tree.map_structure(lambda x: as_float(x, dtype), given)

    def _run(self, trace: Trace, args: Any, kwargs: Mapping[str, Any]) -> Any:
        why = (
            f"'{original_name(self)}' runs from its traced functions, which read text: "
            "it can't be compiled. Leave `run_eagerly` on, or pass its class, "
            "rewritten for Keras 3, in "
            f"`custom_objects={{{self.saved_class_name!r}: …}}`."
        )
        with without_casts():
            seeds = self._seed_generator
            return run_trace(trace, args, kwargs, why, seed_generator=seeds)

    def _regularize(self, outputs: Any) -> None:
        """Adds the loss of each output, per example."""
        for output in keras.tree.flatten(outputs):
            loss = self._output_regularizer(output)
            count = keras.ops.cast(keras.ops.shape(output)[0], loss.dtype)
            self.add_loss(loss / count)  # type: ignore[attr-defined]

    def compute_output_spec(
        self, *arguments: Any, training: Any = None, **keywords: Any
    ) -> Any:
        """Answers from the trace's output signature; nothing is run."""
        keywords = _with_mask(arguments, keywords)
        if any(one is not None for one in keras.tree.flatten(keywords.get("mask"))):
            self.expect_mask()
        arguments, keywords = self._cast_first(arguments, keywords)
        function, trace, _, _ = self._traces.select(
            arguments, {**keywords, "training": training}
        )
        spec = trace.output_spec
        return symbolic(spec[0] if function.returns_losses else spec, HANDLE)

    def expect_mask(self) -> None:
        """Remembers that a mask comes to it, if it heeds masks and its traces none.

        TensorFlow traces a layer behind a `Masking`, or a network, without the mask
        that it has in the model.
        """
        self.misses_mask = self._traces.leave_out_mask()

    def compute_mask(self, inputs: Any = None, mask: Any = None) -> Any:
        """Returns `None`: what a class does with masks is not in its traces."""
        ranks = [len(one.shape) for one in keras.tree.flatten(mask) if one is not None]
        # Without the dimensions of the mask, its class has most likely used it up.
        if ranks and self.gives_more_than(min(ranks)):
            self.loses_masks = True
        return None

    def gives_more_than(self, rank: int) -> bool:
        """Whether a result has more dimensions than these."""
        specs = structure.flat_specs(self._traces.output_spec())
        return any(len(spec.shape.dims or ()) > rank for spec in specs)

    def get_config(self) -> dict[str, Any]:
        return {
            **spelled_shapes(self.saved_config),
            "name": self.name,  # type: ignore[attr-defined]
            "trainable": self.trainable,  # type: ignore[attr-defined]
        }


class RevivedLayer(Revived, keras.layers.Layer):
    """A layer of a class that nobody has."""

    def feature_inputs(self, shapes: Any) -> dict[str, keras.layers.InputLayer]:
        """Makes an input for each feature, where its traces read a dict of numbers.

        Args:
            shapes: Without meaning here: the traces tell.
        """
        read = symbolic(self._traces.first_argument())
        if not isinstance(read, Mapping) or self.reads_text:
            return {}
        return {
            key: keras.layers.InputLayer(
                batch_shape=(None, *tensor.shape[1:]),
                dtype=tensor.dtype,
                name=str(key).replace("/", "__"),
            )
            for key, tensor in read.items()
            if isinstance(tensor, keras.KerasTensor)
        }


class RevivedModel(Revived, keras.Model):
    """A subclassed model of a class that nobody has.

    Attributes:
        saved_input_names: What the file's signature calls its inputs.
    """

    saved_input_names: Sequence[str] = ()

    @property
    def further_inputs(self) -> dict[str, Any]:
        """Symbolic tensors for the other arguments of its traces, by name."""
        found = self._traces.further_arguments()
        return {name: symbolic(spec) for name, spec in found.items()}

    @property
    def signature_names(self) -> list[str] | None:
        """Names of all its inputs in a signature; `None` where the file has none."""
        first = self._traces.first_argument()
        labels = [getattr(s, "name", "") for s in keras.tree.flatten(first)]
        if isinstance(first, Mapping):
            labels = sorted(map(str, first))
        rest: list[str] = []
        for name, spec in sorted(self._traces.further_arguments().items()):
            count = len(keras.tree.flatten(spec))
            rest += [f"{name}_{i}" if i else name for i in range(count)]
        names = [n for n in self.saved_input_names if n not in rest]
        if len(names) + len(rest) != len(self.saved_input_names):
            return None
        if len(labels) != len(names):
            return None
        same = sorted(labels) == sorted(names)
        return [*(labels if same else sorted(names, key=_counted)), *rest]

    @property
    def input(self) -> Any:
        """Symbolic tensors for the first argument of its traces."""
        spec = self._traces.first_argument()
        if spec is None:
            raise AttributeError("The file doesn't say what the model is called with.")
        return symbolic(spec)

    @property
    def output_names(self) -> list[str] | None:
        """Names of its outputs, as Keras 2 has them of a network or a class.

        There are none of outputs within outputs: Keras 3 names these by their places.
        """
        spec = self._traces.output_spec()
        if _is_nested(spec):
            return None
        ends = self.saved_config.get("output_layers")
        if isinstance(ends, list) and ends and not isinstance(spec, Mapping):
            ends = [ends] if isinstance(ends[0], str) else ends
            if all(isinstance(end, list) and end for end in ends):
                return [str(end[0]) for end in ends]
        if isinstance(spec, Mapping):
            return sorted(str(key) for key in spec)
        count = len(spec) if isinstance(spec, list | tuple) else 1
        return [f"output_{index + 1}" for index in range(count)]

    @property
    def output_keys(self) -> tuple[str, ...] | None:
        """Keys of its outputs in Keras' order; `None` where they are no flat dict."""
        spec = self._traces.output_spec()
        if not isinstance(spec, Mapping) or _is_nested(spec):
            return None
        return tuple(self.output_names or ())


def _is_nested(spec: Any) -> bool:
    """Whether there are outputs within outputs."""
    several = isinstance(spec, Mapping | list | tuple)
    return several and len(keras.tree.flatten(spec)) != len(spec)


class RevivedObject(HoldsTables, keras.layers.Layer):
    """A tracked object that is no layer, for the variables below it."""

    def call(self, *arguments: Any, **keywords: Any) -> Any:
        """Refuses: the object was never callable.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"'{self.name}' is no layer; it only holds state.")


class MetricState(RevivedObject):
    """The state of a metric that a layer updates, which is no weight of the layer.

    Attributes:
        saved_metric: What the file says of the metric.
        added_metrics: The metric that shows the state, if its class is known.
    """

    saved_metric: Mapping[str, Any] = {}

    added_metrics: Sequence[AddedMetric] = ()

    @property
    def weights(self) -> list[keras.Variable]:
        """None; `variables` has them."""
        return []

    def show_by(self, metric: Any) -> bool:
        """Lets a metric show the state; returns whether it has such a state."""
        if not isinstance(metric, keras.Metric):
            return False
        make_variables(metric, [variable.shape for variable in self.variables])
        if self.variables and not metric.variables:
            return False
        counted = [getattr(self, name, None) for name in variable_names(metric)]
        if not all(
            isinstance(ours, keras.Variable) and ours.shape == variable.shape
            for ours, variable in zip(counted, metric.variables, strict=True)
        ):
            return False
        self.added_metrics = (AddedMetric(metric, counted),)
        return True


def _counted(name: str) -> tuple[str, int]:
    """Sorts names that end with numbers by these."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _holds_tensors(value: Any) -> bool:
    return all(hasattr(item, "shape") for item in keras.tree.flatten(value))


def _with_mask(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the mask of the first argument, as Keras 2 hands it to a layer."""
    if not arguments or keywords.get("mask") is not None:
        return dict(keywords)
    masks = keras.tree.map_structure(_compat.keras_mask, arguments[0])
    if all(mask is None for mask in keras.tree.flatten(masks)):
        return dict(keywords)
    return {**keywords, "mask": masks}
