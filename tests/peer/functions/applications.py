"""tf_keras' applications with random weights, as SavedModels with traces."""

from __future__ import annotations


def save(name, path, size):
    """Saves an application without its top; images are `size` pixels wide."""
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(1)
    builder = getattr(tf_keras.applications, name, None) or _of_module(name)
    model = builder(
        weights=None, include_top=False, input_shape=(size, size, 3), pooling="avg"
    )
    model.save(path)


def _of_module(name):
    """RegNet and ResNetRS are only in modules of their own."""
    import inspect

    import tf_keras

    for _, module in inspect.getmembers(tf_keras.applications, inspect.ismodule):
        if callable(found := getattr(module, name, None)):
            return found
    raise ValueError(f"tf_keras has no application {name}")
