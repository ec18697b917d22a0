"""Plans: a seed becomes a graph, writes and faults in phases. Pure, and a plain list, so that it can be shrunk."""

from __future__ import annotations

from random import Random

from msgspec import Struct, structs

from . import scenes
from .faults import Fault
from .graphs import SHAPES, Link, links

NAMES = ("ada", "bob", "cyd", "dan", "eve", "fay")
LINE = ("cut", "oneway", "silent", "delay", "slow", "halfopen", "doubled", "unanswered")
NODE = ("kill", "kill-before", "kill-after", "power", "wipe", "backup", "memory", "delete", "clock", "clone")
REMOVALS = ("erase", "remove", "front")
CLOCK_S = 50.0  # how far a clock goes either way: together less than an idempotency key is remembered
DISK = ("eio", "eio-written", "eio-sticky", "full")
AT_ONCE = {"outage": "kill", "blackout": "power"}  # faults of several nodes: each suffers this

MENUS: dict[str, tuple[str, ...]] = {
    "calm": (),
    "line": LINE,
    "crash": ("kill", "kill-before", "kill-after", "kill-before", "kill-after", "cut"),
    "keys": ("kill-after", "kill-before", "kill"),
    "power": ("power", "power", "cut", "kill"),
    "disk": (*DISK, "kill"),
    "wipe": ("wipe", "wipe", "cut", "kill"),
    "backup": ("backup", "backup", "cut", "kill"),
    "memory": ("memory", "memory", "memory", "cut", "delay", "kill"),
    "delete": ("delete", "delete", "cut", "power"),
    "caps": ("delay", "cut", "delete", "kill"),
    "erase": (*REMOVALS, "erase", "remove", "kill", "kill-before", "kill-after", "cut", "delay", "power"),
    "late": (),
    "fork": (),
    "clock": ("clock", "clock", "power"),
    "clone": ("clone", "kill", "cut"),
    "mixed": (*LINE, *NODE, *DISK),
    "outage": ("outage", "blackout", "outage", "blackout", "wipe", "cut", "delay"),
    "file": ("unlink", "unlink", "unlink", "cut", "delay", "kill"),
    "leases": ("kill", "kill-before", "kill-after", "kill-before", "kill-after", "cut", "delay"),
    "routers": ("kill-before", "kill-after", "kill-before", "kill-after", "power", "wipe", "cut", "delay"),
}
_SELDOM = ("outage", "file")
_LAID_OVER = ("routers", "leases")  # over the others, or by name only
_DRAWN = tuple(menu for menu in MENUS if menu not in (*_LAID_OVER, *_SELDOM))
ERASING = ("erase", "leases")  # records of these runs are erased everywhere
_CAPPED = ("caps", "late")
_SHAPES = {
    "late": ("mesh", "mesh", "random", "star"),
    "fork": ("mesh",),
    **dict.fromkeys(_SELDOM, ("two meshes", "two meshes", *SHAPES)),
}
TOPICS = ("orders", "events")
COPIES = "copies"  # where every node's routers copy what was written on it, in runs with routers
_NEVER_ROUTED = frozenset({"fork", "memory", "backup", "clone", "delete", "caps", "erase", "late", "mixed", "file"})


class Write(Struct, frozen=True):
    """``count`` records appended at once. With a key it is sent ``tries`` times, ``pause_s`` apart."""

    at: float
    number: int
    node: str
    topic: str
    count: int
    tries: int = 1  # more than one: keyed
    pause_s: float = 0.0

    @property
    def texts(self) -> tuple[str, ...]:
        """The JSON texts of its records, unlike those of any other write."""
        return tuple(f'"{self.number}.{i}"' for i in range(self.count))


def number_of(text: str) -> int:
    """Of the write that a record's JSON text is of."""
    return int(text.strip('"').partition(".")[0])


class Plan(Struct, frozen=True):
    """One run."""

    seed: int
    menu: str
    shape: str
    nodes: tuple[str, ...]
    links: tuple[Link, ...]
    topics: tuple[tuple[str, str], ...]  # name and class
    caps: tuple[tuple[str, str, int], ...]  # node, topic, records
    late: tuple[tuple[str, float], ...]  # nodes that start later, and when
    writes: tuple[Write, ...]
    faults: tuple[Fault, ...]
    heal_at: float

    @property
    def sources(self) -> tuple[str, ...]:
        """The topics of routers; none in a run without."""
        names = tuple(name for name, _ in self.topics)
        return tuple(name for name in names if name != COPIES) if COPIES in names else ()

    @property
    def home(self) -> str:
        """The node that grants the leases of the run's topics; "": they are no queues."""
        return self.nodes[0] if self.menu == "leases" else ""

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.menu}, {self.shape} of {len(self.nodes)}, {len(self.writes)} writes"


def plan_of(seed: int, menu: str | None = None) -> Plan:
    """What happens in the run of this seed. The menu is drawn from the seed unless it is named."""
    rng = Random(f"plan {seed}")
    drawn, seldom = rng.choice((*_DRAWN, "mixed", "mixed", "mixed")), Random(f"seldom {seed}")
    drawn = seldom.choice(_SELDOM) if seldom.random() < 0.12 else drawn
    routed = menu == "routers" or (not menu and drawn not in _NEVER_ROUTED and Random(f"routers {seed}").random() < 0.5)
    menu = menu or drawn
    nodes, shape = _cluster(menu, rng)
    pulls = links(shape, nodes, rng)
    topics = tuple((name, rng.choice(("disk", "fsync"))) for name in TOPICS[: rng.choice((1, 1, 2))])
    caps: tuple[tuple[str, str, int], ...] = ()
    if menu in _CAPPED or (menu == "mixed" and rng.random() < 0.3):
        caps = tuple((rng.choice(nodes), name, rng.randint(3, 20)) for name, _ in topics)
    heal_at = rng.uniform(3.0, 6.0)
    late: tuple[tuple[str, float], ...] = ()
    if menu in _CAPPED or rng.random() < 0.2:
        late = ((rng.choice(nodes), rng.uniform(0.5, heal_at)),)
    keyed = 0.8 if menu == "keys" else 0.15
    most = 1 if menu == "fork" else 5  # branches whose chunks have the same bounds are told apart by hashes alone
    writes = _writes(nodes, [name for name, _ in topics], heal_at, keyed, most, rng)
    if routed:
        topics = (*topics, (COPIES, Random(f"copies {seed}").choice(("disk", "fsync"))))
    faults = _faults(menu, nodes, pulls, heal_at, rng)
    if menu == "late":
        faults = scenes.slow_starts(late, pulls, heal_at, rng)
    elif menu == "fork":
        faults = scenes.two_branches(nodes, heal_at, rng)
    return Plan(seed, menu, shape, nodes, pulls, topics, caps, late, writes, faults, heal_at)


def _cluster(menu: str, rng: Random) -> tuple[tuple[str, ...], str]:
    shape = rng.choice(_SHAPES.get(menu, ("pair", *SHAPES)))
    least = 2 if shape in ("pair", "chain", "one-way ring") else 3
    count = 2 if shape == "pair" else rng.choice((least, least, 3, 3, 3, 3, 3, 4, 4, rng.randint(4, 6)))
    return NAMES[: max(4, count) if shape == "two meshes" else count], shape


def _writes(
    nodes: tuple[str, ...], topics: list[str], until: float, keyed: float, most: int, rng: Random
) -> tuple[Write, ...]:
    count = rng.choice((50,) * 10 + (60,) * 5 + (80, 120, 300))
    bursts = [rng.uniform(0.1, until) for _ in range(6)]
    writers = nodes if rng.random() < 0.7 else (rng.choice(nodes),)
    found: list[Write] = []
    for number in range(count):
        at = rng.uniform(0.1, until) if rng.random() < 0.6 else rng.choice(bursts) + rng.uniform(0, 0.05)
        tries, pause_s = (rng.randint(2, 3), rng.uniform(0.05, 1.5)) if rng.random() < keyed else (1, 0.0)
        found.append(Write(at, number, rng.choice(writers), rng.choice(topics), rng.randint(1, most), tries, pause_s))
    return tuple(sorted(found, key=lambda write: write.at))


def _faults(menu: str, nodes: tuple[str, ...], pulls: tuple[Link, ...], until: float, rng: Random) -> tuple[Fault, ...]:
    """Three phases: each is calm, of one kind, or mixed."""
    kinds = MENUS[menu]
    if not kinds:
        return ()
    found: list[Fault] = []
    for phase in range(3):
        begin, end = 0.3 + phase * (until - 0.3) / 3, 0.3 + (phase + 1) * (until - 0.3) / 3
        weather = rng.choice(("calm", "one kind", "mixed", "mixed"))
        menu_now = kinds if weather == "mixed" else (rng.choice(kinds),)
        for _ in range(0 if weather == "calm" else rng.randint(1, 9 if menu == "erase" else 4)):
            found += _fault(rng.choice(menu_now), nodes, pulls, begin, end, rng)
    return _with_near_clocks(sorted(found, key=lambda fault: fault.at))


def _with_near_clocks(faults: list[Fault]) -> tuple[Fault, ...]:
    """No clock goes so far that what a node is to remember for a time is over by its steps alone."""
    found, stands_at = list[Fault](), dict[str, float]()
    for fault in faults:
        step = fault.amount
        if fault.kind == "clock":
            at = stands_at.get(fault.node, 0.0)
            step = step if abs(at + step) <= CLOCK_S else -step
            stands_at[fault.node] = at + step
        found.append(structs.replace(fault, amount=step))
    return tuple(found)


def _fault(
    kind: str, nodes: tuple[str, ...], pulls: tuple[Link, ...], begin: float, end: float, rng: Random
) -> list[Fault]:
    at = rng.uniform(begin, end)
    if kind in LINE:
        a, b = rng.choice(pulls)
        a, b = (a, b) if rng.random() < 0.5 else (b, a)
        amounts = {"delay": rng.uniform(0.05, 0.3), "slow": rng.choice((2_000.0, 6_000.0, 20_000.0)), "doubled": 0.5}
        return [Fault(at, at + rng.uniform(0.2, 2.5), kind, a, b, amounts.get(kind, 0.5))]
    if kind in AT_ONCE:
        return _at_once(AT_ONCE[kind], nodes, at, rng)
    if kind == "unlink":
        a, b = rng.choice(pulls)
        return [Fault(at, at + rng.uniform(0.3, 2.0), kind, a, b)]
    node, down_s = rng.choice(nodes), rng.choice((0.0, rng.uniform(0.05, 2.0)))
    amount = rng.random()
    if kind == "clock":
        amount = rng.uniform(-CLOCK_S, CLOCK_S)  # seconds
    elif kind in ("kill-before", "kill-after"):
        amount = rng.randint(1, 8)  # commits from now
    if kind in ("backup", "memory"):
        copied_at = max(0.2, at - rng.uniform(0.1, 3.0))
        return [Fault(copied_at, at, f"copy for {kind}", node), Fault(at, at + down_s, kind, node)]
    return [Fault(at, at + (rng.uniform(0.2, 2.0) if kind in DISK else down_s), kind, node, amount=amount)]


def _at_once(kind: str, nodes: tuple[str, ...], at: float, rng: Random) -> list[Fault]:
    """All nodes, or two of them; they come back one after the other."""
    struck = nodes if rng.random() < 0.6 else rng.sample(nodes, 2)
    down_s = rng.choice((0.0, rng.uniform(0.0, 1.5)))
    return [Fault(at, at + down_s + rng.uniform(0.0, 0.5), kind, node, amount=rng.random()) for node in struck]
