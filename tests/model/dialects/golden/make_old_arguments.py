"""Writes the arguments of the layers, losses and metrics of an old TensorFlow.

Run where that TensorFlow is, from anywhere:

    python make_old_arguments.py

It writes `arguments-<version>.json` beside itself: names by class, by kind.
"""

import inspect
import json
import os
import pathlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf

HERE = pathlib.Path(__file__).resolve().parent
# What `Layer.__init__` takes as keywords.
OF_LAYERS = "activity_regularizer batch_input_shape dtype dynamic name trainable weights"


def arguments(cls):
    found = set()
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = list(inspect.signature(base.__init__).parameters.values())
            found |= {p.name for p in parameters[1:] if p.kind is not p.VAR_KEYWORD}
            if all(p.kind is not p.VAR_KEYWORD for p in parameters):
                break
    return found


layers = tf.keras.layers
kinds = {
    "layers": (layers, layers.experimental, layers.experimental.preprocessing),
    "losses": (tf.keras.losses,),
    "metrics": (tf.keras.metrics,),
}
facts = {
    kind: {
        name: " ".join(
            sorted(arguments(cls) | set(OF_LAYERS.split() * (kind == "layers")))
        )
        for module in modules
        for name, cls in sorted(vars(module).items())
        if inspect.isclass(cls)
    }
    for kind, modules in kinds.items()
}
version = ".".join(tf.__version__.split(".")[:2])
text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
(HERE / f"arguments-{version}.json").write_text(text)
