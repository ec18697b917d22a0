"""Many runs, for people: which seeds, which menu, what is taken out, and how a failure is told and repeated."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from .plan import MENUS, Plan, plan_of
from .shrink import shrunk
from .sim import Report, run
from .without import SAFEGUARDS, without


class NotThere(Exception):
    """A menu or safeguard of that name does not exist."""


class Asked(Struct, frozen=True):
    """What is to be run. A safeguard that is taken out brings the menu that shows it. Raises NotThere."""

    first: int
    last: int
    menu: str | None = None
    without: str | None = None
    trace: bool = False

    def __post_init__(self) -> None:
        for name, known in ((self.menu, MENUS), (self.without, SAFEGUARDS)):
            if name is not None and name not in known:
                raise NotThere(f"expected one of {', '.join(known)}, found {name!r}")

    @property
    def faults(self) -> str | None:
        """The menu that is used."""
        return self.menu or (SAFEGUARDS[self.without].menu if self.without else None)


class Told(Struct, frozen=True):
    """One run, as people are told of it."""

    number: int
    failed: bool
    story: str
    report: Report


def runs(asked: Asked) -> Iterator[Told]:
    """One after the other. Whatever fails is shrunk before it is told."""
    for seed in range(asked.first, asked.last + 1):
        plan = plan_of(seed, asked.faults)
        report = _run(asked, plan, keep_lines=asked.trace)
        lines = list(report.lines or ())
        if not report.ok:
            lines += _failure(asked, report)
        yield Told(seed, not report.ok, "\n".join(lines), report)


def _run(asked: Asked, plan: Plan, *, keep_lines: bool = False) -> Report:
    with without(asked.without):
        return run(plan, keep_lines=keep_lines)


def _failure(asked: Asked, report: Report) -> list[str]:
    promises = set(report.failures)
    plan = shrunk(report.plan, lambda fewer: bool(promises & set(_run(asked, fewer).failures)))
    lines = [str(report.plan)]
    lines += [f"  {promise}: {what}" for promise, found in report.failures.items() for what in found[:2]]
    lines.append(f"  again: {_again(asked, report.plan)}")
    lines.append(f"  shrunk to {len(plan.faults)} faults and {len(plan.writes)} writes:")
    lines += [f"    {fault}" for fault in plan.faults]
    return lines


def _again(asked: Asked, plan: Plan) -> str:
    words = ["mirrord sim", f"--seed {plan.seed}", f"--menu {asked.faults}" if asked.faults else ""]
    return " ".join(filter(None, [*words, f"--without {asked.without}" if asked.without else "", "--trace"]))
