"""The library's rules without a node: batches, patience, cursors, events, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mirrord
from mirrord import Cursor, Record
from mirrord.client.patience import Failure, Manner, Patience, Trial, meaning
from mirrord.client.queues.events import Event, EventReader
from mirrord.client.sending.buffer import Bounds, Buffer, Waiting, halves
from mirrord.client.sending.receipt import Receipt
from mirrord.errors import (
    ActorDied,
    DiskFull,
    InvalidRequest,
    MirrordError,
    NotReady,
    PeerUnreachable,
    ShuttingDown,
    Throttled,
    TopicNotFound,
    Unacknowledged,
    every_error,
)

ROOT = Path(__file__).parents[2]
_rules = settings(max_examples=60, deadline=None)
REFUSED: list[MirrordError] = [Throttled(), NotReady(), DiskFull(), PeerUnreachable("x", {"sent": False})]
UNCERTAIN: list[MirrordError] = [PeerUnreachable("x", {"sent": True}), ShuttingDown(), ActorDied()]
passing = st.sampled_from(REFUSED + UNCERTAIN)


# ---- batches -------------------------------------------------------------------------------------


@_rules
@given(st.lists(st.integers(1, 30)), st.integers(1, 5), st.integers(1, 40))
def test_batches_are_the_records_in_order_within_the_bounds(sizes: list[int], most: int, most_bytes: int) -> None:
    """Nothing is lost, doubled or turned round; only a record that is too large by itself goes beyond the bytes."""
    buffer = Buffer(Bounds(batch_records=most, batch_bytes=most_bytes))
    for i, size in enumerate(sizes):
        buffer.add(Waiting(bytes([i % 256]) * size, Receipt()))
    taken: list[bytes] = []
    while len(buffer):
        batch = buffer.take()
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or sum(len(record.text) for record in batch) <= most_bytes
        taken += [record.text for record in batch]
    assert taken == [bytes([i % 256]) * size for i, size in enumerate(sizes)]
    assert buffer.has_room(1 << 40)


@_rules
@given(st.lists(st.integers(1, 30), max_size=60), st.integers(1, 9), st.integers(1, 90))
def test_a_buffer_stays_within_its_bounds(sizes: list[int], most: int, most_bytes: int) -> None:
    """With room asked for first, no more waits than is allowed, but for a single record that is larger."""
    buffer = Buffer(Bounds(waiting_records=most, waiting_bytes=most_bytes))
    held: list[int] = []
    for size in sizes:
        if not buffer.has_room(size):
            buffer.take_all()
            held.clear()
        buffer.add(Waiting(b"x" * size, Receipt()))
        held.append(size)
        assert len(held) <= most
        assert sum(held) <= most_bytes or len(held) == 1


@_rules
@given(st.lists(st.binary(min_size=1), min_size=2))
def test_halves_are_the_whole_and_smaller(texts: list[bytes]) -> None:
    """A refused batch is cut until the culprit is alone: that ends, and leaves nobody out."""
    batch = [Waiting(text, Receipt()) for text in texts]
    first, second = halves(batch)
    assert [*first, *second] == batch
    assert 0 < len(first) < len(batch)


@pytest.mark.parametrize("wrong", ["batch_records", "batch_bytes", "waiting_records", "waiting_bytes"])
def test_bounds_that_let_nothing_through_are_refused(wrong: str) -> None:
    """Said when the producer is made, not by hanging later."""
    with pytest.raises(InvalidRequest, match=wrong):
        Bounds(**{wrong: 0}).checked()
    with pytest.raises(InvalidRequest):
        Bounds(linger_ms=-1).checked()


# ---- patience ------------------------------------------------------------------------------------


def test_what_failures_mean() -> None:
    """What is certainly not done, what may be done, and what repeating does not help."""
    assert {meaning(error) for error in REFUSED} == {Failure.REFUSED}
    assert {meaning(error) for error in UNCERTAIN} == {Failure.UNCERTAIN}
    assert meaning(TopicNotFound()) is Failure.FINAL
    assert meaning(InvalidRequest()) is Failure.FINAL


@_rules
@given(st.lists(passing, max_size=50), st.integers(1, 4), st.floats(0, 1))
def test_a_write_never_leaves_a_node_that_may_have_it(errors: list[MirrordError], nodes: int, chance: float) -> None:
    """Once an attempt may have been kept, every further one is at that node: nothing is written twice."""
    trial = Trial(Manner.WRITE, nodes, 0, Patience(), 0.0)
    doubtful_at: int | None = None
    for error in errors:
        at = trial.node
        assert doubtful_at in (None, at)
        assert trial.after(error, 1.0, chance) is not None
        if meaning(error) is Failure.UNCERTAIN:
            doubtful_at = at
    verdict = trial.verdict(Throttled(), "http://x", "k")
    assert isinstance(verdict, Unacknowledged) == (doubtful_at is not None)


@_rules
@given(st.lists(passing, min_size=8, max_size=20), st.integers(2, 4), st.sampled_from([Manner.READ, Manner.HERE]))
def test_reads_go_round_and_what_is_of_one_node_stays(errors: list[MirrordError], nodes: int, manner: Manner) -> None:
    """A read tries every node before it waits; what only the first node has is asked of that one alone."""
    trial = Trial(manner, nodes, nodes - 1, Patience(), 0.0)
    tried: list[int] = []
    for error in errors:
        tried.append(trial.node)
        wait_s = trial.after(error, 0.0, 0.5)
        assert wait_s is not None
        assert (wait_s == 0.0) == (manner is Manner.READ and len(tried) % nodes != 0)
    assert set(tried) == ({0} if manner is Manner.HERE else set(range(nodes)))


@_rules
@given(passing, st.floats(0, 1))
def test_trying_ends_in_time(error: MirrordError, chance: float) -> None:
    """No wait reaches beyond the time that was given, and waits grow to their bound and not beyond."""
    now_s, waits = 0.0, []
    trial = Trial(Manner.WRITE, 1, 0, Patience(give_up_after_s=60.0), now_s)
    while (wait_s := trial.after(error, now_s, chance)) is not None:
        waits.append(wait_s)
        now_s += wait_s
    assert now_s < 60.0
    assert all(0.08 <= wait_s <= 6.001 for wait_s in waits)
    assert waits[:6] == sorted(waits[:6])


def test_a_node_that_says_when_is_believed() -> None:
    """Retry-After is the least that is waited."""
    wait_s = Trial(Manner.READ, 1, 0, Patience(), 0.0).after(Throttled(retry_after_s=3.0), 0.0, 0.0)
    assert wait_s == 3.0


@_rules
@given(st.sampled_from([cls for cls in every_error().values() if meaning(cls("x")) is Failure.FINAL]))
def test_what_repeating_does_not_help_is_told_at_once(cls: type[MirrordError]) -> None:
    """No second try, and the class that the node named."""
    trial = Trial(Manner.READ, 3, 0, Patience(), 0.0)
    error = cls("x")
    assert trial.after(error, 0.0, 0.5) is None
    assert trial.verdict(error, "http://x", None) is error


# ---- cursors and events --------------------------------------------------------------------------

hexes = st.text("0123456789abcdef", min_size=1, max_size=16)


@_rules
@given(
    st.integers(0, 1 << 53), st.just("") | hexes, st.dictionaries(hexes, st.integers(0, 1 << 53)), st.just("") | hexes
)
def test_a_cursor_is_its_text(seq: int, log_id: str, vector: dict[str, int], many: str) -> None:
    """What was saved as text is the same place again."""
    cursor = Cursor(0, "", vector, many) if many else Cursor(seq, log_id, vector)
    assert Cursor.read(str(cursor)) == cursor


@_rules
@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """Nothing else than InvalidRequest comes of what somebody hands in."""
    try:
        assert Cursor.read(text).seq >= 0
    except InvalidRequest:
        return


lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)
events = st.lists(st.tuples(lines.filter(bool), st.lists(lines, min_size=1, max_size=3), lines))


@_rules
@given(events, st.lists(st.integers(1, 20), min_size=1), st.sampled_from([b"\n", b"\r\n"]))
def test_events_survive_any_cut(told: list[tuple[str, list[str], str]], cuts: list[int], end: bytes) -> None:
    """However the network cuts the stream, the same events come out; heartbeats and `retry` are none."""
    stream = b"retry: 2000" + end + end
    wanted, known_id = [], ""
    for name, data, event_id in told:
        stream += b": hb" + end + end
        rows = [f"event: {name}", *(f"data: {line}" for line in data), f"id: {event_id}"]
        stream += b"".join(row.encode() + end for row in rows) + end
        known_id = event_id
        wanted.append(Event(name, "\n".join(data).encode(), known_id))
    reader, found, at = EventReader(), [], 0
    while at < len(stream):
        step = cuts[at % len(cuts)]
        found += list(reader.feed(stream[at : at + step]))
        at += step
    assert found == wanted


@_rules
@given(st.lists(st.binary(max_size=50)))
def test_any_bytes_are_events_or_nothing(pieces: list[bytes]) -> None:
    """Nonsense is read without a fault."""
    reader = EventReader()
    for piece in pieces:
        assert all(isinstance(event, Event) for event in reader.feed(piece))


def test_a_record_as_a_struct() -> None:
    """Its payload in the shape that a reader wants; what does not fit is refused by msgspec's own name."""
    record = Record("orders", "log", 1, 1_700_000_000_000, "fra", {"a": 1})
    assert record.data_as(dict[str, int]) == {"a": 1}
    with pytest.raises(msgspec.ValidationError):
        record.data_as(list[int])


# ---- importing -----------------------------------------------------------------------------------


def _imported_by(script: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(told.stdout.split())


def test_importing_mirrord_costs_nothing() -> None:
    """The name alone loads no library; the client loads nothing of the daemon."""
    heavy = {"httpx", "anyio", "msgspec", "trio", "apsw", "starlette", "click", "rich"}
    assert not _imported_by("import mirrord") & heavy
    loaded = _imported_by("from mirrord import Client, Cursor, Worker, MirrordError")
    assert not loaded & {"apsw", "starlette", "httptools"}
    assert not {name for name in loaded if name.startswith(("mirrord.web", "mirrord.storage", "mirrord.topics"))}


def test_every_name_that_is_promised_is_there() -> None:
    """`from mirrord import X` for each, by dir() too; others are refused as Python does."""
    assert set(mirrord.__all__) <= set(dir(mirrord))
    for name in mirrord.__all__:
        assert getattr(mirrord, name) is not None
    with pytest.raises(AttributeError):
        _ = mirrord.Nonsense
