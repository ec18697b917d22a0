"""Which local topic each number on a feed means: created if it is not there, or refused by name."""

from __future__ import annotations

from collections.abc import Callable

from ...config.topic import topic_config
from ...config.topology import LinkPlan
from ...errors import MirrordError, PeerRefused, ProtocolViolation, Unavailable
from ...topics.messages import Created
from ...topics.topic import Topic
from ..board.line import Side
from ..ground import Ground
from ..wire import TopicInfo, Topics
from .asking import Asking
from .hearing import Hearing

MOST_TOPICS = 100_000  # that a peer may tell on one feed: its words must not fill our memory


class Directory:
    """Of one link; filled anew by each feed."""

    def __init__(
        self, plan: LinkPlan, ground: Ground, asking: Asking, hearing: Hearing, note: Callable[[str, str], None]
    ) -> None:
        self._peer, self._ground, self._asking, self._hearing, self._note = plan.peer, ground, asking, hearing, note
        self._line = ground.board.lines[plan.peer]
        self.topics: dict[int, Topic] = {}
        self.known = 0  # topics that were told right after hello
        self._heard: set[str] = set()  # local names of all that were told, refused ones included

    def begin(self) -> None:
        """Forget the feed before."""
        self.topics, self.known, self._heard = {}, 0, set()

    async def on_topics(self, header: Topics) -> None:
        """Raises ProtocolViolation for too many; Unavailable: the disk, not the topic, so the feed is tried again."""
        for info in header.topics:
            match header.event:
                case "reconfigured":
                    await self._correct(info)
                case "deleted":
                    self._take_out(info)
                case _:
                    self.known += header.event == "there"
                    await self._take_in(info)

    async def _take_in(self, info: TopicInfo) -> None:
        for number, oseq, *_ in info.vector:
            self._hearing.count(info.no, number, oseq)
        local = self._asking.local_name(info.name)
        if local is None:
            return
        side = self._side(local, info)
        try:
            topic = await self._local_topic(local, info)
        except Unavailable:
            raise
        except MirrordError as error:
            self.refuse(info.name, f"{error.code}: {error}")
            return
        side.refused = None
        self.topics[info.no] = topic
        board = self._ground.board
        board.tells_only(self._peer, local, {told[0] for told in info.vector})
        for told in info.vector:
            self._hearing.hear(topic, told)
            if self._line.up:  # else all is judged when the hello is complete
                board.rejudge(local, told[0])

    def _side(self, local: str, info: TopicInfo) -> Side:
        self._heard.add(local)
        # Numbers without end for one name, names that go again, and hellos without end fill the memory as well.
        if max(len(self._heard), len(self.topics), len(self._line.sides) - MOST_TOPICS) > MOST_TOPICS:
            raise ProtocolViolation(f"the peer tells more than {MOST_TOPICS} topics")
        side = self._line.sides.setdefault(local, Side(info.name))
        side.ttl_ms = info.ttl_ms
        side.average_bytes = info.text_bytes / info.count if info.count else side.average_bytes
        return side

    def _take_out(self, info: TopicInfo) -> None:
        self._note("topic deleted", info.name)
        if (gone := self.topics.pop(info.no, None)) is not None:
            self._ground.board.tells_only(self._peer, gone.topic, ())
        self._hearing.tally.forget(info.no)

    def refuse(self, source: str, reason: str) -> None:
        """Nothing more comes of what the peer calls so."""
        local = self._asking.local_name(source)
        if local is not None:
            self._ground.board.refuse(self._peer, local, source, reason)
            self._note("topic refused", f"{local}: {reason}")

    def forget_untold(self) -> None:
        """The hello is complete: of topics that it does not name the peer has nothing, and refused ones bring none. It
        still holds to what the request told it not to serve, should such a topic come."""
        there = {topic.topic for topic in self.topics.values()}
        for name, side in list(self._line.sides.items()):
            if name not in self._heard and all(side.asked.values()):
                del self._line.sides[name]
            elif name not in there:
                self._ground.board.tells_only(self._peer, name, ())

    async def _local_topic(self, local: str, info: TopicInfo) -> Topic:
        """The local topic, created with the source's type, ttl, class and home if it is not there. One that was deleted
        here stays so until newer records come."""
        there = self._ground.registry.any(local)
        if there is not None and there.about.deleted:
            return there
        taken = {"type": info.type, "ttl_ms": info.ttl_ms, "durability": info.durability, "home": info.home or None}
        renamed = info.name if local != info.name else None
        created = Created(info.creator or self._peer, info.created_ms or self._ground.clock.wall_ms())
        topic, _ = await self._ground.registry.ensure(
            local, self._ground.declared(local, topic_config(taken)), renamed_from=renamed, created=created
        )
        if topic.config.type != info.type:
            raise PeerRefused("topic-type", f"{local} is a {topic.config.type} here and a {info.type} at {self._peer}")
        await self._hear_of_creator(topic, info)
        return topic

    async def _correct(self, info: TopicInfo) -> None:
        """The peer heard of an earlier creator of a topic that it told before."""
        topic = self.topics.get(info.no)
        if topic is not None:
            await self._hear_of_creator(topic, info)

    async def _hear_of_creator(self, topic: Topic, info: TopicInfo) -> None:
        """Of a queue's creators the earliest grants its leases: two nodes may have made it without knowing."""
        told, about = (info.created_ms, info.creator), topic.about
        if info.type == "queue" and info.creator and info.created_ms > 0 and told < (about.created_ms, about.creator):
            await topic.mailbox.put(Created(info.creator, info.created_ms), bounded_elsewhere=True).wait()
            self._note("queue has another home", f"{topic.topic}: {info.creator} created it first")
            topic.bell.ring()
