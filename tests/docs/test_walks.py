"""The README and the guides, as a first-time user types them, against real daemons on free ports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .walk import ROOT, Walk, blocks, free_ports, unmarked

README = ROOT / "README.md"
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
WALKED = {"job-queue", "pub-sub", "durable-stream", "multi-master"}
every_guide = pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    made = Walk(tmp_path, free_ports())
    yield made
    made.end()


@pytest.mark.parametrize("page", [README, *GUIDES], ids=lambda page: page.stem)
def test_a_page_can_be_walked(walk: Walk, page: Path) -> None:
    """From an empty folder to the end, word for word as the page tells it, and it shows what the page says."""
    found = blocks(page.read_text())
    assert len(found) >= 5
    for block in found:
        walk.take(block)


def test_the_guides_are_there() -> None:
    """What the README promises."""
    assert {page.stem for page in GUIDES} >= WALKED
    for page in GUIDES:
        assert f"docs/guides/{page.name}" in README.read_text()


@every_guide
def test_nothing_in_a_guide_is_only_shown(page: Path) -> None:
    """Every command and every piece of Python is one that the walk uses."""
    assert [text for language, text in unmarked(page.read_text()) if language in {"sh", "python", "toml"}] == []


def test_every_other_block_of_the_readme_is_a_script_of_ours() -> None:
    """What is shown and not run is one of the scripts, which have tests of their own."""
    for language, text in unmarked(README.read_text()):
        if language == "sh":
            for line in text.splitlines():
                assert (ROOT / line.split()[0]).is_file(), line
    assert re.search(r"```python", README.read_text())
