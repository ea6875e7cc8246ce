"""Connections of clients that are slow, or send without end, are closed: a protocol for uvicorn.

    uvicorn.run(app(shop), http=Guarded, ws="none", limit_concurrency=room())

uvicorn itself waits for ever for the head of a request, keeps a head of any length, and waits for ever for an
answer to be read. The body of a request is limited by the application.
"""

import asyncio
from typing import Any

from rezoo.errors import needed

for package in ("uvicorn", "httptools"):
    needed(package)
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: E402

PATIENCE = 10.0
"""Seconds in which the head of a request must have come, and in which an answer must be read."""
MOST_HEAD = 2**16
"""Bytes of the head of a request."""
CONNECTIONS = 2000
"""Connections that may be open at once."""


class Guarded(HttpToolsProtocol):
    """HTTP/1.1 for clients that may be hostile; closes what comes beyond uvicorn's `limit_concurrency`."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    """Whether a request is awaited, or what comes is still its head."""
    _unparsed = 0
    """Bytes since a head or a part of a body was complete."""

    def connection_made(self, transport: Any) -> None:
        transport = _Writable(transport)
        super().connection_made(transport)
        if self.limit_concurrency and len(self.connections) > self.limit_concurrency:
            transport.abort()
        self._hurry(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hurry(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MOST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")
        self._in_head = self.cycle is None or self.cycle.response_complete
        self._hurry(self._in_head or self.flow.write_paused)

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._hurry(False)
        self._hurry(True)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._hurry(True)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._hurry(False)

    def _hurry(self, needed: bool) -> None:
        """Whether the client must send a head, or read an answer, within `PATIENCE` seconds from now."""
        if needed and self._timer is None:
            self._timer = self.loop.call_later(PATIENCE, self._overdue)
        elif not needed and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _overdue(self) -> None:
        self._timer = None
        if self._in_head or self.transport.get_write_buffer_size() > 0:
            self.transport.abort()


class _Writable:
    """A transport that drops what is written after its end, as asyncio's does: uvloop's raises.

    Of several requests sent at once, uvicorn tells only the last that its client is gone.
    """

    def __init__(self, transport: Any):
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


def room() -> int:
    """`CONNECTIONS`, or fewer where so many files cannot be open; raises the limit of open files.

    >>> 0 < room() <= CONNECTIONS
    True
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS if soft == resource.RLIM_INFINITY else min(CONNECTIONS, soft // 2)
