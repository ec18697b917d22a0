"""Digests: for every strand, how far this log has come and the chain hash there. Equal hashes at one oseq prove equal
content up to it, gaps apart, which are told. ``deep`` proves it of what lies on the disk, not of what is remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET

from ...errors import ChunkCorrupt, ProtocolViolation
from ...records.chunk import COUNT, FIRST, HASH, PREV_HASH, STRAND, check_hash, chunks_in
from ...records.gap import CONTROL
from ..log.log import Strand
from ..log.places import hash_at
from ..topic import Topic

READ_BYTES = 1 << 20
MOST_GAPS, MOST_PAGES, SIZES_AT_ONCE = 1000, 50, 256
Told = tuple[int, int, str]  # first and last oseq, and why they are not held
STRIPPED = "stripped"  # how deleted records show among the gaps: the chunk is here, its chain stands


async def digest_of(
    topic: Topic, at: dict[int, int], *, deep: bool, rest: Callable[[], Awaitable[None]]
) -> list[dict[str, Any]]:
    """One entry per strand, in the order of their ids. ``rest`` is awaited between reads."""
    checked = await _recount(topic, rest) if deep else None
    stripped = await _stripped(topic, rest)
    told: list[dict[str, Any]] = []
    for number, strand in sorted(topic.strands.items()):
        if not strand.durable_last:
            continue
        entry = _entry(topic, number, strand, stripped.get(number, []))
        if number in at:
            found = hash_at(strand, topic.tid, at[number], topic.reads)
            inside = found is UNSET
            entry["at"] = {
                "oseq": at[number],
                "hash": found.hex() if isinstance(found, bytes) else None,
                "inside_chunk": inside,
            }
        if checked is not None:
            count, fault = checked.get(number, (0, None))
            entry["deep"] = {"checked": count, "ok": fault is None} | ({"fault": fault} if fault else {})
        told.append(entry)
        await rest()
    return told


def _entry(topic: Topic, number: int, strand: Strand, stripped: list[Told]) -> dict[str, Any]:
    gaps = _gaps(topic, strand.sid)
    return {
        "strand": f"{number:016x}",
        "origin": strand.descriptor.origin,
        "origin_id": strand.descriptor.origin_id.hex(),
        "oseq": strand.durable_last,
        "hash": strand.durable_hash.hex() if strand.durable_hash else None,
        "whole_from": strand.durable_whole_from,
        "controls": sum(last - first + 1 for first, last, reason in gaps if reason == CONTROL),
        "unverified": strand.durable_hash is None,
        "gaps": [{"first": first, "last": last, "reason": reason} for first, last, reason in _told([*gaps, *stripped])],
    }


def _gaps(topic: Topic, sid: int) -> list[Told]:
    """The strand's gaps, and the control chunks that stand among them: where one node keeps them another may not."""
    found: list[Told] = []
    oseq = 1
    for _ in range(MOST_PAGES):
        page = topic.reads.gaps(topic.tid, sid, oseq, MOST_GAPS)
        found += [(gap.first, gap.last, gap.reason) for gap in page]
        if len(page) < MOST_GAPS:
            break
        oseq = page[-1].last + 1
    return found


def _told(gaps: list[Told]) -> list[Told]:
    """The same in few, and no more than ``MOST_GAPS`` that do not touch: nodes that lack the same tell of it up to the
    same place, however it came to be."""
    told: list[Told] = []
    stretches = 0
    for first, last, reason in sorted(gaps):
        if told and told[-1][1] == first - 1:
            if told[-1][2] == reason:
                told[-1] = told[-1][0], last, reason
                continue
        elif (stretches := stretches + 1) > MOST_GAPS:
            break
        told.append((first, last, reason))
    return told


async def _stripped(topic: Topic, rest: Callable[[], Awaitable[None]]) -> dict[int, list[Told]]:
    """By strand, the oseqs whose chunks lie here and of which the records are deleted, as ranges."""
    found: dict[int, list[Told]] = {}
    seq = 1
    while (topic.masks or topic.floor) and (sizes := topic.reads.pack_sizes(topic.tid, seq, SIZES_AT_ONCE)):
        for sized in sizes:
            if sized.seq >= seq and topic.gone(sized.seq, sized.last):
                for pack in topic.reads.packs(topic.tid, sized.seq, 1):
                    _note_deleted(pack.body, topic.gone(pack.seq, pack.last), found)
                    seq = pack.last + 1  # perhaps merged with those behind it since
                await rest()
        seq = max(seq, sizes[-1].last + 1)
    return found


def _note_deleted(body: bytes, gone: int, found: dict[int, list[Told]]) -> None:
    for _, _, header in chunks_in(body):
        here, count, first = gone & (1 << header[COUNT]) - 1, header[COUNT], header[FIRST]
        gone >>= count
        runs = found.setdefault(header[STRAND], []) if here else []
        for oseq in (first + i for i in range(here.bit_length()) if here >> i & 1):
            if runs and runs[-1][1] == oseq - 1:
                runs[-1] = (runs[-1][0], oseq, STRIPPED)
            elif len(runs) < MOST_GAPS:
                runs.append((oseq, oseq, STRIPPED))


async def _recount(topic: Topic, rest: Callable[[], Awaitable[None]]) -> dict[int, tuple[int, str | None]]:
    """Read every pack, hash every chunk, follow every chain; records checked and the first fault, by strand."""
    found: dict[int, tuple[int, str | None]] = {}
    ends: dict[int, tuple[int, bytes]] = {}
    seq, until = 1, topic.head
    while seq <= until:
        try:
            packs = topic.reads.packs(topic.tid, seq, READ_BYTES)
        except ChunkCorrupt as error:
            found[0] = (0, str(error))
            break
        if not packs:
            break
        for pack in packs:
            _check_pack(pack.body, found, ends)
        seq = packs[-1].last + 1
        await rest()
    for number, (last, digest) in ends.items():
        strand = topic.strands[number]
        if last == strand.durable_last and strand.durable_hash not in (None, digest):
            found[number] = (
                found[number][0],
                f"the chain ends at {last} with another hash than is remembered",
            )
    return found


def _check_pack(body: bytes, found: dict[int, tuple[int, str | None]], ends: dict[int, tuple[int, bytes]]) -> None:
    view = memoryview(body)
    for at, size, header in chunks_in(body):
        number, first, last = header[STRAND], header[FIRST], header[FIRST] + header[COUNT] - 1
        count, fault = found.get(number, (0, None))
        before = ends.get(number)
        try:
            check_hash(view, at, size, header)
        except ProtocolViolation as error:
            fault = fault or str(error)
        if before is not None and (before[0] >= first or (before[0] == first - 1 and before[1] != header[PREV_HASH])):
            fault = fault or f"chunk {first}..{last} does not follow {before[0]}"
        ends[number] = (last, header[HASH])
        found[number] = (count + header[COUNT], fault)
