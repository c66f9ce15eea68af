"""What `evaluate` counts and returns; see `regraft._compat`."""

from __future__ import annotations

from typing import Any

import keras

from regraft._compat.compiled import built_metrics


def compiled_metrics(
    model: keras.Model, targets: Any, outputs: Any
) -> list[keras.Metric]:
    """Returns the metrics of `compile`, which are made of what is first counted.

    Keras 3.12 to 3.15: `model.metrics` is empty of them until then.

    Args:
        model: A model, compiled or not.
        targets: Of a batch.
        outputs: Of the same batch.
    """
    metrics = getattr(model, "_compile_metrics", None)
    if metrics is None:
        return []
    if not metrics.built:
        metrics.build(targets, outputs)
    return list(metrics.metrics)


def order_results(model: keras.Model) -> None:
    """Lists what a step or `evaluate` returns output by output, as Keras 2 does.

    Keras 3 sorts the metrics of several outputs by name. Keras 3.12 to 3.15:
    `_flatten_metrics_in_order` makes the list, `_compile_metrics` and `_compile_loss`
    know what is compiled, and of which output.
    """
    listed = model._flatten_metrics_in_order
    known: tuple[Any, list[str]] = (None, [])

    def in_order(logs: dict[str, Any]) -> Any:
        nonlocal known
        compiled = model._compile_metrics
        if compiled is None or not compiled.built or model._compile_loss is None:
            return listed(logs)
        if known[0] is not compiled:
            known = (compiled, _by_output(model))
        plain = [metric.name for metric in model.metrics if metric is not compiled]
        losses = {"loss", *(metric.name for metric in model._compile_loss.metrics)}
        names = [name for name in plain if name in losses] + known[1] + plain
        found = [logs[name] for name in dict.fromkeys(names) if name in logs]
        found += [logs[name] for name in sorted(logs) if name not in names]
        return found[0] if len(found) == 1 else found

    model._flatten_metrics_in_order = in_order


def _by_output(model: keras.Model) -> list[str]:
    """The names in logs: of each output its metrics, then those that are weighted."""
    plain, weighted = (
        [len(found) for found in built_metrics(model, key) or ()]
        for key in ("metrics", "weighted_metrics")
    )
    # All that aren't weighted come first.
    names = iter(model._compile_metrics.result())
    parts = [[next(names, "") for _ in range(count)] for count in (*plain, *weighted)]
    return [
        name
        for index in range(max(len(plain), len(weighted)))
        for kind in (parts[: len(plain)], parts[len(plain) :])
        for name in (kind[index] if index < len(kind) else ())
    ]
