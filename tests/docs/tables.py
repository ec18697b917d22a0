"""Tables of the docs that are made from the code: `python -m tests.docs.tables` writes them anew, a test compares.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from mirrord.cli.main import EXIT_CODES
from mirrord.cli.verbs import LATER as LATER_VERBS
from mirrord.cli.verbs import VERBS
from mirrord.clock import SystemClock
from mirrord.config.load import parse
from mirrord.config.reference import every_row
from mirrord.errors import MirrordError, PeerUnreachable, every_error
from mirrord.links.peer import Peer
from mirrord.node import Node, Outside
from mirrord.observe.metrics import exposition
from mirrord.storage.inline import InlineJournal
from mirrord.storage.life import Surroundings
from mirrord.storage.memory import MemoryStore
from mirrord.testing.plan import MENUS
from mirrord.testing.without import SAFEGUARDS
from mirrord.web.routes.table import ENDPOINTS, SOCKETS, Endpoint, Socket
from mirrord.web.routes.table import LATER as LATER_ROUTES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def config_keys() -> str:
    """Every key of a configuration file."""
    rows = []
    for row in every_row():
        allowed = f" ({', '.join(row.option.words)})" if row.option.words else ""
        default = f"`{row.default}`" if row.default else "none"
        rows.append((f"`{row.table}`", f"`{row.key}`", default, row.option.meaning + allowed))
    return _table(("table", "key", "default", "means"), rows)


def error_codes() -> str:
    """Every error that the HTTP API answers or the client raises."""
    found = sorted(every_error().values(), key=lambda cls: (cls.status, cls.code))
    rows = [(str(cls.status), f"`{cls.code}`", _first_line(cls)) for cls in found]
    return _table(("status", "code", "means, and what to do"), rows)


def _first_line(cls: type[MirrordError]) -> str:
    if cls is MirrordError:
        return "A fault of the node that nobody named; its log says where. Please report it."
    return (cls.__doc__ or "").strip().splitlines()[0].replace("``", "`")


def metrics() -> str:
    """What `GET /v0/metrics` tells, names as Prometheus reads them."""
    text = exposition(_node()).decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    told = re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE)
    return _table(("metric", "kind", "means"), [(f"`{name}`", kinds[name], meaning) for name, meaning in told])


class _Mark:
    """A start mark that nobody wrote."""

    def look(self) -> Surroundings:
        return Surroundings("boot", 1, 1, None)

    def write(self, start_id: bytes) -> None:
        assert start_id


def _node() -> Node:
    config = parse('[nodes.fra]\nlisten = "127.0.0.1:4001"\n')
    outside = Outside(
        clock=SystemClock(), rng=random.Random(1), store=MemoryStore(), journal=InlineJournal,
        start_mark=_Mark(), peer_at=_nobody, note=lambda *_, **__: None,
    )  # fmt: skip
    return Node(config, "fra", outside)


def _nobody(_: object) -> Peer:
    raise PeerUnreachable


def routes() -> str:
    """Every route of this version, and what a key needs for it."""
    found: tuple[Endpoint | Socket, ...] = (*ENDPOINTS, *SOCKETS)
    rows = [(one.method, f"`{one.path}`", _needs(one)) for one in found]
    return _table(("method", "path", "needs"), rows)


def _needs(endpoint: Endpoint | Socket) -> str:
    without = {"key": "any key", "probe": "none, unless `probe_auth`", "all": "none"}[endpoint.without_scope]
    notes = [" and ".join(f"`{scope}`" for scope in endpoint.scopes) or without]
    notes += ["all names"] * endpoint.unlimited + ["`?token=`"] * endpoint.token
    return "; ".join(notes)


def later_routes() -> str:
    """Specified routes that answer 501."""
    methods: dict[str, list[str]] = {}
    for method, path in LATER_ROUTES:
        methods.setdefault(path.replace("{rest:path}", "..."), []).append(method)
    return _table(("path", "methods"), [(f"`{path}`", ", ".join(found)) for path, found in methods.items()])


def verbs() -> str:
    """The command line."""
    return _table(("command", "does"), [(f"`mirrord {name}`", verb.line) for name, verb in VERBS.items()])


def later_verbs() -> str:
    """Commands that a later version brings."""
    return textwrap.fill(", ".join(f"`{name}`" for name in sorted(LATER_VERBS)), 118) + "\n"


def exit_codes() -> str:
    """What a command leaves with."""
    return _table(("exit code", "means"), [(str(code), meaning) for code, meaning in EXIT_CODES.items()])


def menus() -> str:
    """Which faults a simulated run may bring."""
    rows = []
    for name, faults in MENUS.items():
        told = ", ".join(f"`{fault}`" for fault in dict.fromkeys(faults))
        rows.append((f"`{name}`", told or "none"))
    return _table(("menu", "faults"), rows)


def safeguards() -> str:
    """What the simulator must notice when it is missing."""
    rows = [(f"`{name}`", one.rule, f"`{one.menu}`") for name, one in SAFEGUARDS.items()]
    return _table(("safeguard", "says", "menu that shows it"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "config": config_keys,
    "errors": error_codes,
    "metrics": metrics,
    "routes": routes,
    "later routes": later_routes,
    "verbs": verbs,
    "later verbs": later_verbs,
    "exit codes": exit_codes,
    "menus": menus,
    "safeguards": safeguards,
}
_REGION = re.compile(r"(?<=<!-- table: )([a-z ]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def renewed(page: str) -> str:
    """The page with its tables as the code makes them now."""
    return _REGION.sub(lambda found: f"{found[1]}{found[2]}\n{TABLES[found[1]]()}\n", page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(renewed(path.read_text()))
