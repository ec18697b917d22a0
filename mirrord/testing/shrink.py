"""From a plan that fails to the least part of it that still does: faults are left out one by one, then writes."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from .plan import Plan


def shrunk(plan: Plan, fails: Callable[[Plan], bool], most_runs: int = 60) -> Plan:
    """A plan with fewer faults and writes that ``fails`` too, after at most so many tries."""
    left = most_runs
    at = 0
    while at < len(plan.faults) and left:
        left -= 1
        fewer = structs.replace(plan, faults=plan.faults[:at] + plan.faults[at + 1 :])
        plan, at = (fewer, at) if fails(fewer) else (plan, at + 1)
    share = len(plan.writes) // 2
    while share and left:
        for begin in range(0, len(plan.writes), share):
            if not left:
                break
            left -= 1
            fewer = structs.replace(plan, writes=plan.writes[:begin] + plan.writes[begin + share :])
            if fails(fewer):
                plan = fewer
        share //= 2
    return plan
