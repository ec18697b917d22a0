"""How files are named, how long things may be, and what must carry words (design/2-architecture.md)."""

from __future__ import annotations

import ast
import re
from collections import Counter
from copy import copy
from pathlib import Path

import pytest

from mirrord import errors

from .tree import MODULES, PACKAGE, name_of, parsed

NO_NOUNS = {"utils", "util", "helpers", "helper", "common", "misc", "types", "base", "manager", "core", "lib"}
LONGEST_FILE, LONGEST_FUNCTION, MOST_FILES, MOST_ARGUMENTS = 500, 70, 10, 7
# Folders that a missing noun made too full. They may shrink, and not grow.
TOO_FULL = {"topics": 16}

every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


@every_module
def test_a_name_says_what_is_inside(path: Path) -> None:
    """Files and folders are nouns of the domain; a drawer collects what nobody thought about."""
    for part in path.relative_to(PACKAGE).with_suffix("").parts:
        assert part not in NO_NOUNS


@every_module
def test_a_file_and_its_functions_fit_a_mind(path: Path) -> None:
    """Longer than this and nobody reads it whole."""
    assert len(path.read_text().splitlines()) <= LONGEST_FILE
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where = f"{name_of(path)}:{node.lineno} {node.name}"
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, where
            if node.name == "__init__":
                count = len(node.args.args) + len(node.args.kwonlyargs) - 1
                assert count <= MOST_ARGUMENTS, f"{where} takes {count} arguments"


def test_a_folder_holds_ten_files_at_most() -> None:
    """A fuller folder lacks a noun."""
    folders = Counter(str(p.parent.relative_to(PACKAGE)) for p in MODULES if p.name != "__init__.py")
    fuller = {folder: count for folder, count in folders.items() if count > TOO_FULL.get(folder, MOST_FILES)}
    assert not fuller


@every_module
def test_every_module_says_what_it_is(path: Path) -> None:
    """The first thing in a file is a sentence about it."""
    if path.name == "__main__.py" and path.parent == PACKAGE:
        return
    assert ast.get_docstring(parsed(path)), name_of(path)


@every_module
def test_nothing_is_left_for_later(path: Path) -> None:
    """No stubs and no notes to oneself in what is delivered."""
    text = path.read_text()
    for word in ("TODO", "FIXME", "XXX", "HACK", "NotImplementedError", "for now"):
        assert word not in text, word


def every_class() -> list[type[errors.MirrordError]]:
    found: list[type[errors.MirrordError]] = []
    todo: list[type[errors.MirrordError]] = [errors.MirrordError]
    while todo:
        cls = todo.pop()
        if cls.__module__.startswith("mirrord"):
            found.append(cls)
        todo.extend(cls.__subclasses__())
    return found


def test_every_error_has_a_code_of_its_own_and_words() -> None:
    """Machines match codes, people read messages: both are there for each class, and no two share a code."""
    codes = Counter(cls.code for cls in every_class())
    assert [code for code, count in codes.items() if count > 1] == []
    for cls in every_class():
        assert cls.__dict__.get("__doc__"), cls.__name__
        assert "code" in cls.__dict__, f"{cls.__name__} has the code of its parent"
        assert cls.code.islower()
        assert cls.code.replace("_", "").isalnum()


def test_the_tree_in_the_docstring_names_every_error() -> None:
    """The map at the head of errors.py is complete, and shows nothing that is not there."""
    told = errors.__doc__ or ""
    names = {cls.__name__ for cls in every_class()}
    assert {name for name in names if name not in told} == set()
    classes = set(re.findall(r"\b[A-Z][a-z]+[A-Z][A-Za-z]+\b", told))
    assert classes <= names


def test_an_error_keeps_its_words_when_copied() -> None:
    """A mailbox refuses many askers with copies of one error: each must say and carry the same."""
    for cls in every_class():
        error = cls("what to do", {"k": 1}, 2.0)
        if issubclass(cls, errors.PeerRefused):
            error = cls("reason-word", "what to do")
        twin = copy(error)
        assert type(twin) is cls
        assert str(twin) == str(error)
        assert (twin.detail, twin.retry_after_s) == (error.detail, error.retry_after_s)
