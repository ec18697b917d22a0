"""The rules of a reader group against a plain model, with the store read back after every step."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mirrord.groups import marks
from mirrord.groups.group import MOST_GONE, Group
from mirrord.storage.store import Change, DropMark, PutMark

TID = 7
CONSUMERS = ["ann", "bob", "cyd"]
consumers = st.sampled_from(CONSUMERS)


def keep(store: dict[str, bytes], changes: Any) -> None:
    """What a store does with marks."""
    for change in changes:
        one: Change = change
        if isinstance(one, PutMark):
            store[one.reader] = one.value
        elif isinstance(one, DropMark):
            store.pop(one.reader, None)


class Plain(RuleBasedStateMachine):
    """Every record handed out once; pending until committed; nothing committed ever again."""

    def __init__(self) -> None:
        super().__init__()
        self.group = Group("g", 1, 0)
        self.store: dict[Any, Any] = {}
        self.held: dict[int, tuple[str, int, int]] = {}  # seq -> consumer, when, how often
        self.cursor = self.now_ms = 0
        self.done: set[int] = set()

    @rule(consumer=consumers, holes=st.lists(st.integers(0, 200), min_size=1, max_size=20))
    def hand_out(self, consumer: str, holes: list[int]) -> None:
        seqs: list[int] = []
        for hole in holes:
            seqs.append((seqs[-1] if seqs else self.cursor) + 1 + hole)
        self.group.hand_out(consumer, seqs, self.now_ms)
        self.cursor = seqs[-1]
        assert not self.done & set(seqs)
        self.held.update(dict.fromkeys(seqs, (consumer, self.now_ms, 1)))

    @rule(ms=st.integers(1, 50))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @rule(
        consumer=consumers, min_idle_ms=st.integers(0, 60), most=st.integers(1, 9), of=st.none() | consumers,
        after=st.sampled_from([0, 0, 30, 300]),
    )  # fmt: skip
    def take_over(self, consumer: str, min_idle_ms: int, most: int, of: str | None, after: int) -> None:
        idle = self.group.idle(min_idle_ms, self.now_ms, most, after=after, of=of)
        assert idle == sorted(
            seq for seq, (who, at, _) in self.held.items()
            if self.now_ms - at >= min_idle_ms and of in (None, who) and seq > after
        )[:most]  # fmt: skip
        self.group.take_over(consumer, idle, self.now_ms)
        for seq in idle:
            self.held[seq] = (consumer, self.now_ms, self.held[seq][2] + 1)

    @rule(consumer=consumers, data=st.data())
    def commit(self, consumer: str, data: st.DataObject) -> None:
        seqs = data.draw(st.lists(st.integers(0, self.cursor + 2), max_size=8) if not self.held else st.lists(
            st.sampled_from(sorted(self.held)), max_size=8))  # fmt: skip
        mine = [s for s in dict.fromkeys(seqs) if s in self.held and self.held[s][0] == consumer]
        committed, skipped = self.group.commit(consumer, seqs)
        assert committed == len(mine)
        assert len(skipped) == len(seqs) - len(mine)
        for seq in mine:
            del self.held[seq]
        self.done.update(mine)

    @rule(consumer=consumers, below=st.integers(0, 100))
    def commit_to(self, consumer: str, below: int) -> None:
        up_to = max(0, self.cursor - below)
        mine = [s for s, (who, _, _) in self.held.items() if who == consumer and s <= up_to]
        assert self.group.commit_to(consumer, up_to) == len(mine)
        for seq in mine:
            del self.held[seq]
        self.done.update(mine)

    @rule(below=st.integers(0, 300))
    def evict(self, below: int) -> None:
        floor = max(0, self.cursor - below)
        gone = self.group.up_to(floor)
        assert gone == sorted(s for s in self.held if s <= floor)
        self.group.lose(gone)
        assert self.group.take_gone() == gone[-MOST_GONE:]
        for seq in gone:
            del self.held[seq]

    @rule(to=st.integers(0, 50))
    def seek(self, to: int) -> None:
        assert self.group.seek(self.cursor + to) == len(self.held)
        self.cursor += to
        self.held = {}

    @invariant()
    def is_what_the_model_is(self) -> None:
        assert tell(self.group) == (self.cursor, self.held)
        assert self.group.committed_to == min(self.held, default=self.cursor + 1) - 1
        per_consumer = {who: sum(h[0] == who for h in self.held.values()) for who in CONSUMERS}
        assert self.group.consumers == {who: count for who, count in per_consumer.items() if count}
        assert [d.at_ms for d in self.group.deliveries] == sorted(d.at_ms for d in self.group.deliveries)
        assert self.group.next_idle_ms(5) == min((h[1] + 5 for h in self.held.values()), default=None)

    @invariant()
    def survives_the_store(self) -> None:
        keep(self.store, marks.changes(TID, self.group))
        back = marks.groups(TID, sorted(self.store.items()))["g"]
        assert tell(back) == (self.cursor, self.held)
        assert back.consumers == self.group.consumers
        assert len(self.store) == 1 + len({seq >> 8 for seq in self.held})


def tell(group: Group) -> tuple[int, dict[int, tuple[str, int, int]]]:
    """The state as the model has it, in seq order."""
    held = {seq: (d.consumer, d.at_ms, d.times) for seq, d in group.holders.items()}
    assert list(held) == sorted(held)
    return group.cursor, held


TestPlain = Plain.TestCase
TestPlain.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_dropped_group_leaves_nothing() -> None:
    """Marks of blocks that were emptied in the same turn go too."""
    store: dict[str, bytes] = {}
    group = Group("g", 1, 0)
    group.hand_out("ann", range(1, 1000), 1)
    keep(store, marks.changes(TID, group))
    group.commit("ann", range(1, 300))
    keep(store, marks.dropped(TID, group))
    assert store == {}


def test_a_commit_rewrites_only_the_blocks_that_it_touches() -> None:
    """What a commit costs does not grow with what is pending elsewhere."""
    group = Group("g", 1, 0)
    group.hand_out("ann", range(1, 10_001), 1)
    assert len(list(marks.changes(TID, group))) == 1 + 40
    group.commit("ann", [300])
    changed = [c for c in marks.changes(TID, group) if isinstance(c, PutMark)]
    assert [c.reader for c in changed] == ["topic/7/group/g", "topic/7/group/g/00000001"]
    assert max(len(c.value) for c in changed) < 64


def test_a_clock_that_steps_back_makes_nothing_idle() -> None:
    """Idle time never runs backwards into a record that was just handed out."""
    group = Group("g", 1, 0)
    group.hand_out("ann", [1], 1000)
    group.hand_out("bob", [2], 10)
    store: dict[str, bytes] = {}
    keep(store, marks.changes(TID, group))
    for one in (group, marks.groups(TID, store.items())["g"]):
        assert one.idle(1, 500, 9) == []
        assert one.idle(1, 1001, 9) == [1, 2]


@given(st.lists(st.integers(1, 3000), unique=True, max_size=60))
def test_groups_of_one_topic_do_not_mix(seqs: list[int]) -> None:
    """Names that begin alike are other groups, and other topics' marks are not read."""
    store: dict[str, bytes] = {}
    for name, tid in (("a", TID), ("a:b", TID), ("a", 77)):
        group = Group(name, 1, 0)
        group.hand_out(f"{name}@{tid}", sorted(seqs), 1)
        keep(store, marks.changes(tid, group))
    mine = [(key, value) for key, value in store.items() if key.startswith(marks.prefix(TID))]
    back = marks.groups(TID, mine)
    assert sorted(back) == ["a", "a:b"]
    for name, group in back.items():
        assert list(group.holders) == sorted(seqs)
        assert set(group.consumers) <= {f"{name}@{TID}"}
