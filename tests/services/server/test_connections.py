"""Connections that say nothing cost a server little, and others are served meanwhile."""

from __future__ import annotations

import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx
import pytest

from bargein.pipeline import Pass, Pipeline
from bargein.services.server import serve_page
from bargein.services.transports import SessionLimits, Transport

pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
pytestmark = pytest.mark.real


def agent(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, Pass(), peer.sink)


WHOLE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def is_healthy(port: int) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{port}/healthz", timeout=30)).text == "ok\n"


@pytest.mark.parametrize("before", [b"", WHOLE])
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: 127"])
async def test_a_request_whose_head_does_not_end_is_ended(before: bytes, sent: bytes) -> None:
    """Within `open_seconds`, the first on a connection or a later one."""
    async with serve_page(agent, port=0, limits=SessionLimits(open_seconds=0.2)) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            if before:
                await stream.send(before)
                await stream.receive()
            if sent:
                await stream.send(sent)
            with anyio.fail_after(8), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                while True:
                    await stream.receive()
        assert await is_healthy(server.port)


CROWDED = """
import faulthandler
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

import anyio
import httpx
from bargein.pipeline import Pass, Pipeline
from bargein.services.server import serve_page


async def main() -> None:
    async with serve_page(lambda peer: Pipeline(peer.source, Pass(), peer.sink), port=0) as server:
        print(server.port, flush=True)
        await server.wait()


faulthandler.dump_traceback_later(45, exit=True)  # where it hangs, if it does
anyio.run(main)
"""


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.every_backend
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="limits of descriptors as on Unix")
async def test_more_silent_connections_than_descriptors_shut_nobody_out(tmp_path: Path, at_once: bool) -> None:
    """The oldest of them is closed for each that comes, and the log stays quiet."""
    program = tmp_path / "crowded.py"
    program.write_text(CROWDED)
    async with await anyio.open_process([sys.executable, str(program)]) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(await process.stdout.receive())
        try:
            async with AsyncExitStack() as stack:
                if at_once:  # all of them wait when the server looks, as on a busy machine
                    process.send_signal(signal.SIGSTOP)
                for _ in range(200):
                    await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
                process.send_signal(signal.SIGCONT)
                assert await is_healthy(port)
        finally:  # a process that runs on would be waited for, and hide what failed
            process.send_signal(signal.SIGCONT)
            process.terminate()
        complaints = [line async for line in process.stderr]
    assert complaints == []
