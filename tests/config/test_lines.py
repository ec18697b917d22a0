"""The line of every key, which tomllib does not tell."""

import tomllib
from typing import Any

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from mirrord.config.lines import Path, key_lines, nearest, shown

keys = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=6) | st.sampled_from(
    ["a", "b-c", "a.b", '"', "#", "[["]
)
scalars = (
    st.integers(-5, 10**6)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.datetimes()
    | st.dates()
    | st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
trees = st.dictionaries(keys, values, max_size=5)


def paths(tree: Any, path: Path = ()) -> set[Path]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = {path} if path else set()
    for key, value in inner:
        found |= paths(value, (*path, key))
    return found


@given(trees, st.booleans())
def test_every_path_of_any_file_has_its_line(tree: dict[str, Any], multiline: bool) -> None:
    """The finder knows exactly the paths that tomllib reads, whatever strings, lists and tables there are."""
    text = tomli_w.dumps(tree, multiline_strings=multiline)
    lines = key_lines(text)
    assert set(lines) == paths(tomllib.loads(text))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


@given(trees, st.integers(0, 4))
def test_lines_move_with_the_text(tree: dict[str, Any], above: int) -> None:
    """Comments and empty lines above move every line by as many."""
    text = tomli_w.dumps(tree)
    moved = key_lines("# [x] = 'a\n" * above + "\r\n" + text)
    assert moved == {path: line + above + 1 for path, line in key_lines(text).items()}


@given(
    st.lists(
        st.sampled_from(
            [
                "k{n} = 1",
                "'q.{n}'.x = '''\n\n'''",
                "[t{n}]",
                "[[a]]\nv = [1,\n 2, # ]\n {{z = '}}'}}]",
                "[a.sub{n}]",
                's{n} = """\\"""\n#"""',
            ]
        ),
        max_size=12,
    )
)
def test_lines_are_those_on_which_the_keys_stand(parts: list[str]) -> None:
    """A key's line is the line of the text that holds it, also after strings and lists over several lines."""
    text = "[[a]]\n" + "\n".join(part.format(n=number) for number, part in enumerate(parts))
    rows = text.split("\n")
    for path, line in key_lines(text).items():
        names = [part for part in path if isinstance(part, str)]
        if isinstance(path[-1], str):
            assert names[-1] in rows[line - 1] or path == ("a",)


def test_a_file_with_everything() -> None:
    """The forms that people mix: dotted keys, inline tables, lists of tables, tables below a list's last
    element."""
    text = (
        "a.b = 1\n"
        "[t] # c\n"
        '\'q k\' = """\n[x]\n"""\n'
        "m = [ # ]\n"
        "  'one',\n"
        "  {from = 'x', as = 'y'},\n"
        "]\n"
        "[[links]]\n"
        "pull = '#'\n"
        "[links.deep]\n"
        "z = 1979-05-27 07:32:00\n"
        "[[links]]\n"
        "pull = 2\n"
    )
    lines = key_lines(text)
    assert lines["a",] == lines["a", "b"] == 1
    assert lines["t",] == 2
    assert lines["t", "q k"] == 3
    assert [lines["t", "m", 0], lines["t", "m", 1], lines["t", "m", 1, "as"]] == [7, 8, 8]
    assert [lines["links", 0, "pull"], lines["links", 0, "deep", "z"]] == [11, 13]
    assert [lines["links",], lines["links", 1], lines["links", 1, "pull"]] == [10, 14, 15]


def test_paths_and_suggestions_are_shown_as_people_say_them() -> None:
    """Places count from 1, odd keys are quoted, a suggestion is made only when it is near."""
    assert shown(("links", 0, "topics", 1, "as")) == "links#1.topics#2.as"
    assert shown(("topics", "chat:*", "ttl")) == 'topics."chat:*".ttl'
    assert nearest("listne", ("url", "listen")) == ' (did you mean "listen"?)'
    assert nearest("zzz", ("url", "listen")) == ""
    assert nearest("x" * 10**6, ("x" * 80,)) != ""
