"""msgpack bodies as the JSON that handlers read and write.

Payloads stay JSON text in the log, whichever way they came in, but for bytes: ``data`` that is msgpack ``bin`` is kept
as those bytes. In JSON they show as ``{"$bin": "<base64>"}``, and whoever reads msgpack gets ``bin`` again.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import datetime
from math import isfinite
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ...config.model import Limits
from ...errors import BatchTooLarge, InvalidRequest, NotAcceptable, RecordTooLarge
from ...records.draft import NO_TEXT, Draft

BIN = "$bin"
LISTS = ("records", "claimed")  # the fields of answers that hold records
_json = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
# All bytes but the heads of bin and ext. What is left of a value without these, and how a number that is none begins:
# neither of both anywhere, and the value is plain JSON.
_HARMLESS = bytes(byte for byte in range(256) if not 0xC4 <= byte <= 0xC9 and not 0xD4 <= byte <= 0xD8)
_NO_NUMBERS = (b"\xcb\x7f", b"\xcb\xff", b"\xca\x7f", b"\xca\xff")
_BIN_HEADS = {0xC4: 2, 0xC5: 3, 0xC6: 5}
_MOST_INT, _LEAST_INT = (1 << 64) - 1, -(1 << 63)


class PackedDraft(Struct):
    """A record of a msgpack append: its payload is still packed."""

    data: Raw
    tag: str | None = None
    node: str | None = None
    meta: Raw = NO_TEXT


def _odd(packed: bytes) -> bool:
    if packed.translate(None, _HARMLESS):
        return True
    return (b"\x7f" in packed or b"\xff" in packed) and any(begin in packed for begin in _NO_NUMBERS)


# ---- in ------------------------------------------------------------------------------------------


def to_json(packed: bytes) -> bytes:
    """A msgpack value as JSON text. Raises InvalidRequest for what is no msgpack, or has no JSON."""
    try:
        value = _unpack(packed)
        return _json(_plain(value) if _odd(packed) else value)
    except RecursionError as error:
        raise InvalidRequest("the body is nested too deeply") from error
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise InvalidRequest(f"the body cannot be read as msgpack: {error}") from error


def drafts(records: Iterable[PackedDraft], limits: Limits) -> list[Draft]:
    """The records of an append. Raises InvalidRequest, BatchTooLarge, RecordTooLarge, naming the record."""
    found: list[Draft] = []
    for index, record in enumerate(records):
        if index >= limits.max_batch_records:
            raise BatchTooLarge(f"more than {limits.max_batch_records} records in one append")
        data, meta = record.data, record.meta
        # Before anything is unpacked: a value takes up to sixty times the memory of its bytes.
        if len(data) + len(meta) > limits.max_record_bytes:
            raise RecordTooLarge(
                f"records[{index}] has {len(data) + len(meta)} bytes of data and meta; at most "
                f"{limits.max_record_bytes}", {"index": index, "max": limits.max_record_bytes},
            )  # fmt: skip
        packed = bytes(data)
        head = _BIN_HEADS.get(packed[0])
        text = Raw(to_json(bytes(meta))) if meta else NO_TEXT
        if head is not None:
            found.append(Draft(packed[head:], record.tag, record.node, text))
        else:
            found.append(Draft(Raw(to_json(packed)), record.tag, record.node, text))
    return found


def _plain(value: Any) -> Any:
    """The value with what JSON has no word for spelled out."""
    kind = type(value)
    if kind is dict:
        return {key if type(key) is str else _key(key): _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if kind is bytes:
        return {BIN: b64encode(value).decode()}
    if kind is float and not isfinite(value):
        raise ValueError(f"{value} has no JSON")
    if kind is msgspec.msgpack.Ext:
        raise ValueError(f"extension {value.code} has no JSON")
    return value


def _key(key: Any) -> Any:
    if isinstance(key, bytes | msgspec.msgpack.Ext | datetime):
        raise TypeError("keys of maps are strings")
    return key


# ---- out -----------------------------------------------------------------------------------------


def from_json(text: bytes) -> bytes:
    """An answer's JSON as msgpack; ``data`` that stands for bytes becomes bytes.

    Numbers that msgpack cannot hold become the nearest double. Raises NotAcceptable when there is no msgpack of it.
    """
    try:
        return _packed(text)
    except RecursionError as error:
        raise NotAcceptable("a record here is nested too deeply for msgpack; read it as JSON") from error


def _packed(text: bytes) -> bytes:
    try:
        value = msgspec.json.decode(text)
        return _pack(_with_bytes(value) if b'"$bin"' in text else value)
    except (msgspec.MsgspecError, OverflowError):
        return _pack(_with_bytes(json.loads(text, parse_int=_number)))


def _number(digits: str) -> int | float:
    if len(digits) < 21:
        value = int(digits)
        if _LEAST_INT <= value <= _MOST_INT:
            return value
    return float(digits)


def _with_bytes(answer: Any) -> Any:
    if isinstance(answer, dict):
        for name in LISTS:
            for record in answer.get(name) or ():
                if isinstance(record, dict) and "data" in record:
                    record["data"] = _bytes_of(record["data"])
    return answer


def _bytes_of(data: Any) -> Any:
    if type(data) is dict and len(data) == 1 and isinstance(data.get(BIN), str):
        try:
            return b64decode(data[BIN], validate=True)
        except binascii.Error:
            return data
    return data
