"""A pipe in memory: two sockets that are connected with each other."""

from __future__ import annotations

import anyio
import pytest

from bargein.services.sockets import SocketClosedError, pipe, server_time


async def test_a_pipe_carries_messages() -> None:
    """In order, both ways, text and bytes; what was sent before a close still comes."""
    one, other = pipe()
    await one.send("a")
    await one.send(b"b")
    await other.send("c")
    await one.close(4000, "enough")
    assert [await other.receive(), await other.receive()] == ["a", b"b"]
    with pytest.raises(SocketClosedError, match=r"closed with 4000 \(enough\)") as closed:
        await other.receive()
    assert (closed.value.code, closed.value.reason) == (4000, "enough")
    assert await one.receive() == "c"
    with pytest.raises(SocketClosedError):
        await other.send("late")


async def test_a_pipe_has_no_clock() -> None:
    """There is no server whose answer would tell it."""
    assert server_time(pipe()[0]) is None


async def test_a_pipe_is_bounded() -> None:
    """Sending into a full pipe waits until the other end reads or closes."""
    one, other = pipe(capacity=2)
    sent: list[int] = []

    async def send() -> None:
        for number in range(4):
            await one.send(str(number))
            sent.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        assert sent == [0, 1]
        assert [await other.receive() for _ in range(4)] == ["0", "1", "2", "3"]
