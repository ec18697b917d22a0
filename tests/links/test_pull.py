"""The endless answer: taken apart wherever it is cut, and refused by name when it is none."""

from __future__ import annotations

from contextlib import aclosing
from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from mirrord.errors import PeerUnreachable
from mirrord.links.pull import MOST_HEAD_BYTES, SHORT_LINE_BYTES, SHORT_LINE_US, PlainStream, Pull, round_trip_s

OK = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = OK + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


async def answered(*pieces: bytes) -> tuple[int, bytes]:
    """What comes out of a pull whose peer says these pieces and hangs up."""
    ours, theirs = trio.testing.memory_stream_pair()
    pull, found = Pull("http://peer:1/v0/feed", 1.0, None), b""
    async with trio.open_nursery() as nursery:

        async def say() -> None:
            for piece in pieces:
                await theirs.send_all(piece)
            await theirs.aclose()

        nursery.start_soon(say)
        with trio.fail_after(10):
            status = await pull.status(ours)
            assert round_trip_s(ours) == 0.0, "no kernel knows it"
            async with aclosing(pull.body(ours)) as body:
                async for data in body:
                    found += data
    return status, found


@given(st.lists(st.integers(1, len(ENDLESS) - 1), max_size=6, unique=True))
def test_an_answer_may_be_cut_anywhere(cuts: list[int]) -> None:
    """The network cuts where it likes; the body is the same."""
    edges = [0, *sorted(cuts), len(ENDLESS)]
    pieces = [ENDLESS[a:b] for a, b in pairwise(edges)]
    assert trio.run(answered, *pieces) == (200, b"hello world")


async def test_what_comes_before_an_answer_is_passed_over() -> None:
    """Some proxies say 100 first."""
    assert await answered(b"HTTP/1.1 100 Continue\r\n\r\n" + ENDLESS) == (200, b"hello world")


@pytest.mark.parametrize(
    "said",
    [
        b"", b"HTTP/1.1 2", b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (MOST_HEAD_BYTES // 5), OK + b"5\r\nhel", OK + b"zz\r\n", OK,
    ],
    ids=["nothing", "half", "another", "upgrade", "endless-head", "cut", "no-chunk", "no-body"],
)  # fmt: skip
async def test_what_is_no_answer_is_named(said: bytes) -> None:
    """Whatever listens there: a named error, within bounds, and never a crash of the link."""
    with pytest.raises((PeerUnreachable, ExceptionGroup)) as caught:
        await answered(*[said[at : at + 1000] for at in range(0, len(said), 1000)])
    assert caught.group_contains(PeerUnreachable) if isinstance(caught.value, ExceptionGroup) else True


async def test_a_pull_that_is_given_up_closes_its_connection() -> None:
    """A link that is restarted while its request is on the way leaves no open socket behind."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port, scope = listener.socket.getsockname()[1], trio.CancelScope()

    async def give_up() -> None:
        async with await listener.accept() as theirs:
            await theirs.receive_some(1)
            scope.cancel()
            with trio.fail_after(10):
                while await theirs.receive_some(1 << 20):
                    pass

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        with scope:
            kept = await Pull(f"http://127.0.0.1:{port}/v0/feed", 5.0, None).open(b"x" * (64 << 20), {})
            await kept.aclose()
        assert scope.cancelled_caught


async def test_nobody_at_the_address_is_named() -> None:
    """A refused connection, and a name that is none, as the system tells it."""
    for host, told in (("127.0.0.1:1", "Connection refused"), ("no-such-host.invalid:80", "")):
        with pytest.raises(PeerUnreachable, match=f"{host}/v0/feed: {told}"):
            await Pull(f"http://{host}/v0/feed", 5.0, None).open(b"", {})


async def test_over_a_short_line_the_kernel_keeps_little() -> None:
    """A record of another topic waits behind all that the kernel took of a catch-up: over a line that needs no large
    window that is little."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    async def answer() -> None:
        async with await listener.accept() as theirs:
            await theirs.receive_some(1 << 16)
            await theirs.send_all(ENDLESS)

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        pull = Pull(f"http://127.0.0.1:{port}/v0/feed", 5.0, None)
        stream = await pull.open(b"x", {})
        assert isinstance(stream, PlainStream)
        with trio.fail_after(10):
            assert await pull.status(stream) == 200
        assert stream.room_bytes <= 2 * SHORT_LINE_BYTES or 1e6 * round_trip_s(stream) > SHORT_LINE_US
        await stream.aclose()
