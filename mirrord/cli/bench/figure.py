"""What is measured and what is required of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from msgspec import Struct, structs


class Bound(Struct, frozen=True):
    """What a figure must reach: at least it when ``more`` is better, at most it otherwise."""

    required: float
    goal: float | None = None
    more: bool = False

    def verdict(self, value: float) -> str:
        """``goal``, ``ok`` or ``missed``."""
        if not self._reaches(value, self.required):
            return "missed"
        return "goal" if self.goal is not None and self._reaches(value, self.goal) else "ok"

    def _reaches(self, value: float, bound: float) -> bool:
        return value >= bound if self.more else value <= bound


class Figure(Struct, frozen=True):
    """One number of a row: its values in order of the repeats, in ``unit``. Without a bound it only informs."""

    what: str
    unit: str
    values: tuple[float, ...]
    bound: Bound | None = None

    @property
    def value(self) -> float:
        """The median of the repeats."""
        return median(self.values)

    @property
    def verdict(self) -> str:
        """``goal``, ``ok``, ``missed``, or ``""`` when nothing is required."""
        return self.bound.verdict(self.value) if self.bound else ""


class Conditions(Struct, frozen=True):
    """How the machine was while a row was measured."""

    loop_us: float  # how long a fixed piece of work took just before; compare within one run only
    others: float  # processors that were busy with something else, in the mean
    slowdown: float = 1.0  # of the loop, against the best of the run


class Result(Struct, frozen=True):
    """A row with its figures."""

    row: str
    title: str
    figures: tuple[Figure, ...]
    conditions: Conditions
    took_s: float = 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least ``share`` (0..1) of all values do not exceed. ``values`` is not empty."""
    ordered = sorted(values)
    rank = max(1, -int(-share * len(ordered) // 1))  # rounded up
    return ordered[min(rank, len(ordered)) - 1]


def beside_the_best(results: Sequence[Result]) -> list[Result]:
    """The same results, each with its slow-down against the best moment of the run."""
    best = min((r.conditions.loop_us for r in results), default=1.0)
    return [_with_slowdown(r, r.conditions.loop_us / best) for r in results]


def _with_slowdown(result: Result, slowdown: float) -> Result:
    return structs.replace(result, conditions=structs.replace(result.conditions, slowdown=slowdown))
