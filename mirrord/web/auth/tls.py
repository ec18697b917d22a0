"""TLS on an accepted socket, beside plain ones: the same ``Wire``, with OpenSSL between it and the kernel."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress

import trio

from ...config.access.tls import TlsConfig
from ...errors import ConfigError, InvalidRequest
from ..errors import answer
from ..message import JSON, ClientGone, response_head
from ..wire import NOT_NOW, Wire

RECORD_BYTES = 16 * 1024
"""What a TLS record holds at most: smaller buffers are joined to about so much."""

UNREAD_BYTES = 64 * 1024


class TlsWire(Wire):
    """A ``Wire`` whose bytes are encrypted. The handshake is part of the first reading, under the same deadline."""

    __slots__ = ("_reading_writes", "_tls")

    def __init__(self, sock: socket.socket, stall_s: float, context: ssl.SSLContext) -> None:
        try:
            self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            raise ClientGone(str(error)) from error
        super().__init__(self._tls, stall_s)
        self._reading_writes = False
        """OpenSSL has to send something before it can receive more."""

    @property
    def certified(self) -> bool:
        """The client showed a certificate that our client CA signed."""
        return bool(self._tls.getpeercert())

    def receive_now(self, size: int) -> bytes | None:
        try:
            data = self._tls.recv(size)
        except (ssl.SSLWantReadError, BlockingIOError):
            return None
        except ssl.SSLWantWriteError:
            self._reading_writes = True
            return None
        except OSError as error:
            if getattr(error, "reason", "") == "HTTP_REQUEST":
                self._speak_plainly()
            raise ClientGone(str(error)) from error
        self.bytes_in += len(data)
        return data

    async def readable(self) -> None:
        """As a plain one is, but that OpenSSL may hold what the kernel no longer has, and write in order to read."""
        if self._reading_writes:
            self._reading_writes = False
            await trio.lowlevel.wait_writable(self.sock)
        elif self._tls.pending():
            await trio.lowlevel.checkpoint()  # the kernel has nothing more, and OpenSSL has
        else:
            await super().readable()

    def _send_some(self, buffers: Sequence[bytes | memoryview]) -> int:
        # What OpenSSL refused once it must be given again, unchanged: the same buffers give the same bytes.
        try:
            return self._tls.send(_about_a_record(buffers))
        except NOT_NOW:
            return 0
        except OSError as error:
            raise ClientGone(str(error)) from error

    def _speak_plainly(self) -> None:
        """A client that does not speak TLS is told so in its own words."""
        told = answer(InvalidRequest("this port speaks TLS: use https:// in place of http://")).body
        body = told if isinstance(told, bytes) else b"".join(told)
        head = response_head(400, JSON, (), b"content-length: %d\r\n" % len(body), b"", True)
        with suppress(OSError):
            socket.socket.recv(self._tls, UNREAD_BYTES)  # what nobody has read would cut our words off
            os.write(self._tls.fileno(), head + body)

    async def linger(self, seconds: float) -> None:
        self._say_goodbye()
        await super().linger(seconds)

    def close(self) -> None:
        self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        """TLS's own last word: without it a client could take a cut connection for the end of an answer."""
        with suppress(OSError, ValueError):
            self._tls.unwrap()


def _about_a_record(buffers: Sequence[bytes | memoryview]) -> bytes | memoryview:
    length = count = 0
    while count < len(buffers) and length < RECORD_BYTES:
        length += len(buffers[count])
        count += 1
    return buffers[0] if count == 1 else b"".join(buffers[:count])


class Certificates:
    """What a node shows and believes. Renewed, it counts for connections that are opened from then on."""

    def __init__(self, tls: TlsConfig) -> None:
        self._tls = tls
        self._server = _server_context(tls) if tls.serves else None
        self.client = _client_context(tls) if tls.ca or tls.serves else None
        """For calls to peers; None: the system's CAs, and no certificate of ours."""

    @property
    def peers_certify(self) -> bool:
        """Whether feeds are for callers with a certificate only."""
        return bool(self._tls.client_ca)

    @property
    def all_certify(self) -> bool:
        """Whether nobody gets in without a certificate."""
        return self.peers_certify and self._tls.verify == "all"

    def wire(self, sock: socket.socket, stall_s: float) -> Wire:
        """An accepted socket as this node speaks on it. Raises ClientGone."""
        return Wire(sock, stall_s) if self._server is None else TlsWire(sock, stall_s, self._server)

    def renew(self, tls: TlsConfig) -> None:
        """Read the files again. Raises ConfigError, and then nothing has changed."""
        fresh = Certificates(tls)
        if (fresh._server is None) != (self._server is None):
            raise ConfigError("[tls] cert came or went: start the node anew to change what it speaks")
        self._tls, self._server = tls, fresh._server
        if self.client is not None and fresh.client is not None:
            # Links keep this object: it learns what is new. A CA that went is forgotten at the next start.
            _teach(self.client, tls)


def _server_context(tls: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _show(context, tls)
    if tls.client_ca:
        _believe(context, "client_ca", tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if tls.verify == "all" else ssl.CERT_OPTIONAL
    return context


def _client_context(tls: TlsConfig) -> ssl.SSLContext:
    if tls.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:
        context = ssl.create_default_context()
    _teach(context, tls)
    return context


def _teach(context: ssl.SSLContext, tls: TlsConfig) -> None:
    if tls.ca:
        _believe(context, "ca", tls.ca)
    if tls.serves:
        _show(context, tls)


def _show(context: ssl.SSLContext, tls: TlsConfig) -> None:
    try:
        context.load_cert_chain(tls.cert, tls.key, password=str)  # no password: nobody is there to be asked
    except ssl.SSLError as error:
        why = f"{error.reason or error}; expected a PEM certificate and its unencrypted key"
        raise ConfigError(f"[tls] cert {tls.cert} with key {tls.key}: {why}") from None
    except OSError as error:
        raise ConfigError(f"[tls] cert {tls.cert} or key {tls.key}: cannot be read: {error.strerror}") from None


def _believe(context: ssl.SSLContext, name: str, file: str) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise ConfigError(f"[tls] {name} {file}: {error.reason or error}; expected PEM certificates") from None
    except OSError as error:
        raise ConfigError(f"[tls] {name} {file}: cannot be read: {error.strerror}") from None
