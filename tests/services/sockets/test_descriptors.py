"""More silent connections than a process may have descriptors shut nobody out."""

from __future__ import annotations

import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from bargein.services.sockets import Endpoint, dial

pytest.importorskip("websockets", reason="the extra 'websockets' is not installed")
pytestmark = pytest.mark.real

CROWDED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

import sys

import anyio
from bargein.services.sockets import listen


async def echo(socket, request):
    await socket.send(await socket.receive())


async def main() -> None:
    async with listen(echo) as port:
        print(port, flush=True)
        await anyio.sleep_forever()


anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="limits of descriptors as on Unix")
async def test_more_silent_connections_than_descriptors_shut_nobody_out(
    tmp_path: Path, at_once: bool, backend: str
) -> None:
    """The oldest of them is closed for each that comes, and the log stays quiet."""
    program = tmp_path / "crowded.py"
    program.write_text(CROWDED)
    async with await anyio.open_process([sys.executable, str(program), backend]) as process:
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
                async with dial(Endpoint(url=f"ws://127.0.0.1:{port}/")) as socket:
                    await socket.send("hello")
                    assert await socket.receive() == "hello"
        finally:  # a process that runs on would be waited for, and hide what failed
            process.send_signal(signal.SIGCONT)
            process.terminate()
        complaints = [line async for line in process.stderr]
    assert complaints == []
