"""Thrift's compact protocol, as far as Parquet needs it to be written and pages to be read.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any

# The type codes of fields.
TRUE, _FALSE, BYTE, _I16, I32, I64, BINARY, LIST, STRUCT = 1, 2, 3, 4, 5, 6, 8, 9, 12


def encode_struct(*fields: tuple[int, int, Any]) -> bytes:
    """Thrift compact struct of (id, type, value), ids ascending; structs are given encoded."""
    out, last = bytearray(), 0
    for number, kind, value in fields:
        out.append((number - last) << 4 | kind)
        out += _value(kind, value)
        last = number
    out.append(0)
    return bytes(out)


def _value(kind: int, value: Any) -> bytes:
    if kind in (I32, I64):
        return encode_varint(value << 1 if value >= 0 else (-value << 1) - 1)
    if kind == TRUE:
        return b""
    if kind == BYTE:
        return bytes([value])
    if kind == BINARY:
        return encode_varint(len(value)) + bytes(value)
    if kind == LIST:
        element, values = value
        size = len(values)
        head = bytes([size << 4 | element]) if size < 15 else bytes([0xF0 | element])
        head += b"" if size < 15 else encode_varint(size)
        return head + b"".join(_value(element, item) for item in values)
    return bytes(value)


def encode_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode_struct(data: memoryview, at: int) -> tuple[dict[int, Any], int]:
    """A Thrift struct of integers, booleans and structs by field id, and where it ends."""
    fields: dict[int, Any] = {}
    last = 0
    while (head := data[at]) != 0:
        at += 1
        kind, delta = head & 0x0F, head >> 4
        if not delta:
            raise ValueError("a field id of a struct is not written as a difference")
        last += delta
        if kind in (TRUE, _FALSE):
            fields[last] = kind == TRUE
        elif kind in (_I16, I32, I64):
            number, at = decode_varint(data, at)
            fields[last] = (number >> 1) ^ -(number & 1)
        elif kind == STRUCT:
            fields[last], at = decode_struct(data, at)
        else:
            raise ValueError(f"a struct holds a field of type {kind}")
    return fields, at + 1


def decode_varint(data: memoryview, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while data[at] & 0x80:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | data[at] << shift, at + 1
