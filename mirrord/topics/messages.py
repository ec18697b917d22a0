"""What can be said to a topic, and what it answers. Requests are verbs, answers are participles."""

from __future__ import annotations

from msgspec import Struct
from xxhash import xxh3_128

from ..config.topic import TopicConfig
from ..records.batch import Batch
from ..records.gap import Cover
from ..records.selector import Selector
from ..records.strand import Descriptor, Position
from ..storage.store import Change


class Key(Struct, frozen=True):
    """An idempotency key and the digest of the payload that it was used with."""

    name: str
    digest: bytes

    @classmethod
    def of(cls, name: str, batches: tuple[Batch, ...]) -> Key:
        """The key of these records, wherever they will lie."""
        digest = xxh3_128()
        for batch in batches:
            digest.update(batch.body)
        return cls(name, digest.digest())


class Append(Struct, frozen=True):
    """New records of this node. All get consecutive seqs, or none is kept."""

    batches: tuple[Batch, ...]
    key: Key | None = None
    changes: tuple[Change, ...] = ()  # marks that are committed with them

    @property
    def records(self) -> int:
        """How many they are."""
        return sum([batch.records for batch in self.batches])

    @property
    def text_bytes(self) -> int:
        """Their JSON text, as caps and limits count it."""
        return sum([batch.text_bytes for batch in self.batches])


class Appended(Struct, frozen=True):
    first_seq: int
    last_seq: int
    head: int
    deduped: bool = False


class Erase(Struct, frozen=True):
    """Delete these seqs, for ever. ``travels``: peers that hold the records are told to erase them too."""

    seqs: tuple[int, ...]
    changes: tuple[Change, ...] = ()  # marks that are committed with it, whether or not a record was live
    travels: bool = False


class Erased(Struct, frozen=True):
    """Which of the seqs were live and are gone now, ascending."""

    seqs: tuple[int, ...]


class Delete(Struct, frozen=True):
    """Delete what was appended before this moment: seqs below ``before_seq``, records that ``match``, or both. Large
    ones are taken in steps (``topics/deletion.py``): ``after`` and ``until`` bound one by seqs."""

    before_seq: int | None = None
    match: Selector | None = None
    after: int = 0
    until: int | None = None  # None: the head as it is now
    log_id: str | None = None  # hex; in another log nothing is meant


class Deleted(Struct, frozen=True):
    """How many records went, and their JSON text. ``after``: where the next step goes on; None: it was the last."""

    records: int
    bytes: int
    until: int
    after: int | None = None


class Commit(Struct, frozen=True):
    """Marks alone, in the topic's turn."""

    changes: tuple[Change, ...]
    log_id: str | None = None  # hex; the log that they are of: another one by then refuses them with TopicNotFound
    tells: tuple[tuple[str, bytes], ...] = ()  # control chunks for peers: content word, JSON


class Miss(Struct, frozen=True):
    """A router's source lost so many records before they were copied: readers are told, once."""

    records: int
    changes: tuple[Change, ...] = ()  # marks that are committed with it


class Introduce(Struct, frozen=True):
    """A strand that a peer will send chunks or covers of."""

    descriptor: Descriptor


class Apply(Struct, frozen=True):
    """Chunks that a link brought, as they came, for compare-and-append. ``lacks`` says why stripped ones may be among
    them: erased everywhere, or deleted where the link knows that nobody has more."""

    chunks: bytes
    lacks: str = ""


class ApplyCover(Struct, frozen=True):
    """A cover that may be applied now (the link has waited for who else may have the range)."""

    cover: Cover


class Fork(Struct, frozen=True):
    """A strand in which two logs hold different content at one place. Both positions are named."""

    strand: int
    mine: Position
    theirs: Position


class Applied(Struct, frozen=True):
    """What became of a batch from a link, in records. ``ahead`` strands had a chunk that does not follow yet."""

    taken: int = 0
    known: int = 0
    ahead: tuple[int, ...] = ()
    forks: tuple[Fork, ...] = ()
    moved: tuple[tuple[int, int], ...] = ()  # strand and where the log now stands in it
    mine: tuple[int, ...] = ()  # strands of our present life that somebody extends: we were rewound


class Configure(Struct, frozen=True):
    """Replace the topic's configuration; ``put`` when a person asked for it. With ``fields`` only these change, of a
    topic that is there."""

    config: TopicConfig
    put: bool
    fields: tuple[str, ...] = ()


class Created(Struct, frozen=True):
    """A peer tells who created the topic, and when (ms). The earliest counts, on every node."""

    by: str
    at_ms: int


class DropTopic(Struct, frozen=True):
    """Let go of the log. The vector stays unless ``forget``."""

    forget: bool
    if_empty: bool
    changes: tuple[Change, ...] = ()  # marks that are committed with it, of readers that live elsewhere


class BeginLife(Struct, frozen=True):
    """The node began a new life: close our strand and go on above the ceiling (every turn does so at its begin)."""


class Sweep(Struct, frozen=True):
    """Look whether something must go by now (every turn does so at its end)."""


Message = (
    Append
    | Erase
    | Delete
    | Commit
    | Miss
    | Introduce
    | Apply
    | ApplyCover
    | Configure
    | Created
    | DropTopic
    | BeginLife
    | Sweep
)
