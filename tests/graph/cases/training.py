"""Rows of `kernels/training.py`: one step of each optimizer, four ops each."""

from __future__ import annotations

from typing import Any

from graph.cases.case import Program, f32, i32, i64, uniform

_RATES = {
    "alpha": 0.1,
    "lr": 0.1,
    "l1": 0.02,
    "l2": 0.3,
    "l2_shrinkage": 0.4,
    "lr_power": -0.5,
    "momentum": 0.9,
    "rho": 0.8,
    "epsilon": 0.01,
    "beta": 0.7,
    "beta1": 0.8,
    "beta2": 0.9,
    "beta1_power": 0.64,
    "beta2_power": 0.81,
    "sign_decay": 0.5,
    "logbase": 0.7,
}
_RMS = "lr rho momentum epsilon grad"
_ADAM = "beta1_power beta2_power lr beta1 beta2 epsilon grad"
# Slots, inputs of the dense ops, inputs of the sparse ones, and an attribute.
_OPTIMIZERS: dict[str, tuple[str, str, str, str]] = {
    "GradientDescent": ("var", "alpha delta", "", ""),
    "ProximalGradientDescent": (
        "var",
        "alpha l1 l2 delta",
        "alpha l1 l2 grad indices",
        "",
    ),
    "Momentum": (
        "var accum",
        "lr grad momentum",
        "lr grad indices momentum",
        "use_nesterov",
    ),
    "KerasMomentum": (
        "var accum",
        "lr grad momentum",
        "lr grad indices momentum",
        "use_nesterov",
    ),
    "Adam": ("var m v", _ADAM, "", "use_nesterov"),
    "AdamWithAmsgrad": ("var m v vhat", _ADAM, "", ""),
    "AdaMax": ("var m v", "beta1_power lr beta1 beta2 epsilon grad", "", ""),
    "Adadelta": (
        "var accum accum_update",
        "lr rho epsilon grad",
        "lr rho epsilon grad indices",
        "",
    ),
    "Adagrad": ("var accum", "lr grad", "lr grad indices", "update_slots"),
    "AdagradV2": (
        "var accum",
        "lr epsilon grad",
        "lr epsilon grad indices",
        "update_slots",
    ),
    "AdagradDA": (
        "var gradient_accumulator gradient_squared_accumulator",
        "grad lr l1 l2 global_step",
        "grad indices lr l1 l2 global_step",
        "",
    ),
    "ProximalAdagrad": ("var accum", "lr l1 l2 grad", "lr l1 l2 grad indices", ""),
    "RMSProp": ("var ms mom", _RMS, f"{_RMS} indices", ""),
    "CenteredRMSProp": ("var mg ms mom", _RMS, f"{_RMS} indices", ""),
    "Ftrl": (
        "var accum linear",
        "grad lr l1 l2 lr_power",
        "grad indices lr l1 l2 lr_power",
        "multiply_linear_by_lr",
    ),
    "FtrlV2": (
        "var accum linear",
        "grad lr l1 l2 l2_shrinkage lr_power",
        "grad indices lr l1 l2 l2_shrinkage lr_power",
        "multiply_linear_by_lr",
    ),
    "AddSign": ("var m", "lr alpha sign_decay beta grad", "", ""),
    "PowerSign": ("var m", "lr logbase sign_decay beta grad", "", ""),
}
_WITHOUT_REFERENCES = ("KerasMomentum", "AdamWithAmsgrad")
_KEPT = uniform(0.5, 2.0, 4, 3)
_GRADIENT = uniform(-1.0, 1.0, 4, 3)
# The second row steps twice.
_INDICES = i32(2, 1, 0, 1)


def _variants(name: str) -> list[tuple[bool, bool, bool]]:
    """Whether of rows, whether by references, and what the attribute says."""
    _, _, sparse, attr = _OPTIMIZERS[name]
    return [
        (is_sparse, is_ref, setting)
        for is_sparse in (False, True)
        for is_ref in (False, True)
        for setting in (True, False)
        if (sparse or not is_sparse)
        and not (is_ref and name in _WITHOUT_REFERENCES)
        and (setting or (attr and not is_ref))
    ]


def _step(name: str) -> Any:
    def build(tf: Any, kept: Any, gradient: Any, indices: Any) -> Any:
        given = {
            "grad": gradient,
            "delta": gradient,
            "indices": indices,
            "global_step": tf.constant(i64(3)),
        }
        given |= {key: tf.constant(f32(rate)) for key, rate in _RATES.items()}
        found = []
        for variant in _variants(name):
            found += _one_step(tf, name, kept, given, *variant)
        return found

    return build


def _one_step(
    tf: Any, name: str, kept: Any, given: Any, sparse: bool, is_ref: bool, setting: bool
) -> list[Any]:
    slots, dense, rows, attr = _OPTIMIZERS[name]
    raw = tf.raw_ops
    op = f"{'' if is_ref else 'Resource'}{'Sparse' if sparse else ''}Apply{name}"
    handles, started = {}, []
    for number, slot in enumerate(slots.split()):
        # Squares are larger than means of what was squared.
        value = kept * (0.1 + number)
        shared_name = f"{op}/{setting}/{slot}"
        options = {"dtype": tf.float32, "shape": [4, 3], "shared_name": shared_name}
        if is_ref:
            handles[slot] = raw.VariableV2(**options)
            started.append(raw.Assign(ref=handles[slot], value=value))
        else:
            handles[slot] = raw.VarHandleOp(**options)
            started.append(raw.AssignVariableOp(resource=handles[slot], value=value))
    others = {key: given[key] for key in (rows if sparse else dense).split()}
    if attr:
        others[attr] = setting
    with tf.control_dependencies(started):
        done = getattr(raw, op)(**handles, **others)
    with tf.control_dependencies([done]):
        if is_ref:
            return [tf.identity(handle) for handle in handles.values()]
        return [
            raw.ReadVariableOp(resource=handle, dtype=tf.float32)
            for handle in handles.values()
        ]


ROWS = [
    Program(
        f"training-{name}", _step(name), (_KEPT, _GRADIENT, _INDICES), tolerance=1e-5
    )
    for name in _OPTIMIZERS
]
