"""Keys and TLS: the library brings the key, trusts whom it is told to trust, and tells what it may not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrord import Client
from mirrord.errors import ConfigError, Forbidden, PeerUnreachable, Unauthorized

from ..certificates import Authority
from ..conformance.daemon import daemons
from .loops import under_both

GUARDED = """
[cluster]
name = "guarded"
[nodes.solo]
listen = "127.0.0.1:0"
data_dir = "data"
[auth]
keys = ["everything::", "reader:read:pub"]
{tls}
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that wants keys."""
    with daemons(tmp_path_factory.mktemp("guarded"), GUARDED.format(tls=""), "solo") as (daemon,):
        yield daemon.url


@under_both
async def test_a_key_opens_what_it_covers(guarded: str, name: str) -> None:
    """Without one nothing, with a reader's reading, with the whole one all."""
    async with Client(guarded, key="everything") as client:
        await client.topic(f"pub{name}").append(1)
        await client.topic(f"sec{name}").append(1)
    async with Client(guarded, key="reader") as client:
        assert [r.data for r in (await client.topic(f"pub{name}").read()).records] == [1]
        assert f"sec{name}" not in await client.topics()
        with pytest.raises(Forbidden):
            await client.topic(f"pub{name}").append(2)
        with pytest.raises(Forbidden):
            await client.topic(f"sec{name}").read()
    for key in (None, "wrong"):
        async with Client(guarded, key=key) as client:
            with pytest.raises(Unauthorized):
                await client.topic(f"pub{name}").read()


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Authority]]:
    """A node that speaks TLS, and who signed its certificate."""
    folder = tmp_path_factory.mktemp("secret")
    authority = Authority(folder / "ca")
    cert, key = authority.sign("solo")
    tls = f'[tls]\ncert = "{cert}"\nkey = "{key}"'
    with daemons(folder, GUARDED.format(tls=tls), "solo") as (daemon,):
        yield f"https://{daemon.api.address}", authority


@under_both
async def test_https(secret: tuple[str, Authority], name: str) -> None:
    """Spoken with the right authority; one that is not trusted is not spoken to, and a bad file is named."""
    url, authority = secret
    async with Client(url, key="everything", ca=str(authority.ca)) as client:
        await client.topic(name).append(1)
        assert (await anext(client.topic(name).follow(on_gap=print))).data == 1
    async with Client(url, key="everything", give_up_after_s=0.1) as client:
        with pytest.raises(PeerUnreachable, match="certificate"):
            await client.topic(name).append(2)
    with pytest.raises(ConfigError, match=r"none\.pem"):
        Client(url, ca=str(Path("none.pem")))
