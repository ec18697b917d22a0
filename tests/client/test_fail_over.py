"""Several nodes: reads go on elsewhere exactly, writes go elsewhere only while nothing can be doubled."""

from __future__ import annotations

import anyio
import pytest

from mirrord import Client, Record
from mirrord.errors import Unacknowledged

from ..conformance.daemon import Daemon
from .loops import under_both

DEAD = "http://127.0.0.1:9"


@under_both
async def test_a_dead_node_is_passed_over(url: str, name: str) -> None:
    """Nobody listens at the first: the second takes the append and the read, at once."""
    async with Client([DEAD, url]) as client:
        await client.topic(name).append(1)
        assert [r.data for r in (await client.topic(name).read()).records] == [1]


@under_both
async def test_a_follower_goes_on_at_another_node(pair: list[Daemon], name: str) -> None:
    """Each node has its own seqs: a follower whose node dies goes on at the other, each record once and none left out,
    and so does one that begins there with the saved cursor."""
    fra, iad = pair
    topic = f"m:{name}"
    async with Client(fra.url) as at_fra, Client(iad.url) as at_iad:
        for i in range(5):  # written at both: the two logs have them in different orders
            await at_fra.topic(topic).append(["fra", i])
            await at_iad.topic(topic).append(["iad", i])
        for client in (at_fra, at_iad):
            with anyio.fail_after(30):
                while (await client.topic(topic).state()).count < 10:
                    await client.topic(topic).read(9, wait_ms=1000)
    async with Client([fra.url, iad.url]) as client:
        follow = client.topic(topic).follow()
        seen = [await anext(follow) for _ in range(10)]
        saved = str(follow.cursor)
        await anyio.to_thread.run_sync(fra.kill)
        async with Client(iad.url) as at_iad:
            await at_iad.topic(topic).append("later")
        seen.append(await anext(follow))
        told = [event.data for event in seen if isinstance(event, Record)]
        assert sorted(map(str, told[:10])) == sorted(str([w, i]) for w in ("fra", "iad") for i in range(5))
        assert told[10] == "later"
        resumed = await anext(client.topic(topic).follow(saved))
        assert isinstance(resumed, Record)
        assert resumed.data == "later"


@under_both
async def test_a_write_that_may_be_kept_stays_where_it_is(url: str, name: str) -> None:
    """The node took the append and died before the answer: it is not written elsewhere, and that it may be there is
    told with the key to repeat it with. With may_double it goes to the next node."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:

        async def swallow(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                await stream.receive()

        tasks.start_soon(listener.serve, swallow)
        lossy = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        async with Client([lossy, url], give_up_after_s=0.5) as client:
            with pytest.raises(Unacknowledged) as found:
                await client.topic(name).append(1)
            assert found.value.detail is not None
            assert found.value.detail["url"] == lossy
            assert found.value.detail["key"]
        async with Client([lossy, url], may_double=True) as client:
            assert (await client.topic(name).append(1)).first_seq == 1
        tasks.cancel_scope.cancel()
