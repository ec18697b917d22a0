"""Where the story is shown: a live table below what is said, or plain lines where nobody looks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape

from mirrord.cli.cluster.board import Run, changes, tables
from mirrord.cli.cluster.survey import Survey
from mirrord.cli.figures import count, rate
from mirrord.cli.screen import console

TELL_EVERY_S = 2.0


class Stage(Protocol):
    """Where the story is shown."""

    def say(self, what: RenderableType) -> None:
        """One line (with rich's markup), or a table, that stays."""
        ...

    def draw(self, survey: Survey, before: Survey | None, runs: Mapping[str, Run]) -> None:
        """How the nodes are now."""
        ...


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A live table below what is said, or plain lines where nobody looks."""
    if not sys.stdout.isatty():
        yield _Lines()
        return
    with Live(auto_refresh=False) as live:
        yield _Tables(live)


class _Tables:
    def __init__(self, live: Live) -> None:
        self._live = live

    def say(self, what: RenderableType) -> None:
        self._live.console.print(what, highlight=False)

    def draw(self, survey: Survey, before: Survey | None, runs: Mapping[str, Run]) -> None:
        self._live.update(Group(*tables(survey, before, runs)), refresh=True)


class _Lines:
    def __init__(self) -> None:
        self._console = console()
        self._runs: dict[str, Run] = {}
        self._told: Survey | None = None

    def say(self, what: RenderableType) -> None:
        self._console.print(what, highlight=False)

    def draw(self, survey: Survey, before: Survey | None, runs: Mapping[str, Run]) -> None:
        for line in changes(survey, before, runs, self._runs):
            self._console.print(f"    {escape(line)}", highlight=False)
        self._runs = dict(runs)
        if self._told is None or survey.at_s - self._told.at_s >= TELL_EVERY_S:
            if self._told is not None and _records(survey) != _records(self._told):
                self._console.print(f"    {progress(survey, self._told)}", highlight=False)
            self._told = survey


def progress(survey: Survey, before: Survey) -> str:
    """Records of each node, how fast they come, and how many it lacks."""
    had, passed_s = _records(before), survey.at_s - before.at_s
    behind = dict.fromkeys(had, 0)
    for held in survey.lag().values():
        for name, found in held.items():
            behind[name] = behind.get(name, 0) + (found["records"] or 0)
    words = []
    for sight in survey.nodes:
        records = sight.records()
        speed = rate(max(0, records - had[sight.name]) / passed_s)
        state = f"{count(records)} ({speed}, {count(behind[sight.name])} behind)" if sight.told else "away"
        words.append(f"{sight.name} {state}")
    return ", ".join(words)


def _records(survey: Survey) -> dict[str, int]:
    return {sight.name: sight.records() for sight in survey.nodes}
