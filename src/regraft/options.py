"""What a caller can choose about saving and loading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_VARIABLE_POLICIES = ("save_variable_devices", "expand_distributed_variables")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done so far, and steps in all."""


@dataclass(frozen=True)
class SaveOptions:
    """Options of `save_model`, a superset of `tf.saved_model.SaveOptions`.

    Attributes:
        dialect: Which Keras the configuration speaks to. `"keras2"`: TensorFlow's
            Keras, with what other readers ignore added for Keras 3. `"both"`: also
            with the tricks that change the topology other readers see, so that one
            HDF5 file opens in Keras 2 and in Keras 3's own loader. `"keras3"`:
            Keras 3's own words alone.
        alignment_bytes: Each tensor of a SavedModel starts at a multiple of this
            in its data file. 64 lets readers map it into memory; 1 packs densely
            as TensorFlow does.
        progress: Called while tensors are written.
        namespace_whitelist: A list of namespaces whose custom ops may be saved.
            Without meaning here: no custom op is ever written.
        save_debug_info: Whether `debug/saved_model_debug_info.pb` says which
            layer's `call` made a node, with the path and line of its source.
        function_aliases: Names for functions, as `{alias: function}`: a signature
            that is also in `signatures`, or a layer of the model, for its call.
        experimental_debug_stripper: Without meaning here: what is traced has no nodes
            that check or print. Those in the functions of a layer that came without
            its class stay. Accepted and ignored.
        experimental_io_device: Without meaning here: there are no devices to copy
            through. Accepted and ignored.
        experimental_variable_policy: Without meaning here: variables have no
            devices and no replicas. TensorFlow's names and members of its
            `VariablePolicy` are accepted and ignored.
        experimental_custom_gradients: Without meaning: gradients follow from the
            graph. Accepted and ignored.
        experimental_image_format: `True` is an error, as in the TensorFlow that is
            published: the file is written whole.
        experimental_skip_saver: Without meaning. Accepted and ignored.
        experimental_sharding_callback: A `ShardingCallback` of TensorFlow. Without
            meaning: there is one shard.
        extra_tags: Tags of the meta graph besides `"serve"`.
    """

    dialect: Literal["keras2", "both", "keras3"] = "keras2"
    alignment_bytes: int = 64
    progress: Progress | None = None
    namespace_whitelist: list[str] | None = None
    save_debug_info: bool = False
    function_aliases: Mapping[str, Any] | None = None
    experimental_debug_stripper: bool = False
    experimental_io_device: str | None = None
    experimental_variable_policy: Any = None
    experimental_custom_gradients: bool = True
    experimental_image_format: bool = False
    experimental_skip_saver: bool = False
    experimental_sharding_callback: Any = None
    extra_tags: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.dialect not in ("keras2", "both", "keras3"):
            raise ValueError(
                "Invalid `dialect`: expected 'keras2', 'both' or 'keras3'. "
                f"Received: {self.dialect!r}"
            )
        _check_namespaces(self.namespace_whitelist)
        _check_policy(self.experimental_variable_policy)
        if self.experimental_image_format:
            raise ValueError(
                "`experimental_image_format=True` can't be written, as in the "
                "TensorFlow that is published. Leave it out."
            )
        callback = self.experimental_sharding_callback
        if callback is not None and not hasattr(callback, "description"):
            raise ValueError(
                "Invalid `experimental_sharding_callback`: expected a "
                "`ShardingCallback` of TensorFlow. "
                f"Received: {callback!r} of type {type(callback).__name__}"
            )
        if self.alignment_bytes < 1 or self.alignment_bytes & (
            self.alignment_bytes - 1
        ):
            raise ValueError(
                "Invalid `alignment_bytes`: expected a power of two. "
                f"Received: {self.alignment_bytes}"
            )


def _check_namespaces(names: Any) -> None:
    """Raises what TensorFlow does."""
    if names is None:
        return
    if not isinstance(names, list):
        raise TypeError(
            "Invalid `namespace_whitelist`: expected a list of strings. "
            f"Received: {names!r} of type {type(names).__name__}"
        )
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                "Invalid `namespace_whitelist`: expected a list of strings. It "
                f"holds {name!r} of type {type(name).__name__}"
            )


def _check_policy(policy: Any) -> None:
    """Refuses what is neither a name of TensorFlow's policies nor one of them."""
    if policy is None:
        return
    name = policy if isinstance(policy, str) else getattr(policy, "value", policy)
    known = isinstance(name, str) and name.lower() in _VARIABLE_POLICIES
    # TensorFlow's `VariablePolicy.NONE` has no value.
    if not known and not (name is None and hasattr(policy, "value")):
        raise ValueError(
            "Invalid `experimental_variable_policy`: expected one of "
            f"{', '.join(map(repr, _VARIABLE_POLICIES))}. Received: {policy!r}"
        )


@dataclass(frozen=True)
class LoadOptions:
    """Options of `load_model`, a superset of `tf.saved_model.LoadOptions`.

    Attributes:
        verify: Whether to check that the file is whole and that what was rebuilt
            computes as its writer did: every tensor is read and compared with its
            checksum, and every layer, and the model, is run on random input beside
            its traced function, in inference and, where no random numbers are
            drawn, in training. Outputs, losses and updates of variables must be
            equal, or a `MismatchError` names the layers. The load report says how
            close each came, or why it could not be checked. Takes seconds to
            minutes; the model itself stays as it is.
        memory_budget_bytes: The most that tensors may take in memory; `None` for
            no bound but the file's own size.
        max_function_calls: How many functions one run of what is loaded may call
            outside of `jit`; each round of a loop counts as two. More is a
            `LimitError`: a loop of a broken or hostile file ends. Compiled loops
            whose condition depends on the data are XLA's and are not counted.
        progress: Called while layers are built and values read.
        allow_partial_checkpoint: Whether a variable for which the file holds no
            value keeps its initial one; it is named in the load report. Else such
            a variable is an error.
        experimental_io_device: Without meaning here. Accepted and ignored.
        experimental_skip_checkpoint: Whether to leave all variables at their
            initial values.
        experimental_variable_policy: Without meaning here. Accepted and ignored.
        experimental_load_function_aliases: Without meaning here. Accepted and
            ignored.
    """

    verify: bool = False
    memory_budget_bytes: int | None = None
    max_function_calls: int = 10_000_000
    progress: Progress | None = None
    allow_partial_checkpoint: bool = False
    experimental_io_device: str | None = None
    experimental_skip_checkpoint: bool = False
    experimental_variable_policy: Any = None
    experimental_load_function_aliases: bool = False

    def __post_init__(self) -> None:
        _check_policy(self.experimental_variable_policy)
