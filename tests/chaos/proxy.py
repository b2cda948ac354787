"""A TCP proxy that can fall silent: it goes on taking and acknowledging, and passes nothing on.

That is how a partition looks from inside: no error, no end, only silence.  Run as a process of its own;
every line on its standard input is `pause N`, `resume N` or `cut N` for the N-th port.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field

from tests.chaos.children import die_with_parent, free_port

CHUNK = 65_536


@dataclass
class Line:
    """One port that leads to the server, and whether anything passes."""

    port: int
    upstream: int
    open: asyncio.Event = field(default_factory=asyncio.Event)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self) -> None:
        self.open.set()
        await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.open.wait()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.close()
            return
        self.writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        self.writers -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one end is gone; the other one is told below
        finally:
            writer.close()

    def obey(self, order: str) -> None:
        if order == "pause":
            self.open.clear()
        elif order == "resume":
            self.open.set()
        else:
            for writer in list(self.writers):
                writer.transport.abort()


async def _obey(lines: list[Line]) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while told := await reader.readline():
        order, number = told.decode().split()
        lines[int(number)].obey(order)


async def main(ports: list[int], upstream: int) -> None:
    lines = [Line(port, upstream) for port in ports]
    for line in lines:
        await line.serve()
    print("ready", flush=True)
    await _obey(lines)


class Proxy:
    """The suite's end of it."""

    def __init__(self, count: int, upstream: int) -> None:
        self.ports = [free_port() for _ in range(count)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.proxy", json.dumps([self.ports, upstream])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def tell(self, order: str, number: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order} {number}\n".encode())
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main(*json.loads(sys.argv[1])))
