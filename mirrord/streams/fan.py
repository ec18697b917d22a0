"""A fan: everybody who is caught up with one topic in one view. A page is read and encoded once for all who stand at
the same place, and the same bytes are handed to each of them. Decides; ``fans.py`` waits.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from ..topics.read.face import View
from ..topics.read.reading import read
from ..topics.topic import Topic
from .dialect import Dialect
from .place import Batch, Place, Rider, shared_batch

Spot = tuple[int, str]  # seq and log id


class FanKey(Struct, frozen=True):
    """What riders must have in common."""

    tid: int
    view: View
    dialect: Dialect
    strong: bool


class Group(Struct, eq=False):
    """Riders at one spot, and whether they were told that they are caught up."""

    riders: dict[Place, Rider]
    told: bool


class Fan:
    """All riders of one topic in one view, in groups by where they stand. Nearly always there is one group."""

    def __init__(self, topic: Topic, view: View, dialect: Dialect, *, strong: bool) -> None:
        self.topic, self.view, self.strong = topic, view, strong
        self._dialect = dialect
        self._riders: dict[Place, Rider] = {}
        self._groups: dict[Spot, Group] = {}
        self.shown: Spot = (0, "")  # strong: how far the log is known to be synced
        self.rest_until_s = 0.0  # it just did much work and lets others have the time

    def join(self, place: Place, rider: Rider) -> None:
        """From now on this one gets what comes behind its place."""
        self._riders[place] = rider
        self._put((place.seq, place.log_id), {place: rider}, told=place.told)

    def leave(self, place: Place) -> None:
        """No more for this one; strangers are fine."""
        if self._riders.pop(place, None) is not None:
            for spot, group in list(self._groups.items()):
                if group.riders.pop(place, None) is not None and not group.riders:
                    del self._groups[spot]

    def __len__(self) -> int:
        return len(self._riders)

    def __contains__(self, place: Place) -> bool:
        return place in self._riders

    @property
    def due(self) -> bool:
        """Whether somebody stands before something that may be shown."""
        head, log_id = self.visible, self.topic.log_id_hex
        return any(seq < head or at != log_id for seq, at in self._groups)

    @property
    def visible(self) -> int:
        """The seq up to which records may be shown."""
        if not self.strong:
            return self.topic.head
        seq, log_id = self.shown
        return seq if log_id == self.topic.log_id_hex else 0

    def next_batch(self) -> tuple[Batch, dict[Place, Rider]] | None:
        """Read and encode one page for those who are furthest behind; they are out of their group until ``settle``.

        Raises ChunkCorrupt.
        """
        head, log_id = self.visible, self.topic.log_id_hex
        waiting = [spot for spot in self._groups if spot[0] < head or spot[1] != log_id]
        if not waiting:
            return None
        spot = min(waiting)
        group = self._groups.pop(spot)
        sample = Place(self.topic, self.view, *spot, first=False, told=group.told)
        batch = shared_batch(sample, read(self.topic, *spot, self.view, head), self._dialect)
        return batch, group.riders

    def settle(self, batch: Batch, took: dict[Place, Rider]) -> None:
        """Those who took the batch and did not leave meanwhile stand behind it."""
        stayed = {place: rider for place, rider in took.items() if place in self._riders}
        if stayed:
            self._put((batch.to_seq, batch.to_log_id), stayed, told=batch.caught_up)

    def _put(self, spot: Spot, riders: dict[Place, Rider], *, told: bool) -> None:
        group = self._groups.get(spot)
        if group is None:
            self._groups[spot] = Group(riders, told)
        else:
            group.riders.update(riders)
            group.told = group.told and told

    def riders(self) -> Iterator[tuple[Place, Rider]]:
        """Everybody, as of now."""
        return iter(list(self._riders.items()))
