"""Connections on which nothing goes on are given up."""

import asyncio

import uvicorn

from kebyt5.serving.connections import ImpatientProtocol
from kebyt5.serving.server import bind


def test_a_client_that_does_not_read_is_given_up(monkeypatch):
    monkeypatch.setattr(ImpatientProtocol, "read_seconds", 0.2)
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

        config = uvicorn.Config(
            app, http=ImpatientProtocol, ws="none", lifespan="off", log_config=None
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets))
        while not server.started:
            await asyncio.sleep(0.01)
        # The reader takes some for its buffer and no more.
        _, writer = await asyncio.open_connection(*sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await left.wait()
        writer.close()
        server.should_exit = True
        await serving

    asyncio.run(asyncio.wait_for(scenario(), 120))
