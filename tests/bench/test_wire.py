"""The load generator's HTTP: what it sends is what is meant, what it reads is cut right."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.cli.bench.wire import RECORD_BYTES, Answer, Inbox, append, diff, payload, records_in
from mirrord.errors import ProtocolViolation


def answer(status: int, body: bytes, *more: bytes) -> bytes:
    head = b"HTTP/1.1 %d Whatever\r\n%sContent-Length: %d\r\nx: y" % (status, b"".join(more), len(body))
    return head + b"\r\n\r\n" + body


def body_of(request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    return body


@given(st.lists(st.tuples(st.sampled_from([200, 201, 503]), st.binary(max_size=60)), max_size=6), st.data())
def test_answers_are_whole_however_the_bytes_are_cut(answers: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """A segment's end is no answer's end: counted as one, half an answer would make a rate twice as high."""
    stream, inbox, found = b"".join(answer(*one) for one in answers), Inbox(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        inbox.put(stream[:size])
        stream = stream[size:]
        while (one := inbox.take()) is not None:
            found.append(one)
    assert found == [Answer(*one) for one in answers]


@pytest.mark.parametrize("text", [b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n", b"SSH-2.0 hi\r\ncontent-length: 2\r\n\r\nab"])
def test_what_is_no_answer_is_refused(text: bytes) -> None:
    """Something else on the port must not be measured."""
    inbox = Inbox()
    inbox.put(text)
    with pytest.raises(ProtocolViolation):
        inbox.take()


def test_a_head_without_end_is_not_kept_for_ever() -> None:
    """Memory stays bounded whatever answers."""
    inbox = Inbox()
    inbox.put(b"x" * 70_000)
    with pytest.raises(ProtocolViolation):
        inbox.take()


@given(st.integers(0, 10**12))
def test_a_record_has_the_size_that_is_published(number: int) -> None:
    """128 bytes of JSON text, and a reader can tell which one it is."""
    text = payload(number)
    assert len(text) == RECORD_BYTES
    assert records_in({"records": [{"data": msgspec.json.decode(text)}]}) == [number]


def test_an_append_carries_its_records() -> None:
    """What is counted as a thousand records is a thousand records."""
    sent = append("events", [payload(n) for n in range(1000)])
    assert sent.startswith(b"POST /v0/topics/events?return_seqs=false HTTP/1.1\r\n")
    assert records_in(msgspec.json.decode(body_of(sent))) == list(range(1000))


def test_a_diff_says_where_it_reads() -> None:
    """Pages are asked for one after the other, not the first one again and again."""
    assert msgspec.json.decode(body_of(diff("t", from_seq=7, limit=1000))) == {"from_seq": 7, "limit": 1000}
