"""Keras' HDF5 files, read and written."""

from __future__ import annotations

import contextlib
import io
import os
import time

import h5py
import ml_dtypes
import numpy as np
import pytest

from regraft.errors import (
    FormatError,
    LimitError,
    TruncatedError,
    UnsafeFileError,
    UnsupportedError,
)
from regraft.storage import hdf5_heaps, hdf5_safety
from regraft.storage.hdf5_file import (
    Hdf5Layer,
    Hdf5ModelFile,
    is_hdf5_file,
    read_hdf5,
    write_hdf5,
)
from regraft.storage.tensor import ArrayTensor


def weight(name, array):
    return (name, ArrayTensor(np.asarray(array)))


KERNEL = np.arange(12, dtype=np.float32).reshape(3, 4)


def small_model(**changes):
    fields = {
        "keras_version": "2.21.0",
        "backend": "tensorflow",
        "model_config": {"class_name": "Sequential", "config": {"name": "ä"}},
        "training_config": {"loss": "mse"},
        "layers": (
            Hdf5Layer("dense", (weight("dense/kernel:0", KERNEL),)),
            Hdf5Layer("dropout"),
            Hdf5Layer("a/b", (weight("deep/er/bias:0", np.zeros(2)),)),
            Hdf5Layer("a", (weight("scale:0", np.float32(3)),)),
        ),
        "top_level_weights": (weight("own:0", np.ones(1, np.int8)),),
        "optimizer_weights": (weight("iteration:0", np.int64(5)),),
        "extra": {"regraft": "{}"},
    }
    return Hdf5ModelFile(**{**fields, **changes})


def plain(model):
    """A model with its tensors read."""

    def values(weights):
        return weights and [
            (name, tensor.dtype, tensor.shape, tensor.read().tolist())
            for name, tensor in weights
        ]

    return (
        model.keras_version,
        model.backend,
        model.model_config,
        model.training_config,
        [(layer.name, list(values(layer.weights))) for layer in model.layers],
        values(model.top_level_weights),
        values(model.optimizer_weights),
        dict(model.extra),
        model.weights_only,
    )


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "new" / "model.h5"
    write_hdf5(path, small_model())
    assert is_hdf5_file(path)
    with read_hdf5(path) as read:
        assert plain(read) == plain(small_model())


def test_config_alone_is_written_and_read(tmp_path):
    given = small_model(layers=None, top_level_weights=(), optimizer_weights=None)
    write_hdf5(tmp_path / "model.h5", given)
    with h5py.File(tmp_path / "model.h5") as file:
        assert not list(file)
    with read_hdf5(tmp_path / "model.h5") as read:
        assert read == given


def test_file_object_and_group_are_written_and_read():
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        write_hdf5(file, small_model())
        with read_hdf5(file) as read:
            assert plain(read) == plain(small_model())
        group = file.create_group("elsewhere")
        write_hdf5(group, small_model(backend="jax"))
        with read_hdf5(group) as read:
            assert read.backend == "jax"


def test_file_in_a_stream_is_read():
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write_hdf5(file, small_model())
    with h5py.File(stream, "r") as file, read_hdf5(file) as read:
        assert plain(read) == plain(small_model())


def test_remote_file_is_written_and_read():
    write_hdf5("memory://models/model.h5", small_model())
    with read_hdf5("memory://models/model.h5") as read:
        assert plain(read) == plain(small_model())


def test_writing_twice_into_an_open_file_replaces_the_model():
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        write_hdf5(file, small_model())
        second = small_model(layers=(), training_config=None, optimizer_weights=None)
        write_hdf5(file, second)
        with read_hdf5(file) as read:
            assert plain(read) == plain(second)


def test_identical_models_give_identical_bytes(tmp_path):
    write_hdf5(tmp_path / "first.h5", small_model())
    time.sleep(1.1)
    write_hdf5(tmp_path / "second.h5", small_model())
    first = (tmp_path / "first.h5").read_bytes()
    assert first == (tmp_path / "second.h5").read_bytes()


def test_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.h5"
    write_hdf5(path, small_model())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="of that name"):
        write_hdf5(path, small_model(layers=(Hdf5Layer("../up"),)))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.h5"]


@pytest.mark.parametrize("name", ["", ".", "..", "/x", "a//b", "x/", "a/../b", "a\0"])
def test_names_that_lead_elsewhere_are_not_written(name, tmp_path):
    for layer in (Hdf5Layer(name), Hdf5Layer("a", (weight(name, KERNEL),))):
        with pytest.raises(ValueError, match="of that name"):
            write_hdf5(tmp_path / "model.h5", small_model(layers=(layer,)))


def test_names_that_collide_are_not_written(tmp_path):
    layer = Hdf5Layer("a", (weight("w", KERNEL), weight("w/x", KERNEL)))
    with pytest.raises(ValueError, match="Can't write"):
        write_hdf5(tmp_path / "model.h5", small_model(layers=(layer,)))


def test_file_open_for_reading_is_not_written(tmp_path):
    write_hdf5(tmp_path / "model.h5", small_model())
    with (
        h5py.File(tmp_path / "model.h5", "r") as file,
        pytest.raises(ValueError, match="Can't write"),
    ):
        write_hdf5(file, small_model())


def test_long_lists_of_names_are_split(tmp_path):
    names = [f"{index:03}" + "n" * 297 for index in range(300)]
    weights = tuple(weight(name, np.float32(index)) for index, name in enumerate(names))
    layers = (*map(Hdf5Layer, names), Hdf5Layer("last", weights))
    model = small_model(layers=layers)
    write_hdf5(tmp_path / "model.h5", model)
    with h5py.File(tmp_path / "model.h5", "r") as file:
        group = file["model_weights"]
        assert "layer_names" not in group.attrs
        assert [len(group.attrs[f"layer_names{index}"]) for index in range(2)] == [
            151,
            150,
        ]
        assert "weight_names1" in group["last"].attrs
    with read_hdf5(tmp_path / "model.h5") as read:
        assert plain(read) == plain(model)


def test_name_too_long_for_a_list_is_unsupported(tmp_path):
    with pytest.raises(UnsupportedError, match="70000 bytes"):
        write_hdf5(tmp_path / "model.h5", small_model(layers=(Hdf5Layer("n" * 70000),)))


def test_long_configuration_is_one_attribute(tmp_path):
    model = small_model(model_config={"config": "x" * 250_000})
    write_hdf5(tmp_path / "model.h5", model)
    with read_hdf5(tmp_path / "model.h5") as read:
        assert read.model_config == model.model_config


def test_weights_alone_stand_at_the_root(tmp_path):
    model = small_model(
        weights_only=True,
        model_config=None,
        training_config=None,
        optimizer_weights=None,
        extra={},
    )
    write_hdf5(tmp_path / "weights.h5", model)
    with h5py.File(tmp_path / "weights.h5", "r") as file:
        assert "dense" in file
    with read_hdf5(tmp_path / "weights.h5") as read:
        assert plain(read) == plain(model)


@pytest.mark.parametrize("spelling", ["str", "bytes", "fixed", "array"])
def test_every_spelling_of_text_is_read(spelling, tmp_path):
    def spell(text):
        encoded = text.encode("utf-8")
        return {
            "str": text,
            "bytes": encoded,
            "fixed": np.bytes_(encoded),
            "array": np.array([encoded]),
        }[spelling]

    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["keras_version"] = spell("2.3.1")
        file.attrs["model_config"] = spell('{"class_name": "é"}')
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = (
            [spell("dense")] if spelling != "array" else (spell("dense"))
        )
        layer = group.create_group("dense")
        layer.attrs["weight_names"] = np.array([b"k:0"])
        layer["k:0"] = KERNEL
    with read_hdf5(tmp_path / "model.h5") as read:
        assert read.keras_version == "2.3.1"
        assert read.model_config == {"class_name": "é"}
        assert [layer.name for layer in read.layers] == ["dense"]
        np.testing.assert_array_equal(read.layers[0].weights[0][1].read(), KERNEL)


ALL_DTYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
    *("bfloat16", "float8_e5m2", "float8_e4m3fn", "int4", "uint4"),
]


@pytest.mark.parametrize("dtype", ALL_DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_every_dtype_is_written_and_read(dtype, shape, tmp_path):
    numpy = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    array = np.ones(shape).astype(numpy)
    layer = Hdf5Layer("a", (weight("w", array),))
    write_hdf5(tmp_path / "model.h5", small_model(layers=(layer,)))
    with read_hdf5(tmp_path / "model.h5") as read:
        tensor = read.layers[0].weights[0][1]
        assert (tensor.dtype, tensor.shape) == (dtype, shape)
        assert tensor.read().dtype == numpy
        assert tensor.read().tobytes() == array.tobytes()


def test_big_endian_and_compressed_datasets_are_read(tmp_path):
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["layer_names"] = [b"a"]
        group = file.create_group("a")
        group.attrs["weight_names"] = [b"big", b"zip", b"text"]
        group["big"] = KERNEL.astype(">f4")
        group.create_dataset(
            "zip", data=KERNEL, compression="gzip", shuffle=True, fletcher32=True
        )
        group["text"] = [["a", "ä"], ["", "b"]]
    with read_hdf5(tmp_path / "model.h5") as read:
        big, zipped, text = (tensor for _, tensor in read.layers[0].weights)
        np.testing.assert_array_equal(big.read(), KERNEL)
        assert big.read().dtype == np.float32
        np.testing.assert_array_equal(zipped.read(), KERNEL)
        assert text.dtype == "string"
        assert text.read().tolist() == [[b"a", "ä".encode()], [b"", b"b"]]


def test_tensor_of_a_closed_file_says_so(tmp_path):
    write_hdf5(tmp_path / "model.h5", small_model())
    with read_hdf5(tmp_path / "model.h5") as read:
        tensor = read.layers[0].weights[0][1]
    with pytest.raises(ValueError, match="is closed"):
        tensor.read()


def test_missing_h5py_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_safety, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        write_hdf5(tmp_path / "model.h5", small_model())
    with (
        pytest.raises(ImportError, match="pip install h5py"),
        read_hdf5(tmp_path / "model.h5"),
    ):
        pass


def test_exception_of_the_block_passes_untouched(tmp_path):
    write_hdf5(tmp_path / "model.h5", small_model())
    with pytest.raises(KeyError, match="mine"), read_hdf5(tmp_path / "model.h5"):
        raise KeyError("mine")


def test_files_that_are_no_hdf5_files_of_keras_are_named(tmp_path):
    with pytest.raises(FileNotFoundError), read_hdf5(tmp_path / "missing.h5"):
        pass
    with pytest.raises(IsADirectoryError), read_hdf5(tmp_path):
        pass
    (tmp_path / "text.h5").write_text("hello")
    assert not is_hdf5_file(tmp_path / "text.h5")
    with (
        pytest.raises(FormatError, match="can't be read"),
        read_hdf5(tmp_path / "text.h5"),
    ):
        pass
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = KERNEL
    with (
        pytest.raises(FormatError, match="no list of layers"),
        read_hdf5(tmp_path / "other.h5"),
    ):
        pass


# Files that mean harm. Each row changes a good file with h5py.


def soft_link(file):
    del file["model_weights/dense/dense/kernel:0"]
    file["model_weights/dense/dense/kernel:0"] = h5py.SoftLink("/model_weights/a")


def external_link(file):
    del file["model_weights/dense/dense/kernel:0"]
    file["model_weights/dense/dense/kernel:0"] = h5py.ExternalLink("/etc/x", "/y")


def external_link_on_the_way(file):
    del file["model_weights/dense/dense"]
    file["model_weights/dense/dense"] = h5py.ExternalLink("/etc/x", "/y")


def external_link_for_all_weights(file):
    del file["model_weights"]
    file["model_weights"] = h5py.ExternalLink("/etc/x", "/y")


def external_link_for_the_optimizer(file):
    del file["optimizer_weights"]
    file["optimizer_weights"] = h5py.ExternalLink("/etc/x", "/y")


def external_storage(file):
    del file["model_weights/dense/dense/kernel:0"]
    file.create_dataset(
        "model_weights/dense/dense/kernel:0",
        (3, 4),
        "f4",
        external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)],
    )


def virtual_dataset(file):
    del file["model_weights/dense/dense/kernel:0"]
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource("/etc/x", "y", (3, 4))
    file.create_virtual_dataset("model_weights/dense/dense/kernel:0", layout)


def path_up(file):
    file["model_weights/dense"].attrs["weight_names"] = [b"../dense/dense/kernel:0"]


def path_up_from_the_root(file):
    file["model_weights/dense"].attrs["weight_names"] = [b"/../dense/dense/kernel:0"]


def absolute_path(file):
    file["model_weights"].attrs["layer_names"] = [b"/model_weights/dense"]


@pytest.mark.parametrize(
    "change",
    [
        soft_link,
        external_link,
        external_link_on_the_way,
        external_link_for_all_weights,
        external_link_for_the_optimizer,
        external_storage,
        virtual_dataset,
        path_up,
        path_up_from_the_root,
        absolute_path,
    ],
)
def test_reference_elsewhere_is_unsafe(change, tmp_path):
    write_hdf5(tmp_path / "model.h5", small_model())
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        change(file)
    with pytest.raises(UnsafeFileError), read_hdf5(tmp_path / "model.h5"):
        pass


def test_name_from_the_root_stays_in_the_file(tmp_path):
    write_hdf5(tmp_path / "model.h5", small_model())
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        group = file["optimizer_weights"]
        group.create_dataset("/iterations", data=np.int64(7))  # as Keras on Theano did
        group.attrs["weight_names"] = [b"/iterations"]
        assert "iterations" not in group
    with read_hdf5(tmp_path / "model.h5") as found:
        ((name, tensor),) = found.optimizer_weights
        assert (name, tensor.read()) == ("/iterations", 7)


def replace_kernel(file, **arguments):
    del file["model_weights/dense/dense/kernel:0"]
    file.create_dataset("model_weights/dense/dense/kernel:0", **arguments)


def bomb_of_zeros(file):
    replace_kernel(
        file,
        shape=(1 << 30, 8),
        dtype="f4",
        chunks=(1 << 26, 8),
        compression="gzip",
        fillvalue=0,
    )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda f: replace_kernel(f, shape=(1 << 40,), dtype="f8"), LimitError),
        (lambda f: replace_kernel(f, shape=(3, 4), dtype="f4"), LimitError),
        (
            lambda f: replace_kernel(
                f, shape=(1 << 40,), dtype="f4", chunks=(1 << 20,)
            ),
            LimitError,
        ),
        (bomb_of_zeros, LimitError),
        (
            lambda f: replace_kernel(f, shape=(3,), dtype=h5py.ref_dtype),
            UnsupportedError,
        ),
        (
            lambda f: replace_kernel(f, shape=(3,), dtype=h5py.vlen_dtype("f4")),
            UnsupportedError,
        ),
        (
            lambda f: replace_kernel(f, shape=(3,), dtype=[("a", "f4"), ("b", "i4")]),
            UnsupportedError,
        ),
        (lambda f: replace_kernel(f, shape=(3,), dtype="V64"), UnsupportedError),
        (lambda f: replace_kernel(f, data=h5py.Empty("f4")), FormatError),
    ],
)
def test_dataset_that_is_no_tensor_is_refused(change, error, tmp_path):
    write_hdf5(tmp_path / "model.h5", small_model())
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        change(file)
    with pytest.raises(error), read_hdf5(tmp_path / "model.h5"):
        pass


def delete_layer(file):
    del file["model_weights/dense"]


def delete_weight(file):
    del file["model_weights/dense/dense/kernel:0"]


def delete_list_of_weights(file):
    del file["model_weights/dense"].attrs["weight_names"]


def dataset_for_group(file):
    del file["model_weights/dense"]
    file["model_weights/dense"] = KERNEL


def group_for_dataset(file):
    delete_weight(file)
    file.create_group("model_weights/dense/dense/kernel:0")


def numbers_for_names(file):
    file["model_weights"].attrs["layer_names"] = [1, 2]


def broken_json(file):
    file.attrs["model_config"] = "{"


def json_list(file):
    file.attrs["model_config"] = "[1]"


def json_nested_too_deep(file):
    file.attrs["model_config"] = "[" * 100_000


def json_nested_deep(file):
    file.attrs["model_config"] = '{"a":' * 450 + "1" + "}" * 450


def json_long_number(file):
    file.attrs["model_config"] = '{"a":' + "1" * 10_000 + "}"


def number_for_version(file):
    file.attrs["keras_version"] = 2.0


def text_that_is_not_utf8(file):
    file.attrs["keras_version"] = b"\xff\xfe"


@pytest.mark.parametrize(
    "change",
    [
        delete_layer,
        delete_weight,
        delete_list_of_weights,
        dataset_for_group,
        group_for_dataset,
        numbers_for_names,
        broken_json,
        json_list,
        json_nested_too_deep,
        json_nested_deep,
        json_long_number,
        number_for_version,
        text_that_is_not_utf8,
    ],
)
def test_broken_structure_is_a_format_error(change, tmp_path):
    write_hdf5(tmp_path / "model.h5", small_model())
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        change(file)
    with pytest.raises(FormatError) as caught, read_hdf5(tmp_path / "model.h5"):
        pass
    assert caught.value.path == str(tmp_path / "model.h5")
    assert caught.value.object_path


def test_budget_bounds_all_tensors_together(tmp_path):
    write_hdf5(tmp_path / "model.h5", small_model())
    with read_hdf5(tmp_path / "model.h5", memory_budget_bytes=100):
        pass
    with (
        pytest.raises(LimitError, match="memory_budget_bytes"),
        read_hdf5(tmp_path / "model.h5", memory_budget_bytes=70),
    ):
        pass


def heap_object(data):
    """Position of the first object in the first heap."""
    return data.index(b"GCOL") + 16


def size_of_zero(data):
    position = heap_object(data)
    data[position : position + 2] = bytes(2)
    data[position + 8 : position + 16] = bytes(8)


def size_beyond_the_heap(data):
    data[heap_object(data) + 8 + 4] = 1


def heap_beyond_the_file(data):
    data[data.index(b"GCOL") + 8 + 3] = 1


@pytest.mark.parametrize(
    "change", [size_of_zero, size_beyond_the_heap, heap_beyond_the_file]
)
@pytest.mark.parametrize("opened", ["path", "core", "stream"])
def test_heap_that_never_ends_is_a_format_error(change, opened, tmp_path):
    write_hdf5(tmp_path / "model.h5", small_model())
    data = bytearray((tmp_path / "model.h5").read_bytes())
    change(data)
    path = tmp_path / "mutant.h5"
    path.write_bytes(data)
    with contextlib.ExitStack() as stack:
        file = path
        if opened == "core":
            file = stack.enter_context(h5py.File(path, "r", driver="core"))
        elif opened == "stream":
            file = stack.enter_context(h5py.File(io.BytesIO(data), "r"))
        with pytest.raises(FormatError, match="eap"):
            stack.enter_context(read_hdf5(file))


@pytest.mark.parametrize("padding", range(9))
@pytest.mark.parametrize("start", [0, (1 << 18) - 4, 3 << 18])
def test_heap_is_found_wherever_it_begins(padding, start):
    heap = b"GCOL\x01\0\0\0" + (40).to_bytes(8, "little") + bytes(24)
    content = bytes(start + padding) + heap + b"GCOL" * 3 + bytes(5) + heap
    with pytest.raises(FormatError) as caught:
        hdf5_heaps.long_texts(content, "f.h5")
    assert caught.value.offset_bytes == start + padding + 16
    fine = heap[:16] + (24).to_bytes(16, "big")[::-1] + bytes(8)
    mended = content.replace(heap, fine)
    assert hdf5_heaps.long_texts(mended, "f.h5") == []


def test_many_pointers_to_one_long_text_are_a_limit_error(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["L" * 4_000_000, *["x"] * 3999]
    data = bytearray(path.read_bytes())
    # A pointer is a length, the address of a heap and an index.
    long = (4_000_000).to_bytes(4, "little")
    heap = data.rindex(b"GCOL", 0, data.index(b"L" * 100))
    first = data.index(long + heap.to_bytes(8, "little"))
    pointer = data[first : first + 16]
    data[first : first + 16 * 4000] = pointer * 4000
    path.write_bytes(data)
    # 16 GB of copies from a file of 4 MB.
    with pytest.raises(LimitError, match="Texts of an attribute"), read_hdf5(path):
        pass


def test_many_elements_that_point_to_one_long_text_are_a_limit_error(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"a"]
        group = file.create_group("a")
        group.attrs["weight_names"] = [b"w"]
        group["w"] = [["L" * 4_000_000, "x"], *[["x", "x"]] * 500]
    data = bytearray(path.read_bytes())
    long = (4_000_000).to_bytes(4, "little")
    heap = data.rindex(b"GCOL", 0, data.index(b"L" * 100))
    first = data.index(long + heap.to_bytes(8, "little"))
    data[first : first + 16 * 1000] = data[first : first + 16] * 1000
    path.write_bytes(data)
    with read_hdf5(path) as read:
        tensor = read.layers[0].weights[0][1]
        with pytest.raises(LimitError, match="too much memory"):
            tensor.read()


def test_many_names_beside_a_long_configuration_are_read(tmp_path):
    layers = tuple(Hdf5Layer(f"l{index}") for index in range(4000))
    config = {"config": "x" * 2_000_000}
    write_hdf5(tmp_path / "m.h5", small_model(layers=layers, model_config=config))
    with read_hdf5(tmp_path / "m.h5") as read:
        assert len(read.layers) == 4000
        assert read.model_config == config


def read_all(path):
    with read_hdf5(path) as read:
        return plain(read)


def test_any_single_changed_byte_gives_a_model_or_a_typed_error(tmp_path):
    path = tmp_path / "model.h5"
    write_hdf5(path, small_model())
    data = path.read_bytes()
    mutant_path = tmp_path / "mutant.h5"
    for position in range(0, len(data), 31):
        mutant = bytearray(data)
        mutant[position] ^= 1 << position % 8
        mutant_path.write_bytes(mutant)
        try:
            read_all(mutant_path)
        except (FormatError, UnsupportedError):
            continue


def test_truncated_file_is_a_format_error(tmp_path):
    path = tmp_path / "model.h5"
    write_hdf5(path, small_model())
    data = path.read_bytes()
    for length in range(0, len(data), 97):
        (tmp_path / "cut.h5").write_bytes(data[:length])
        with pytest.raises(FormatError) as caught:
            read_all(tmp_path / "cut.h5")
        assert length < 100 or isinstance(caught.value, TruncatedError)
