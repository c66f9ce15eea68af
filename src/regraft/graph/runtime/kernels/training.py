"""One step of an optimizer, as TensorFlow 1's and Keras' training graphs take it.

A rule computes new values of a variable and its slots from their old ones. Each is the
kernel of up to four ops: with resources or references, of whole variables or of rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.context import Context
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.gather import gather, scatter
from regraft.graph.runtime.registry import register

Values = Mapping[str, Any]


def _gradient_descent(v: Values) -> Sequence[Any]:
    return (v["var"] - v["alpha"] * v["delta"],)


def _shrunk(x: Any, rate: Any, l1: Any, l2: Any) -> Any:
    """Returns what is left of `x` after both regularizers have pulled it to zero."""
    cut = xp.sign(x) * xp.maximum(xp.abs(x) - rate * l1, 0)
    return xp.where(l1 > 0, cut, x) / (1 + l2 * rate)


def _proximal_gradient_descent(v: Values) -> Sequence[Any]:
    step = v["var"] - v["alpha"] * v["delta"]
    return (_shrunk(step, v["alpha"], v["l1"], v["l2"]),)


def _momentum(v: Values) -> Sequence[Any]:
    accum = v["accum"] * v["momentum"] + v["grad"]
    step = accum * v["lr"]
    if v["use_nesterov"]:
        step = v["grad"] * v["lr"] + step * v["momentum"]
    return v["var"] - step, accum


def _keras_momentum(v: Values) -> Sequence[Any]:
    accum = v["accum"] * v["momentum"] - v["grad"] * v["lr"]
    step = accum
    if v["use_nesterov"]:
        step = accum * v["momentum"] - v["grad"] * v["lr"]
    return v["var"] + step, accum


def _moments(v: Values) -> tuple[Any, Any, Any]:
    m = v["m"] + (v["grad"] - v["m"]) * (1 - v["beta1"])
    new = v["v"] + (v["grad"] * v["grad"] - v["v"]) * (1 - v["beta2"])
    rate = v["lr"] * xp.sqrt(1 - v["beta2_power"]) / (1 - v["beta1_power"])
    return m, new, rate


def _adam(v: Values) -> Sequence[Any]:
    m, new, rate = _moments(v)
    ahead = m
    if v["use_nesterov"]:
        ahead = v["grad"] * (1 - v["beta1"]) + v["beta1"] * m
    return v["var"] - ahead * rate / (xp.sqrt(new) + v["epsilon"]), m, new


def _adam_with_amsgrad(v: Values) -> Sequence[Any]:
    m, new, rate = _moments(v)
    largest = xp.maximum(v["vhat"], new)
    return v["var"] - m * rate / (xp.sqrt(largest) + v["epsilon"]), m, new, largest


def _ada_max(v: Values) -> Sequence[Any]:
    m = v["m"] + (v["grad"] - v["m"]) * (1 - v["beta1"])
    norm = xp.maximum(v["beta2"] * v["v"], xp.abs(v["grad"]))
    rate = v["lr"] / (1 - v["beta1_power"])
    return v["var"] - rate * m / (norm + v["epsilon"]), m, norm


def _adadelta(v: Values) -> Sequence[Any]:
    rho, grad = v["rho"], v["grad"]
    accum = v["accum"] * rho + grad * grad * (1 - rho)
    step = xp.sqrt((v["accum_update"] + v["epsilon"]) / (accum + v["epsilon"])) * grad
    moved = v["accum_update"] * rho + step * step * (1 - rho)
    return v["var"] - step * v["lr"], accum, moved


def _adagrad(v: Values) -> Sequence[Any]:
    accum = v["accum"]
    if v["update_slots"]:
        accum = accum + v["grad"] * v["grad"]
    return v["var"] - v["grad"] * v["lr"] / xp.sqrt(accum), accum


def _adagrad_v2(v: Values) -> Sequence[Any]:
    accum = v["accum"]
    if v["update_slots"]:
        accum = accum + v["grad"] * v["grad"]
    return v["var"] - v["grad"] * v["lr"] / (xp.sqrt(accum) + v["epsilon"]), accum


def _adagrad_da(v: Values) -> Sequence[Any]:
    total = v["gradient_accumulator"] + v["grad"]
    squares = v["gradient_squared_accumulator"] + v["grad"] * v["grad"]
    steps = values.cast(v["global_step"], values.dtype_of(v["grad"]))
    cut = xp.sign(total) * xp.maximum(xp.abs(total) - steps * v["l1"], 0)
    pull = xp.where(v["l1"] > 0, cut, total)
    var = -v["lr"] * pull / (steps * v["l2"] * v["lr"] + xp.sqrt(squares))
    return var, total, squares


def _proximal_adagrad(v: Values) -> Sequence[Any]:
    accum = v["accum"] + v["grad"] * v["grad"]
    rate = v["lr"] / xp.sqrt(accum)
    return _shrunk(v["var"] - v["grad"] * rate, rate, v["l1"], v["l2"]), accum


def _rms_prop(v: Values) -> Sequence[Any]:
    ms = v["ms"] + (v["grad"] * v["grad"] - v["ms"]) * (1 - v["rho"])
    step = v["grad"] * v["lr"] / xp.sqrt(ms + v["epsilon"])
    mom = v["mom"] * v["momentum"] + step
    return v["var"] - mom, ms, mom


def _centered_rms_prop(v: Values) -> Sequence[Any]:
    ms = v["ms"] + (v["grad"] * v["grad"] - v["ms"]) * (1 - v["rho"])
    mg = v["mg"] + (v["grad"] - v["mg"]) * (1 - v["rho"])
    step = v["grad"] * v["lr"] / xp.sqrt(ms - mg * mg + v["epsilon"])
    mom = v["mom"] * v["momentum"] + step
    return v["var"] - mom, mg, ms, mom


def _ftrl(v: Values) -> Sequence[Any]:
    grad, lr, l1, l2 = v["grad"], v["lr"], v["l1"], v["l2"]
    accum = v["accum"] + grad * grad
    shrunk = grad
    if "l2_shrinkage" in v:
        shrunk = grad + 2 * v["l2_shrinkage"] * v["var"]
    power = xp.power(accum, -v["lr_power"])
    change = (power - xp.power(v["accum"], -v["lr_power"])) * v["var"]
    if v["multiply_linear_by_lr"]:
        linear = v["linear"] + shrunk * lr - change
        bound, scale = l1 * lr, power + 2 * l2 * lr
    else:
        linear = v["linear"] + shrunk - change / lr
        bound, scale = l1, power / lr + 2 * l2
    var = (xp.sign(linear) * bound - linear) / scale
    return xp.where(xp.abs(linear) > bound, var, xp.zeros_like(var)), accum, linear


def _add_sign(v: Values) -> Sequence[Any]:
    m = v["m"] * v["beta"] + v["grad"] * (1 - v["beta"])
    factor = v["alpha"] + v["sign_decay"] * xp.sign(v["grad"]) * xp.sign(m)
    return v["var"] - v["lr"] * factor * v["grad"], m


def _power_sign(v: Values) -> Sequence[Any]:
    m = v["m"] * v["beta"] + v["grad"] * (1 - v["beta"])
    agree = v["sign_decay"] * xp.sign(v["grad"]) * xp.sign(m)
    return v["var"] - v["lr"] * xp.exp(v["logbase"] * agree) * v["grad"], m


@dataclass(frozen=True)
class Rule:
    """A row: how an optimizer's ops are called.

    Attributes:
        function: Returns new values of the slots.
        slots: The variable and what is kept of it, as inputs of the ops.
        dense: The other inputs, in order, of the ops on whole variables.
        sparse: Those of the ops on rows; empty where there are none.
        attrs: What the ops are told besides.
        references: Whether there are ops on TensorFlow 1's references.
    """

    function: Callable[[Values], Sequence[Any]]
    slots: str
    dense: str
    sparse: str = ""
    attrs: str = ""
    references: bool = True


_RMS = "lr rho momentum epsilon grad"
_FTRL = "lr l1 l2 lr_power"
_FTRL_2 = "lr l1 l2 l2_shrinkage lr_power"
_DA = "lr l1 l2 global_step"
RULES: dict[str, Rule] = {
    "GradientDescent": Rule(_gradient_descent, "var", "alpha delta"),
    "ProximalGradientDescent": Rule(
        _proximal_gradient_descent,
        "var",
        "alpha l1 l2 delta",
        "alpha l1 l2 delta indices",
    ),
    "Momentum": Rule(
        _momentum,
        "var accum",
        "lr grad momentum",
        "lr grad indices momentum",
        "use_nesterov",
    ),
    "KerasMomentum": Rule(
        _keras_momentum,
        "var accum",
        "lr grad momentum",
        "lr grad indices momentum",
        "use_nesterov",
        references=False,
    ),
    "Adam": Rule(
        _adam,
        "var m v",
        "beta1_power beta2_power lr beta1 beta2 epsilon grad",
        attrs="use_nesterov",
    ),
    "AdamWithAmsgrad": Rule(
        _adam_with_amsgrad,
        "var m v vhat",
        "beta1_power beta2_power lr beta1 beta2 epsilon grad",
        references=False,
    ),
    "AdaMax": Rule(_ada_max, "var m v", "beta1_power lr beta1 beta2 epsilon grad"),
    "Adadelta": Rule(
        _adadelta,
        "var accum accum_update",
        "lr rho epsilon grad",
        "lr rho epsilon grad indices",
    ),
    "Adagrad": Rule(
        _adagrad, "var accum", "lr grad", "lr grad indices", "update_slots"
    ),
    "AdagradV2": Rule(
        _adagrad_v2,
        "var accum",
        "lr epsilon grad",
        "lr epsilon grad indices",
        "update_slots",
    ),
    "AdagradDA": Rule(
        _adagrad_da,
        "var gradient_accumulator gradient_squared_accumulator",
        f"grad {_DA}",
        f"grad indices {_DA}",
    ),
    "ProximalAdagrad": Rule(
        _proximal_adagrad, "var accum", "lr l1 l2 grad", "lr l1 l2 grad indices"
    ),
    "RMSProp": Rule(_rms_prop, "var ms mom", _RMS, f"{_RMS} indices"),
    "CenteredRMSProp": Rule(
        _centered_rms_prop, "var mg ms mom", _RMS, f"{_RMS} indices"
    ),
    "Ftrl": Rule(
        _ftrl,
        "var accum linear",
        f"grad {_FTRL}",
        f"grad indices {_FTRL}",
        "multiply_linear_by_lr",
    ),
    "FtrlV2": Rule(
        _ftrl,
        "var accum linear",
        f"grad {_FTRL_2}",
        f"grad indices {_FTRL_2}",
        "multiply_linear_by_lr",
    ),
    "AddSign": Rule(_add_sign, "var m", "lr alpha sign_decay beta grad"),
    "PowerSign": Rule(_power_sign, "var m", "lr logbase sign_decay beta grad"),
}


def _read(ctx: Context, variable: Any) -> Any:
    value = ctx.read(variable)
    return value if values.is_host(value) else values.to_tensor(value)


def _step(rule: Rule, given: Values, kept: Sequence[Any]) -> list[Any]:
    """Returns new values of whole variables, in their own types."""
    names = rule.slots.split()
    new = rule.function({**given, **dict(zip(names, kept, strict=True))})
    return [
        values.cast(value, values.dtype_of(old))
        for value, old in zip(new, kept, strict=True)
    ]


def _rows(rule: Rule, given: Values, kept: list[Any], indices: Any) -> list[Any]:
    """Returns variables of which some rows have taken a step, one after another."""
    name = "delta" if "delta" in rule.sparse.split() else "grad"

    def moved(old: list[Any], places: Any, grads: Any) -> list[Any]:
        parts = [gather(value, places, 0, 0) for value in old]
        new = _step(rule, {**given, name: grads}, parts)
        return [
            scatter(value, places, part, "update")
            for value, part in zip(old, new, strict=True)
        ]

    if not values.is_traced(indices):
        flat = np.asarray(values.static(indices)).reshape(-1)
        # A row that is named again takes its next step after all first ones.
        _, place = np.unique(flat, return_inverse=True)
        turn = np.array([int((place[:i] == p).sum()) for i, p in enumerate(place)])
        for number in range(int(turn.max(initial=-1)) + 1):
            chosen = np.flatnonzero(turn == number)
            grads = xp.take(given[name], chosen, axis=0)
            kept = moved(kept, flat[chosen], grads)
        return kept
    grads = values.to_tensor(given[name])

    def one(i: Any, state: Any) -> Any:
        at = ops.expand_dims(i, 0)
        return tuple(moved(list(state), ops.take(indices, at), ops.take(grads, at, 0)))

    start = tuple(values.to_tensor(value) for value in kept)
    return list(ops.fori_loop(0, values.shape_of(indices)[0], one, start))


def _kernel(rule: Rule, inputs: Sequence[str], is_ref: bool) -> Callable[..., Any]:
    slots, attrs = rule.slots.split(), rule.attrs.split()

    def kernel_function(ctx: Context, *arguments: Any, **settings: Any) -> Any:
        given = dict(zip(inputs, arguments, strict=True))
        variables = [given.pop(name) for name in slots]
        indices = given.pop("indices", None)
        kept = [_read(ctx, variable) for variable in variables]
        known: Values = {**given, **settings}
        if indices is None:
            new = _step(rule, known, kept)
        else:
            new = _rows(rule, known, kept, indices)
        for variable, value in zip(variables, new, strict=True):
            ctx.assign(variable, value)
        return variables[0] if is_ref else None

    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(n, positional) for n in ("ctx", *inputs)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters += [inspect.Parameter(name, keyword) for name in attrs]
    kernel_function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return kernel_function


def _register(name: str, rule: Rule) -> None:
    for prefix, others in (("", rule.dense), ("Sparse", rule.sparse)):
        if not others:
            continue
        inputs = (*rule.slots.split(), *others.split())
        for is_ref in (False, True) if rule.references else (False,):
            register(
                f"{'' if is_ref else 'Resource'}{prefix}Apply{name}",
                _kernel(rule, inputs, is_ref),
                writes=True,
                ignored=("use_locking",),
            )


for _name, _rule in RULES.items():
    _register(_name, _rule)
