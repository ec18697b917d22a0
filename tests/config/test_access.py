"""[auth], [tls] and the keys of links: read whole, refused by name, and never shown."""

import os

import pytest

from mirrord.config.access.auth import AuthConfig
from mirrord.config.load import parse
from mirrord.config.topology import link_key, topology_hash
from mirrord.errors import ConfigError

SECRET = "hunter2"
LINKED = '[nodes.a]\n[nodes.b]\nlisten = "127.0.0.1:4001"\n[[links]]\nbetween = ["a", "b"]\ntopics = ["*"]\n'


def fault(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "c.toml")
    return str(caught.value)


def test_the_sections_are_read() -> None:
    """What a person writes is what the node goes by; without the sections nothing is asked of anybody."""
    config = parse('[nodes.a]\n[auth]\nkeys = ["env:K", "file:k", "x:r:a|b"]\npeer_key = "env:P"\nprobe_auth = true\n')
    assert config.auth == AuthConfig(("env:K", "file:k", "x:r:a|b"), "env:P", True, False)
    assert parse("[nodes.a]").auth == AuthConfig()
    assert not parse("[nodes.a]").nodes["a"].tls.serves


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f'auth = "{SECRET}"', "[auth] expected a table"),
        (f'[auth]\nkeys = "{SECRET}"', "[auth.keys] expected a list"),
        (f'[auth]\nkeys = ["env:{SECRET} x"]', "[auth.keys#1] expected"),
        (f'[auth]\nkeys = ["k", {{key = "{SECRET}"}}]', "[auth.keys#2] expected"),
        (f'[auth]\nkeys = ["k"]\npeer_key = "{SECRET}"', "and not the key itself"),
        (f'[auth]\nkeys = ["k"]\npeer_key = ["{SECRET}"]', "[auth.peer_key] expected a text"),
        (f'[auth]\nprobe_auth = "{SECRET}"', "[auth.probe_auth] expected true or false"),
        ('[auth]\npeer_key = "env:P"', "[auth.peer_key] expected beside keys"),
        ("[auth]\nkey = 1", "expected one of keys, peer_key, probe_auth, allow_insecure"),
        (LINKED + f'key = "{SECRET}"', "[links#1.key] expected where the key is"),
        (LINKED + f'key = ["{SECRET}"]', "[links#1.key] expected where the key is"),
        (LINKED + "key = 0", "[links#1.key] expected where the key is"),
        (f'[auth]\nkeys = ["file:{SECRET}\\u0000"]', '[auth.keys#1] expected "env:NAME"'),
    ],
)
def test_what_is_wrong_is_told_without_telling_the_secret(text: str, told: str) -> None:
    """Messages end up in logs and issue trackers: they say where, and what was expected, never what was found."""
    message = fault(text if "[nodes.a]" in text else f"{text}\n[nodes.a]")
    assert told in message
    assert SECRET not in message


def test_a_config_does_not_show_its_keys() -> None:
    """Whoever logs a whole configuration logs no key."""
    config = parse(f'[nodes.a]\n[auth]\nkeys = ["{SECRET}:r"]')
    assert SECRET not in repr(config)
    assert SECRET not in str(config)


def test_the_key_of_a_link() -> None:
    """An entry's own key, else the cluster's; it is no part of what peers must agree on."""
    other = '[auth]\nkeys = ["k"]\npeer_key = "env:P"\n'
    config, plain = parse(LINKED + 'key = "env:F"\n' + other), parse(LINKED)
    assert link_key(config, "a", "b") == "env:F"
    assert link_key(parse(LINKED + other), "a", "b") == "env:P"
    assert link_key(plain, "a", "b") == ""
    assert topology_hash(config) == topology_hash(plain)


def test_two_entries_with_two_keys_for_one_link_are_refused() -> None:
    """A link shows one key."""
    entry = '[[links]]\npull = "a"\nfrom = "b"\ntopics = ["x"]\nkey = "env:G"\n'
    assert 'found "env:G"' in fault(LINKED + 'key = "env:F"\n' + entry)


def test_certificates_are_found_beside_the_file_and_may_differ_by_node() -> None:
    """One file describes the cluster, and each node has a certificate of its own; peers reach it by https."""
    text = (
        '[tls]\nca = "ca.crt"\n[nodes.a]\ntls = {cert = "a.crt", key = "a.key"}\n[nodes.b]\nlisten = "127.0.0.1:4001"\n'
    )
    config = parse(text, "/etc/mirrord/c.toml")
    assert config.nodes["a"].tls.cert == os.path.join("/etc/mirrord", "a.crt")
    assert {node.tls.ca for node in config.nodes.values()} == {"/etc/mirrord/ca.crt"}
    assert [node.url for node in config.nodes.values()] == ["https://127.0.0.1:4000", "http://127.0.0.1:4001"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[tls]\ncert = "a"\n[nodes.a]', "[tls.cert] expected cert and key"),
        ('[tls]\nkey = "a"\n[nodes.a]', "[tls.key] expected cert and key"),
        ('[tls]\nclient_ca = "a"\n[nodes.a]', "[tls.client_ca] expected beside cert and key"),
        ('[tls]\nverify = "none"\n[nodes.a]', 'one of "peers", "all", found "none"'),
        ('[tls]\ncertificate = "a"\n[nodes.a]', "[tls.certificate] expected one of cert, key, ca"),
        ('[nodes.a]\ntls = {cert = "a"}', "[nodes.a.tls.cert] expected cert and key"),
        ('[nodes.a]\ntls = "a"', "[nodes.a.tls] expected a table"),
    ],
)
def test_mistakes_in_tls_are_told(text: str, told: str) -> None:
    """A node that cannot speak TLS as told does not start and speak plain."""
    assert told in fault(text)
