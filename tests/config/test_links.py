"""The links of a file: what cannot work is refused before anything starts."""

import pytest

from mirrord.config.load import parse
from mirrord.errors import ConfigError

NODES = "".join(
    f'[nodes.{name}]\nlisten = "127.0.0.1:400{port}"\n' for port, name in enumerate(("fra", "iad", "sin"), 1)
)
LINK = 7  # the line of the first [[links]]


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(NODES + text, "c.toml")
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("entry", "line", "told"),
    [
        (
            "between = ['fra', 'frq']\ntopics = ['x']",
            1,
            '[links#1.between#2] expected one of the nodes fra, iad, sin, found "frq" (did you mean "fra"?)',
        ),
        (
            "pull = 'fra'\nfrom = 'ida'\ntopics = ['x']",
            2,
            '[links#1.from] expected one of the nodes fra, iad, sin, found "ida" (did you mean "iad"?)',
        ),
        (
            "pull = 'fra'\nfrom = 'fra'\ntopics = ['x']",
            2,
            '[links#1.from] expected another node, found "fra"',
        ),
        ("pull = 'fra'\ntopics = ['x']", 0, "[links#1.from] expected a node's name, found nothing"),
        ("between = []\ntopics = ['x']", 1, "[links#1.between] expected two or more nodes, found 0"),
        ("between = ['fra']\ntopics = ['x']", 1, "[links#1.between] expected two or more nodes, found 1"),
        (
            "between = ['fra', 'iad', 'fra']\ntopics = ['x']",
            1,
            '[links#1.between] expected every node once, found "fra" twice',
        ),
        ("between = ['fra', 3]\ntopics = ['x']", 1, "[links#1.between#2] expected a node's name, found 3"),
        (
            "between = ['fra', 'iad']\nvia = 'http://x'\ntopics = ['x']",
            2,
            "[links#1.via] expected with pull and from only",
        ),
        (
            "between = ['fra', 'iad']\npull = 'sin'\ntopics = ['x']",
            2,
            "[links#1.pull] expected with pull and from only",
        ),
        ("between = ['fra', 'iad']", 0, "[links#1.topics] expected topics to pull"),
        ("between = ['fra', 'iad']\ntopics = []", 2, "[links#1.topics] expected topics to pull"),
        ("between = ['fra', 'iad']\ntopics = 'x'", 2, '[links#1.topics] expected a list, found "x"'),
        (
            "between = ['fra', 'iad']\ntopics = ['x',\n'a b']",
            3,
            "[links#1.topics#2] expected a topic's name, a prefix",
        ),
        (
            "between = ['fra', 'iad']\ntopics = [{from = 'x'}]",
            2,
            "[links#1.topics#1.as] expected a topic's name, found nothing",
        ),
        ("between = ['fra', 'iad']\ntopics = [{from = 'x:*', as = 'y:*'}]", 2, "a prefix cannot be renamed"),
        (
            "between = ['fra', 'iad']\ntopics = [{from = 'x', to = 'y', as = 'z'}]",
            2,
            "[links#1.topics#1.to] expected one of from, as",
        ),
        (
            "between = ['fra', 'iad']\ntopics = [{from = 'x', as = 'x', only = []}]",
            2,
            "[links#1.topics#1.only] not yet in this",
        ),
        ("pull = 'fra'\nfrom = 'iad'\nvia = 'x'\ntopics = ['x']", 3, "[links#1.via] expected a URL such as"),
        (
            "between = ['fra', 'iad']\ntopics = ['x']\non_gap = 'skip'",
            3,
            'expected one of "record", "halt", found "skip"',
        ),
        (
            "between = ['fra', 'iad']\ntopics = ['x']\ngap_patience = 'long'",
            3,
            "[links#1.gap_patience] expected a duration",
        ),
        ("between = ['fra', 'iad']\ntopic = ['x']\ntopics = ['x']", 2, '(did you mean "topics"?)'),
    ],
)
def test_an_entry_that_cannot_work(entry: str, line: int, told: str) -> None:
    """Unknown and repeated nodes, links to nobody or oneself, links of nothing: refused with place and
    suggestion."""
    found = faults(f"[[links]]\n{entry}\n")
    assert any(told in message and message.startswith(f"c.toml:{LINK + line}: ") for message in found), found


@pytest.mark.parametrize("key", ["rate", "daily", "window", "only", "not", "filter", "protocol", "mirror_deletes"])
def test_link_options_that_are_to_come_are_refused_by_name(key: str) -> None:
    """A budget or a filter that is not there yet is never ignored."""
    found = faults(f"[[links]]\nbetween = ['fra', 'iad']\ntopics = ['x']\n{key} = 'x'\n")
    assert found == [f"c.toml:10: [links#1.{key}] not yet in this version of mirrord; take it out"]


def pull(topics: str, rest: str = "", pull: str = "fra", source: str = "iad") -> str:
    return f"[[links]]\npull = '{pull}'\nfrom = '{source}'\ntopics = {topics}\n{rest}\n"


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("{from = 'x', as = 'z'}", "{from = 'y', as = 'z'}", "both y and x would come into z"),
        ("'z'", "{from = 'y', as = 'z'}", "both y and z would come into z"),
        ("'z*'", "{from = 'y', as = 'zz'}", "both y and zz would come into zz"),
        ("{from = 'x', as = 'y'}", "{from = 'x', as = 'z'}", "x is pulled both as z and as y"),
        ("'x*'", "{from = 'x1', as = 'y'}", "x1 is pulled both as y and as x1"),
        ("{from = 'x1', as = 'y'}", "'*'", "x1 is pulled both as y and as x1"),
    ],
)
def test_two_sources_never_come_into_one_topic_of_a_link(first: str, second: str, why: str) -> None:
    """Positions are kept per local topic, so names on one link must map one to one, in one entry or in
    two."""
    assert faults(pull(f"[{first}, {second}]"))[0].endswith(why)
    assert faults(pull(f"[{first}]") + pull(f"[{second}]"))[0].endswith(why)
    assert parse(NODES + pull(f"[{first}]") + pull(f"[{second}]", source="sin"))


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [("via", "'http://x'", "'http://y'"), ("on_gap", "'halt'", "'record'"), ("gap_patience", "'1s'", "'2s'")],
)
def test_entries_for_one_pair_must_not_contradict_each_other(key: str, one: str, other: str) -> None:
    """One peer is one link: its options may be set once or alike; left out means no opinion."""
    (told,) = faults(pull("['x']", f"{key} = {one}") + pull("['y']") + pull("['z']", f"{key} = {other}"))
    assert f"[links#3.{key}] expected" in told
    assert "as in another entry for the link fra from iad" in told
    assert parse(NODES + pull("['x']", f"{key} = {one}") + pull("['y']") + pull("['z']", f"{key} = {one}"))


@pytest.mark.parametrize(
    ("links", "back"),
    [
        (
            pull("[{from = 'a', as = 'b'}]") + pull("['b']", pull="iad", source="fra"),
            "written to a on iad comes back to it as b",
        ),
        (
            pull("[{from = 'a', as = 'b'}]")
            + pull("['*']", pull="sin", source="fra")
            + pull("['b*']", pull="iad", source="sin"),
            "written to a on iad comes back to it as b",
        ),
        (
            pull("['a']", pull="iad", source="sin")
            + pull("[{from = 'a', as = 'b'}]")
            + pull("['b']", pull="sin", source="fra"),
            "comes back to it as b",
        ),
        (
            "[[links]]\nbetween = ['fra', 'iad']\ntopics = ['b', {from = 'a', as = 'b2'}, 'b2']\n",
            "come into b2",
        ),
        (
            "[[links]]\nbetween = ['fra', 'iad']\ntopics = [{from = 'a', as = 'b'}, {from = 'b', as = 'a'}]\n",
            None,
        ),
        (
            "[[links]]\nbetween = ['fra', 'iad', 'sin']\ntopics = [{from = 'a', as = 'b'}, {from = 'b', as = 'c'}]\n",
            "as c",
        ),
    ],
)
def test_a_rename_must_not_lead_back(links: str, back: str | None) -> None:
    """What a node wrote would come back to it under another name, as if it were new: for ever more copies."""
    if back is None:
        assert parse(NODES + links), "there and back under its own name is no loop"
    else:
        assert back in faults(links)[0]


def test_renames_that_lead_nowhere_back_are_fine() -> None:
    """The design's own example, and a chain that renames at each step."""
    assert parse(
        NODES + "[[links]]\nbetween = ['fra', 'iad', 'sin']\ntopics = ['x', {from = 'clicks', as = 'clicks-eu'}]\n"
    )
    assert parse(NODES + pull("[{from = 'a', as = 'b'}]") + pull("[{from = 'b', as = 'a'}]", pull="sin", source="fra"))


@pytest.mark.parametrize("listen", ["0.0.0.0:4009", "[::]:4009", "127.0.0.1:0"])
def test_a_node_that_is_pulled_from_has_an_address(listen: str) -> None:
    """`listen` on every address or any port tells peers nothing: url has to; for one who only pulls it is
    enough."""
    nodes = NODES.replace("127.0.0.1:4001", listen)
    with pytest.raises(ConfigError, match=r"c.toml:1: \[nodes.fra.url\] expected how peers reach the node"):
        parse(nodes + pull("['x']", pull="iad", source="fra"), "c.toml")
    assert parse(nodes + pull("['x']"))
    assert parse(nodes + pull("['x']", "via = 'http://tunnel:1'", pull="iad", source="fra"))


def test_the_number_of_peers_is_bounded() -> None:
    """Nothing grows without a bound: limits.max_peers holds for the file too."""
    (told,) = faults(pull("['x']") + pull("['x']", source="sin") + "[limits]\nmax_peers = 1\n")
    assert told == "c.toml:1: [nodes.fra] expected at most 1 peers (limits.max_peers), found 2"
