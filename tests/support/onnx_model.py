"""A tiny ONNX model with the output of a detector, written without any library for ONNX.

Each cell of `CELL_PX` is a box of that size, and its mean brightness the score.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

SIDE_PX, CELL_PX = 64, 16
FLOAT, INT64 = 1, 7
"""ONNX's numbers of types."""


def write_detector(path: Path) -> Path:
    """Write the model: input `[1, 3, 64, 64]`, output `[1, 5, 16]`."""
    cells = SIDE_PX // CELL_PX
    count = cells * cells
    centres = [(cell + 0.5) * CELL_PX for cell in range(cells)]
    boxes = [*(centres * cells), *(y for y in centres for _ in range(cells))]
    boxes += [float(CELL_PX)] * (2 * count)
    weights = [1 / (3 * CELL_PX * CELL_PX)] * (3 * CELL_PX * CELL_PX)
    graph = [
        _message(1, _node("Conv", ["image", "mean"], "score", _ints("strides", [CELL_PX] * 2))),
        _message(1, _node("Reshape", ["score", "shape"], "row")),
        _message(1, _node("Concat", ["boxes", "row"], "found", _int("axis", 1))),
        _text(2, "detector"),
        _message(5, _tensor("mean", FLOAT, [1, 3, CELL_PX, CELL_PX], weights, "f")),
        _message(5, _tensor("shape", INT64, [3], [1, 1, count], "q")),
        _message(5, _tensor("boxes", FLOAT, [1, 4, count], boxes, "f")),
        _message(11, _value("image", [1, 3, SIDE_PX, SIDE_PX])),
        _message(12, _value("found", [1, 5, count])),
    ]
    opset = _message(8, _number(2, 13))
    path.write_bytes(_number(1, 8) + _message(7, b"".join(graph)) + opset)
    return path


def _node(kind: str, inputs: Iterable[str], output: str, attribute: bytes = b"") -> bytes:
    names = b"".join(_text(1, name) for name in inputs)
    return names + _text(2, output) + _text(3, output) + _text(4, kind) + attribute


def _int(name: str, value: int) -> bytes:
    return _message(5, _text(1, name) + _number(3, value) + _number(20, 2))


def _ints(name: str, values: Iterable[int]) -> bytes:
    content = b"".join(_number(8, value) for value in values)
    return _message(5, _text(1, name) + content + _number(20, 7))


def _tensor(name: str, kind: int, shape: list[int], values: list[float], code: str) -> bytes:
    dims = b"".join(_number(1, size) for size in shape)
    raw = struct.pack(f"<{len(values)}{code}", *values)
    return dims + _number(2, kind) + _text(8, name) + _message(9, raw)


def _value(name: str, shape: list[int]) -> bytes:
    dims = b"".join(_message(1, _number(1, size)) for size in shape)
    tensor = _number(1, FLOAT) + _message(2, dims)
    return _text(1, name) + _message(2, _message(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
