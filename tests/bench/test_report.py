"""The table and the JSON say what was measured, and what is missed."""

from __future__ import annotations

import msgspec
import pytest

from mirrord.cli.bench.figure import Bound, Conditions, Figure, Result
from mirrord.cli.bench.report import COLUMNS, Machine, as_json, cells, lines, missed, number

ROW = Result(
    "singles",
    "append one by one",
    (
        Figure("class disk", "/s", (15_000.0, 17_000.0, 40_000.0), Bound(16_000, 30_000, more=True)),
        Figure("class fsync", "/s", (7999.0,), Bound(8000, more=True)),
        Figure("CPU", "us each", (12.345,)),
    ),
    Conditions(loop_us=1000.0, others=0.5, slowdown=1.25),
    took_s=3.0,
)
MACHINE = Machine("2026-01-01 00:00", "cpu", 2, False, "6", "3.11", "3.54", "0.1")


def test_the_table_has_value_spread_bounds_and_verdict() -> None:
    """Nobody has to look up what would have been enough, or how steady it was."""
    table = cells(ROW)
    assert table[0] == (
        "singles", "class disk", "17,000 /s", "15,000", "40,000", ">= 16,000", ">= 30,000", ("ok", "green"), "x1.25",
        "0.50",
    )  # fmt: skip
    assert table[1][5:8] == (">= 8,000", "", ("missed", "red"))
    assert table[2][2:8] == ("12.3 us each", "12.3", "12.3", "", "", ("", ""))
    assert {len(line) for line in table} == {len(COLUMNS)}
    assert lines(ROW)[1] == "class fsync: 7,999 /s missed"


def test_one_miss_is_counted() -> None:
    """The exit code tells it to whoever runs this without looking."""
    assert missed([ROW, ROW]) == 2


def test_json_keeps_all_repeats_and_the_conditions() -> None:
    """What is published can be checked later."""
    told = msgspec.json.decode(as_json(MACHINE, [ROW]))
    row = told["rows"][0]
    assert told["machine"]["processors"] == 2
    assert row["conditions"] == {"loop_us": 1000.0, "others": 0.5, "slowdown": 1.25}
    assert row["figures"][0]["values"] == [15_000.0, 17_000.0, 40_000.0]
    assert (row["figures"][0]["value"], row["figures"][0]["verdict"]) == (17_000.0, "ok")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_234_567.8, "1,234,568"), (99.96, "100.0"), (12.34, "12.3"), (1.234, "1.23"), (0.63, "0.630"), (0, "0.000")],
)
def test_numbers_have_the_figures_that_matter(value: float, text: str) -> None:
    """Neither a false precision nor a zero where there is something."""
    assert number(value) == text
