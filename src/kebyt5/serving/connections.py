"""Connections with timeouts, which Uvicorn alone does not have."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kebyt5.serving.problems import MEDIA_TYPE, Problem


class TimeoutProtocol(H11Protocol):
    """Closes idle connections.

    A connection is idle if the head of a request does not arrive in time, or if the client does
    not read pending output. Uvicorn itself would wait for both forever.

    Args:
        seconds: Seconds within which the head of a request has to arrive, and a client has to read
            some of the pending output.
        max_connections: Number of connections that may be open; requests on further ones are
            refused with 503.
        **uvicorn: What Uvicorn passes.
    """

    def __init__(self, *, seconds: float, max_connections: int, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._seconds = seconds
        self._max_connections = max_connections
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts to wait for the head of the first request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that `pause_writing` tells of every byte
        if len(self.connections) > self._max_connections:
            self.app = Problem(
                503,
                f"{self._max_connections} connections are open, and no more can be;"
                " try again later",
                {"Retry-After": "5", "Connection": "close"},
            ).response()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stops waiting if the head is now complete."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Starts to wait for the head of the next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels both timers."""
        super().connection_lost(exc)
        self._stop_waiting()
        self._stop_waiting_for_reader()

    def pause_writing(self) -> None:
        """Starts to wait for the client to read pending output."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Stops waiting for the client to read."""
        super().resume_writing()
        self._stop_waiting_for_reader()

    def send_400_response(self, msg: str) -> None:
        """Refuses bytes that are not an HTTP request."""
        problem = Problem(400, "this is not a valid HTTP request; check the client and proxies")
        body = problem.body()
        headers = [
            ("content-type", MEDIA_TYPE),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        # The timer also runs once a request is answered before its body has arrived.
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            self._stop_waiting()
        elif self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self._seconds, self.transport.close)

    def _watch_reader(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._read_timer = self.loop.call_later(self._seconds, self._require_reading, left)

    def _require_reading(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._watch_reader()
        else:
            self.transport.abort()  # `close` would wait for the client too

    def _stop_waiting_for_reader(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
