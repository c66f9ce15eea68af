"""Writes `model/dialects/keras2_arguments.py` from an installed tf_keras.

    python make_arguments.py ../../../../src/regraft/model/dialects/keras2_arguments.py
"""

import inspect
import os
import sys
import textwrap

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tf_keras
from tf_keras.src.layers import serialization

HEAD = '''"""The arguments of every layer of Keras 2 (tf_keras 2.21): facts, generated.

Written by `tests/model/dialects/golden/make_arguments.py`.
"""

from __future__ import annotations

# Arguments that every layer has.
EVERY_LAYER = frozenset({"activity_regularizer", "dtype", "name", "trainable"})

_TABLE = """
'''
TAIL = '''"""


def _parsed(table: str) -> dict[str, frozenset[str]]:
    found = {}
    for line in table.replace("\\n    ", " ").strip().splitlines():
        name, _, arguments = line.partition(":")
        found[name] = frozenset(arguments.split())
    return found


KERAS_2_ARGUMENTS = _parsed(_TABLE)
'''
# Networks, base classes, wrappers of tf.nn's cells and second names.
SKIPPED = """
Functional Sequential Model LSTMV1 LSTMV2 GRUV1 GRUV2 LSTMCellV1 LSTMCellV2 GRUCellV1
GRUCellV2 BatchNormalizationV2 BatchNormalizationV1 BatchNormalizationBase
BaseRandomLayer DropoutWrapper DeviceWrapper ResidualWrapper _RNNCellWrapper
ClassMethod InstanceMethod InstanceProperty DynamicEmbedding DynamicLookup LinearModel
WideDeepModel PreprocessingLayer AbstractRNNCell
""".split()
EVERYWHERE = {
    *("trainable", "name", "dtype", "dynamic", "rng_type", "force_generator"),
    *("rank", "conv_op", "activity_regularizer"),
}
# They make their cell themselves.
WITHOUT_CELL = """
LSTM GRU SimpleRNN ConvLSTM1D ConvLSTM2D ConvLSTM3D CuDNNLSTM CuDNNGRU
""".split()


def arguments(cls):
    found = set()
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        signature = inspect.signature(inspect.unwrap(base.__init__)).parameters
        found |= {n for n, p in signature.items() if p.kind in (1, 3)}
        takes_more = any(p.kind == 4 for p in signature.values())
        if base is tf_keras.layers.Layer or not takes_more:
            break
    found -= EVERYWHERE | {"self"}
    return found - {"cell"} if cls.__name__ in WITHOUT_CELL else found


def main(path):
    serialization.populate_deserializable_objects()
    # What is registered elsewhere is found among the public names alone.
    classes = {**vars(tf_keras.layers), **serialization.LOCAL.ALL_OBJECTS}
    lines = []
    for name in sorted(n for n in classes if not n.startswith("_")):
        cls = classes[name]
        layer = isinstance(cls, type) and issubclass(cls, tf_keras.layers.Layer)
        if not layer or name in SKIPPED:
            continue
        text = f"{name}: " + " ".join(sorted(arguments(cls)))
        lines += textwrap.wrap(text, width=88, subsequent_indent="    ")
    with open(path, "w") as file:
        file.write(HEAD + "\n".join(lines) + "\n" + TAIL)


if __name__ == "__main__":
    main(sys.argv[1])
