"""What a caller is told of the positions in a topic, and the digest by which both ends see that they mean the same."""

from __future__ import annotations

from xxhash import xxh3_64_intdigest

from ...topics.topic import Topic
from ..wire import Move, Told, TopicInfo


def position_digest(no: int, strand: int, oseq: int) -> int:
    """One position's share in the digest of all that was told: their xor."""
    return xxh3_64_intdigest(b"%d %d %d" % (no, strand, oseq))


class Tally:
    """All positions that were told on one feed. The teller keeps one, and so does the hearer."""

    def __init__(self) -> None:
        self._told: dict[int, dict[int, int]] = {}  # topic number -> strand -> oseq
        self.positions = self.digest = 0

    def __contains__(self, position: tuple[int, int, int]) -> bool:
        """Whether this is what was told last of the strand: topic number, strand, oseq."""
        no, strand, oseq = position
        return self._told.get(no, {}).get(strand) == oseq

    def note(self, no: int, strand: int, oseq: int) -> None:
        """A position was told."""
        of_topic = self._told.setdefault(no, {})
        before = of_topic.get(strand)
        if before is None:
            self.positions += 1
        else:
            self.digest ^= position_digest(no, strand, before)
        of_topic[strand] = oseq
        self.digest ^= position_digest(no, strand, oseq)

    def forget(self, no: int) -> None:
        """The topic is gone."""
        gone = self._told.pop(no, {})
        self.positions -= len(gone)
        for strand, oseq in gone.items():
            self.digest ^= position_digest(no, strand, oseq)


class Telling:
    """Of one topic on one feed. ``no`` is the topic's number on this connection."""

    def __init__(self, no: int, topic: Topic, tally: Tally) -> None:
        self.no, self.topic, self._tally = no, topic, tally
        self._log_id = topic.about.log_id
        self._moves_told = -1
        self._creator_told = (0, "")

    def info(self) -> TopicInfo:
        """The topic as it is told first, with all positions."""
        vector: list[Told] = []
        for number, s in self.topic.strands.items():
            if s.durable_last:
                vector.append((number, s.durable_last, s.durable_hash, s.durable_whole_from, s.durable_ts))
                self._tally.note(self.no, number, s.durable_last)
        self._moves_told = self.topic.move_no
        return self._info(vector)

    def correction(self) -> TopicInfo | None:
        """Whom the topic was created by, when that is another than was told; no positions."""
        about = self.topic.about
        return None if self._creator_told == (about.created_ms, about.creator) else self._info([])

    def _info(self, vector: list[Told]) -> TopicInfo:
        topic, about, config = self.topic, self.topic.about, self.topic.config
        self._creator_told = (about.created_ms, about.creator)
        return TopicInfo(
            self.no, topic.topic, about.log_id, config.type, config.ttl_ms, config.durability,
            topic.head, topic.count, topic.bytes, vector, about.created_ms, about.creator, config.home or "",
        )  # fmt: skip

    def farewell(self) -> TopicInfo:
        """The topic as it is told to be gone, by the log id under which it was told first."""
        config = self.topic.config
        self._tally.forget(self.no)
        return TopicInfo(
            self.no, self.topic.topic, self._log_id, config.type, config.ttl_ms, config.durability, 0, 0, 0, []
        )

    def moves(self) -> list[Move]:
        """Positions that changed since they were last told."""
        numbers, self._moves_told = self.topic.moved_since(self._moves_told)
        found: list[Move] = []
        for number in numbers:
            strand = self.topic.strands[number]
            if strand.durable_last and (self.no, number, strand.durable_last) not in self._tally:
                found.append((self.no, number, strand.durable_last, strand.durable_hash, strand.durable_ts))
                self._tally.note(self.no, number, strand.durable_last)
        return found
