"""What a configuration means as a graph."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.config.load import load, parse
from mirrord.config.model import Config, Want
from mirrord.config.topology import (
    Flow,
    LinkPlan,
    carries,
    declared,
    edges,
    links_of,
    pulled_by,
    topic_config_for,
    topology_hash,
    unite,
    warnings,
)

CONFIGS = Path(__file__).parents[2] / "configs"
names = st.text("ab:", min_size=1, max_size=4).filter(lambda name: name[0] != ":")
wants = names.map(lambda name: Want(name, name)) | st.sampled_from(["", "a", "ab", "b:"]).map(
    lambda p: Want(p + "*", p + "*")
)


def example(name: str) -> Config:
    return load(str(CONFIGS / f"{name}.toml"))


def nodes(*found: str, urls: str = "") -> str:
    return "".join(f'[nodes.{name}]\nlisten = "127.0.0.1:{4001 + n}"\n{urls}' for n, name in enumerate(found))


def test_a_mesh_is_everyone_from_everyone() -> None:
    """`between` three nodes makes six links; each node has one per peer, with everything that the file
    names."""
    mesh = example("three-mesh")
    wanted = tuple(Want(name, name) for name in ("chat:*", "events", "orders"))
    assert links_of(mesh, "fra") == (
        LinkPlan("iad", "http://127.0.0.1:4002", wanted, "record", 60_000),
        LinkPlan("sin", "http://127.0.0.1:4003", wanted, "record", 60_000),
    )
    assert pulled_by(mesh, "fra") == ("iad", "sin")
    assert len(edges(mesh)) == 6
    assert ("fra", "iad") in edges(mesh)


def test_a_ring_has_two_neighbours_and_a_chain_one_direction() -> None:
    """Links are those of the file and no others: nobody pulls across a ring, nobody pulls up a chain."""
    ring, chain = example("ring"), example("chain")
    assert [plan.peer for plan in links_of(ring, "north")] == ["east", "west"]
    assert pulled_by(ring, "north") == ("east", "west")
    assert edges(chain) == (("floor", "plant"), ("plant", "office"))
    assert links_of(chain, "floor") == ()
    assert pulled_by(chain, "office") == ()
    assert links_of(chain, "office")[0].on_gap == "halt"


def test_entries_for_one_pair_become_one_link() -> None:
    """Topics are united, what a prefix already means is not wanted twice, options count wherever they are
    set."""
    config = parse(
        nodes("a", "b")
        + """
[[links]]
between = ["a", "b"]
topics = ["chat:1", "x"]
[[links]]
pull = "a"
from = "b"
topics = ["chat:*", "x", {from = "y", as = "z"}]
via = "http://tunnel:1/"
gap_patience = "5s"
"""
    )
    (plan,) = links_of(config, "a")
    assert plan == LinkPlan(
        "b", "http://tunnel:1", (Want("chat:*", "chat:*"), Want("x", "x"), Want("y", "z")), "record", 5000
    )
    (back,) = links_of(config, "b")
    assert (back.url, back.gap_patience_ms) == ("http://127.0.0.1:4001", 60_000)
    assert carries(config, "b", "a", "y")
    assert not carries(config, "a", "b", "y")
    assert not carries(config, "b", "a", "z")


@given(st.lists(wants, max_size=6), names)
def test_uniting_wants_changes_nothing_but_their_number(found: list[Want], topic: str) -> None:
    """A topic is wanted after uniting exactly when it was before, once, whatever the order."""
    united = unite(found)
    assert any(w.local_name(topic) for w in found) == any(w.local_name(topic) for w in united)
    assert united == unite(reversed(found)) == unite(united)
    exact = [w for w in united if w.local_name(topic) and not w.source.endswith("*")]
    assert len(exact) <= 1


@given(wants | st.builds(Want, names, names), names)
def test_a_want_names_a_topic_the_same_way_in_both_directions(want: Want, topic: str) -> None:
    """What came from the peer's topic is asked for under that name again: there and back is the same name."""
    local, source = want.local_name(topic), want.source_name(topic)
    assert local is None or want.source_name(local) == topic
    assert source is None or want.local_name(source) == topic


def test_the_hash_is_of_what_peers_must_agree_on() -> None:
    """Another spelling, directory or limit is no other topology; another link, url, name or option is one."""
    links = '[[links]]\nbetween = ["a", "b"]\ntopics = ["x", "y"]\n'
    single = "".join(
        f'[[links]]\npull = "{puller}"\nfrom = "{source}"\ntopics = ["{topic}"]\n'
        for puller, source in ("ab", "ba")
        for topic in "yx"
    )
    two = nodes("a", "b")
    turned = '[nodes.b]\nlisten = "127.0.0.1:4002"\n[nodes.a]\nlisten = "127.0.0.1:4001"\ndata_dir = "/x"\n'
    base = topology_hash(parse(two + links))
    assert len(base) == 16
    for same in (
        two + single,
        turned + links,
        two + links + 'gap_patience = "1m"\n[limits]\nmax_topics = 5\n',
    ):
        assert topology_hash(parse(same)) == base
    for other in (
        two + links.replace('"y"', '"z"'),
        two + links.replace('"y"', '{from = "y", as = "w"}'),
        two + links + 'on_gap = "halt"\n',
        two + links + '[cluster]\nname = "c"\n',
        two.replace("4001", "4009") + links,
        nodes("a", "b", "c") + links,
    ):
        assert topology_hash(parse(other)) != base


@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_a_mesh_is_no_part_of_its_hash(order: list[str]) -> None:
    """Two people who list the same nodes in another order run the same topology."""
    text = nodes("a", "b", "c") + "[[links]]\ntopics = ['x']\nbetween = "
    assert topology_hash(parse(text + str(order))) == topology_hash(parse(text + "['a', 'b', 'c']"))


def test_the_hash_is_the_same_in_every_daemon() -> None:
    """Peers compare it over the wire, so it is a function of the file alone and changes with no
    refactoring."""
    assert topology_hash(example("three-mesh")).hex() == "b5443f4422611fbc59abfd9d9033c24c"


def test_declarations_go_from_wide_to_narrow() -> None:
    """Prefixes from short to long, then the exact name, then the same of the node: the nearest word wins."""
    config = parse(
        nodes("a", "b")
        + """
[topics."chat:eu:*"]
ttl_ms = 3
cap_bytes = 3
[topics."*"]
ttl_ms = 1
cap_records = 1
[topics."chat:*"]
ttl_ms = 2
durability = "fsync"
[topics."chat:eu:1"]
cap_bytes = 4
[nodes.b.topics."chat:*"]
cap_records = 9
durable = false
[nodes.b.topics."chat:eu:1"]
ttl_ms = 0
"""
    )
    assert declared(config, "a", "other") == {"ttl_ms": 1, "cap_records": 1}
    assert declared(config, "a", "chat:eu:1") == {
        "ttl_ms": 3,
        "cap_records": 1,
        "durability": "fsync",
        "cap_bytes": 4,
    }
    assert declared(config, "b", "chat:eu:1") == {
        "ttl_ms": 0,
        "cap_records": 9,
        "durability": "disk",
        "cap_bytes": 4,
    }
    assert topic_config_for(config, "a", "chat:eu:2").durable
    assert topic_config_for(config, "b", "chat:eu:2").durability == "disk"
    assert topic_config_for(parse(nodes("a")), "a", "x").durability == "disk"


def test_flow_follows_links_and_renames() -> None:
    """Where records come to is known under the names that they have there."""
    flow = Flow(example("chain"))
    assert flow.reach("floor", "measurements") == {
        ("floor", "measurements"),
        ("plant", "measurements"),
        ("office", "measurements-plant"),
    }
    assert flow.reach("office", "measurements") == {("office", "measurements")}


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "[topics.lone]\n[[links]]\nbetween = ['a', 'b', 'c']\ntopics = ['x']",
            "no link carries lone: its records stay",
        ),
        (
            "[topics.'lone:*']\n[[links]]\nbetween = ['a', 'b', 'c']\ntopics = ['x']",
            "no link carries lone:*: its",
        ),
        ("[[links]]\nbetween = ['a', 'b']\ntopics = ['x']", "c has no link: it mirrors nothing"),
        (
            "[[links]]\npull = 'a'\nfrom = 'b'\ntopics = ['x']",
            "nobody pulls from a: what is written there stays there",
        ),
        (
            "[[links]]\npull = 'a'\nfrom = 'b'\ntopics = ['x']",
            "b pulls from nobody: what is written elsewhere does not",
        ),
        (
            "[topics.x]\n[topics.y]\n[[links]]\nbetween = ['a', 'b', 'c']\n"
            "topics = ['y']\n[[links]]\nbetween = ['a', 'b']\ntopics = ['x']",
            "what is written to x on a does not come to c",
        ),
        (
            "[[links]]\nbetween = ['a', 'b']\ntopics = ['x']\n[[links]]\nbetween = ['b', 'c']\ntopics = ['x']",
            "b is the only way between a / c: while it is down they exchange nothing",
        ),
        (
            "[topics.x]\ncap_bytes = '1MiB'\n[nodes.b.topics.x]\n"
            "cap_bytes = 0\n[[links]]\nbetween = ['a', 'b', 'c']\ntopics = ['x']",
            "x: cap_bytes differs between nodes that mirror it (1MiB on a, c; off on b)",
        ),
        (
            "[nodes.b.topics.'x:*']\nttl_ms = '7d'\n[[links]]\nbetween = ['a', 'b', 'c']\ntopics = ['*']",
            "x:*: ttl_ms differs between nodes that mirror it (off on a, c; 7d on b)",
        ),
    ],
)
def test_what_may_be_meant_otherwise_is_said(text: str, warning: str) -> None:
    """`mirrord check` names records that would stay behind, gaps that differing retention will show,
    single points."""
    config = parse(nodes("a", "b", "c") + text)
    assert any(told.startswith(warning) for told in warnings(config)), warnings(config)


def test_a_sound_file_has_no_warnings() -> None:
    """A warning that is always there is read by nobody."""
    for name in ("one-node", "two-mirrors", "three-mesh", "ring", "every-key"):
        assert warnings(example(name)) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[nodes.a]\nlisten = "0.0.0.0:4000"', True),
        ('[nodes.a]\nlisten = "host.example:4000"', True),
        ('[nodes.a]\nlisten = "[::]:4000"', True),
        ('[nodes.a]\nlisten = "[::1]:4000"', False),
        ('[nodes.a]\nlisten = "127.0.0.2:4000"', False),
        ('[nodes.a]\nlisten = "localhost:4000"', False),
        ('[nodes.a]\nlisten = "0.0.0.0:4000"\n[auth]\nkeys = ["env:K"]', False),
        ('[nodes.a]\nlisten = "0.0.0.0:4000"\n[auth]\nallow_insecure = true', False),
        ('[nodes.a]\nlisten = "0.0.0.0:4000"\n[tls]\ncert = "c"\nkey = "k"\nclient_ca = "c"\nverify = "all"', False),
        ('[nodes.a]\nlisten = "0.0.0.0:4000"\n[tls]\ncert = "c"\nkey = "k"\nclient_ca = "c"', True),
    ],
)
def test_a_node_that_will_not_start_is_told_before(text: str, told: bool) -> None:
    """Where others can connect somebody must be asked for a key; `mirrord check` says so, not only the start."""
    assert any("it will not start" in warning for warning in warnings(parse(text))) == told


def test_a_large_mesh_is_still_quick_to_ask() -> None:
    """Some hundred nodes are what mirrord is for: nothing here walks all pairs for each pair."""
    many = [f"n{number}" for number in range(60)]
    mesh = f"[topics.x]\n[[links]]\nbetween = {many}\ntopics = ['x', {{from = 'a', as = 'b'}}]\n"
    config = parse(nodes(*many) + mesh)
    assert len(edges(config)) == 60 * 59
    assert warnings(config) == []
