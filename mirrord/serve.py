"""The daemon: one node with its door, in the foreground, until a signal. The real outside is joined here."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import structlog
import trio

from .clock import SystemClock, system_random
from .config.model import Config
from .errors import MirrordError
from .links.peer import HttpPeer
from .node import Node, Outside
from .storage.journal import Journal
from .storage.life import Surroundings
from .storage.sqlite import Settings, open_sqlite
from .storage.writer import JournalSettings
from .web.app import Door
from .web.errors import answer
from .web.message import ServerLimits
from .web.server import Server, open_listeners

MARKS_LOOKED_AT = 64
SWITCH_INTERVAL_S = (
    0.0001  # the journal's thread must not wait 5 ms for the interpreter (design/4-storage.md)
)


class BootMark:
    """The start id's place: a directory that a reboot empties, one file per data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._database = data_dir / "mirrord.db"
        name = sha256(os.fsencode(data_dir.resolve())).hexdigest()[:32]
        self._path = _runtime_dir() / f"{name}.start"

    def look(self) -> Surroundings:
        """What is there now."""
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        found = self._database.stat()
        try:
            start_id: bytes | None = bytes.fromhex(self._path.read_text().split(" ", 1)[0])
        except (OSError, ValueError):
            start_id = None
        return Surroundings(boot_id, found.st_dev, found.st_ino, start_id)

    def write(self, start_id: bytes) -> None:
        """Keep it. A directory that cannot be written only costs a new life at the next start."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.write_text(f"{start_id.hex()} {self._database.parent}")
            self._forget_the_gone()
        except OSError as error:
            structlog.get_logger().warning("start_mark_not_written", path=str(self._path), error=str(error))

    def _forget_the_gone(self) -> None:
        """Marks of data directories that are no more, at most a few at each start."""
        for mark in list(self._path.parent.glob("*.start"))[:MARKS_LOOKED_AT]:
            _, _, data_dir = mark.read_text().partition(" ")
            if data_dir and not Path(data_dir).exists():
                mark.unlink(missing_ok=True)


def _runtime_dir() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        return Path(given) / "mirrord"
    return Path("/run/mirrord") if os.access("/run", os.W_OK) else Path(f"/dev/shm/mirrord-{os.getuid()}")


def run_node(config: Config, name: str, *, ready: Callable[[str], None] | None = None) -> int:
    """Run one node of the configuration until SIGTERM or SIGINT; the process's exit code.

    Raises ConfigError, DataDirLocked, StoreTooNew, StoreCorrupt, AddressInUse and other named errors before it serves.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _configure_logs(name)
    return trio.run(_run, config, name, ready)


async def _run(config: Config, name: str, ready: Callable[[str], None] | None) -> int:
    listeners = open_listeners(config.nodes[name].listen)
    try:
        data_dir = Path(config.nodes[name].data_dir)
        store = open_sqlite(data_dir, _store_settings(config))
        try:
            node = Node(config, name, _outside(config, data_dir, store))
            door = Door(node)
            server = Server(door.app, door.fast, server_limits(config), answer, node.note_fault, node.clock)
            await _serve(node, server, listeners, ready)
        finally:
            store.close()
    finally:
        for listener in listeners:
            listener.close()
    return 0


async def _serve(node: Node, server: Server, listeners: list, ready: Callable[[str], None] | None) -> None:  # type: ignore[type-arg]
    async with trio.open_nursery() as nursery:
        await nursery.start(node.live)
        await nursery.start(server.serve, listeners)
        host, port = listeners[0].getsockname()[:2]
        if ready is not None:
            ready(f"{host}:{port}")
        structlog.get_logger().info("serving", node=node.name, listen=f"{host}:{port}")
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    structlog.get_logger().warning("reload_not_yet", hint="restart the node: positions are kept")
                    continue
                structlog.get_logger().info("stopping", node=node.name, signal=signal.Signals(number).name)
                break
        node.draining = True
        node.drain_bell.ring()
        node.feeds.end_all("draining")
        await server.drain()
        await node.stop()
        nursery.cancel_scope.cancel()


def _outside(config: Config, data_dir: Path, store) -> Outside:  # type: ignore[no-untyped-def]
    mirroring, kept = config.mirroring, config.store
    settings = JournalSettings(transaction_bytes=kept.transaction_bytes, disk_sync_ms=kept.disk_sync_ms)
    return Outside(
        clock=SystemClock(),
        rng=system_random(),
        store=store,
        journal=lambda store, clock: Journal(store, clock, settings),
        start_mark=BootMark(data_dir),
        peer_at=lambda plan: HttpPeer(plan.url, mirroring.connect_timeout_ms / 1000),
        note=_note,
    )


def _store_settings(config: Config) -> Settings:
    kept = config.store
    return Settings(
        ballast_bytes=kept.ballast_bytes,
        restart_bytes=kept.wal_restart_bytes,
        wal_limit_bytes=kept.wal_limit_bytes,
    )


def server_limits(config: Config) -> ServerLimits:
    """What one client may take, from ``[limits]``."""
    limits = config.limits
    return ServerLimits(
        max_body_bytes=limits.max_body_bytes,
        max_header_bytes=limits.max_header_bytes,
        header_timeout_ms=limits.header_timeout_ms,
        body_timeout_ms=limits.body_timeout_ms,
        keep_alive_timeout_ms=limits.keep_alive_timeout_ms,
        drain_timeout_ms=limits.drain_timeout_ms,
        max_connections=limits.max_connections,
    )


def _note(action: str, *, exc: BaseException | None = None, **facts: object) -> None:
    log = structlog.get_logger()
    if exc is not None and not isinstance(exc, MirrordError):
        log.error(action, exc_info=exc, **facts)
    else:
        log.info(action, **facts)


def _configure_logs(name: str) -> None:
    """One structured line per fact on standard error, ``action`` first; JSON unless a person looks on."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.EventRenamer("action"),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(node=name)
