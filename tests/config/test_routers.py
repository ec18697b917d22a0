"""Routers of a file: what each may say, who runs it, what would double, and rings."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.config.load import parse
from mirrord.config.model import Config
from mirrord.config.routers import cycle_closed_by, router_warnings, routers_of
from mirrord.errors import ConfigError

NODES = "".join(f'[nodes.{name}]\nlisten = "127.0.0.1:{4001 + n}"\n' for n, name in enumerate("abc"))
MESH = NODES + '[[links]]\nbetween = ["a", "b", "c"]\ntopics = ["orders", "audit"]\n'
ROUTER = '[routers.r]\nsource = "orders"\ndest = "audit"\n'


def faults(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse(text, "c.toml")
    return str(refused.value)


def forwards(config: Config) -> dict[str, str | None]:
    """Which nodes run the router `r`, and how."""
    found = {node: routers_of(config, node).get("r") for node in config.nodes}
    return {node: router.forward for node, router in found.items() if router is not None}


def test_a_router_says_only_where_from_and_where_to() -> None:
    """Everything else has a default."""
    router = routers_of(parse(NODES + ROUTER), "a")["r"]
    assert (router.filter, router.preserve_node, router.preserve_tag, router.backfill) == ((), True, True, False)


def test_on_holders_of_mirrored_topics_each_copies_its_own() -> None:
    """The default never doubles: `origin` where all would, `all` elsewhere."""
    assert forwards(parse(MESH + ROUTER)) == dict.fromkeys("abc", "origin")
    assert forwards(parse(MESH + ROUTER + 'on = ["b"]')) == {"b": "all"}
    local = MESH.replace(', "audit"', "")
    assert forwards(parse(local + ROUTER)) == dict.fromkeys("abc", "all")
    apart = MESH.replace('"orders", ', "")
    assert forwards(parse(apart + ROUTER)) == dict.fromkeys("abc", "all")


def test_a_router_runs_where_its_source_is() -> None:
    """Nodes that no link brings the source to do not run it, unless nobody is brought it."""
    pair = NODES + '[[links]]\nbetween = ["a", "b"]\ntopics = ["orders"]\n'
    assert set(forwards(parse(pair + ROUTER))) == {"a", "b"}
    assert set(forwards(parse(NODES + ROUTER))) == {"a", "b", "c"}


def test_what_would_double_is_refused() -> None:
    """`all` on two nodes that hold both topics: the file says which two."""
    told = faults(MESH + ROUTER + 'forward = "all"')
    assert "[routers.r.forward]" in told
    assert "a and b would both copy each record into audit" in told
    assert parse(MESH + ROUTER + 'forward = "all"\non = ["a"]').routers["r"].on == ("a",)


def test_who_writes_what_nobody_copies_is_named() -> None:
    """A holder that does not run an `origin` router writes records that are not copied."""
    config = parse(MESH + ROUTER + 'forward = "origin"\non = ["a", "b"]')
    assert list(router_warnings(config)) == ["what is written to orders on c is not copied by r: c does not run it"]
    assert not list(router_warnings(parse(MESH + ROUTER)))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('filter = ["tag", "Glob", "eu"]', "[routers.r.filter]"),
        ('filter = ["node", "Eq", "eu"]', "[routers.r.filter]"),
        ("filter = [1, 2, 3]", "[routers.r.filter]"),
        ('on = ["z"]', "[routers.r.on#1]"),
        ("on = [1]", "[routers.r.on#1]"),
        ('forward = "none"', "[routers.r.forward]"),
        ('to = "x"', "[routers.r.to]"),
        ("backfill = 1", "[routers.r.backfill]"),
        ('[routers."-x"]\nsource = "a"\ndest = "b"', "[routers.-x]"),
        ('[routers.q]\nsource = "a"\ndest = "a"', "[routers.q.dest]"),
        ('[routers.q]\nsource = "a"', "[routers.q.dest]"),
        ('[routers.q]\nsource = "audit"\ndest = "orders"', "audit -> orders -> audit is a ring on a"),
    ],
)
def test_every_mistake_is_named(line: str, told: str) -> None:
    """Table, key and what was expected."""
    assert told in faults(NODES + ROUTER + line)


def test_a_ring_may_be_meant() -> None:
    """`allow_cycle` on the router that closes it; rings on two nodes are none."""
    back = '[routers.back]\nsource = "audit"\ndest = "orders"\n'
    assert len(parse(NODES + ROUTER + back + "allow_cycle = true").routers) == 2
    assert len(parse(NODES + ROUTER + 'on = ["a"]\n' + back + 'on = ["b"]').routers) == 2


@pytest.mark.parametrize("text", ["routers = 1", "[routers]\nx = 1", "[[routers]]\nsource = 1"])
def test_routers_are_tables(text: str) -> None:
    """Anything else is told, and does not break the reader."""
    assert "[routers" in faults(text + "\n" + NODES) or "routers" in faults(text + "\n" + NODES)


edges = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=12)


@given(edges, st.sampled_from("abcdef"), st.sampled_from("abcdef"))
def test_a_cycle_is_told_as_a_way_along_edges(found: list[tuple[str, str]], source: str, dest: str) -> None:
    """It begins and ends with the new edge's source, and each step is an edge; none is told where there is none."""
    cycle = cycle_closed_by(source, dest, found)
    reached, todo = {dest}, [dest]
    while todo:
        here = todo.pop()
        new = {end for start, end in found if start == here} - reached
        reached |= new
        todo += new
    assert bool(cycle) == (source in reached)
    if cycle:
        assert cycle[0] == cycle[-1] == source
        assert cycle[1] == dest
        assert set(pairwise(cycle)) <= {(source, dest), *found}
        assert len(set(cycle)) == len(cycle) - 1
