"""What a node says about an append that it kept."""

from __future__ import annotations

from msgspec import Struct

from ..answer import Answer


class Appended(Struct, frozen=True):
    """The records are kept as ``first_seq`` to ``last_seq``, in the topic's durability class, on this one node.

    ``deduped``: they were kept before, by an append with the same key.
    """

    topic: str
    first_seq: int
    last_seq: int
    head_seq: int
    count: int
    created: bool = False
    deduped: bool = False

    @property
    def seqs(self) -> range:
        """The records' seqs, in order."""
        return range(self.first_seq, self.last_seq + 1)

    @classmethod
    def of(cls, answer: Answer) -> Appended:
        """Raises ProtocolViolation when the answer is none of an append."""
        return answer.read_as(cls)
