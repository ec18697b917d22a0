"""Composite cursors: what was given out is understood again, everything else is refused by name."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.errors import InvalidRequest
from mirrord.streams.cursor import EventId, event_id, parse_event_id, single_id
from mirrord.topics.read.prefix import PrefixCursor, parse_prefix_cursor

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,20}", fullmatch=True)
SEQS = st.integers(0, (1 << 40) - 1)


@given(st.dictionaries(NAMES, SEQS, max_size=5), st.integers(0, 1000))
def test_an_id_is_read_back(seqs: dict[str, int], changes: int) -> None:
    """Resuming by an id begins just where it was given out."""
    text = event_id(dict(sorted(seqs.items())), changes).decode()
    assert parse_event_id(text) == EventId(seqs, changes)


@given(NAMES, SEQS)
def test_the_id_of_one_topic_is_an_id_as_any(name: str, seq: int) -> None:
    """The short way to write it is the same text: base64url, unpadded, of a JSON object with sorted keys."""
    assert single_id(name, seq) == event_id({name: seq})
    text = single_id(name, seq).decode()
    assert "=" not in text
    assert json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4))) == {name: seq}


@given(st.dictionaries(NAMES, st.tuples(SEQS, st.text("0123456789abcdef", max_size=16)), max_size=5), NAMES, SEQS)
def test_a_prefix_cursor_is_read_back(at: dict[str, tuple[int, str]], after: str, begin: int) -> None:
    """The same for prefixes."""
    cursor = PrefixCursor(at, after, begin)
    assert parse_prefix_cursor(cursor.encode()) == cursor


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda raw: raw.hex())))
def test_nonsense_is_refused_by_name(text: str) -> None:
    """Whatever a client sends: an id, or a named error."""
    for parse in (parse_event_id, parse_prefix_cursor):
        try:
            parse(text)
        except InvalidRequest:
            continue


@pytest.mark.parametrize("text", ["x", "e30.", "e30.-1", "e30.99999999999", "eyJhIjotMX0", "W10", "A" * (2 << 20)])
def test_what_is_no_id(text: str) -> None:
    """Negative seqs, other shapes, endless texts."""
    with pytest.raises(InvalidRequest):
        parse_event_id(text)
