"""Where each key of a TOML text stands, which tomllib does not tell, and faults by file, line and key."""

from __future__ import annotations

import difflib
import re
import tomllib
from bisect import bisect_right
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from ..errors import ConfigError
from .option import Option, quoted, read

Path = tuple[str | int, ...]  # keys, and places in lists from 0

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]*")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\]|\\.)*"' r"|'[^']*'", re.DOTALL)


def key_lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every table, key and list element of a text that tomllib accepts."""
    return _Scan(text).document()


def shown(path: Path) -> str:
    """A path as a person would say it: ``nodes.fra.listen``, ``links#1.topics#2`` (counted from 1)."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"#{part + 1}"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else quoted(part))
    return text


def nearest(word: str, known: Collection[str]) -> str:
    """`` (did you mean "x"?)`` for the known word that is most like this one, or nothing."""
    found = difflib.get_close_matches(word[:80], known, n=1, cutoff=0.55)
    return f" (did you mean {quoted(found[0])}?)" if found else ""


class Faults:
    """Collects what is wrong with a file, so that a person sees all of it at once."""

    MOST_SHOWN = 20

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._text = text
        self._found: list[tuple[int, str]] = []

    @cached_property
    def _lines(self) -> dict[Path, int]:
        return key_lines(self._text)

    def add(self, path: Path, message: str) -> None:
        """Something is wrong with the key at ``path``; a missing one is shown at the table around it."""
        place = path
        while place and place not in self._lines:
            place = place[:-1]
        self._found.append((self._lines.get(place, 1), f"[{shown(path)}] {message}"))

    def table(
        self, path: Path, found: object, known: Mapping[str, Option], not_yet: Collection[str] = (),
        *, secret: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """The values of a table whose keys are known. What is wrong in it is added here, and left out; if it is
        ``secret``, without what was found."""
        values: dict[str, Any] = {}
        if not isinstance(found, dict):
            self.add(path, "expected a table" if secret else f"expected a table, found {quoted(found)}")
            return values
        for key, value in found.items():
            here = (*path, key)
            if key in not_yet:
                self.not_yet(here)
            elif key not in known:
                self.unknown(here, known)
            else:
                try:
                    values[key] = read(known[key], value)
                except ConfigError as error:
                    self.add(here, f"expected {known[key].expected()}" if secret else str(error))
        return values

    def unknown(self, path: Path, known: Collection[str]) -> None:
        """The last part of ``path`` is none of the known keys."""
        self._unlisted(path, str(path[-1]), known)

    def not_yet(self, path: Path, hint: str = "take it out") -> None:
        """The key is specified, but a later version brings it."""
        self.add(path, f"not yet in this version of mirrord; {hint}")

    def unknown_node(self, path: Path, name: str, nodes: Collection[str]) -> None:
        """``name`` is the name of no node of the file."""
        self._unlisted(path, name, nodes, "one of the nodes ")

    def _unlisted(self, path: Path, found: str, known: Collection[str], what: str = "one of ") -> None:
        guess = nearest(found, known)
        most = 12 if guess else 30
        some = ", ".join(list(known)[:most]) + (", ..." if len(known) > most else "")
        self.add(path, f"expected {what}{some}, found {quoted(found)}{guess}")

    def check(self) -> None:
        """Raises ConfigError with each fault on a line of its own, in the order of the file, if any."""
        if not self._found:
            return
        told = [f"{self.file}:{line}: {message}" for line, message in sorted(set(self._found))]
        more = len(told) - self.MOST_SHOWN
        text = "\n".join(told[: self.MOST_SHOWN]) + (f"\n{self.file}: and {more} more" if more > 0 else "")
        raise ConfigError(text, {"faults": told[: self.MOST_SHOWN]})


class _Scan:
    """One pass over a valid text; ``pos`` is where it is, ``counts`` how many tables a [[list]] has."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.lines: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}
        self.breaks = [found.start() for found in re.finditer("\n", text)]

    def document(self) -> dict[Path, int]:
        table: Path = ()
        self.skip(_BLANK)
        while self.pos < len(self.text):
            if self.text.startswith("[", self.pos):
                table = self.header()
            else:
                self.pair(table)
            self.skip(_BLANK)
        return self.lines

    def header(self) -> Path:
        line = self.line()
        brackets = 2 if self.text.startswith("[[", self.pos) else 1
        self.pos += brackets
        parts = self.dotted()
        self.pos += brackets
        path: Path = ()
        for number, part in enumerate(parts, 1):
            path = (*path, part)
            self.note(path, line)
            if brackets == 2 and number == len(parts):
                self.counts[path] = self.counts.get(path, 0) + 1
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
                self.note(path, line)
        return path

    def pair(self, table: Path) -> None:
        line = self.line()
        path = table
        for part in self.dotted():
            path = (*path, part)
            self.note(path, line)
        self.pos += 1  # the equals sign
        self.skip(_SPACE)
        self.value(path)

    def dotted(self) -> list[str]:
        parts = []
        while True:
            self.skip(_SPACE)
            token = self.skip(_STRING if self.text[self.pos] in "\"'" else _BARE_KEY)
            parts.append(tomllib.loads(f"key = {token}")["key"] if token[0] in "\"'" else token)
            self.skip(_SPACE)
            if not self.text.startswith(".", self.pos):
                return parts
            self.pos += 1

    def value(self, path: Path) -> None:
        first = self.text[self.pos]
        if first == "[":
            self.members("]", path)
        elif first == "{":
            self.members("}", path)
        else:
            self.skip(_STRING if first in "\"'" else _BARE_VALUE)

    def members(self, end: str, path: Path) -> None:
        """The inside of a list or an inline table."""
        self.pos += 1
        self.skip(_BLANK)
        count = 0
        while self.text[self.pos] != end:
            if end == "}":
                self.pair(path)
            else:
                self.note((*path, count), self.line())
                self.value((*path, count))
            count += 1
            self.skip(_BLANK)
            if self.text[self.pos] == ",":
                self.pos += 1
                self.skip(_BLANK)
        self.pos += 1

    def skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.pos)
        assert found is not None, f"not TOML at character {self.pos}"
        self.pos = found.end()
        return found[0]

    def line(self) -> int:
        return bisect_right(self.breaks, self.pos) + 1

    def note(self, path: Path, line: int) -> None:
        self.lines.setdefault(path, line)
