"""From a file to a Config; every mistake is told by file, line and key, all of a file at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.config.load import MAX_FILE_BYTES, load, parse
from mirrord.config.model import Limits, MirroringConfig, StoreConfig, Want
from mirrord.errors import ConfigError

TWO = '[nodes.fra]\nlisten = "127.0.0.1:4001"\n[nodes.iad]\nlisten = "127.0.0.1:4002"\n'  # four lines


def fault(text: str) -> str:
    """The only thing that is wrong with this text."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "c.toml")
    told = str(caught.value)
    assert "\n" not in told, told
    return told


def test_a_whole_file(tmp_path: Path) -> None:
    """What the design's example says arrives in the model, with sizes in bytes and durations in ms."""
    file = tmp_path / "c.toml"
    file.write_text(
        '[cluster]\nname = "shop"\n' + TWO + 'url = "http://iad.example/m/"\ndata_dir = "/var/m"\n'
        '[topics.orders]\ndurable = true\nttl_ms = "7d"\n[topics."chat:*"]\ncap_bytes = "1GiB"\n'
        "[nodes.iad.topics.orders]\ncap_records = 1_000\n"
        '[[links]]\nbetween = ["fra", "iad"]\ntopics = ["orders", '
        '"chat:*", {from = "clicks", as = "clicks-eu"}]\n'
        '[[links]]\npull = "fra"\nfrom = "iad"\ntopics = ["audit"]\n'
        'via = "http://127.0.0.1:9001"\non_gap = "halt"\n'
        'gap_patience = "5m"\n'
        '[limits]\nmax_topics = 0\n[store]\npack_bytes = "128KiB"\n[mirroring]\nheartbeat_ms = "2s"\n'
    )
    config = load(str(file))
    assert (config.cluster, list(config.nodes), config.file) == ("shop", ["fra", "iad"], str(file))
    fra, iad = config.nodes.values()
    assert (fra.url, fra.data_dir) == ("http://127.0.0.1:4001", str(tmp_path / "data/fra"))
    assert (iad.url, iad.data_dir, iad.topics) == (
        "http://iad.example/m",
        "/var/m",
        {"orders": {"cap_records": 1000}},
    )
    assert config.topics == {
        "orders": {"durability": "fsync", "ttl_ms": 604_800_000},
        "chat:*": {"cap_bytes": 1 << 30},
    }
    mesh, audit = config.links
    assert mesh.wants == (Want("orders", "orders"), Want("chat:*", "chat:*"), Want("clicks", "clicks-eu"))
    assert (mesh.between, mesh.via, mesh.on_gap, mesh.gap_patience_ms) == (("fra", "iad"), None, None, None)
    assert (audit.pull, audit.source, audit.via) == ("fra", "iad", "http://127.0.0.1:9001")
    assert (audit.on_gap, audit.gap_patience_ms) == ("halt", 300_000)
    assert (config.limits.max_topics, config.store.pack_bytes, config.mirroring.heartbeat_ms) == (
        0,
        131_072,
        2000,
    )


def test_what_is_not_written_is_the_default() -> None:
    """One node in one line is a whole file."""
    config = parse("[nodes.solo]\n")
    assert (config.limits, config.store, config.mirroring) == (Limits(), StoreConfig(), MirroringConfig())
    assert (config.cluster, config.links, config.topics, config.file) == ("mirrord", (), {}, None)
    assert config.nodes["solo"].url == "http://127.0.0.1:4000"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "x = 1\n[nodes.a]",
            "c.toml:1: [x] expected one of cluster, nodes, "
            'topics, links, routers, limits, store, mirroring, auth, tls, found "x"',
        ),
        (
            "[node.a]\n[nodes.a]",
            "c.toml:1: [node] expected one of cluster, nodes, topics, links, routers, limits, store, mirroring, auth, "
            "tls, "
            'found "node" (did you mean "nodes"?)',
        ),
        (
            "[nodes.a]\n\nlisten_on = 1",
            "c.toml:3: [nodes.a.listen_on] expected one of listen, url, data_dir, topics, tls, "
            'found "listen_on" (did you mean "listen"?)',
        ),
        (
            "[limits]\nmax_topic = 1\n[nodes.a]",
            'max_batch_bytes, max_page_size, ..., found "max_topic" (did you mean "max_topics"?)',
        ),
        ("[nodes.a]\n[limits]\nmax_limit = 0", "c.toml:3: [limits.max_limit] expected at least 1, found 0"),
        (
            "[nodes.a]\n[limits]\nmax_wait_ms = '30'",
            "c.toml:3: [limits.max_wait_ms] expected a duration such as",
        ),
        (
            "[nodes.a]\n[store]\npack_bytes = '8MiB'",
            "c.toml:3: [store.pack_bytes] expected no more than transaction_bytes",
        ),
        (
            "[nodes.a]\n[mirroring]\nbackoff_max_ms = 5",
            "[mirroring.backoff_min_ms] expected no more than backoff_max_ms",
        ),
        ("limits = 3\n[nodes.a]", "c.toml:1: [limits] expected a table, found 3"),
        ("[cluster]\nname = ''\n[nodes.a]", "c.toml:2: [cluster.name] expected 1 to 63 of"),
        ("", "c.toml:1: [nodes] expected at least one node"),
        ("nodes = []", "c.toml:1: [nodes] expected at least one node"),
        ("[nodes]\na = 1", "c.toml:2: [nodes.a] expected a table, found 1"),
        ("[nodes.'a b']", 'c.toml:1: [nodes."a b"] expected a node\'s name'),
        (
            "[nodes.a]\nlisten = '4001'",
            'c.toml:2: [nodes.a.listen] expected host:port such as "127.0.0.1:4001", found "4001"',
        ),
        ("[nodes.a]\nlisten = '127.0.0.1:65536'", "c.toml:2: [nodes.a.listen] expected host:port"),
        ("[nodes.a]\nurl = 'ftp://x'", "c.toml:2: [nodes.a.url] expected a URL such as"),
        ("[nodes.a]\nurl = 'http://x:99999'", "c.toml:2: [nodes.a.url] expected a URL such as"),
        ("[nodes.a]\nurl = 'http://[x'", "c.toml:2: [nodes.a.url] expected a URL such as"),
        ("[nodes.a]\nurl = 'http://me:pw@x'", "c.toml:2: [nodes.a.url] expected a URL such as"),
        ("[nodes.a]\n[topics.'a b']", 'c.toml:2: [topics."a b"] expected a topic\'s name or a prefix'),
        ("[nodes.a]\n[topics.'a*b']", 'c.toml:2: [topics."a*b"] expected a topic\'s name or a prefix'),
        ("topics = 1\n[nodes.a]", "c.toml:1: [topics] expected tables such as [topics.orders], found 1"),
        ("[nodes.a]\n[topics]\nttl_ms = 1", "c.toml:3: [topics.ttl_ms] expected a table, found 1"),
        ("[nodes.a]\n[topics.x]\nttl = 1", "c.toml:3: [topics.x.ttl] expected one of type, ttl_ms"),
        ("[nodes.a]\n[topics.x]\nttl_ms = -1", "c.toml:3: [topics.x.ttl_ms] expected a duration"),
        (
            "[nodes.a]\n[topics.x]\ndurability = 'safe'",
            'one of "ephemeral", "memory", "disk", "fsync", found "safe"',
        ),
        (
            "[nodes.a.topics.x]\ncap_records = 1.5",
            "c.toml:2: [nodes.a.topics.x.cap_records] expected a whole number, found 1.5",
        ),
        ("[links]\n[nodes.a]", "c.toml:1: [links] expected a list of tables: write [[links]]"),
        ("links = [1]\n[nodes.a]", "c.toml:1: [links#1] expected a table, found 1"),
    ],
)
def test_every_mistake_names_file_line_key_and_what_was_expected(text: str, told: str) -> None:
    """A person goes to the line, sees the key, and knows what to write; nothing is taken silently."""
    assert told in fault(text)


@pytest.mark.parametrize(
    "key",
    [
        "jobs.x",
        "schedules.x",
        "topics.x.mirror_deletes",
        "store.url",
    ],
)
def test_what_a_later_version_brings_is_refused_by_name(key: str) -> None:
    """A key of the specification that is not there yet is never ignored: the daemon would do something
    else."""
    table, _, last = key.rpartition(".")
    text = (
        f"[nodes.a]\n[{key}]\n"
        if not table or table in ("jobs", "schedules")
        else (f"[nodes.a]\n[{table}]\n{last} = 'x'\n")
    )
    told = fault(text)
    assert "not yet in this version" in told
    assert f"[{key.removesuffix('.x')}]" in told


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ('listen = "127.0.0.1:4001"', "[nodes.b.listen] expected a port of its own"),
        (
            'listen = "0.0.0.0:4001"\nurl = "http://127.0.0.1:7"',
            "[nodes.b.listen] expected a port of its own",
        ),
        (
            'listen = "127.0.0.1:4002"\nurl = "http://127.0.0.1:4001"',
            "[nodes.b.url] expected a URL of its own",
        ),
        (
            'listen = "127.0.0.1:4002"\ndata_dir = "data/../data/a"',
            "[nodes.b.data_dir] expected a directory of its own",
        ),
    ],
)
def test_nodes_on_one_machine_share_nothing(second: str, told: str) -> None:
    """Two daemons with one address or one directory are refused before they start, and the other is named."""
    message = fault(f'[nodes.a]\nlisten = "127.0.0.1:4001"\n[nodes.b]\n{second}\n')
    assert told in message
    assert message.endswith("which a has")


def test_nodes_on_two_machines_may_look_alike() -> None:
    """The usual file of a real cluster: every machine listens on the same port and has the same directory."""
    text = "".join(
        f'[nodes.{n}]\nlisten = "0.0.0.0:4000"\nurl = "http://{n}.example:4000"\ndata_dir = "/v"\n' for n in "ab"
    )
    assert len(parse(text + "[[links]]\nbetween = ['a', 'b']\ntopics = ['*']\n").nodes) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[nodes.a]\nlisten = \n", "c.toml:2: not TOML: Invalid value"),
        ("[nodes.a]\n[nodes.a]\n", "c.toml:2: not TOML: Cannot declare"),
        ("[nodes.a]\nlisten = 'x'\nlisten = 'y'\n", "c.toml:3: not TOML: Cannot overwrite a value"),
        ("[nodes.a]\nx = [1,\n2", "c.toml:3: not TOML: "),
        ("x = " + "[" * 100_000, "c.toml:1: not TOML: "),
        ("x = " + "1" * 10_000, "c.toml:1: not TOML: "),
        ("x = " + "[" * 50 + "]" * 50, "c.toml:1: not a configuration: nested deeper"),
    ],
)
def test_what_is_no_toml_has_its_line_too(text: str, told: str) -> None:
    """Syntax errors, a table or key written twice, and texts made to break a parser are one named error."""
    assert told in fault(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, not UTF-8 or endless: a sentence, not a traceback."""
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(str(tmp_path / "none.toml"))
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"# a\n\xff\n")
    with pytest.raises(ConfigError, match=r"bad\.toml:2: not UTF-8"):
        load(str(bad))
    bad.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than 8 MiB"):
        load(str(bad))


def test_all_mistakes_of_a_file_are_told_at_once_in_its_order() -> None:
    """One run of `mirrord check` is enough; a file that is wrong all over does not fill the screen."""
    with pytest.raises(ConfigError) as caught:
        parse("[limits]\nb = 1\n[nodes.a]\nc = 1\n[jobs]\n", "c.toml")
    assert [line.split(" ")[0] for line in str(caught.value).split("\n")] == [
        "c.toml:2:",
        "c.toml:4:",
        "c.toml:5:",
    ]
    with pytest.raises(ConfigError, match=r"and 980 more$") as many:
        parse("[nodes.a]\n" + "".join(f"k{n} = 1\n" for n in range(1000)))
    assert many.value.detail is not None
    assert len(many.value.detail["faults"]) == 20


WORDS = [
    "[nodes.a]",
    "[nodes.b]",
    "[[links]]",
    "[topics.x]",
    "[store]",
    "url = 'http://h:1'",
    "pull = 'a'",
    "from = 'b'",
    "via = 1",
    "topics = ['x', {from = 'x', as = 'y'}]",
    "topics = {from = 1}",
    "between = ['a', 'b']",
    "between = [[]]",
    "listen = ':1'",
    "pack_bytes = '1TiB'",
    "on_gap = 'halt'",
    "limits.max_topics = 0",
    "ttl_ms = '1d'",
    "topics = 1",
    "nodes = 1",
]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=12))
def test_no_text_breaks_the_loader(parts: list[str]) -> None:
    """Any text is a Config or a ConfigError with a place, never another exception."""
    told = ""
    try:
        parse("\n".join(parts), "c.toml")
    except ConfigError as error:
        told = str(error)
    assert all(line.startswith("c.toml:") for line in told.splitlines())


def test_a_home_is_a_node_of_the_file_and_one_for_all() -> None:
    """Two homes would grant one record twice; one that is not there would grant nothing."""
    assert parse(TWO + '[topics.x]\nhome = "iad"').topics["x"] == {"home": "iad"}
    assert '[topics.x.home] expected one of the nodes fra, iad, found "ia"' in fault(TWO + '[topics.x]\nhome = "ia"')
    assert "expected in [topics.x]: one for all nodes" in fault(TWO + '[nodes.fra.topics.x]\nhome = "iad"')
