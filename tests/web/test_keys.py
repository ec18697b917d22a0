"""Keys: how they are told, found and let go, and that nothing keeps them in the clear."""

import gc
from hmac import compare_digest as compare
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.config.access.auth import AuthConfig
from mirrord.errors import ConfigError, Forbidden
from mirrord.web.auth import keys
from mirrord.web.auth.keys import KeyLine, KeyRing, key_line
from mirrord.web.auth.principal import EVERYBODY, SCOPES, USER_SCOPES, Principal
from mirrord.web.auth.sources import key_lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ops", KeyLine("ops", USER_SCOPES, ())),
        ("ops::", KeyLine("ops", USER_SCOPES, ())),
        ("k:r", KeyLine("k", frozenset({"read"}), ())),
        ("k:rw:a|b:c", KeyLine("k", frozenset({"read", "write"}), ("a", "b:c"))),
        ("k:read+write+delete+admin", KeyLine("k", USER_SCOPES, ())),
        ("k:r+w+d+a", KeyLine("k", USER_SCOPES, ())),
        ("k:del:|x|", KeyLine("k", frozenset({"delete"}), ("x",))),
        ("k:peer", KeyLine("k", frozenset({"peer"}), ())),
        ("k::chat", KeyLine("k", USER_SCOPES, ("chat",))),
    ],
)
def test_how_a_key_is_told(text: str, line: KeyLine) -> None:
    """As the reference surface tells them; an empty part means all, and all is not what peers may."""
    assert key_line(text) == line


@pytest.mark.parametrize("text", ["", ":r", "hunter2:x", "hunter2:r+", "hunter2:R", "hunter 2", "hünter2", "h" * 1025])
def test_a_key_that_is_told_wrongly_is_refused_and_not_repeated(text: str) -> None:
    """A node with a mistake in its keys does not start; the message may end up anywhere, so the key is not in it."""
    with pytest.raises(ConfigError) as caught:
        key_line(text)
    assert "unter" not in str(caught.value)
    assert "hhh" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_key_or_refused_by_name(text: str) -> None:
    """The parser has no other way out."""
    try:
        line = key_line(text)
    except ConfigError:
        return
    assert line.key == text.split(":")[0]
    assert line.scopes <= set(SCOPES)


def test_remarks_in_a_file_of_keys(tmp_path: Path) -> None:
    """Whole lines, and behind a key: what is said about it is no part of its prefixes."""
    (tmp_path / "keys.txt").write_text("# ours\nroot::    # all, of us\n  # none\ntill#7:rw:orders|receipts\t# shop\n")
    told = key_lines(AuthConfig(keys=("file:keys.txt",)), str(tmp_path))
    assert [(line.key, line.prefixes) for line in told] == [("root", ()), ("till#7", ("orders", "receipts"))]


def test_a_ring_finds_its_keys_and_no_others() -> None:
    """Also none that begin or end like one."""
    ring = KeyRing([key_line("alpha:r"), key_line("beta:w")])
    alpha = ring.find(b"alpha")
    assert alpha is not None
    assert alpha.scopes == {"read"}
    assert [ring.find(key) for key in (b"", b"alph", b"alphaa", b"Alpha", b"gamma", b"alpha:r")] == [None] * 6


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at a key, known or not, ends with one comparison whose time tells nothing."""
    compared: list[tuple[int, int]] = []

    def noting(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(keys, "compare_digest", noting)
    ring = KeyRing([key_line("alpha")])
    assert ring.find(b"alpha") is not None
    assert ring.find(b"beta") is None
    assert compared == [(32, 32), (32, 32)]


def test_a_ring_does_not_keep_keys_in_the_clear() -> None:
    """What leaks of the process later (a dump, a traceback with locals) holds no key."""
    ring = KeyRing([key_line("hunter2:r")])
    seen, todo = set(), [ring]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        assert not (isinstance(thing, str | bytes) and "hunter2" in str(thing))
        todo.extend(found for found in gc.get_referents(thing) if not callable(found))
    assert "hunter2" not in repr(KeyLine("hunter2"))


def test_a_renewed_ring_keeps_who_stays_and_revokes_who_goes() -> None:
    """Counts and sessions of a key go on when it is only told anew; whoever holds a key that went can see it."""
    ring = KeyRing([key_line("stays:r"), key_line("goes:r")])
    stays, goes = ring.find(b"stays"), ring.find(b"goes")
    assert stays is not None
    assert goes is not None
    ring.renew([key_line("stays:w:x"), key_line("new:r")])
    assert ring.find(b"stays") is stays
    assert (stays.scopes, stays.prefixes, stays.revoked) == (frozenset({"write"}), ("x",), False)
    assert ring.find(b"goes") is None
    assert goes.revoked
    assert ring.find(b"new") is not None


def test_a_principal_needs_scope_and_prefix() -> None:
    """Both, for each name; a pattern is within when all that it can mean is."""
    one = Principal({"read"}, ("chat:", "x"))
    one.require("read", "chat:1", "x", "xyz", "chat:4*", "chat:*")
    for scope, names in (
        ("write", ("x",)),
        ("read", ("y",)),
        ("read", ("chat:1", "y")),
        ("read", ("c*",)),
        ("read", ("*",)),
    ):
        with pytest.raises(Forbidden):
            one.require(scope, *names)  # type: ignore[arg-type]
    EVERYBODY.require("peer", "*")
    EVERYBODY.require("admin", "anything")


@given(
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=3), st.text("ab", max_size=3), st.text("ab", max_size=5)
)
def test_the_prefixes_within_a_prefix_are_just_what_is_seen_of_it(own: list[str], prefix: str, name: str) -> None:
    """A list by those prefixes shows all that the key sees, and nothing else."""
    principal = Principal({"read"}, tuple(own))
    listed = any(name.startswith(narrower) for narrower in principal.within(prefix))
    assert listed == (name.startswith(prefix) and principal.sees(name))
