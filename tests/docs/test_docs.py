"""What the docs must name, and that what they name is there: a page that lags behind fails here."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from mirrord.cli.main import EXIT_CODES
from mirrord.cli.verbs import VERBS
from mirrord.config.reference import every_row
from mirrord.config.topic import DURABILITIES
from mirrord.errors import every_error
from mirrord.links import wire
from mirrord.links.state import STATES
from mirrord.records.gap import REASONS, TOMBSTONE_WORDS
from mirrord.testing.plan import MENUS
from mirrord.web.routes.table import ENDPOINTS, LATER

from . import tables
from .tables import DOCS, PAGES, ROOT

PACKAGE = ROOT / "mirrord"
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:mirrord|tests|scripts|configs|docs)/[\w./-]*\w)(?:::(\w+))?(?:/)?`")


@cache
def text(path: Path) -> str:
    return path.read_text()


def page(name: str) -> str:
    return text(DOCS / f"{name}.md")


@every_page
def test_tables_are_those_of_the_code(page: Path) -> None:
    """Config keys, errors, metrics, routes, commands: as they are; `python -m tests.docs.tables` renews them."""
    assert tables.renewed(text(page)) == text(page)


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_table_stands_on_a_page(name: str) -> None:
    """A table that nobody prints documents nothing."""
    assert any(f"<!-- table: {name} -->" in text(path) for path in PAGES)


def anchors(path: Path) -> set[str]:
    """As forges make them of headings."""
    found = re.findall(r"^#+ (.*)$", text(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every link inside the repository, and the heading that it names."""
    for target in _LINK.findall(text(page)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@every_page
def test_files_and_tests_that_are_named_are_there(page: Path) -> None:
    """`mirrord/...`, `tests/...::name` and the like: a reader who follows them arrives."""
    for name, symbol in _PATH.findall(text(page)):
        path = ROOT / name
        assert path.exists(), name
        if symbol:
            assert re.search(rf"def {symbol}\b", text(path)), f"{name}::{symbol}"


@pytest.mark.parametrize(("method", "path"), [(e.method, e.path) for e in ENDPOINTS])
def test_every_route_is_described(method: str, path: str) -> None:
    """In docs/HTTP.md, under its own method and path."""
    assert f"`{method} {path}`" in page("HTTP")


def test_every_route_to_come_is_told() -> None:
    """What answers 501 stands in docs/HTTP.md."""
    for _, path in LATER:
        assert f"`{path.replace('{rest:path}', '...')}`" in page("HTTP"), path


def test_every_error_code_is_told() -> None:
    """Machines match codes: each is in docs/HTTP.md with what to do."""
    for code in every_error():
        assert f"`{code}`" in page("HTTP"), code


def test_every_config_key_is_told() -> None:
    """With default and meaning, in docs/OPERATIONS.md."""
    for row in every_row():
        assert f"| `{row.table}` | `{row.key}` |" in page("OPERATIONS"), row.key


def test_every_command_and_exit_code_is_told() -> None:
    """In docs/OPERATIONS.md."""
    for verb in VERBS:
        assert f"`mirrord {verb}`" in page("OPERATIONS"), verb
    for code in EXIT_CODES:
        assert f"| {code} |" in page("OPERATIONS"), code


def test_every_frame_and_refusal_is_told() -> None:
    """What one node may say to another stands in docs/FEED.md, each word of it."""
    for frame in wire.KNOWN:
        assert f"`{frame}`" in page("FEED"), frame
    said = set()
    for path in (PACKAGE / "links").rglob("*.py"):
        said |= set(re.findall(r'(?:PeerRefused|Refused)\(\s*"([a-z-]+)"', text(path)))
        said |= set(re.findall(r'\.end(?:_all)?\("([a-z-]+)"', text(path)))
    assert {"wrong-cluster", "duplicate-node", "superseded", "draining"} <= said
    for word in said:
        assert f"`{word}`" in page("FEED"), word


def test_the_words_of_the_api_are_told() -> None:
    """States of links, reasons of gaps, classes: the words that people meet in answers."""
    for word in (*STATES, *DURABILITIES):
        assert f"`{word}`" in page("HTTP") + page("GUARANTEES"), word
    for word in (*REASONS, *TOMBSTONE_WORDS.values()):
        assert f"`{word}`" in page("HTTP") + page("FEED"), word


def test_logged_actions_are_told() -> None:
    """One line per fact, and each kind of fact stands in docs/OPERATIONS.md."""
    said = set()
    for path in (PACKAGE / "node.py", PACKAGE / "serve.py", *(PACKAGE / "storage").rglob("*.py")):
        said |= set(re.findall(r'(?:note|log)\(\s*"(\w+)"', text(path)))
    assert "node_started" in said
    for action in said:
        assert f"`{action}`" in page("OPERATIONS"), action


def test_events_of_links_are_told() -> None:
    """What the flight recorder writes stands in docs/HTTP.md."""
    said = set()
    for path in (PACKAGE / "links").rglob("*.py"):
        said |= set(re.findall(r'note\("([a-z ]+)"', text(path)))
    assert "connected" in said
    for event in said:
        assert f"`{event}`" in page("HTTP"), event


def test_every_promise_and_fault_of_the_simulator_is_told() -> None:
    """What the simulator judges, and what it does to nodes, stands in docs/SIMULATION.md."""
    said = set()
    for path in (PACKAGE / "testing").rglob("*.py"):
        said |= set(re.findall(r'"((?:always|eventually|finally)_\w+)"', text(path)))
    assert "always_echo_free" in said
    for promise in said:
        assert f"`{promise}`" in page("SIMULATION"), promise
    told = page("SIMULATION").partition("A **menu**")[0]
    for fault in {fault for faults in MENUS.values() for fault in faults}:
        assert f"`{fault}`" in told, fault


def test_symbols_of_the_map_are_there() -> None:
    """docs/ARCHITECTURE.md leads by symbols: each file and each name in its tables is in the code."""
    whole = "".join(text(path) for path in PACKAGE.rglob("*.py"))
    for name in re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", page("ARCHITECTURE")):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name
    rules = page("ARCHITECTURE").partition("## Where each rule lives")[2].partition("## How to add")[0]
    for name in set(re.findall(r"`(?:\w+\.)?(\w+)`", rules)) - {"py"}:
        assert re.search(rf"\b(?:def|class) {name}\b|\b{name}\b.* = ", whole), name


def test_decisions_are_numbered_and_listed() -> None:
    """docs/decisions/README.md lists each page once, and each has context, decision and consequences."""
    index = text(DOCS / "decisions" / "README.md")
    found = sorted(path for path in (DOCS / "decisions").glob("0*.md"))
    assert [int(path.name[:4]) for path in found] == list(range(1, len(found) + 1))
    for path in found:
        assert f"({path.name})" in index, path.name
        for heading in ("## Context", "## Decision", "## Consequences"):
            assert heading in text(path), f"{path.name}: {heading}"


def test_every_dependency_has_its_purpose() -> None:
    """Nobody is pulled in without a word why."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = text(DOCS / "decisions" / "0001-dependencies.md")
    for wanted in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
        assert f"`{re.split('[<>=]', wanted)[0]}`" in told, wanted


def test_architecture_fits_a_sitting() -> None:
    """At most 250 lines, and no line numbers of code, which lie tomorrow."""
    assert len(page("ARCHITECTURE").splitlines()) <= 250
    assert not re.search(r"\.py:\d", "".join(text(path) for path in PAGES))
