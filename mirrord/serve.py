"""The daemon: one node with its door, in the foreground, until a signal. The real outside is joined here."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from .clock import SystemClock, system_random
from .config.load import load
from .config.model import Config
from .errors import ConfigError
from .links.peer import HttpPeer
from .node import Node, Outside
from .observe.logs import Log
from .queues.home import HttpHome
from .storage.boot import BootMark
from .storage.journal import Journal
from .storage.sqlite import Settings, open_sqlite
from .storage.writer import JournalSettings, WritableStore
from .web.app import Door
from .web.auth.access import Access
from .web.errors import answer
from .web.message import ServerLimits
from .web.server import Server, open_listeners

GARBAGE = (20_000, 50, 20)  # allocations between collections: what is made for a request dies with it, without one
SWITCH_INTERVAL_S = 0.0001  # the journal's thread must not wait 5 ms for the interpreter (design/4-storage.md)


def run_node(config: Config, name: str, *, ready: Callable[[str], None] | None = None) -> int:
    """Run one node of the configuration until SIGTERM or SIGINT; the process's exit code.

    Raises ConfigError, DataDirLocked, StoreTooNew, StoreCorrupt, AddressInUse and other named errors before it serves.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return trio.run(_run, config, name, Log(name, SystemClock(), sys.stderr), ready)


async def _run(config: Config, name: str, log: Log, ready: Callable[[str], None] | None) -> int:
    access = Access(config, name)
    listeners = open_listeners(config.nodes[name].listen)
    try:
        access.listens_at(listener.getsockname()[0] for listener in listeners)
        data_dir = Path(config.nodes[name].data_dir)
        store = open_sqlite(data_dir, _store_settings(config))
        try:
            node = Node(config, name, _outside(config, name, data_dir, store, access, log))
            door, wire = Door(node, access.gate), access.certificates.wire
            server = Server(door.app, door.fast, server_limits(config), answer, node.note_fault, node.clock, wire)
            await _serve(node, server, listeners, log, ready, partial(_reload, config, access, log))
        finally:
            store.close()
    finally:
        for listener in listeners:
            listener.close()
    return 0


async def _serve(
    node: Node,
    server: Server,
    listeners: list[socket.socket],
    log: Log,
    ready: Callable[[str], None] | None,
    reload: Callable[[], None],
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(node.live)
        await nursery.start(server.serve, listeners)
        gc.collect()
        gc.freeze()  # what a node is made of lives as long as it: no collection needs to look at it again
        gc.set_threshold(*GARBAGE)
        host, port = listeners[0].getsockname()[:2]
        if ready is not None:
            ready(f"{host}:{port}")
        log("serving", listen=f"{host}:{port}")
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    log("stopping", signal=signal.Signals(number).name)
                    break
                reload()
        node.drain()
        await server.drain()
        await node.stop()
        nursery.cancel_scope.cancel()


def _reload(config: Config, access: Access, log: Log) -> None:
    """SIGHUP: keys and certificates are read again. A mistake in them leaves the node as it is."""
    try:
        untaken = access.renew(load(config.file) if config.file is not None else config)
    except ConfigError as error:
        log("reload_refused", level="error", error=str(error), hint="what was read before counts on")
        return
    log("reloaded", keys=access.gate.keys)
    if untaken:
        log("reload_not_yet", level="warning", sections=untaken, hint="restart the node: positions are kept")


def _outside(config: Config, name: str, data_dir: Path, store: WritableStore, access: Access, log: Log) -> Outside:
    mirroring, kept, trust = config.mirroring, config.store, access.certificates.client
    connect_timeout_s = mirroring.connect_timeout_ms / 1000
    settings = JournalSettings(transaction_bytes=kept.transaction_bytes, disk_sync_ms=kept.disk_sync_ms)
    return Outside(
        clock=SystemClock(),
        rng=system_random(),
        store=store,
        journal=lambda store, clock: Journal(store, clock, settings),
        start_mark=BootMark(data_dir, log),
        peer_at=lambda plan: HttpPeer(plan.url, connect_timeout_s, partial(access.shown_to, plan.peer), trust),
        home_at=lambda home, url: HttpHome(home, name, url, connect_timeout_s, partial(access.shown_to, home), trust),
        note=log,
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
