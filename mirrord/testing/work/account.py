"""What came of one kind of work. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from ...errors import MirrordError, PeerError, Throttled, TopicNotFound, Unavailable
from ..cluster.ledger import Verdict
from ..cluster.local import LocalCluster
from ..cluster.troubles import Work as Task

MOST_EXAMPLES = 10
PASSING: tuple[type[MirrordError], ...] = (PeerError, Unavailable, Throttled, TopicNotFound)  # it comes in time
Tables = Mapping[str, Mapping[str, Any]]


class Account:
    """How often each thing was done, how often each promise was broken, and the first examples of that."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []

    def broken(self, promise: str, example: object, times: int = 1) -> None:
        """Something was not as it must be."""
        if times:
            self.wrong[promise] += times
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.append(f"{promise}: {example}")

    def judged(self, verdict: Verdict, where: object) -> None:
        """A node's dump was looked at."""
        for word, times in (
            ("lost", verdict.lost),
            ("doubled", verdict.doubled),
            ("out of order", verdict.disordered),
            ("foreign", verdict.foreign),
        ):
            self.broken(word, where, times)


class Work(Protocol):
    """One kind of work on a cluster; it has topics of its own."""

    topics: ClassVar[Tables]
    """Their tables in the file."""
    tables: ClassVar[Tables]
    """What else the file must have."""
    account: Account

    def __init__(self, cluster: LocalCluster) -> None: ...

    def tasks(self) -> Sequence[Task]:
        """What goes on during the storm, each until the time that it is given."""
        ...

    async def judge(self) -> None:
        """All nodes are up, all lines are well: settle what is open, and look at everything."""
        ...
