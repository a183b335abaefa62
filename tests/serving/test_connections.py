"""Idle connections are closed."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial

import uvicorn

from kebyt5.serving.connections import TimeoutProtocol
from kebyt5.serving.server import bind


@asynccontextmanager
async def served(app, sockets, seconds=20, max_connections=1000):
    protocol = partial(TimeoutProtocol, seconds=seconds, max_connections=max_connections)
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets))
    while not server.started:
        await asyncio.sleep(0.01)
    yield
    server.should_exit = True
    await serving


def test_more_connections_than_there_may_be_are_refused():
    sockets = bind("127.0.0.1", 0)

    async def answer(idle):
        address = sockets[0].getsockname()
        connections = [await asyncio.open_connection(*address) for _ in range(idle)]
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        for _, each in [*connections, (reader, writer)]:
            each.close()
        await asyncio.sleep(0.1)
        return text

    async def scenario():
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        async with served(app, sockets, max_connections=2):
            return [await answer(1), await answer(2), await answer(1)]

    fits, refused, again = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert fits.startswith("HTTP/1.1 204 ")
    assert again.startswith("HTTP/1.1 204 ")
    assert refused.startswith("HTTP/1.1 503 ")
    assert "application/problem+json" in refused
    assert "retry-after: 5" in refused.lower()


def test_a_client_that_does_not_read_is_given_up():
    sockets = bind("127.0.0.1", 0)

    async def scenario():
        left = asyncio.Event()

        async def flood(send):
            while True:
                part = {"type": "http.response.body", "body": b"a" * 65_536, "more_body": True}
                await send(part)
                await asyncio.sleep(0)

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            flooding = asyncio.create_task(flood(send))
            while (await receive())["type"] != "http.disconnect":
                pass
            flooding.cancel()
            left.set()

        async with served(app, sockets, seconds=0.2):
            # The reader takes some for its buffer and no more.
            _, writer = await asyncio.open_connection(*sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await left.wait()
            writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 120))


def test_any_pending_byte_counts_as_not_read(monkeypatch):
    """Below asyncio's own limit of 64 KiB a connection would otherwise stay open for good."""
    sockets = bind("127.0.0.1", 0)
    transports = []
    made = TimeoutProtocol.connection_made

    def connection_made(self, transport):
        made(self, transport)
        transports.append(transport)

    monkeypatch.setattr(TimeoutProtocol, "connection_made", connection_made)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def scenario():
        async with served(app, sockets):
            reader, writer = await asyncio.open_connection(*sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert await reader.read()
            writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 120))
    assert transports[0].get_write_buffer_limits() == (0, 0)


def test_a_client_that_reads_slowly_gets_everything():
    sockets, size = bind("127.0.0.1", 0), 16 * 2**20

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a" * size})

    async def scenario():
        async with served(app, sockets, seconds=0.3):
            address = sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address, limit=2**16)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            found = 0
            while part := await reader.read(2**19):
                found += part.count(b"a")
                await asyncio.sleep(0.03)  # longer in all than a client has that takes nothing
            writer.close()
            return found

    assert asyncio.run(asyncio.wait_for(scenario(), 120)) >= size
