"""The source tree as the house rules read it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mirrord"
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """``topics/turn.py`` and the like."""
    return str(path.relative_to(PACKAGE))


@cache
def parsed(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(path.read_text())


def imported(path: Path) -> set[tuple[str, ...]]:
    """Absolute dotted names of all that a module imports, wherever in the file it does so."""
    here = ("mirrord", *path.relative_to(PACKAGE).parts[:-1])
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            module = (*base, *(node.module or "").split(".")) if node.module else base
            found |= {(*module, alias.name) for alias in node.names}
    return found
