"""Small texts that come from outside: cursors, ids of events, keys, selectors, and the configuration file."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirrord.config.load import parse
from mirrord.errors import ConfigError, InvalidRequest, MirrordError
from mirrord.records.selector import Selector, selector
from mirrord.streams.cursor import EventId, event_id, parse_event_id
from mirrord.topics.read.prefix import PrefixCursor, parse_prefix_cursor
from mirrord.web.auth.keys import KeyLine, KeyRing, key_line
from mirrord.web.routes.streams import orders
from mirrord.web.routes.topics import cursor_after, cursor_for

from .mutation import mutated

texts = st.text(max_size=40)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
encoded = st.binary(max_size=60).map(lambda raw: urlsafe_b64encode(raw).decode())
DEEP = b64encode(b'{"x":' + b"[" * 10_000).decode()
ORDERS = [
    b'{"op":"subscribe","request_id":1,"topics":{"a":{"from_seq":1},"b":{"tail":true}},"match":["tag","Eq","x"]}',
    b'{"op":"publish","topic":"a","records":[{"data":{"a":1},"tag":"t"}],"request_id":"r"}',
    b'{"op":"unsubscribe","topics":["a"]}',
]
FILES = {path.name: path.read_bytes() for path in sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))}


def latin(raw: bytes) -> str:
    return raw.decode("latin-1")


_fuzz = settings(max_examples=150, deadline=None)


@_fuzz
@given(text=texts | encoded | mutated(b64encode(b'{"after":"a"}')).map(latin))
@example(text=DEEP)
def test_any_cursor_of_a_list(text: str) -> None:
    """Whatever comes back as a cursor is a name, or refused."""
    try:
        assert isinstance(cursor_after({"cursor": text}), str)
    except InvalidRequest:
        return


@_fuzz
@given(text=texts | encoded | mutated(PrefixCursor({"a": (1, "x")}, "a", 2).encode().encode()).map(latin))
@example(text=DEEP)
def test_any_cursor_of_a_prefix(text: str) -> None:
    """Whatever comes back is a place in many topics, or refused."""
    with suppress(InvalidRequest):
        found = parse_prefix_cursor(text)
        assert parse_prefix_cursor(found.encode()) == found


@_fuzz
@given(text=texts | st.sampled_from(ORDERS).flatmap(mutated).map(latin))
@example(text='{"op":"ping","request_id":' + "[" * 100_000)
@example(text='{"op":"ping","request_id":"\ud800"}')
def test_any_message_over_a_websocket(text: str) -> None:
    """An order, or a refusal that can be sent back with the number that it came with."""
    told = b'{"op":"error"}'
    try:
        orders.parse(text)
    except MirrordError as error:
        told = orders.refusal(error, orders.request_id_of(text))
    assert json.loads(told)["op"] == "error"


@_fuzz
@given(name=texts)
def test_cursors_come_back(name: str) -> None:
    """What a node gives out, it understands."""
    assert cursor_after({"cursor": cursor_for(name)}) == name


@_fuzz
@given(text=texts | encoded | mutated(event_id({"a": 1, "b": 1 << 60}, 3)).map(latin))
@example(text=".٣")
@example(text="e30.٣")
@example(text="=" * 100)
@example(text=urlsafe_b64encode(b"[" * 100_000).decode())
def test_any_last_event_id(text: str) -> None:
    """Whatever a client sends back is a place, or refused."""
    try:
        found = parse_event_id(text)
    except InvalidRequest:
        return
    assert all(seq >= 0 for seq in found.seqs.values())


@_fuzz
@given(seqs=st.dictionaries(st.text(max_size=5), st.integers(0, 1 << 63)), changes=st.integers(0, 999_999_999))
def test_ids_of_events_come_back(seqs: dict[str, int], changes: int) -> None:
    """What a node gives out, it understands."""
    assert parse_event_id(event_id(seqs, changes).decode()) == EventId(seqs, changes)


@_fuzz
@given(text=texts | mutated(b"a-secret-of-many-letters:rw+admin:chat:|logs:").map(latin))
def test_any_key_line(text: str) -> None:
    """A key of the file or the environment is read or refused, and no refusal tells it."""
    key = text.partition(":")[0]
    try:
        told = repr(key_line(text))
    except ConfigError as error:
        told = str(error)
    assert len(key) < 12 or key not in told


@_fuzz
@given(sent=st.binary(max_size=60) | mutated(b"secret"))
def test_any_key_that_is_sent(sent: bytes) -> None:
    """Only the key itself opens."""
    assert (KeyRing([KeyLine("secret")]).find(sent) is not None) == (sent == b"secret")


@_fuzz
@given(
    value=anything | st.tuples(st.just("tag"), st.sampled_from(["Eq", "Glob"]), texts).map(list), tag=st.none() | texts
)
@example(value="*", tag="")
@example(value="\ud800*", tag="a")
def test_any_selector(value: Any, tag: str | None) -> None:
    """A selector means what it shows of itself, or it is refused."""
    try:
        found = selector(value)
    except InvalidRequest:
        return
    assert isinstance(found, Selector)
    assert selector(found.as_json()) == found
    assert found.matches(tag) == (
        tag is not None and (tag.startswith(found.text) if found.is_prefix else tag == found.text)
    )


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_configuration(name: str, data: st.DataObject) -> None:
    """A file with something wrong in it is refused by line and key, or it means something."""
    text = data.draw(mutated(FILES[name])).decode("utf-8", "replace")
    with suppress(ConfigError):
        parse(text)


@_fuzz
@given(text=texts | st.sampled_from(['a = ', "[nodes.a]\n", "[topics]\n", "[limits]\nmax_topics = "]).flatmap(
    lambda begin: texts.map(lambda rest: begin + rest)))  # fmt: skip
def test_any_toml(text: str) -> None:
    """What is no TOML at all, and TOML that is no configuration."""
    with suppress(ConfigError):
        parse(text)
