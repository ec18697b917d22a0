"""What a configuration key means and how its value is written: sizes and durations as people do."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any, Literal, get_type_hints

from msgspec import Struct

from ..errors import ConfigError

KIB, MIB = 1 << 10, 1 << 20
MAX_INT = (1 << 64) - 1

Kind = Literal["count", "integer", "size", "duration", "flag", "word", "text", "table", "list"]

_SIZES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_DURATIONS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_QUANTITY = re.compile(r"([0-9]{1,3}(?:_[0-9]{3}){1,6}|[0-9]{1,20})(\.[0-9]{1,9})? ?([A-Za-z]{1,3})")
_KINDS: dict[Kind, str] = {
    "size": 'a size such as "64MiB" or a whole number of bytes',
    "duration": 'a duration such as "60s", "7d" or a whole number of milliseconds',
    "count": "a whole number",
    "integer": "a whole number",
    "flag": "true or false",
    "text": "a text",
    "table": "a table",
    "list": "a list",
}


class Option(Struct, frozen=True):
    """One key: its kind (which is its unit), one line of meaning, and its range.

    ``least`` and ``most`` are in the kind's unit (bytes, ms, or a count). With ``off`` a 0 is allowed below
    ``least`` and switches the thing off. ``key`` is the TOML key where that is not the field's name,
    ``example`` the TOML value that ``configs/every-key.toml`` shows where there is no default to show.
    """

    kind: Kind
    meaning: str
    least: int = 0
    most: int = MAX_INT
    off: bool = False
    words: tuple[str, ...] = ()
    key: str = ""
    example: str = ""

    def expected(self) -> str:
        """What a value has to be, for error messages."""
        return "one of " + ", ".join(map(quoted, self.words)) if self.words else _KINDS[self.kind]


def options_of(table: type[Struct]) -> dict[str, Option]:
    """Field name to Option, in the order of the fields, for those fields that are annotated with one."""
    hints = get_type_hints(table, include_extras=True)
    notes = ((name, getattr(hints[name], "__metadata__", ())) for name in table.__struct_fields__)
    return {name: note for name, found in notes for note in found if isinstance(note, Option)}


def quoted(found: object) -> str:
    """A found value for an error message: in JSON's notation, on one line, at most 80 characters."""
    text = json.dumps(found, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def size_bytes(value: object) -> int:
    """``"64MiB"``, ``"2MB"``, ``"1.5GiB"`` or ``65_536`` in bytes. Raises ConfigError."""
    return _quantity(value, "size", _SIZES)


def duration_ms(value: object) -> int:
    """``"250ms"``, ``"60s"``, ``"1.5h"``, ``"7d"`` or ``60_000`` in milliseconds. Raises ConfigError."""
    return _quantity(value, "duration", _DURATIONS)


def as_size(size: int) -> str:
    """The shortest exact way to write a number of bytes, such that ``size_bytes`` reads it back."""
    return _written(size, {unit: factor for unit, factor in _SIZES.items() if unit == "B" or "i" in unit})


def as_duration(duration: int) -> str:
    """The shortest exact way to write a number of milliseconds, such that ``duration_ms`` reads it back."""
    return _written(duration, {unit: factor for unit, factor in _DURATIONS.items() if unit != "w"})


def read(option: Option, value: object) -> Any:
    """A TOML value as the model keeps it. Raises ConfigError: what was expected, what was found."""
    match option.kind:
        case "size":
            return _ranged(option, size_bytes(value), value)
        case "duration":
            return _ranged(option, duration_ms(value), value)
        case "count" | "integer":
            if isinstance(value, int) and not isinstance(value, bool):
                return _ranged(option, value, value)
        case "flag":
            if isinstance(value, bool):
                return value
        case "table":
            if isinstance(value, dict):
                return value
        case "list":
            if isinstance(value, list):
                return value
        case _:
            if isinstance(value, str) and (value in option.words if option.words else "\0" not in value):
                return value
    raise _unexpected(option.expected(), value)


def _ranged(option: Option, number: int, value: object) -> int:
    if option.least <= number <= option.most or (number == 0 and option.off):
        return number
    write = {"size": as_size, "duration": as_duration}.get(option.kind, str)
    bound = f"at least {write(option.least)}" if number < option.least else f"at most {write(option.most)}"
    raise _unexpected(bound + (" (or 0 for off)" if option.off and option.least else ""), value)


def _quantity(value: object, kind: Kind, units: dict[str, int]) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INT:
        return value
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is not None and found[3] in units:
        exact = Fraction(found[1].replace("_", "") + (found[2] or "")) * units[found[3]]
        if exact.denominator == 1 and exact <= MAX_INT:
            return exact.numerator
    raise _unexpected(_KINDS[kind] + f" (units: {', '.join(units)})", value)


def _written(number: int, units: dict[str, int]) -> str:
    unit = max((unit for unit in units if number % units[unit] == 0), key=units.__getitem__) if number else ""
    return f"{number // units[unit]}{unit}" if unit else "0" + min(units, key=units.__getitem__)


def _unexpected(expected: str, value: object) -> ConfigError:
    return ConfigError(f"expected {expected}, found {quoted(value)}")
