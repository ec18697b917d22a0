"""HTTP as the load generator speaks it: whole requests made beforehand, answers cut out of bytes. Pure.

httpx costs 450 us a call, ten times what the daemon needs for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ...errors import ProtocolViolation

RECORD_BYTES = 128
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_DATA = re.compile(rb'"data":"(\d+)"')
_SEQ = re.compile(rb'"\$seq":(\d+)')
_HEAD_END = b"\r\n\r\n"
_LONGEST_HEAD = 64 << 10


class Answer(Struct, frozen=True):
    """One whole answer."""

    status: int
    body: bytes

    def object(self) -> dict[str, Any]:
        """The body as a JSON object."""
        return msgspec.json.decode(self.body, type=dict[str, Any])


class Inbox:
    """Bytes as they come in; whole answers as they go out. Bounded by what one answer tells of its length."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def put(self, data: bytes) -> None:
        """What was received."""
        self._bytes += data

    def take(self) -> Answer | None:
        """The next whole answer, or None when more must come. Raises ProtocolViolation."""
        end = self._bytes.find(_HEAD_END)
        if end < 0:
            if len(self._bytes) > _LONGEST_HEAD:
                raise ProtocolViolation("an answer whose head does not end")
            return None
        head = bytes(self._bytes[: end + 2])
        found = _LENGTH.search(head)
        if found is None or not head.startswith(b"HTTP/1.1 "):
            raise ProtocolViolation(f"an answer without a length: {head[:100]!r}")
        begin, length = end + len(_HEAD_END), int(found[1])
        if len(self._bytes) < begin + length:
            return None
        body = bytes(self._bytes[begin : begin + length])
        del self._bytes[: begin + length]
        return Answer(int(head[9:12]), body)


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """One whole request."""
    head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + _HEAD_END + body


def append(topic: str, payloads: Sequence[bytes]) -> bytes:
    """An append of these JSON texts."""
    records = b",".join([b'{"data":' + payload + b"}" for payload in payloads])
    return request("POST", f"/v0/topics/{topic}?return_seqs=false", b'{"records":[' + records + b"]}")


def diff(topic: str, **fields: int) -> bytes:
    """A read after a cursor."""
    return request("POST", f"/v0/topics/{topic}/diff", msgspec.json.encode(fields))


def configure(topic: str, **fields: str) -> bytes:
    """Make a topic with this configuration."""
    return request("PUT", f"/v0/topics/{topic}", msgspec.json.encode(fields))


def claim(topic: str, worker: str, most: int) -> bytes:
    """Lease so many jobs."""
    body = {"node": worker, "max": most, "lease_ms": 60_000}
    return request("POST", f"/v0/topics/{topic}/claim", msgspec.json.encode(body))


def ack(topic: str, worker: str, seqs: Sequence[int]) -> bytes:
    """These jobs are done."""
    return request("POST", f"/v0/topics/{topic}/ack", msgspec.json.encode({"node": worker, "seqs": seqs}))


def seqs_in(claimed: bytes) -> list[int]:
    """The seqs of the jobs in the answer to a claim."""
    return [int(seq) for seq in _SEQ.findall(claimed)]


def watch(topic: str) -> bytes:
    """A watch session of what comes from now on."""
    return request("POST", "/v0/watch", msgspec.json.encode({"topics": {topic: {"tail": True}}}))


def numbers_in(events: bytes) -> list[int]:
    """The numbers of the records in a piece of an event stream."""
    return [int(number) for number in _DATA.findall(events)]


def topics(prefix: str) -> bytes:
    """The topics that begin so, a thousand at most."""
    return request("GET", f"/v0/topics?page_size=1000&prefix={prefix}")


def payload(number: int = 0) -> bytes:
    """A record of RECORD_BYTES: JSON text with its quotes; the number can be read back from it."""
    return b'"%0*d"' % (RECORD_BYTES - 2, number)


def records_in(page: Mapping[str, Any]) -> list[int]:
    """The numbers of the records on a page of ``diff``."""
    return [int(record["data"]) for record in page["records"]]
