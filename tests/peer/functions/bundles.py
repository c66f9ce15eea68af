"""TensorFlow writes and reads tensor bundles, and tells its schemas."""

from __future__ import annotations

import importlib
import pkgutil

import ml_dtypes
import numpy as np


def _tensor(array):
    import tensorflow as tf

    if array.dtype == object:
        return tf.constant(array, tf.string)
    return tf.constant(array)


def write(prefix, tensors):
    """Writes arrays by key, in the order given."""
    import tensorflow as tf

    names = list(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[_tensor(tensors[name]) for name in names],
    )


def write_shards(prefix, parts):
    """Writes one bundle of as many shards as there are parts."""
    import tensorflow as tf

    prefixes = []
    for index, tensors in enumerate(parts):
        prefixes.append(f"{prefix}-part-{index}")
        write(prefixes[-1], tensors)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=prefixes, destination_prefix=str(prefix)
    )


def write_slices(prefix, variables):
    """Writes partitioned variables.

    Args:
        prefix: Where to.
        variables: By name: the whole array, and the slices as
            `[(start, length), …]`, one pair per dimension.
    """
    import tensorflow as tf

    names, specs, tensors = [], [], []
    for name, (array, slices) in variables.items():
        shape = " ".join(map(str, array.shape))
        for part in slices:
            names.append(name)
            extents = ":".join(
                "-" if (start, length) == (0, size) else f"{start},{length}"
                for (start, length), size in zip(part, array.shape, strict=True)
            )
            specs.append(f"{shape} {extents}")
            place = tuple(slice(start, start + length) for start, length in part)
            tensors.append(_tensor(array[place]))
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=names, shape_and_slices=specs, tensors=tensors
    )


def write_partitioned_variable(prefix, array, parts):
    """Writes a variable of TensorFlow 1 that a partitioner cut along its rows."""
    import tensorflow as tf

    v1 = tf.compat.v1

    def part(shape, dtype, partition_info):
        (start, *_) = partition_info.var_offset
        return tf.constant(array[start : start + shape[0]], dtype)

    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable(
            "partitioned",
            shape=array.shape,
            dtype=array.dtype,
            initializer=part,
            use_resource=False,
            partitioner=v1.fixed_size_partitioner(parts),
        )
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(
            session, str(prefix), write_meta_graph=False, write_state=False
        )


def read(prefix):
    """Returns all tensors of a bundle, as `tf.train.load_checkpoint` sees them."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    dtypes = reader.get_variable_to_dtype_map()
    return {
        key: _restore(str(prefix), key, dtype) for key, dtype in sorted(dtypes.items())
    }


def read_whole_checkpoint(prefix):
    """Returns what `load_checkpoint` itself reads, without `RestoreV2`."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}


def _restore(prefix, key, dtype):
    import tensorflow as tf

    (tensor,) = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=[key], shape_and_slices=[""], dtypes=[dtype]
    )
    if dtype == tf.string:
        return np.array(tensor.numpy(), object)
    if dtype.is_quantized:
        plain = {tf.qint8: tf.int8, tf.quint8: tf.uint8, tf.qint32: tf.int32}
        return tf.bitcast(tensor, plain[dtype]).numpy()
    return tensor.numpy()


def write_every_dtype(prefix):
    """Writes one tensor of each dtype; returns them by key as arrays."""
    import tensorflow as tf

    numbers = np.array([[-8, -1, 0], [1, 5, 7]])
    arrays = {
        name: np.abs(numbers).astype(name)
        for name in ("uint8", "uint16", "uint32", "uint64", "bool")
    }
    for name in (
        *("int8", "int16", "int32", "int64", "float16", "float32", "float64"),
        *("complex64", "complex128"),
    ):
        arrays[name] = numbers.astype(name)
    for name in (
        *("bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz"),
        *("float8_e4m3b11fnuz", "float8_e5m2fnuz", "int4"),
    ):
        arrays[name] = numbers.astype(getattr(ml_dtypes, name))
    arrays["uint4"] = np.abs(numbers).astype(ml_dtypes.uint4)
    arrays["string"] = np.array([[b"", b"a" * 200], [b"\0\xff", "ä".encode()]], object)
    arrays["scalar"] = np.array(2.5)
    arrays["empty"] = np.zeros((0, 2), np.float32)
    arrays["no strings"] = np.zeros((0,), object)
    tensors = {key: _tensor(array) for key, array in arrays.items()}
    for name, dtype in (
        ("qint8", tf.qint8),
        ("quint8", tf.quint8),
        ("qint32", tf.qint32),
    ):
        plain = np.abs(numbers).astype(name.removeprefix("q"))
        arrays[name] = plain
        tensors[name] = tf.bitcast(tf.constant(plain), dtype)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return arrays


def parse_beside_tensorflow(source, path):
    """Parses a SavedModel with TensorFlow's schemas and with ours, in one process.

    Args:
        source: The directory that holds the package `regraft`.
        path: A `saved_model.pb`.

    Returns:
        Whether both give the same bytes again, also from text format.
    """
    import sys

    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    sys.path.insert(0, str(source))
    try:
        from regraft.storage import proto
        from regraft.storage.proto import messages
    finally:
        sys.path.remove(str(source))
    with open(path, "rb") as stream:
        data = stream.read()
    theirs = saved_model_pb2.SavedModel.FromString(data)
    ours = proto.parse(messages.SavedModel, data)
    expected = theirs.SerializeToString(deterministic=True)
    text = text_format.MessageToString(theirs).encode()
    again = proto.parse_text(messages.SavedModel, text)
    return proto.serialize(ours) == expected == proto.serialize(again)


def schemas():
    """Returns the fields of TensorFlow's messages and the values of its enums.

    Returns:
        `tensorflow` and `keras`; in each, by name without the package: for a message
        its fields as `{number: (name, type, label, oneof, type name)}`, for an enum
        its values as `{name: number}`.
    """
    import tensorflow

    found = {}
    for package in ("framework", "protobuf"):
        module = importlib.import_module(f"tensorflow.core.{package}")
        for info in pkgutil.iter_modules(module.__path__):
            if info.name.endswith("_pb2"):
                name = f"tensorflow.core.{package}.{info.name}"
                try:
                    descriptor = importlib.import_module(name).DESCRIPTOR
                except (ImportError, TypeError):
                    continue
                _collect(descriptor, found)
    from tf_keras.protobuf import saved_metadata_pb2

    keras = {}
    _collect(saved_metadata_pb2.DESCRIPTOR, keras)
    return {
        "version": tensorflow.__version__,
        "tensorflow": found,
        "keras": keras,
    }


def _collect(descriptor, found):
    for message in descriptor.message_types_by_name.values():
        _collect_message(message, message.name, found)
    for enum in descriptor.enum_types_by_name.values():
        found[enum.name] = {value.name: value.number for value in enum.values}


def _collect_message(message, name, found):
    from google.protobuf import descriptor_pb2

    proto = descriptor_pb2.DescriptorProto()
    message.CopyToProto(proto)
    found[name] = {
        field.number: (
            field.name,
            field.type,
            field.label,
            proto.oneof_decl[field.oneof_index].name
            if field.HasField("oneof_index")
            else None,
            field.type_name.rpartition(".")[2],
        )
        for field in proto.field
    }
    for enum in message.enum_types:
        found[f"{name}.{enum.name}"] = {
            value.name: value.number for value in enum.values
        }
    for nested in message.nested_types:
        _collect_message(nested, f"{name}.{nested.name}", found)
