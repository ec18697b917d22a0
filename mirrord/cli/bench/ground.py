"""What a row is measured on: how much of everything, how often, and clusters that leave nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from .connection import Connection, free_ports
from .daemon import Daemon
from .load import Lane, saturate
from .wire import append, payload

BATCH = 1000  # records of a large append: one chunk
LANES = 16
Draw = Callable[[Mapping[str, str]], str]  # name to address -> the text of a configuration file


class Sizes(Struct, frozen=True):
    """How much is done for each row."""

    mirrored: int = 2_000_000  # records that a peer catches up on
    alone: int = 200_000  # records appended alone, for catch-up and for bytes on disk
    batches: int = 1000
    requests: int = 20_000
    requests_in_turn: int = 8000  # over one connection
    seen: int = 2000  # appends that are looked for on the other node
    pages: int = 1000
    watchers: int = 1000
    watched: int = 500  # appends that each of them is pushed
    idle_topics: int = 1000
    idle_s: float = 30.0
    small: int = 20_000  # growth: this log against the next
    large: int = 2_000_000
    stored: int = 2_000_000  # what a node starts over with after kill -9


QUICK = Sizes(
    mirrored=100_000, alone=20_000, batches=60, requests=2000, requests_in_turn=500, seen=200, pages=50,
    watchers=50, watched=50, idle_topics=50, idle_s=3.0, small=2000, large=50_000, stored=50_000,
)  # fmt: skip
FULL = Sizes(alone=2_000_000, large=20_000_000, stored=20_000_000)


class Ground(Struct, frozen=True):
    """Handed to each row."""

    sizes: Sizes
    repeat: int
    directory: Path | None  # where stores are laid; None: the system's place for temporary files
    say: Callable[[str], None]  # progress, for people

    @contextmanager
    def cluster(self, draw: Draw, *names: str) -> Iterator[list[Daemon]]:
        """Nodes of these names, none started yet; afterwards all are killed and their stores gone."""
        with tempfile.TemporaryDirectory(prefix="mirrord-bench-", dir=self.directory) as place, ExitStack() as stack:
            ports = dict(zip(names, free_ports(len(names)), strict=True))
            file = Path(place) / "bench.toml"
            file.write_text(draw({name: f"127.0.0.1:{port}" for name, port in ports.items()}))
            daemons = [Daemon(file, name, port) for name, port in ports.items()]
            for daemon in daemons:
                stack.callback(daemon.kill)
            yield daemons


@contextmanager
def connections(daemon: Daemon, number: int) -> Iterator[list[Connection]]:
    """So many connections to a node."""
    with ExitStack() as stack:
        yield [stack.enter_context(daemon.connection()) for _ in range(number)]


def fill(daemon: Daemon, topic: str, records: int) -> None:
    """Append so many records in chunks of BATCH: one append at a time, so that none shares a chunk."""
    with connections(daemon, 1) as (connection,):
        saturate([Lane(connection, append(topic, [payload()] * BATCH))], records // BATCH)
        if records % BATCH:
            connection.ask(append(topic, [payload()] * (records % BATCH)))


def fill_alone(daemon: Daemon, prefix: str, records: int) -> None:
    """Append so many records, each in a chunk of its own: LANES topics with one append in flight for each."""
    with connections(daemon, LANES) as opened:
        saturate([Lane(one, append(f"{prefix}{n}", [payload()])) for n, one in enumerate(opened)], records)
