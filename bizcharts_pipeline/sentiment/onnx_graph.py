"""Writer of ONNX models: nodes and weights in, the bytes that ONNX Runtime loads out.

An ONNX file is a Protocol Buffers message. Only the fields that an inference graph needs are written, so that scoring
needs neither the package ``onnx`` nor PyTorch. Field numbers are those of onnx.proto.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

OPSET, IR_VERSION = 20, 9  # the first with Gelu, and the format version that belongs to it
RUNTIME = "com.microsoft"  # domain of the operators that only ONNX Runtime has
_TYPES = {"float32": 1, "int8": 3, "int64": 7, "float16": 10}  # TensorProto.DataType

Attribute = int | float | Sequence[int]
Dimension = int | str  # a name: any size


class Graph:
    """A graph under construction. Values are referred to by their names."""

    def __init__(self) -> None:
        """Begin an empty graph."""
        self._fields: list[bytes | memoryview] = []
        self._nodes = 0

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Attribute) -> str:
        """Add a node with one output to the ONNX graph, and return the output's name.

        ``domain`` is ``RUNTIME``, or empty for a standard operator. An input that is left out has an empty name.
        """
        self._nodes += 1
        output = f"{operator}_{self._nodes}"
        node = [*(_field(1, name) for name in inputs), _field(2, output), _field(4, operator)]
        node += [_field(5, _attribute(name, value)) for name, value in attributes.items()]
        node += [_field(7, domain)]
        self._fields.append(_field(1, b"".join(node)))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an array to the ONNX graph, and return ``name``."""
        content = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data.cast("B")
        begin = [*(_field(1, size) for size in values.shape), _field(2, _TYPES[values.dtype.name]), _field(8, name)]
        begin += [_key(9, 2), _varint(len(content))]
        head = b"".join(begin)
        self._fields += [_key(5, 2), _varint(len(head) + len(content)), head, content]  # copied once, by `model`
        return name

    def input(self, name: str, kind: DTypeLike, shape: Iterable[Dimension]) -> str:
        """Declare an input of the ONNX graph, and return ``name``."""
        self._fields.append(_field(11, _value(name, kind, shape)))
        return name

    def output(self, name: str, kind: DTypeLike, shape: Iterable[Dimension]) -> None:
        """Declare the value ``name`` as an output of the ONNX graph."""
        self._fields.append(_field(12, _value(name, kind, shape)))

    def model(self) -> bytes:
        """Return the ONNX model."""
        graph = [_field(2, "graph"), *self._fields]
        about = _field(1, IR_VERSION) + _field(8, _field(2, OPSET)) + _field(8, _field(1, RUNTIME) + _field(2, 1))
        return b"".join([about, _key(7, 2), _varint(sum(map(len, graph))), *graph])


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        content, kind = _field(3, value), 2
    elif isinstance(value, float):
        content, kind = _key(2, 5) + struct.pack("<f", value), 1
    else:
        content, kind = b"".join(_field(8, number) for number in value), 7
    return _field(1, name) + content + _field(20, kind)


def _value(name: str, kind: DTypeLike, shape: Iterable[Dimension]) -> bytes:
    dimensions = b"".join(_field(1, _field(1 if isinstance(size, int) else 2, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, _TYPES[np.dtype(kind).name]) + _field(2, dimensions)))


def _field(number: int, content: int | str | bytes) -> bytes:
    if isinstance(content, int):
        return _key(number, 0) + _varint(content)
    content = content.encode() if isinstance(content, str) else content
    return _key(number, 2) + _varint(len(content)) + content


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # two's complement
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])
