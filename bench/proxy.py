#!/usr/bin/env python3
"""A TCP proxy before a Kafka broker that loses answers: every Nth answer to a chosen request is swallowed and its connection closed.

  proxy.py LISTEN_PORT BROKER_PORT API_KEY EVERY        e.g. proxy.py 19102 19101 26 3: every third answer to EndTxn

The request itself reaches the broker, so the broker has done what the client never hears of. The broker must advertise the proxy's port
(kafka-up.sh with KAFKA_PROXY=1). Prints one line for each answer that it swallowed.
"""
import asyncio, struct, sys


class Proxy:
    def __init__(self, broker_port, api_key, every):
        self.broker_port, self.api_key, self.every = broker_port, api_key, every
        self.seen = self.swallowed = 0

    async def serve(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.broker_port)
        except OSError:
            writer.close()
            return
        doomed = set()  # correlation ids of this connection whose answers get lost
        ways = [asyncio.create_task(self.requests(reader, up_writer, doomed)), asyncio.create_task(self.answers(up_reader, writer, doomed))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for w in ways:
            w.cancel()
        writer.close()
        up_writer.close()

    async def frames(self, reader):
        while True:
            try:
                head = await reader.readexactly(4)
                yield head, await reader.readexactly(struct.unpack(">i", head)[0])
            except (asyncio.IncompleteReadError, ConnectionError):
                return

    async def requests(self, reader, up, doomed):
        async for head, body in self.frames(reader):
            key, _, correlation = struct.unpack(">hhi", body[:8])
            if key == self.api_key:
                self.seen += 1
                if self.seen % self.every == 0:
                    doomed.add(correlation)
            up.write(head + body)
            await up.drain()

    async def answers(self, up, writer, doomed):
        async for head, body in self.frames(up):
            if struct.unpack(">i", body[:4])[0] in doomed:
                self.swallowed += 1
                print(f"swallowed answer {self.swallowed}", flush=True)
                return
            writer.write(head + body)
            await writer.drain()


async def main():
    listen, broker, key, every = map(int, sys.argv[1:5])
    server = await asyncio.start_server(Proxy(broker, key, every).serve, "127.0.0.1", listen)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
