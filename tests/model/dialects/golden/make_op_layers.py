"""Writes `op_layers.json.gz`: what users of tf_keras write on symbolic tensors.

Each expression becomes a Functional model; its config, inputs and outputs are kept.
Run with an environment that has tf_keras:  python make_op_layers.py
"""

import gzip
import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

try:
    import tf_keras as keras
except ImportError:
    from tensorflow import keras

# x, y: [2, 3, 4] float32; p: positive; i: [2, 3] int32 in 0..3; b: [2, 3, 4] bool;
# m: [2, 4, 5]; s: [2, 3, 3] float32; g: [2, 4, 6, 3] float32
CASES = """
x + 1.0
1.0 + x
x + y
x - y
2.0 - x
x * y
3.0 * x
x / y
1.0 / x
x // y
x % y
x ** 2
2.0 ** x
-x
abs(x)
x > y
x >= 0.0
x < y
x <= y
x @ m
b & (x > 0.0)
b | (x > 0.0)
b ^ (x > 0.0)
~b
x == y
x != y
x[:, 0]
x[:, 1:3]
x[..., -1]
x[:, None]
x[:, tf.newaxis, ..., ::2]
x[:, ::-1]
x[0]
x[-1, 1:, 2]
x[:, -2:, :-1]
tf.add(x, y)
tf.add(2.0, x)
tf.subtract(x, y)
tf.multiply(x, 2.0)
tf.divide(x, y)
tf.math.divide_no_nan(x, y)
tf.math.multiply_no_nan(x, y)
tf.math.floordiv(x, y)
tf.math.floormod(x, y)
tf.math.mod(x, y)
tf.pow(x, 3.0)
tf.maximum(x, 0.1)
tf.minimum(x, y)
tf.math.squared_difference(x, y)
tf.math.atan2(x, y)
tf.math.add_n([x, y, p])
tf.abs(x)
tf.negative(x)
tf.sign(x)
tf.exp(x)
tf.math.expm1(x)
tf.math.log(p)
tf.math.log1p(p)
tf.sqrt(p)
tf.math.rsqrt(p)
tf.square(x)
tf.math.reciprocal(p)
tf.math.reciprocal_no_nan(p)
tf.sin(x)
tf.cos(x)
tf.tan(x)
tf.tanh(x)
tf.sinh(x)
tf.cosh(x)
tf.math.asin(x / 9.0)
tf.math.acos(x / 9.0)
tf.math.atan(x)
tf.math.asinh(x)
tf.math.acosh(p + 1.0)
tf.math.atanh(x / 9.0)
tf.math.erf(x)
tf.math.erfinv(x / 9.0)
tf.math.erfc(x)
tf.math.lgamma(p)
tf.math.digamma(p)
tf.floor(x)
tf.math.ceil(x)
tf.round(x)
tf.math.rint(x)
tf.sigmoid(x)
tf.math.log_sigmoid(x)
tf.math.softplus(x)
tf.nn.softsign(x)
tf.nn.relu(x)
tf.nn.relu6(x)
tf.nn.leaky_relu(x)
tf.nn.leaky_relu(x, alpha=0.3)
tf.nn.elu(x)
tf.nn.selu(x)
tf.nn.gelu(x)
tf.nn.gelu(x, approximate=True)
tf.nn.silu(x)
tf.nn.swish(x)
tf.nn.crelu(x)
tf.nn.softmax(x)
tf.nn.softmax(x, axis=1)
tf.nn.log_softmax(x)
tf.nn.l2_normalize(x, axis=-1)
tf.math.l2_normalize(x, 1)
tf.nn.l2_loss(x)
tf.nn.zero_fraction(tf.nn.relu(x))
tf.nn.dropout(x, 0.0)
tf.nn.bias_add(x, tf.constant([1.0, 2.0, 3.0, 4.0]))
tf.nn.moments(x, axes=[1])
tf.nn.conv2d(g, tf.ones((2, 2, 3, 5)) / 7, strides=1, padding="SAME")
tf.nn.conv2d(g, tf.ones((2, 2, 3, 5)) / 7, strides=[1, 2, 2, 1], padding="VALID")
tf.nn.depthwise_conv2d(g, tf.ones((2, 2, 3, 2)) / 7, strides=[1, 1, 1, 1], padding="SAME")
tf.nn.max_pool2d(g, 2, 2, "SAME")
tf.nn.avg_pool2d(g, [2, 2], [2, 2], "VALID")
tf.nn.max_pool(g, 2, 2, "VALID")
tf.nn.avg_pool(g, 2, 1, "SAME")
tf.nn.depth_to_space(tf.nn.space_to_depth(g, 2), 2)
tf.nn.space_to_depth(g, 2)
tf.nn.embedding_lookup(tf.ones((4, 5)), i)
tf.nn.batch_normalization(g, tf.ones(3), tf.ones(3) * 2.0, None, tf.ones(3), 1e-3)
tf.nn.local_response_normalization(g)
tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.nn.sigmoid(y), logits=x)
tf.nn.softmax_cross_entropy_with_logits(labels=tf.nn.softmax(y), logits=x)
tf.nn.sparse_softmax_cross_entropy_with_logits(labels=i, logits=x)
tf.nn.top_k(x, k=2)
tf.math.top_k(x, 2)
tf.math.in_top_k(tf.constant([0, 1]), x[:, 0], 2)
tf.reshape(x, (-1, 12))
tf.reshape(x, [-1, 4, 3])
tf.transpose(x, [0, 2, 1])
tf.transpose(x, perm=(0, 2, 1))
tf.expand_dims(x, 1)
tf.expand_dims(x, axis=-1)
tf.squeeze(x[:, :1], axis=1)
tf.squeeze(x[:, :1], [1])
tf.concat([x, y], axis=-1)
tf.concat([x, y], 1)
tf.concat([x], 1)
tf.stack([x, y], axis=1)
tf.stack([x, y])
tf.unstack(x, axis=1)
tf.split(x, 2, axis=-1)
tf.split(x, [1, 3], -1)
tf.tile(x, [1, 2, 1])
tf.repeat(x, 2, axis=1)
tf.pad(x, [[0, 0], [1, 1], [2, 0]])
tf.pad(x, [[0, 0], [1, 1], [2, 0]], constant_values=5.0)
tf.pad(x, [[0, 0], [1, 1], [1, 0]], "REFLECT")
tf.pad(x, [[0, 0], [1, 1], [1, 0]], mode="SYMMETRIC")
tf.reverse(x, [1])
tf.roll(x, 1, axis=1)
tf.roll(x, shift=[1, 2], axis=[1, 2])
tf.slice(x, [0, 1, 0], [-1, 2, 2])
tf.strided_slice(x, [0, 0, 1], [2, 3, 4], [1, 1, 2])
tf.gather(x, [0, 2], axis=1)
tf.gather(x, i, axis=1, batch_dims=1)
tf.gather(x, [0, 1])
tf.gather_nd(x, [[0, 1], [1, 2]])
tf.boolean_mask(x, [True, False, True], axis=1)
tf.broadcast_to(x[:, :1], [2, 3, 4])
tf.ones_like(x)
tf.zeros_like(x)
tf.ones_like(i, dtype="float32")
tf.fill([2, 3], 7.0) + x[:, :, 0]
tf.where(x > 0.0, x, y)
tf.where(b, x, 0.0)
tf.cast(i, "float32")
tf.cast(x, tf.int32)
tf.cast(b, dtype="float32")
tf.one_hot(i, 4)
tf.one_hot(i, depth=5, on_value=2.0, off_value=-1.0, axis=1)
tf.identity(x)
tf.stop_gradient(x)
tf.clip_by_value(x, -0.5, 0.5)
tf.clip_by_norm(x, 1.0, axes=[-1])
tf.shape(x)
tf.size(x)
tf.rank(x)
tf.reshape(x, (tf.shape(x)[0], -1))
tf.reshape(x, tf.stack([tf.shape(x)[0], 2, 6]))
tf.reshape(x, tf.concat([tf.shape(x)[:1], [6, 2]], 0))
tf.zeros((tf.shape(x)[0], 5)) + x[:, 0, :1]
tf.reduce_sum(x, axis=1)
tf.reduce_sum(x, axis=[1, 2], keepdims=True)
tf.reduce_sum(x)
tf.reduce_mean(x, 1)
tf.reduce_mean(x, axis=-1, keepdims=True)
tf.reduce_max(x, axis=1)
tf.reduce_min(x, axis=1)
tf.reduce_prod(x, axis=1)
tf.reduce_any(b, axis=1)
tf.reduce_all(b, axis=-1)
tf.reduce_logsumexp(x, axis=1)
tf.math.reduce_std(x, axis=1)
tf.math.reduce_variance(x, axis=1)
tf.math.reduce_euclidean_norm(x, axis=1)
tf.norm(x, axis=-1)
tf.norm(x, ord=1, axis=1, keepdims=True)
tf.argmax(x, axis=-1)
tf.argmin(x, 1, output_type=tf.int32)
tf.sort(x, axis=-1)
tf.sort(x, direction="DESCENDING")
tf.argsort(x, axis=1)
tf.cumsum(x, axis=1)
tf.cumsum(x, 1, exclusive=True, reverse=True)
tf.math.cumprod(x, axis=-1)
tf.math.cumulative_logsumexp(x, axis=1)
tf.linalg.matmul(x, m)
tf.matmul(x, x, transpose_b=True)
tf.linalg.matvec(m, y[:, 0, 0:1] * tf.ones((1, 5)))
tf.einsum("bij,bjk->bik", x, m)
tf.einsum("bij,bij->b", x, y)
tf.tensordot(x, tf.ones((4, 2)), axes=1)
tf.linalg.diag(x)
tf.linalg.diag_part(s)
tf.linalg.band_part(s, -1, 0)
tf.linalg.trace(s)
tf.linalg.det(s)
tf.linalg.inv(s + 5.0 * tf.eye(3))
tf.linalg.norm(x, axis=-1)
tf.linalg.normalize(x, axis=-1)
tf.linalg.set_diag(s, x[:, :, 0])
tf.linalg.adjoint(x)
tf.linalg.matrix_transpose(x)
tf.linalg.cross(s, s + 1.0)
tf.linalg.cholesky(tf.matmul(s, s, transpose_b=True) + 5.0 * tf.eye(3))
tf.linalg.solve(s + 5.0 * tf.eye(3), s)
tf.logical_and(b, x > 0.0)
tf.logical_or(b, x > 0.0)
tf.logical_not(b)
tf.math.logical_xor(b, x > 0.0)
tf.equal(x, y)
tf.not_equal(i, 1)
tf.greater(x, 0.0)
tf.greater_equal(x, y)
tf.less(x, y)
tf.less_equal(x, 0.0)
tf.math.is_nan(x)
tf.math.is_finite(x)
tf.math.is_inf(x)
tf.math.xlogy(p, p)
tf.math.igamma(p, p)
tf.math.segment_sum(x, tf.constant([0, 0]))
tf.math.unsorted_segment_sum(x, tf.constant([1, 0]), 2)
tf.sequence_mask(i, 4)
tf.sequence_mask(i, maxlen=4, dtype="float32")
tf.meshgrid(x[0, 0], y[0, 0])
tf.image.resize(g, (8, 12))
tf.image.resize(g, [3, 5], method="nearest")
tf.image.resize(g, (5, 7), method="bicubic")
tf.image.resize(g, (2, 3), method="bilinear", antialias=True)
tf.image.flip_left_right(g)
tf.image.flip_up_down(g)
tf.image.rgb_to_grayscale(g)
tf.image.grayscale_to_rgb(g[..., :1])
tf.image.adjust_brightness(g, 0.1)
tf.image.adjust_contrast(g, 1.5)
tf.image.central_crop(g, 0.5)
tf.image.crop_to_bounding_box(g, 1, 1, 2, 3)
tf.image.pad_to_bounding_box(g, 1, 1, 8, 9)
tf.image.per_image_standardization(g)
tf.image.rot90(g)
tf.image.transpose(g)
tf.signal.fft(tf.cast(x, "complex64"))
tf.math.real(tf.complex(x, y))
tf.math.imag(tf.complex(x, y))
tf.math.angle(tf.complex(x, y))
tf.math.conj(x)
tf.math.polyval([1.0, 2.0, 3.0], x)
tf.math.bincount(i, minlength=4)
tf.math.count_nonzero(x, axis=1)
tf.math.confusion_matrix(i[0], i[1], num_classes=4)
tf.searchsorted(tf.sort(x), y)
tf.unravel_index(i[0], [2, 3])
tf.tensor_scatter_nd_update(x, [[0]], tf.zeros((1, 3, 4)))
tf.tensor_scatter_nd_add(x, [[0], [0]], tf.ones((2, 3, 4)))
tf.tensor_scatter_nd_sub(x, indices=[[1, 0], [1, 0]], updates=tf.ones((2, 4)))
tf.tensor_scatter_nd_max(x, [[1], [1]], tf.zeros((2, 3, 4)))
tf.tensor_scatter_nd_min(x, [[0, 1]], [[0.1, 0.2, 0.3, 0.4]])
tf.scatter_nd([[0], [1]], x, [3, 3, 4])
tf.math.ndtri(tf.sigmoid(x))
tf.math.erfcinv(tf.sigmoid(x))
tf.math.bessel_i0(x)
tf.math.bessel_i0e(x)
tf.math.bessel_i1(x)
tf.math.bessel_i1e(x)
tf.math.special.expint(p)
tf.math.special.spence(p)
tf.math.igammac(p, p + 1.0)
tf.math.igamma(2.0, p)
tf.math.zeta(p + 1.5, p)
tf.math.polygamma(tf.ones_like(p), p)
tf.math.betainc(p, p + 1.0, tf.sigmoid(x))
tf.math.xdivy(x, p)
tf.math.xlog1py(x, p)
tf.debugging.check_numerics(x, "bad")
tf.image.extract_patches(g, [1, 2, 3, 1], [1, 1, 2, 1], [1, 1, 1, 1], "VALID")
tf.image.extract_patches(g, [1, 3, 2, 1], [1, 2, 2, 1], [1, 1, 2, 1], "SAME")
tf.image.crop_and_resize(g, [[0.0, 0.1, 0.5, 0.9]], [1], [3, 5])
tf.image.rgb_to_hsv(tf.sigmoid(g))
tf.image.hsv_to_rgb(tf.sigmoid(g))
tf.image.rgb_to_yuv(g)
tf.image.rgb_to_yiq(g)
tf.image.adjust_gamma(tf.sigmoid(g), 1.5, 0.5)
tf.image.adjust_hue(tf.sigmoid(g), 0.1)
tf.image.adjust_saturation(tf.sigmoid(g), 1.5)
tf.math.scalar_mul(2.0, x)
tf.saturate_cast(x, tf.int32)
tf.bitcast(x, tf.int32)
tf.bitwise.bitwise_and(i, 1)
tf.keras.backend.mean(x, axis=1) if hasattr(tf, "keras") else x
tf.compat.v1.nn.softmax(x, dim=1)
tf.compat.v1.reduce_sum(x, 1, keep_dims=True)
tf.compat.v1.to_float(i)
tf.compat.v1.squeeze(x[:, :1], squeeze_dims=[1])
tf.compat.v1.image.resize_bilinear(g, [8, 12])
tf.compat.v1.image.resize_nearest_neighbor(g, [8, 12], align_corners=False)
tf.compat.v1.image.resize_images(g, [8, 12])
tf.compat.v1.transpose(x, [0, 2, 1])
tf.compat.v1.where(b, x, y)
tf.compat.v1.nn.relu_layer(x[0], tf.ones((4, 2)), tf.ones(2))
tf.compat.v1.expand_dims(x, dim=1)
tf.compat.v1.concat([x, y], 1)
tf.compat.v1.argmax(x, axis=1)
tf.compat.v1.div(x, y)
tf.compat.v1.nn.dropout(x, rate=0.0)
tf.compat.v1.gather(x, [0, 1], axis=1)
tf.compat.v1.pad(x, [[0, 0], [1, 1], [0, 0]])
keras.backend.sum(x, axis=1)
keras.activations.relu(x)
keras.activations.swish(x)
keras.activations.softmax(x)
keras.activations.hard_sigmoid(x)
keras.layers.Lambda(tf.nn.relu)(x)
tf.convert_to_tensor(x)
keras.backend.batch_flatten(x)
keras.losses.mean_squared_error(x, y)
keras.losses.mean_absolute_error(x, y)
keras.losses.mean_absolute_percentage_error(x, y)
keras.losses.mean_squared_logarithmic_error(p, p + 1.0)
keras.losses.log_cosh(x, y)
keras.losses.huber(x, y)
keras.losses.hinge(x, y)
keras.losses.squared_hinge(x, y)
keras.losses.categorical_hinge(x, y)
keras.losses.poisson(p, p + 1.0)
keras.losses.cosine_similarity(x, y)
keras.losses.kl_divergence(tf.nn.softmax(x), tf.nn.softmax(y))
keras.losses.binary_crossentropy(tf.sigmoid(y), tf.sigmoid(2.0 * x))
keras.losses.binary_crossentropy(tf.sigmoid(y), x, from_logits=True)
keras.losses.binary_crossentropy(b, tf.sigmoid(x), label_smoothing=0.1)
keras.losses.binary_focal_crossentropy(b, tf.sigmoid(x))
keras.losses.categorical_crossentropy(tf.nn.softmax(y), tf.nn.softmax(x))
keras.losses.categorical_crossentropy(tf.nn.softmax(y), x, from_logits=True)
keras.losses.categorical_focal_crossentropy(tf.nn.softmax(y), tf.nn.softmax(x))
keras.losses.sparse_categorical_crossentropy(i, tf.nn.softmax(x))
keras.losses.sparse_categorical_crossentropy(i, x, from_logits=True)
keras.losses.MeanSquaredError(reduction="sum_over_batch_size")(x, y)
keras.losses.BinaryCrossentropy(reduction="sum")(tf.sigmoid(y), tf.sigmoid(x))
keras.metrics.binary_accuracy(tf.sigmoid(x), tf.sigmoid(y))
keras.metrics.categorical_accuracy(x, y)
keras.regularizers.l2(0.1)(x)
keras.regularizers.l1(0.1)(x)
""".strip().splitlines()


def make_inputs():
    rng = np.random.RandomState(7)
    return {
        "x": rng.normal(size=(2, 3, 4)).astype("float32"),
        "y": (rng.normal(size=(2, 3, 4)) + 0.05).astype("float32"),
        "p": rng.uniform(0.2, 3, size=(2, 3, 4)).astype("float32"),
        "i": rng.randint(0, 3, size=(2, 3)).astype("int32"),
        "b": rng.uniform(size=(2, 3, 4)) > 0.5,
        "m": rng.normal(size=(2, 4, 5)).astype("float32"),
        "s": rng.normal(size=(2, 3, 3)).astype("float32"),
        "g": rng.uniform(size=(2, 4, 6, 3)).astype("float32"),
    }


def run(expression, data):
    keras.backend.clear_session()
    names = {"tf": tf, "keras": keras}
    inputs = {}
    for name, value in data.items():
        inputs[name] = keras.Input(
            value.shape[1:], dtype=str(value.dtype), name=name
        )
    outputs = eval(expression, {**names, **inputs})  # noqa: S307
    flat = tf.nest.flatten(outputs)
    model = keras.Model(list(inputs.values()), flat)
    results = model([tf.constant(v) for v in data.values()])
    results = [np.asarray(v) for v in tf.nest.flatten(results)]
    config = json.loads(model.to_json())
    return {
        "expression": expression,
        "keras_version": config["keras_version"],
        "config": {"class_name": config["class_name"], "config": config["config"]},
        "outputs": [
            {"dtype": str(v.dtype), "shape": v.shape, "value": jsonable(v)}
            for v in results
        ],
    }


def jsonable(value):
    if value.dtype.kind == "c":
        value = np.stack([value.real, value.imag], -1)
    if value.dtype.kind == "f":
        return [float("%.8g" % v) for v in value.ravel()]
    return value.ravel().tolist()


def main(path):
    data = make_inputs()
    found, failed = [], []
    for expression in CASES:
        try:
            found.append(run(expression, data))
        except Exception as error:
            failed.append((expression, str(error).splitlines()[0][:150]))
    inputs = {
        k: {"dtype": str(v.dtype), "shape": v.shape, "value": jsonable(v)}
        for k, v in data.items()
    }
    text = json.dumps({"inputs": inputs, "cases": found})
    with open(path, "wb") as file:
        # No name and no time, so that equal content is equal bytes.
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            packed.write(text.encode())
    for expression, error in failed:
        print("not made:", expression, "|", error)
    print(len(found), "cases")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "op_layers.json.gz")
