"""The lease table against a plain model: every record in one place, nobody holds what another holds."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mirrord.queues.leasing.leases import Claimant, Lease, Leases, fences, lease_id, share

NODES = ["a", "b"]


class Records:
    """A topic: seqs that live, some taken away."""

    def __init__(self) -> None:
        self.head = 0
        self.gone: set[int] = set()

    @property
    def live(self) -> list[int]:
        return [seq for seq in range(1, self.head + 1) if seq not in self.gone]

    def after(self, cursor: int, limit: int) -> tuple[list[int], int]:
        found = [seq for seq in self.live if seq > cursor][:limit]
        return found, (found[-1] if len(found) == limit else self.head)

    def is_live(self, seq: int) -> bool:
        return 0 < seq <= self.head and seq not in self.gone


class Model:
    """The same by scanning: seq -> (node, number, until, deliveries) or due."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[str, int, int]] = {}
        self.due: dict[int, int] = {}
        self.deliveries: dict[int, int] = {}
        self.settling: set[int] = set()

    def elapse(self, now: int) -> None:
        self.held = {s: h for s, h in self.held.items() if not now > h[2]}
        self.due = {s: d for s, d in self.due.items() if not now >= d}

    def claimable(self, records: Records) -> list[int]:
        taken = self.held.keys() | self.due.keys() | self.settling
        free = [s for s in records.live if s not in taken]
        again = [s for s in free if self.deliveries.get(s)]
        return again + [s for s in free if not self.deliveries.get(s)]


class Machine(RuleBasedStateMachine):
    """Random work on both; after each step they agree in everything that can be asked."""

    @initialize(limit=st.sampled_from([0, 2]))
    def begin(self, limit: int) -> None:
        self.records, self.model, self.leases = Records(), Model(), Leases()
        self.now, self.limit = 1000, limit

    def tick(self) -> None:
        self.leases.elapse(self.now)
        self.model.elapse(self.now)

    @rule(count=st.integers(1, 4))
    def append(self, count: int) -> None:
        self.records.head += count

    @rule(ms=st.integers(0, 60))
    def wait(self, ms: int) -> None:
        self.now += ms

    @rule(node=st.sampled_from(NODES), most=st.integers(1, 4), lease_ms=st.integers(1, 50))
    def claim(self, node: str, most: int, lease_ms: int) -> None:
        self.tick()
        drawn = self.leases.draw(most, self.records, self.limit)
        expected: list[int] = []
        spent: list[int] = []
        for seq in self.model.claimable(self.records):
            if len(expected) == most:
                break
            over = self.limit and self.model.deliveries.get(seq, 0) >= self.limit
            (spent if over else expected).append(seq)
        assert [s for s, _ in drawn.ready] == expected
        assert [s for s, _ in drawn.spent] == spent
        self.model.settling |= set(spent)
        for one in drawn.ready:
            lease = self.leases.give(one, Claimant(node, most, lease_ms), self.now)
            self.model.deliveries[lease.seq] = self.model.deliveries.get(lease.seq, 0) + 1
            assert lease.deliveries == self.model.deliveries[lease.seq]
            self.model.held[lease.seq] = (node, lease.number, self.now + lease_ms)

    def _held(self, node: str, seqs: list[int], fenced: str) -> list[Lease]:
        self.tick()
        numbers = {"no": [], "right": [self.model.held.get(s, ("", 99, 0))[1] for s in seqs], "old": [1] * len(seqs)}
        found = self.leases.match(node, seqs, numbers[fenced], self.records)
        expected: dict[int, None] = {}
        for seq, lease in zip(seqs, found, strict=True):
            held = self.model.held.get(seq)
            mine = held is not None and held[0] == node and seq not in expected and self.records.is_live(seq)
            mine = mine and (fenced != "old" or (held is not None and held[1] == 1))
            assert (lease is not None) == mine
            if lease is not None:
                assert held is not None
                assert (lease.seq, lease.number) == (seq, held[1])
                expected[seq] = None
        return [lease for lease in found if lease is not None]

    some = st.lists(st.integers(1, 12), max_size=4)

    @rule(node=st.sampled_from(NODES), seqs=some, fenced=st.sampled_from(["no", "right", "old"]))
    def ack(self, node: str, seqs: list[int], fenced: str) -> None:
        for lease in self._held(node, seqs, fenced):
            self.leases.leave(lease)
            del self.model.held[lease.seq]
            self.model.settling.add(lease.seq)

    @rule(stands=st.booleans(), delay=st.integers(0, 30))
    def commit(self, stands: bool, delay: int) -> None:
        """What was on its way stands, or was refused."""
        self.tick()
        before = dict(self.leases.leaving)
        if stands:
            self.records.gone |= self.model.settling
            self.leases.left(list(before))
        else:
            self.leases.stay(list(before), self.records, self.now, self.now + delay)
            for seq, lease in before.items():
                if not self.records.is_live(seq):
                    continue
                if lease.number and lease.until_ms >= self.now:
                    self.model.held[seq] = (lease.node, lease.number, lease.until_ms)
                else:
                    self.model.due[seq] = self.now + delay
        self.model.settling.clear()
        self.tick()

    @rule(node=st.sampled_from(NODES), seqs=some, delay=st.sampled_from([0, 1, 20]))
    def nack(self, node: str, seqs: list[int], delay: int) -> None:
        for lease in self._held(node, seqs, "no"):
            self.leases.release(lease, self.now + delay if delay else 0)
            del self.model.held[lease.seq]
            if delay:
                self.model.due[lease.seq] = self.now + delay

    @rule(node=st.sampled_from(NODES), seqs=some, lease_ms=st.integers(1, 50))
    def extend(self, node: str, seqs: list[int], lease_ms: int) -> None:
        for lease in self._held(node, seqs, "no"):
            self.leases.extend(lease, self.now + lease_ms)
            self.model.held[lease.seq] = (node, lease.number, self.now + lease_ms)

    @rule()
    def restart(self) -> None:
        """What was written down is read back into an empty table."""
        self.commit(True, 0)
        old, self.leases = self.leases, Leases(self.leases.number)
        for lease in old.held.values():
            self.leases.restore(lease)
        for seq, (due, deliveries) in [*old.delayed.items(), *((s, (0, n)) for s, n in old.freed.items())]:
            self.leases.restore(Lease(seq, "", 0, due, deliveries))

    @rule(seqs=some)
    def vanish(self, seqs: list[int]) -> None:
        """Deleted, expired or evicted by others."""
        self.records.gone |= set(seqs)
        self.leases.purge(self.records)
        for seq in seqs:
            self.model.held.pop(seq, None)
            self.model.due.pop(seq, None)

    @invariant()
    def agree(self) -> None:
        self.tick()
        leases, records, model = self.leases, self.records, self.model
        assert {s: (x.node, x.number, x.until_ms) for s, x in leases.held.items()} == model.held
        assert {s: due for s, (due, _) in leases.delayed.items()} == model.due
        assert set(leases.leaving) == model.settling
        vanished = len(model.settling - set(records.live))  # their commit will tell, and nobody is told before it
        assert leases.ready(len(records.live)) == max(0, len(model.claimable(records)) - vanished)
        ends = [h[2] for h in model.held.values()] + [d - 1 for d in model.due.values()]
        if ends:
            moment = leases.next_ms()
            assert moment is not None
            assert moment <= min(ends) + 1, "something would end unseen"
        assert len(leases._moments) <= 2 * (len(model.held) + len(model.due)) + 66, "stale moments pile up"


def test_the_table_agrees_with_a_plain_model() -> None:
    """Whatever workers, the clock, the disk and other deletes do, in any order."""
    busy = [HealthCheck.too_slow]  # says that the machine is
    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=busy),
    )


def test_extending_for_ever_costs_no_memory() -> None:
    """A worker that extends one lease a million times leaves no million moments behind."""
    records, leases = Records(), Leases()
    records.head = 1
    lease = leases.give(leases.draw(1, records).ready[0], Claimant("a", 1, 10), 0)
    for until in range(10_000):
        leases.extend(lease, until + 20)
    assert len(leases._moments) < 200
    assert leases.elapse(10_019) == []
    assert leases.elapse(10_020) == [lease]


def test_the_table_is_bounded() -> None:
    """At the bound nothing fresh is given out; what was claimed before still is."""
    records, leases = Records(), Leases(most=3)
    records.head = 10
    drawn = leases.draw(5, records).ready
    assert [seq for seq, _ in drawn] == [1, 2, 3]
    held = [leases.give(one, Claimant("a", 5, 10), 0) for one in drawn]
    assert leases.draw(5, records).ready == []
    leases.release(held[1])
    assert leases.draw(5, records).ready == [(2, 1)]


def test_a_lease_of_before_is_no_lease() -> None:
    """The fence: same worker, same record, another lease."""
    lease = Lease(7, "a", 12, 0, 1)
    assert fences(12, lease)
    assert fences(0, lease)
    assert not fences(11, lease)
    assert lease_id(255) == "lease_ff"


def test_shares_are_even() -> None:
    """Round-robin: one each in turn, nobody more than it wants, what nobody wants stays out."""
    wants = [Claimant("a", 1, 1), Claimant("b", 5, 1), Claimant("c", 0, 1), Claimant("d", 2, 1)]
    drawn = [(seq, 0) for seq in range(1, 8)]
    assert [[s for s, _ in share] for share in share(drawn, wants)] == [[1], [2, 4, 6, 7], [], [3, 5]]
    assert [len(s) for s in share([(seq, 0) for seq in range(20)], wants)] == [1, 5, 0, 2]
    assert share([], wants) == [[], [], [], []]
