"""What `mirrord up` shows of a survey: every change once, and each lag from who knows it best."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
import pytest

from mirrord.cli.cluster.board import Run, changes, tables
from mirrord.cli.cluster.survey import Sight, Survey
from mirrord.cli.screen import console
from mirrord.client.answer import Answer


def _sight(name: str, state: str = "ready", **told: Any) -> Sight:
    answers = {word: Answer("", 200, json.dumps(value).encode()) for word, value in told.items()}
    return Sight(name, f"http://{name}", state, "", answers)


def _topics(number: int) -> dict[str, Any]:
    return {"topics": [{"topic": "t", "count": number}]}


def _links(**states: str) -> dict[str, Any]:
    return {"links": [{"peer": peer, "state": state} for peer, state in states.items()]}


def _drawn(*found: Any) -> str:
    out = console()
    with out.capture() as captured:
        for table in found:
            out.print(table)
    return captured.get()


def test_nothing_new_is_no_line() -> None:
    """A quiet cluster is quiet in the log."""
    survey = Survey(0.0, (_sight("fra", links=_links(iad="caught-up"), topics=_topics(5)),))
    later = Survey(1.0, (_sight("fra", links=_links(iad="caught-up"), topics=_topics(9)),))
    assert len(changes(survey, None, {}, {})) == 2
    assert changes(later, survey, {}, {}) == []


def test_each_change_is_one_line() -> None:
    """A node that went away, a link that moved, a process that died with its last words."""
    before = Survey(0.0, (_sight("fra", links=_links(iad="caught-up")), _sight("iad", topics=_topics(1))))
    now = Survey(1.0, (_sight("fra", links=_links(iad="unreachable")), _sight("iad", "unreachable")))
    runs = {"fra": Run("up", 1), "iad": Run("died", None, 1, "disk on fire")}
    was = {"fra": Run("up", 1), "iad": Run("up", 2)}
    assert changes(now, before, runs, was) == [
        "fra <- iad unreachable",
        "iad died (pid -, 1 deaths): disk on fire",
    ]
    assert changes(now, before, {}, {})[1:] == ["iad unreachable at http://iad"]


def test_what_a_node_lacks_it_knows_best() -> None:
    """Another node's older opinion never overrides the holder's own."""
    own = {"node": "iad", "origins": {"fra": {"iad": {"records": 0, "seconds": 0}}}}
    hearsay = {"node": "fra", "origins": {"fra": {"iad": {"records": 9}, "sin": {"records": 4}}}}
    for nodes in (
        (_sight("fra", lag=hearsay), _sight("iad", lag=own)),
        (_sight("iad", lag=own), _sight("fra", lag=hearsay)),
    ):
        lag = Survey(0.0, nodes).lag()
        assert lag["fra"]["iad"]["records"] == 0
        assert lag["fra"]["sin"]["records"] == 4


def test_tables_tell_nodes_links_and_lag() -> None:
    """Records, the rate since the last look, pid, deaths, links, the matrix."""
    lag = {"node": "fra", "origins": {"iad": {"fra": {"records": 17, "seconds": 2.0}}}}
    facts = {"links": _links(iad="catching-up"), "lag": lag, "health": {"uptime_ms": 75_000}}
    before = Survey(10.0, (_sight("fra", topics=_topics(100)),))
    now = Survey(12.0, (_sight("fra", "ready", topics=_topics(300), **facts), _sight("iad", "unreachable")))
    runs = {"fra": Run("up", 4711, 2), "iad": Run("died", None, 1, "disk on fire")}
    drawn = _drawn(*tables(now, before, runs))
    words = drawn.split()
    for word in ("fra", "4711", "2", "300", "100/s", "1m15s", "<-", "catching-up", "17", "died", "disk"):
        assert word in words
    (away,) = (line.split() for line in drawn.splitlines() if "http://iad" in line)
    assert away == ["iad", "died", "http://iad", "-", "1", "-", "-", "-", "-", "disk", "on", "fire"]  # nothing is known


def test_an_actor_that_died_is_shown_beside_its_node() -> None:
    """`status` tells what died and why."""
    actors = {"actors": [{"name": "link iad", "state": "dead", "last_error": "OSError: no"}]}
    assert "link iad died: OSError: no" in _drawn(*tables(Survey(0.0, (_sight("fra", actors=actors),)), None, {}))


def test_a_busy_cluster_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 columns: no number is broken, and a column that tells nothing is not there."""
    link = {
        "peer": "iad", "state": "catching-up", "since_ms": 75_000, "lag_records": 1_234_567, "lag_bytes": 3_250_585,
        "lag_seconds": 4.2, "rate_records_s": 12_345, "eta_s": 100, "connects": 3,
    }  # fmt: skip
    lag = {"node": "fra", "holders": ["fra", "iad"], "origins": {"fra": {"iad": {"records": 17}}}}
    health = {"node": "fra", "uptime_ms": 75_000}
    sight = _sight("http://127.0.0.1:4001", links={"links": [link]}, lag=lag, health=health, topics=_topics(1_234_567))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    told = click.unstyle(_drawn(*tables(Survey(0.0, (sight,)), None, {})))
    assert max(map(len, told.splitlines())) <= 80
    for whole in ("fra <- iad", "catching-up", "1,234,567", "3.1 MiB", "12,345/s", "1m40s", "http://127.0.0.1:4001"):
        assert whole in told
    assert not {"pid", "deaths", "connects"} & set(told.split())
