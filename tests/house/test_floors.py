"""Imports only go down, and everything that can block is on one list (design/2-architecture.md, the laws)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .tree import MODULES, imported, name_of, parsed

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"names", "clock", "reasons"}),
    frozenset({"records", "config", "actors"}),
    frozenset({"storage", "client"}),
    frozenset({"topics", "sync"}),
    frozenset({"routers", "links", "queues", "groups", "streams"}),
    frozenset({"jobs", "coordination"}),
    frozenset({"schedule"}),
    frozenset({"node"}),
    frozenset({"observe"}),
    frozenset({"web"}),
    frozenset({"serve", "cli", "testing"}),
    frozenset({"__main__"}),
)
FLOOR = {part: height for height, parts in enumerate(FLOORS) for part in parts}
# The daemon's process stands between the listener and the command that starts it.
ABOVE = {("cli", "serve")}

# A catch-all: in the supervisor, and in the simulator, where a fault that nobody named is the finding itself.
CATCH_ALL = frozenset({"actors/supervisor.py", "testing/sim.py"})

# The map of everything that can block or that asks the machine for the time. Every other file is a function
# of its arguments. A new entry needs a reason that survives a review.
MAY_WAIT = frozenset({
    "actors/alarms.py", "actors/bell.py", "actors/mailbox.py", "actors/rounds.py", "actors/supervisor.py",
    "actors/waking.py",
    "cli/bench/connection.py", "cli/bench/daemon.py", "cli/bench/load.py", "cli/bench/machine.py",
    "cli/bench/rows/queueing.py", "cli/bench/rows/relay.py",
    "cli/cluster/harness.py", "cli/cluster/survey.py", "cli/commands/run.py",
    "cli/commands/status.py", "cli/commands/up.py", "cli/commands/work/child.py", "cli/doors.py",
    "cli/intake/batches.py", "clock.py",
    "client/api.py", "client/bell.py", "client/groups/reader.py", "client/nodes.py", "client/queues/worker.py",
    "client/records/follow.py", "client/sending/producer.py", "client/sending/receipt.py",
    "sync/thread.py",
    "links/feeds/feed.py", "links/inlet/intake.py", "links/link.py", "links/peer.py", "links/pull.py",
    "links/switchboard.py",
    "groups/keeper.py", "node.py", "queues/burial.py", "queues/clerk.py", "queues/home.py", "queues/queue.py",
    "routers/destinations.py", "routers/memory.py", "routers/router.py", "serve.py",
    "storage/inline.py", "storage/journal.py", "storage/sqlite/checkpoint.py", "storage/sqlite/directory.py",
    "storage/turns.py",
    "streams/fans.py", "streams/streams.py", "streams/watcher.py",
    "topics/ground.py", "topics/registry.py", "topics/topic.py",
    "web/asgi.py", "web/auth/tls.py", "web/connection.py", "web/formats/envelope.py",
    "web/routes/erasure.py", "web/routes/groups.py", "web/routes/health.py", "web/routes/peers.py",
    "web/routes/queues.py", "web/routes/routers.py", "web/routes/topics.py",
    "web/routes/streams/outbox.py", "web/routes/streams/prefix.py", "web/routes/streams/socket.py",
    "web/routes/streams/watch.py", "web/routes/streams/work.py", "web/server.py", "web/websocket.py", "web/wire.py",
})  # fmt: skip
# The simulator's world: time, network and disk of its own, and tests with nodes.
MAY_WAIT_FOLDERS = ("testing/",)
OUTSIDE = frozenset({
    "trio", "anyio", "asyncio", "socket", "ssl", "select", "selectors", "threading", "queue", "subprocess",
    "multiprocessing", "time", "signal", "fcntl", "httpx", "urllib.request", "http.client", "concurrent",
})  # fmt: skip

every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


def part_of(dotted: tuple[str, ...]) -> str:
    return dotted[1]


@every_module
def test_imports_only_go_down(path: Path) -> None:
    """Nobody knows who stands on top of it, and two folders of one floor do not know each other."""
    mine = ("mirrord", *path.relative_to(MODULES[0].parent).with_suffix("").parts)
    if len(mine) == 2 and mine[1] == "__init__":
        return
    for target in imported(path):
        if target[0] != "mirrord" or len(target) < 2 or part_of(target) in {part_of(mine), "__version__"}:
            continue
        here, there = part_of(mine), part_of(target)
        known = (here, there) in ABOVE or FLOOR[there] < FLOOR[here]
        assert known, f"{name_of(path)} (floor {FLOOR[here]}) imports {there} (floor {FLOOR[there]})"


def test_the_list_of_what_may_wait_is_exact() -> None:
    """Law 1: what can block stands on one list, and nothing stands on it that cannot."""
    found = {name_of(p) for p in MODULES if _reaches_outside(p)}
    assert {name for name in found if not name.startswith(MAY_WAIT_FOLDERS)} == MAY_WAIT


def _reaches_outside(path: Path) -> bool:
    return any(target[0] in OUTSIDE or ".".join(target[:2]) in OUTSIDE for target in imported(path))


def test_rules_neither_read_files_nor_ask_for_the_time() -> None:
    """Pure layers stay pure: no open(), no os.*, no randomness of their own below the files that may wait."""
    pure = ("records/", "topics/", "links/", "actors/")
    machine = {"os", "pathlib", "uuid", "secrets", "datetime"}
    for path in MODULES:
        if not name_of(path).startswith(pure):
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"open", "input", "print"}, f"{name_of(path)}:{node.lineno}"
        assert not {target[0] for target in imported(path)} & machine, name_of(path)


def test_everything_is_caught_in_one_file_only() -> None:
    """Law 8: a catch-all hides faults, so the daemon has one, which writes them down."""
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else set()
            if node.type is None or caught & {"Exception", "BaseException", "BaseExceptionGroup"}:
                assert name_of(path) in CATCH_ALL, f"{name_of(path)}:{node.lineno}"
