"""What a node answered: its bytes as they came, readable as an object or a page, or the error it names."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from ..errors import MirrordError, PeerRefused, ProtocolViolation, every_error

_CLASSES = every_error()
T = TypeVar("T")


class Page(Struct, frozen=True):
    """An answer of ``diff``. Each record is the JSON text of ``{$seq, $ts, $node, $tag?, data, meta?}``."""

    records: tuple[Raw, ...]
    next_from_seq: int
    head_seq: int
    caught_up: bool
    earliest_seq: int = 1
    lag: int = 0
    log_id: str | None = None
    tombstone: dict[str, Any] | None = None


class Answer(Struct, frozen=True):
    """A successful answer; ``raw`` is its body, unchanged."""

    url: str
    status: int
    raw: bytes

    def object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises ProtocolViolation when it is none."""
        return _decoded(self, dict[str, Any])

    def page(self) -> Page:
        """The body as a page of records. Raises ProtocolViolation when it is none."""
        return _decoded(self, Page)

    def read_as(self, shape: type[T]) -> T:
        """The body as a struct. Raises ProtocolViolation when it is none."""
        return _decoded(self, shape)


class _Fault(Struct, frozen=True):
    code: str
    message: str = ""
    detail: dict[str, Any] | None = None


class _Envelope(Struct, frozen=True):
    error: _Fault


def error_in(url: str, status: int, raw: bytes, retry_after: str | None) -> MirrordError:
    """The error that an answer with a status of 400 or more names, as the class with its code.

    A body without the one error shape is a ProtocolViolation: something else than mirrord listens there.
    """
    try:
        fault = msgspec.json.decode(raw, type=_Envelope).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return not_mirrord(url, f"an answer with status {status}")
    retry_after_s = _seconds(retry_after)
    cls = _CLASSES.get(fault.code)
    if cls is None:
        return MirrordError(f"{fault.message} ({fault.code})", fault.detail, retry_after_s)
    if issubclass(cls, PeerRefused):
        return cls(str((fault.detail or {}).get("reason", "unknown")), fault.message, retry_after_s)
    return cls(fault.message, fault.detail, retry_after_s)


def not_mirrord(url: str, what: str) -> ProtocolViolation:
    """The complaint about a URL at which something else listens."""
    return ProtocolViolation(f"{url} gave {what} that is not mirrord's; check the address and the port")


def payload(data: Any) -> Any:
    """A record's ``data`` as it was written: ``{"$bin": "<base64>"}`` is how JSON shows bytes."""
    if type(data) is dict and len(data) == 1 and isinstance(data.get("$bin"), str):
        try:
            return b64decode(data["$bin"], validate=True)
        except binascii.Error:
            return data
    return data


def _decoded(answer: Answer, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.raw, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise not_mirrord(answer.url, "an answer") from None


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None
