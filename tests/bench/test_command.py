"""``mirrord bench`` from its command line: arguments, the files it makes, and one real row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mirrord.cli.bench import main
from mirrord.cli.bench.command import ROWS
from mirrord.cli.bench.topology import SYNCED, mesh, pullers
from mirrord.cli.main import OK, USAGE, answer
from mirrord.config.load import load

PLACES = {"a": "127.0.0.1:5001", "b": "127.0.0.1:5002", "c": "127.0.0.1:5003"}


def test_a_row_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing mistake is told before anything is measured."""
    assert answer(["bench", "--rows", "catch-up,nothing"]) == USAGE
    assert "there is no row 'nothing'" in capsys.readouterr().err


def test_the_help_tells_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    """What can be measured is known without reading the source."""
    assert main(["--help"]) == OK
    told = capsys.readouterr().out
    assert all(name in told for name in ROWS)


def pulls(text: str, place: Path) -> set[tuple[str, str]]:
    file = place / "bench.toml"
    file.write_text(text)
    config = load(str(file))
    assert config.topics[SYNCED] == {"durability": "fsync"}
    return {pair for link in config.links for pair in link.pairs()}


def test_the_clusters_are_those_that_the_rows_say(tmp_path: Path) -> None:
    """Four links of an idle node are four, and a source that should only serve pulls from nobody."""
    assert pulls(mesh(PLACES), tmp_path) == {(one, other) for one in PLACES for other in PLACES if one != other}
    assert pulls(pullers(PLACES), tmp_path) == {("b", "a"), ("c", "a")}
    assert pulls(mesh({"a": PLACES["a"]}), tmp_path) == set()


@pytest.mark.slow
def test_rows_measure_real_daemons_and_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest sizes through everything: daemons, load, figures, files."""
    stores, out = tmp_path / "stores", tmp_path / "out.json"
    stores.mkdir()
    rows = "catch-up,seen,seen-meanwhile,append-meanwhile,in-turn,diff,start"
    main(["--quick", "--repeat", "1", "--rows", rows, "--dir", str(stores), "--out", str(out), "--json"])
    told = json.loads(out.read_bytes())
    assert json.loads(capsys.readouterr().out) == told
    assert [row["row"] for row in told["rows"]] == rows.split(",")
    assert all(figure["value"] > 0 for row in told["rows"] for figure in row["figures"])
    assert list(stores.iterdir()) == []
