"""SavedModels of TensorFlow that Keras had no part in."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def save_module(path: Path) -> None:
    """Saves a `tf.Module` with a variable, a function and a signature."""
    module = tf.Module()
    module.scale = tf.Variable([2.0, 3.0])
    module.double = tf.function(
        lambda x: {"y": x * module.scale},
        input_signature=[tf.TensorSpec([None, 2], name="x")],
    )
    tf.saved_model.save(module, str(path), signatures=module.double)


def save_stepper(path: Path) -> np.ndarray:
    """Saves a Keras model that is never called, but has a function, and calls that."""
    import tf_keras

    class Stepper(tf_keras.Model):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        @tf.function
        def step(self, texts: Any, state: Any = None) -> Any:
            lengths = tf.cast(tf.strings.length(texts), tf.float32)[:, None]
            return self.inner(lengths if state is None else lengths + state)

    inner = tf_keras.Sequential([tf_keras.Input((1,)), tf_keras.layers.Dense(1)])
    stepper = Stepper(inner)
    first = stepper.step(tf.constant(["a", "word"]))
    stepper.step(tf.constant(["a", "word"]), first)
    tf.saved_model.save(stepper, str(path))
    return stepper.step(tf.constant(["some", "more"]), first).numpy()


def call_signature(path: Path, name: str, arguments: dict) -> dict:
    """What a signature of a SavedModel gives, by output name."""
    signature = tf.saved_model.load(str(path)).signatures[name]
    found = signature(**{key: tf.constant(value) for key, value in arguments.items()})
    return {key: value.numpy() for key, value in found.items()}


def call_model(path: Path, values: list) -> dict:
    """What a model without its class gives for several arguments, by output name."""
    import tf_keras

    model = tf_keras.models.load_model(str(path))
    found = model(*map(tf.constant, values))
    return {key: value.numpy() for key, value in found.items()}


def names_of_forms() -> dict:
    """Names of inputs and outputs that TensorFlow gives to signatures, by form."""
    row, column = tf.TensorSpec((None, 3)), tf.TensorSpec((None, 1))
    forms = {
        "tensor": (lambda x: 2 * x, [row]),
        "list": (lambda x: [2 * x, x], [row]),
        "named": (lambda x: -x, [tf.TensorSpec((None, 3), name="pixels")]),
        "dict argument": (
            lambda both: both["a"] + both["b"],
            [{"b": row, "a": column}],
        ),
        "list argument": (lambda both: both[0] + both[1], [[column, row]]),
        "no argument": (lambda: tf.range(3), []),
        "numbers": (lambda x: {"three": 3, "x": x}, [tf.TensorSpec((), tf.int64)]),
        "two names": (
            lambda x: {"a": x, "b": x},
            [tf.TensorSpec((2, None), tf.uint8)],
        ),
    }
    found = {}
    for name, (function, specs) in forms.items():
        module = tf.Module()
        with tempfile.TemporaryDirectory() as folder:
            made = tf.function(function, input_signature=specs)
            tf.saved_model.save(module, folder, signatures=made)
            signature = tf.saved_model.load(folder).signatures["serving_default"]
            inputs = sorted(signature.structured_input_signature[1])
            found[name] = inputs, sorted(signature.structured_outputs)
    return found


def save_list_of_texts(path: Path) -> dict:
    """Saves a function over a list of strings that is filled in part, and calls it."""

    def listed(x: tf.Tensor) -> dict:
        texts = tf.TensorArray(tf.string, size=4, element_shape=[2])
        for place in tf.range(1, 3):
            texts = texts.write(place, tf.strings.join([x, tf.as_string(place)]))
        return {"texts": texts.stack()}

    module = tf.Module()
    module.listed = tf.function(
        listed, input_signature=[tf.TensorSpec([2], tf.string, name="x")]
    )
    tf.saved_model.save(module, str(path), signatures=module.listed)
    return {"texts": module.listed(tf.constant(["a", "b"]))["texts"].numpy()}


def function_names(path: Path) -> dict:
    """What TensorFlow reads of a SavedModel's aliases and debug information."""
    from tensorflow.python.saved_model import loader_impl

    options = tf.saved_model.LoadOptions(experimental_load_function_aliases=True)
    loaded = tf.saved_model.load(str(path), options=options)
    _, info = loader_impl.parse_saved_model_with_debug_info(str(path))
    frames = {
        key: (info.files[trace.file_line_cols[0].file_index], trace.file_line_cols[0])
        for key, trace in info.traces.items()
    }
    return {
        "aliases": sorted(loaded.function_aliases),
        "lines": {key: (file, frame.line) for key, (file, frame) in frames.items()},
    }


def tags(path: Path) -> list[list[str]]:
    """Tags of each meta graph that TensorFlow's loader finds."""
    from tensorflow.python.saved_model import loader_impl

    graphs = loader_impl.parse_saved_model(str(path)).meta_graphs
    return [sorted(graph.meta_info_def.tags) for graph in graphs]


def save_many_functions(path: Path, calls: list) -> list:
    """Saves a module whose functions need all that a compiled call must get right.

    Args:
        path: Where to.
        calls: Names of functions with the arguments to call them with, in order.

    Returns:
        What TensorFlow gives for each call, its outputs laid flat; a text where it
        refuses.
    """
    module = _many_functions()
    tf.saved_model.save(module, str(path))
    loaded = tf.saved_model.load(str(path))
    found = []
    for name, arguments in calls:
        tensors = [tf.constant(a) for a in arguments]
        try:
            results = tf.nest.flatten(getattr(loaded, name)(*tensors))
        except tf.errors.InvalidArgumentError as error:
            found.append(str(error))
            continue
        found.append([result.numpy() for result in results])
    return found


def _many_functions() -> Any:
    module = tf.Module()
    module.average = tf.Variable(tf.zeros([2]))
    module.weight = tf.Variable([[1.0, -2.0], [0.5, 3.0]])
    module.count = tf.Variable(0, dtype=tf.int64)
    module.words = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2], value_dtype=tf.int64), 0
    )
    module.names = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.range(2, dtype=tf.int64), ["no", "yes"], key_dtype=tf.int64
        ),
        "?",
    )
    module.seen = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)
    large = tf.constant(np.arange(6000, dtype="float32").reshape(3000, 2) / 1000)
    floats, texts = tf.TensorSpec([None, 2]), tf.TensorSpec([None], tf.string)
    integers = tf.TensorSpec([None], tf.int64)

    @tf.function(input_signature=[floats])
    def dense(x):
        return {"y": tf.nn.relu(x @ module.weight), "rows": tf.shape(x)[0]}

    @tf.function(input_signature=[floats])
    def moving(x):
        before = module.average.read_value()
        module.average.assign(module.average * 0.5 + tf.reduce_mean(x, 0))
        module.count.assign_add(tf.shape(x, out_type=tf.int64)[0])
        after = module.average.read_value()
        module.average.assign_add([1.0, 1.0])
        return before, after, module.average.read_value(), module.count.read_value()

    @tf.function(input_signature=[floats])
    def masked(x):
        kept = tf.boolean_mask(x, x[:, 0] > 0)
        return kept @ module.weight, tf.reduce_sum(kept)

    @tf.function(input_signature=[floats])
    def looped(x):
        def step(i, value):
            return i + 1, value * 0.5 + 1.0

        return tf.while_loop(lambda i, v: tf.reduce_sum(v) > 13.0, step, [0, x])

    @tf.function(input_signature=[texts])
    def embedded(text):
        ids = module.words.lookup(tf.strings.lower(text))
        return tf.gather(module.weight, ids % 2) @ module.weight, ids

    @tf.function(input_signature=[floats])
    def labelled(x):
        best = tf.argmax(x @ module.weight, axis=1)
        return module.names.lookup(best), tf.reduce_max(x)

    @tf.function(input_signature=[texts])
    def counted(text):
        before = module.seen.lookup(text)
        module.seen.insert(text, before + 1)
        return module.seen.lookup(text), module.seen.size()

    @tf.function(input_signature=[integers])
    def wide(ids):
        return ids * 3 + 1, tf.gather(large, ids % 3000), tf.cast(ids, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float64)])
    def double(x):
        return x + 1e-12, tf.cast(x, tf.float32) * module.weight[0, 0]

    @tf.function(input_signature=[floats])
    def guarded(x):
        tf.debugging.assert_positive(x, message="not positive")
        return tf.math.log(x)

    @tf.function(input_signature=[floats])
    def branched(x):
        if tf.reduce_sum(x) > 0:
            module.average.assign(x[0])
            y = x * 2.0
        else:
            y = x - 1.0
        return y, module.average.read_value()

    @tf.function(input_signature=[floats])
    def made(x):
        count = tf.cast(tf.reduce_max(x), tf.int32)
        return tf.ones([count, 2]) @ module.weight, tf.range(count)

    @tf.function(input_signature=[floats, texts])
    def both(x, text):
        # Text in the midst: what is before and behind it is numbers.
        joined = tf.strings.join([tf.strings.as_string(tf.round(x[:, 0] * 2)), text])
        ids = tf.strings.to_hash_bucket_fast(joined, 1000)
        return joined, tf.one_hot(ids % 4, 4) @ tf.ones([4, 2]) + x @ module.weight

    @tf.function(input_signature=[floats])
    def constants(x):
        return tf.matmul(x, large, transpose_b=True)[:, :5], [tf.constant([1, 2])]

    for function in (
        *(dense, moving, masked, looped, embedded, labelled, counted, wide, double),
        *(guarded, branched, made, both, constants),
    ):
        setattr(module, function.python_function.__name__, function)
    return module


class _Sentences(tf.Module):
    """Vectors of sentences as TF Hub serves them, from a table of words."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        vocabulary.write_text("the\ncat\nsat\non\nmat\n")
        words = tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticVocabularyTable(words, 3)
        rows = np.linspace(-1, 1, 32, dtype="float32").reshape(8, 4)
        self.vectors = tf.Variable(rows, name="vectors")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, sentences: tf.Tensor) -> tf.Tensor:
        plain = tf.strings.regex_replace(tf.strings.lower(sentences), r"\p{P}", "")
        ids = tf.ragged.map_flat_values(self.table.lookup, tf.strings.split(plain))
        filled, _ = tf.sparse.fill_empty_rows(ids.to_sparse(), tf.constant(0, tf.int64))
        return tf.nn.embedding_lookup_sparse(self.vectors, filled, None, "sqrtn")


def save_sentences(path: Path, sentences: np.ndarray) -> np.ndarray:
    """Saves a module that reads text from a vocabulary file; returns what it gives."""
    module = _Sentences(path.with_suffix(".txt"))
    tf.saved_model.save(module, str(path), signatures=module.__call__)
    return module(tf.constant(sentences.tolist())).numpy()


def save_shapes_of_values(path: Path, rows: np.ndarray) -> np.ndarray:
    """Saves a module that keeps some rows of its input; returns the kept ones."""
    module = tf.Module()
    module.factor = tf.Variable(2.0)
    module.kept = tf.function(
        lambda x: tf.boolean_mask(x * module.factor, x[:, 0] > 0),
        input_signature=[tf.TensorSpec([None, 2], name="x")],
    )
    tf.saved_model.save(module, str(path), signatures=module.kept)
    return module.kept(rows).numpy()


def save_session_with_asset(
    path: Path, texts: np.ndarray, *, names_its_op: bool = True
) -> np.ndarray:
    """Saves a graph as TensorFlow 1 does, with a file of words.

    Args:
        path: Directory.
        texts: What its rows are asked for.
        names_its_op: Whether the file says which op fills its table.

    Returns:
        The rows that TensorFlow gives after it loaded the file.
    """
    v1 = tf.compat.v1
    words = path.with_name("words.txt")
    words.write_text("a\nb\nc\n")
    with tf.Graph().as_default(), v1.Session() as session:
        given = v1.placeholder(tf.string, [None])
        file = tf.constant(str(words))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, file)
        lines = tf.lookup.TextFileInitializer(
            file,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        table = tf.lookup.StaticHashTable(lines, -1)
        rows = v1.get_variable("rows", initializer=np.eye(4, 3, dtype="float32"))
        scale = v1.get_local_variable("scale", initializer=3.0)
        found = scale * tf.gather(rows, table.lookup(given) % 4)
        initial = tf.group(v1.tables_initializer(), v1.local_variables_initializer())
        session.run([v1.global_variables_initializer(), initial])
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": v1.saved_model.predict_signature_def(
                    {"texts": given}, {"rows": found}
                )
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=initial if names_its_op else None,
        )
        builder.save()
    return call_signature(path, "serving_default", {"texts": texts})["rows"]


def save_tables_of_files(path: Path, words: bytes, numbers: bytes) -> None:
    """Saves a module that looks up lines of a file, and columns of another.

    Args:
        path: Directory.
        words: A file of words, one a line.
        numbers: A file of long numbers and words with a tab between.
    """
    index = tf.lookup.TextFileIndex
    lines, columns = path.with_name("lines.txt"), path.with_name("columns.txt")
    lines.write_bytes(words)
    columns.write_bytes(numbers)
    module = tf.Module()
    module.lines = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(lines), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
        ),
        -1,
    )
    module.columns = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(str(columns), tf.int64, 0, tf.string, 1), "none"
    )
    call = tf.function(
        lambda texts, ids: {
            "rows": module.lines.lookup(texts),
            "names": module.columns.lookup(ids),
        },
        input_signature=[
            tf.TensorSpec([None], tf.string, "texts"),
            tf.TensorSpec([None], tf.int64, "ids"),
        ],
    )
    tf.saved_model.save(module, str(path), signatures=call)
