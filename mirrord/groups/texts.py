"""Records of a log by their seqs, as the texts that readers get."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from msgspec import structs

from ..topics.read.face import View
from ..topics.read.reading import LogReads, read

MOST_READS = 64  # of the log, for one message that takes over: scattered records must not hold the node up
SMALL_HOLE = 64
_BEGIN = len('{"$seq":')  # every record's text begins so


def texts_of(log: LogReads, seqs: list[int], view: View) -> tuple[dict[int, str], int]:
    """Records by seq, as far as ``view.max_bytes`` and MOST_READS go; and how many of the seqs were looked at."""
    texts: dict[int, str] = {}
    wanted, room, cursor, reads = set(seqs), view.max_bytes, 0, 0
    for first, last in spans(seqs):
        cursor = first - 1
        while cursor < last and room > 0 and reads < MOST_READS:
            some = structs.replace(view, limit=last - cursor, max_bytes=room)
            found = read(log, cursor, None, some, until=last)
            here = {seq: text for text in found.records if (seq := seq_of(text)) in wanted}
            texts.update(here)
            room -= sum(map(len, here.values()))
            cursor, reads = max(found.next_from_seq, cursor + 1), reads + 1
        if cursor < last:
            break
    return texts, bisect_right(seqs, cursor)


def seq_of(text: str) -> int:
    """The seq of a record's text."""
    return int(text[_BEGIN : text.index(",", _BEGIN)])


def with_deliveries(text: str, times: int) -> str:
    """A record's text that tells how often it was handed out, this time included."""
    return f'{text[:-1]},"deliveries":{times}}}'


def spans(seqs: list[int]) -> Iterator[tuple[int, int]]:
    """Seqs in order as ranges to be read: small holes are read over, large ones are not."""
    first = last = 0
    for seq in seqs:
        if last and seq - last <= SMALL_HOLE:
            last = seq
            continue
        if last:
            yield first, last
        first = last = seq
    if last:
        yield first, last
