"""docs/HTTP.md against the types that the node reads and writes: what a client may send and what it gets is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest

from mirrord.actors.mailbox import MailboxStatistics
from mirrord.storage.journal import JournalStatistics
from mirrord.web.openapi import shapes
from mirrord.web.openapi.document import OPERATIONS
from mirrord.web.openapi.operation import ANY

from .tables import DOCS

PAGE = (DOCS / "HTTP.md").read_text()
CHAPTERS = re.split(r"^(?=## )", PAGE, flags=re.MULTILINE)
FOR_PEERS = "/v0/feed"  # told byte by byte in docs/FEED.md
CALLS = [call for call in OPERATIONS if not call[1].startswith(FOR_PEERS)]


def fields(kind: Any) -> Iterator[str]:
    """Names of the fields of a struct, and of those inside it."""
    seen: set[Any] = set()
    todo = [kind]
    while todo:
        each = todo.pop()
        if isinstance(each, tuple):
            todo += each
        elif isinstance(each, type) and issubclass(each, msgspec.Struct) and each not in seen:
            seen.add(each)
            for info in msgspec.structs.fields(each):
                yield info.encode_name
                todo.append(info.type)
        else:
            todo += getattr(each, "__args__", ())


SHARED = {name for kind in (shapes.Record, shapes.Tombstone, shapes.Performance) for name in fields(kind)}
"""Records and losses look the same everywhere, and are told where topics are read."""
NUMBERS = {name for kind in (JournalStatistics, MailboxStatistics) for name in fields(kind)}
"""Told in docs/OPERATIONS.md."""
every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: " ".join(call))


@cache
def chapter(call: tuple[str, str]) -> str:
    """The chapter with the section of the call."""
    found = [text for text in CHAPTERS if f"### `{' '.join(call)}`" in text]
    assert len(found) == 1, f"{' '.join(call)} has {len(found)} sections"
    return found[0]


def told(name: str, text: str) -> bool:
    """As code, or as a key of an example."""
    return re.search(rf"[`\"{{, ?&.]{re.escape(name)}[`\"=}}, :?.(]", text, re.IGNORECASE) is not None


@every_call
def test_every_field_that_is_taken_is_told(call: tuple[str, str]) -> None:
    """Bodies, and arguments of the query."""
    operation = OPERATIONS[call]
    names = {*fields(operation.body), *(query.name for query in operation.query)}
    assert [name for name in sorted(names) if not told(name, chapter(call))] == []


@every_call
def test_every_field_that_is_answered_is_told(call: tuple[str, str]) -> None:
    """In the chapter of the call: a client finds it where it looks."""
    names = {name for _, kind in OPERATIONS[call].answers for name in fields(kind)} - NUMBERS
    assert [name for name in sorted(names) if not told(name, chapter(call)) and name not in SHARED] == []


@every_call
def test_every_error_of_its_own_is_told(call: tuple[str, str]) -> None:
    """What not every call can meet: its code stands on the page."""
    own = set(OPERATIONS[call].errors) - set(ANY)
    assert [error.code for error in own if f"`{error.code}`" not in PAGE] == []


def test_no_section_is_of_a_call_that_is_gone() -> None:
    """A heading with a method and a path is a call of this version."""
    found = set(re.findall(r"^### `([A-Z]+) (/\S*)`", PAGE, re.MULTILINE))
    assert found <= set(OPERATIONS)
