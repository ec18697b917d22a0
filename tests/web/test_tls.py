"""TLS beside plain sockets: the same server, the same requests, and what can go wrong on the way to them."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from mirrord.clock import SystemClock
from mirrord.config.access.tls import TlsConfig
from mirrord.errors import ConfigError
from mirrord.web.auth.tls import Certificates
from mirrord.web.errors import answer
from mirrord.web.message import Request, Response, ServerLimits, Stream, Writer
from mirrord.web.server import Server, open_listeners

from ..certificates import Authority

PATIENCE_S = 10.0
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
PIECES, PIECE = 64, bytes(range(256)) * 250


async def echo(request: Request) -> Response:
    return Response(200, request.body or b"certified" if request.certified else request.body or b"-", b"text/plain")


async def flood(_: Request) -> Stream:
    """More than the kernel takes at once, in pieces of many buffers."""

    async def write(writer: Writer) -> None:
        for _ in range(PIECES):
            await writer.send([PIECE[:100], PIECE[100:70_00], PIECE[70_00:]])

    return Stream(write, 200, b"application/octet-stream")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def shown(authority: Authority, name: str, **more: str) -> TlsConfig:
    cert, key = authority.sign(name)
    return TlsConfig(cert=str(cert), key=str(key), ca=str(authority.ca), **more)  # type: ignore[arg-type]


class Site:
    """A TLS server that runs, and what a client needs to speak to it."""

    def __init__(self, port: int, certificates: Certificates, ca: Path) -> None:
        self.port, self.certificates, self._ca = port, certificates, ca

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._ca))

    @asynccontextmanager
    async def client(self, trust: ssl.SSLContext | None = None) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
        tcp = await trio.open_tcp_stream("127.0.0.1", self.port)
        stream = trio.SSLStream(tcp, trust or self.trust(), server_hostname="localhost", https_compatible=True)
        with trio.fail_after(PATIENCE_S):
            async with stream:
                yield stream


@asynccontextmanager
async def serving(authority: Authority, tls: TlsConfig, limits: ServerLimits | None = None) -> AsyncIterator[Site]:
    certificates, notes = Certificates(tls), list[BaseException]()
    server = Server(
        no_app, lambda request: flood if request.path == "/flood" else echo, limits or ServerLimits(), answer,
        notes.append, SystemClock(), certificates.wire,
    )  # fmt: skip
    listeners = open_listeners("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, listeners)
        yield Site(listeners[0].getsockname()[1], certificates, authority.ca)
        nursery.cancel_scope.cancel()
    assert notes == []


async def no_app(*_: object) -> None:
    raise AssertionError("the ASGI application was not to be called")


async def said_to(port: int, data: bytes, *, eof: bool = False) -> bytes:
    """All that the server says to these bytes on a plain connection, before it closes it."""
    found = b""
    with trio.fail_after(PATIENCE_S), suppress(trio.BrokenResourceError):
        async with await trio.open_tcp_stream("127.0.0.1", port) as tcp:
            if data:
                await tcp.send_all(data)
            if eof:
                await tcp.send_eof()
            while part := await tcp.receive_some():
                found += part
    return found


async def whole_answer(stream: trio.abc.ReceiveStream, found: bytes = b"") -> bytes:
    """The body of an answer with a length."""
    while b"\r\n\r\n" not in found:
        part = await stream.receive_some()
        assert part
        found += part
    head, _, body = found.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        part = await stream.receive_some()
        assert part
        body += part
    return body


async def test_requests_and_answers_of_every_size(authority: Authority) -> None:
    """One connection, several requests: from one byte to more than all buffers between the two hold."""
    async with serving(authority, shown(authority, "a")) as site, site.client() as stream:
        for size in (1, 16_383, 16_384, 16_385, 3_000_000):
            body = PIECE * (size // len(PIECE)) + PIECE[: size % len(PIECE)]
            await stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + body)
            assert await whole_answer(stream) == body


async def test_requests_that_come_in_one_record_are_all_answered(authority: Authority) -> None:
    """OpenSSL holds what the kernel has no more: waiting for the kernel then would be for ever."""
    one = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n" + bytes(5000)
    async with serving(authority, shown(authority, "a")) as site, site.client() as stream:
        for _ in range(3):
            await stream.send_all(one * 3)
            found = b""
            while found.count(b"HTTP/1.1 200 OK") < 3 or len(found) < 15_000:
                found += await stream.receive_some()


async def test_a_stream_that_the_client_takes_slowly_is_whole(authority: Authority) -> None:
    """What OpenSSL could not hand on is given to it again, unchanged, piece by piece."""
    async with serving(authority, shown(authority, "a")) as site, site.client() as stream:
        await stream.send_all(b"GET /flood HTTP/1.0\r\nhost: x\r\n\r\n")
        found = b""
        while part := await stream.receive_some(10_000):
            found += part
        assert found.partition(b"\r\n\r\n")[2] == PIECE * PIECES


async def test_plain_http_is_told_about_tls(authority: Authority) -> None:
    """The most common mistake is answered in words that its maker can read."""
    async with serving(authority, shown(authority, "a")) as site:
        told = await said_to(site.port, GET)
        assert told.startswith(b"HTTP/1.1 400 ")
        assert b"https://" in told
        assert b"date: \r\n" not in told


@pytest.mark.parametrize("garbage", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x40\x00" + bytes(100), b"nonsense" * 100])
async def test_what_is_no_handshake_costs_only_itself(authority: Authority, garbage: bytes) -> None:
    """The connection ends; others do not notice, and no fault is noted."""
    async with serving(authority, shown(authority, "a")) as site:
        await said_to(site.port, garbage, eof=True)
        async with site.client() as stream:
            await stream.send_all(GET)
            assert await whole_answer(stream) == b"-"


async def test_a_handshake_that_never_ends_is_ended(authority: Authority) -> None:
    """Under the same patience as a client that says nothing."""
    limits = ServerLimits(keep_alive_timeout_ms=50, header_timeout_ms=50)
    async with serving(authority, shown(authority, "a"), limits) as site:
        assert await said_to(site.port, b"\x16\x03\x01\x02\x00\x01") == b""


async def test_a_client_that_does_not_believe_us_goes(authority: Authority, tmp_path: Path) -> None:
    """Who checks certificates is not fooled by one of another CA."""
    other = Authority(tmp_path / "other")
    async with serving(authority, shown(authority, "a")) as site:
        await refused(site, ssl.create_default_context(cafile=str(other.ca)))


async def refused(site: Site, trust: ssl.SSLContext) -> None:
    """One of the two sides ends the connection before there is an answer."""
    with pytest.raises(trio.BrokenResourceError):
        await one_answer(site, trust)


async def one_answer(site: Site, trust: ssl.SSLContext) -> bytes:
    async with site.client(trust) as stream:
        await stream.send_all(GET)
        return await whole_answer(stream)


def client_of(authority: Authority, site: Site, name: str) -> ssl.SSLContext:
    trust = site.trust()
    trust.load_cert_chain(*map(str, authority.sign(name)))
    return trust


async def test_who_shows_a_certificate_of_ours_is_certified(authority: Authority, tmp_path: Path) -> None:
    """And nobody else is, whether without one or with one that somebody else signed."""
    tls = shown(authority, "a", client_ca=str(authority.ca))
    async with serving(authority, tls) as site:
        async with site.client(client_of(authority, site, "b")) as stream:
            await stream.send_all(GET)
            assert await whole_answer(stream) == b"certified"
        async with site.client() as stream:
            await stream.send_all(GET)
            assert await whole_answer(stream) == b"-"
        stranger = client_of(Authority(tmp_path / "other"), site, "b")
        await refused(site, stranger)


async def test_with_verify_all_nobody_gets_in_without(authority: Authority) -> None:
    """Then the certificate is the key."""
    tls = shown(authority, "a", client_ca=str(authority.ca), verify="all")
    async with serving(authority, tls) as site:
        await refused(site, site.trust())
        async with site.client(client_of(authority, site, "b")) as stream:
            await stream.send_all(GET)
            assert await whole_answer(stream) == b"certified"


async def test_a_renewed_certificate_is_shown_to_who_comes_next(authority: Authority) -> None:
    """Connections go on; new ones see the new certificate; a mistake leaves the old one."""
    tls = shown(authority, "a")

    def serial(stream: trio.SSLStream[trio.SocketStream]) -> object:
        return stream.getpeercert()["serialNumber"]

    async with serving(authority, tls) as site, site.client() as before:
        await before.send_all(GET)
        await whole_answer(before)
        site.certificates.renew(shown(authority, "a"))
        async with site.client() as after:
            await after.send_all(GET)
            await whole_answer(after)
            assert serial(after) != serial(before)
        await before.send_all(GET)
        assert await whole_answer(before) == b"-"
        await trio.Path(tls.cert).write_text("no certificate")
        with pytest.raises(ConfigError):
            site.certificates.renew(tls)
        async with site.client() as still:
            await still.send_all(GET)
            assert await whole_answer(still) == b"-"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda tls: Path(tls.cert).unlink(), "cannot be read: No such file"),
        (lambda tls: Path(tls.key).write_text("x"), "expected a PEM certificate and its unencrypted key"),
        (lambda tls: Path(tls.ca).write_text("x"), "expected PEM certificates"),
        (lambda tls: Path(tls.ca).unlink(), "[tls] ca"),
    ],
)
def test_files_that_do_not_serve_are_named(tmp_path: Path, spoil: Callable[[TlsConfig], object], told: str) -> None:
    """At the start, and not at the first connection."""
    tls = shown(Authority(tmp_path / "ca"), "a")
    spoil(tls)
    with pytest.raises(ConfigError, match=r"\[tls\]") as caught:
        Certificates(tls)
    assert told in str(caught.value)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(tmp_path: Path, authority: Authority) -> None:
    """A daemon has nobody to ask; it must not wait at a terminal for ever."""
    cert, key = authority.sign("locked")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ("openssl", "pkcs8", "-topk8", "-in", key, "-out", locked, "-passout", "pass:hunter2"),
        check=True,
        capture_output=True,
    )
    with pytest.raises(ConfigError, match="unencrypted"):
        Certificates(TlsConfig(cert=str(cert), key=str(locked)))


def test_plain_sockets_stay_as_they_are() -> None:
    """Without a certificate there is nothing between a connection and its socket."""
    one, other = socket.socketpair()
    with one, other:
        assert type(Certificates(TlsConfig()).wire(one, 1.0)).__name__ == "Wire"
