"""Images from JPEG and GIF files, which Pillow reads, and files that are none."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
from typing import Any

import numpy as np
import pytest

from graph.cases.pictures import _PNGS
from peer import Peer
from regraft.errors import MismatchError, UnsupportedError
from regraft.graph import ir
from regraft.graph.runtime.library import FunctionLibrary
from regraft.graph.runtime.main_graph import run_node

OPTIONS: list[dict[str, Any]] = [
    {},
    {"channels": 3, "quality": 60},
    {"channels": 1},
    {"from_channels": 1},
    {"from_channels": 1, "channels": 3},
    {"ratio": 2},
    {"ratio": 4},
    {"progressive": True},
]


def _run(op: str, data: bytes, *others: Any, **attrs: Any) -> Any:
    contents = np.empty((), object)
    contents[()] = data
    node = ir.Node("image", op, attrs=attrs)
    return run_node(node, [contents, *others], FunctionLibrary({}))[0]


def test_jpegs_are_within_rounding_of_tensorflows(peer: Peer) -> None:
    pytest.importorskip("PIL.Image", reason="Pillow is an optional dependency.")
    accurate = [{**one, "dct_method": "INTEGER_ACCURATE"} for one in OPTIONS]
    for options in (accurate, OPTIONS):
        files = peer.call("pictures.jpegs", options)
        for how, (data, theirs) in zip(options, files, strict=True):
            attrs = {k: v for k, v in how.items() if k in ("channels", "ratio")}
            ours = _run("DecodeJpeg", data, **attrs)
            assert ours.shape == theirs.shape
            assert ours.dtype == theirs.dtype
            # What TensorFlow does by default is a coarser way to the same numbers.
            most = 0 if "dct_method" in how else 8
            assert np.abs(ours.astype(int) - theirs).max() <= most, how
            window = np.array([3, 5, 7, 9], np.int32)
            part = _run("DecodeAndCropJpeg", data, window, **attrs)
            np.testing.assert_array_equal(part, ours[3:10, 5:14])


def test_gifs_are_tensorflows(peer: Peer) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is an optional dependency.")
    random = np.random.RandomState(1)
    frames = [
        image.fromarray(random.randint(0, 8, (12, 15), np.uint8) * 30, "L")
        for _ in range(3)
    ]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    theirs = peer.call("pictures.decode", file.getvalue())
    np.testing.assert_array_equal(_run("DecodeImage", file.getvalue()), theirs)
    np.testing.assert_array_equal(_run("DecodeGif", file.getvalue()), theirs)


def test_missing_pillow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, package: str | None = None) -> Any:
        if name.startswith("PIL"):
            raise ImportError(name)
        return builtins.__import__(name)

    monkeypatch.setattr(importlib, "import_module", find)
    with pytest.raises(UnsupportedError, match="pip install pillow"):
        _run("DecodeJpeg", b"\xff\xd8\xff\xe0")


@pytest.mark.parametrize("name", ["color", "interlaced", "palette", "four-bits"])
def test_spoiled_png_is_a_typed_error(name: str) -> None:
    data = _PNGS[name][0]
    random = np.random.RandomState(5)
    for length in range(0, len(data), 7):
        with pytest.raises(MismatchError):
            _run("DecodePng", data[:length])
    for _ in range(200):
        spoiled = bytearray(data)
        spoiled[random.randint(8, len(data))] = random.randint(256)
        with contextlib.suppress(MismatchError, UnsupportedError):
            _run("DecodePng", bytes(spoiled))


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(MismatchError, match="none of JPEG, PNG, GIF and BMP"):
        _run("DecodeImage", b"hello")
