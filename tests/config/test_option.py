"""Sizes and durations as people write them, strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.config.option import MAX_INT, Option, as_duration, as_size, duration_ms, quoted, read, size_bytes
from mirrord.errors import ConfigError

numbers = st.integers(0, MAX_INT)


@given(numbers)
def test_every_size_and_duration_can_be_written_and_read_back(number: int) -> None:
    """What `every-key.toml` and warnings print means exactly the number that was printed."""
    assert size_bytes(as_size(number)) == number
    assert duration_ms(as_duration(number)) == number
    assert size_bytes(number) == duration_ms(number) == number


@given(st.integers(0, 10**6), st.sampled_from([("KiB", 1 << 10), ("MB", 10**6), ("TiB", 1 << 40)]), st.booleans())
def test_a_unit_multiplies(number: int, unit: tuple[str, int], space: bool) -> None:
    """ "3MB" and "3 MB" are three million bytes."""
    assert size_bytes(f"{number}{' ' * space}{unit[0]}") == number * unit[1]
    assert size_bytes(f"{number:_}{unit[0]}") == number * unit[1]


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("60s", 60_000), ("1.5h", 5_400_000), ("7d", 604_800_000), ("1w", 604_800_000)],
)
def test_durations(text: str, ms: int) -> None:
    """The units that people use for time are known."""
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "64",
        "MiB",
        "-1MB",
        "1e3B",
        "64mib",
        "64 MiB ",
        "1.MB",
        ".5MB",
        "0.5B",
        "1_0MB",
        "٣MB",
        "2MB/s",
        "9" * 20 + "TiB",
        "9" * 400 + "B",
        -1,
        1.5,
        True,
        None,
        [],
        MAX_INT + 1,
    ],
)
def test_what_is_no_size_is_refused_by_name(wrong: object) -> None:
    """Nothing is guessed: a wrong unit, a fraction of a byte, a sign or a number that is too large is an
    error."""
    with pytest.raises(ConfigError, match="expected a size such as"):
        size_bytes(wrong)


@given(st.text(max_size=12) | st.floats() | st.binary(max_size=3) | st.lists(st.integers(), max_size=2))
def test_no_text_breaks_the_reader(text: object) -> None:
    """Any value is a quantity or a ConfigError, never another exception."""
    for reader in (size_bytes, duration_ms):
        told = ""
        try:
            assert reader(text) >= 0
        except ConfigError as error:
            told = str(error)
        assert not told or told.endswith(f"found {quoted(text)}")


def test_ranges_are_told_in_the_units_of_the_option() -> None:
    """A value out of range is refused with the bound as a person would write it; 0 is off only where it
    says so."""
    option = Option("size", "x", least=4096, most=1 << 20)
    assert read(option, "4KiB") == 4096
    with pytest.raises(ConfigError, match='expected at least 4KiB, found "1B"'):
        read(option, "1B")
    with pytest.raises(ConfigError, match="expected at most 1MiB, found 1048577"):
        read(option, (1 << 20) + 1)
    with pytest.raises(ConfigError, match="at least 4KiB, found 0"):
        read(option, 0)
    assert read(Option("count", "x", least=5, off=True), 0) == 0
    with pytest.raises(ConfigError, match="at least 5 \\(or 0 for off\\), found 4"):
        read(Option("count", "x", least=5, off=True), 4)
    with pytest.raises(ConfigError, match="at least 0, found -4"):
        read(Option("count", "x", off=True), -4)


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        (Option("flag", "x"), 1),
        (Option("count", "x"), True),
        (Option("count", "x"), "7"),
        (Option("text", "x"), 3),
        (Option("text", "x"), "no\0path"),
        (Option("word", "x", words=("a", "b")), "c"),
        (Option("list", "x"), "a"),
        (Option("table", "x"), []),
    ],
)
def test_a_value_of_another_kind_is_refused(option: Option, wrong: object) -> None:
    """Kinds are not converted into each other."""
    with pytest.raises(ConfigError, match=r"expected .*, found"):
        read(option, wrong)
