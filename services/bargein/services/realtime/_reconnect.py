"""Keeping a conversation connected: connecting, connecting again, and giving up."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from random import Random
from typing import Final

import anyio

from bargein.services.frames import Disconnected
from bargein.services.sockets import Endpoint, Socket, SocketClosedError, SocketRefusedError

from ._connection import Connection
from ._dialogue import Dialogue
from .policy import ReconnectPolicy
from .profile import Profile
from .protocol import Protocol

__all__ = ["RealtimeError", "keep_connected"]

log = logging.getLogger("bargein.realtime")

STABLE_SECONDS: Final = 5.0
"""A connection that lasted less than this (seconds) counts as a failed attempt. Otherwise a server that greets and then
hangs up would be called again for ever."""

FAREWELL_SECONDS: Final = 0.4
"""How long the last messages may take, in seconds. A session that is cancelled waits for them."""

REFUSALS: Final = {
    400: "it does not accept the request",
    401: "the key is not accepted",
    403: "the key may not do this",
    404: "there is no such model or address",
}
"""HTTP statuses after which retrying cannot succeed, and what they mean."""


class RealtimeError(ConnectionError):
    """There is no session with the provider, and retrying has not helped or cannot succeed."""


async def keep_connected(
    dialogue: Dialogue,
    *,
    profile: Profile,
    policy: ReconnectPolicy,
    make_protocol: Callable[[], Protocol],
    connect: Callable[[Endpoint], AbstractAsyncContextManager[Socket]],
    random: Random,
) -> None:
    """Connect, and connect again whenever the connection ends, until the policy gives up.

    Args:
        dialogue: The conversation.
        profile: What the provider can do.
        policy: When to connect again, and when to give up.
        make_protocol: Returns a new protocol for each connection.
        connect: Opens a socket.
        random: Source of the jitter between attempts.

    Raises:
        RealtimeError: It is given up.
    """
    failures = 0
    while True:
        protocol, began = make_protocol(), anyio.current_time()
        handle, settings = dialogue.resume_handle, dialogue.settings
        fatal = clean = False
        hide_secrets: Callable[[str], str] = str  # bound now: the attempt may fail before there is an endpoint
        if handle:
            protocol.resume(handle)
        try:
            endpoint = await _endpoint(protocol, policy.ready_seconds)
            hide_secrets = dialogue.hide_secrets = endpoint.hide_secrets
            async with connect(endpoint) as socket:
                dialogue.on_connecting(protocol, settings)
                try:
                    connection = Connection(socket, protocol, dialogue, policy, profile)
                    ending = await connection.run()
                finally:
                    await _say_farewell(socket, protocol)
            ending.raise_refusal()
            if handle and not dialogue.ready:  # that session is gone, but a new one may be possible
                dialogue.resume_handle, dialogue.fatal = "", None
            fatal, reason, clean = dialogue.fatal is not None, dialogue.fatal or ending.reason, ending.clean
        except SocketRefusedError as error:
            fatal = (error.final or error.status in REFUSALS) and not handle  # the handle may be what is refused
            if error.status is not None:
                dialogue.resume_handle = ""
            reason = _explain(error)
        reason = hide_secrets(reason)  # it may be the provider's text: of a refusal, a close frame or an error
        stable = dialogue.ready and anyio.current_time() > began + STABLE_SECONDS
        failures = 0 if stable or clean else failures + 1
        dialogue.on_disconnected(reason)  # before the application learns of it
        final = fatal or failures > policy.max_attempts or not policy.max_attempts
        dialogue.emit(Disconnected(provider=profile.provider, reason=reason, clean=clean, final=final))
        if final:
            attempts = f"; given up after {failures} attempts" if failures > 1 else ""
            raise RealtimeError(f"{profile.provider}: {reason}{attempts}")
        log.info("%s: %s; connecting again", profile.provider, reason)
        await anyio.sleep(policy.wait(failures, random))


async def _endpoint(protocol: Protocol, seconds: float) -> Endpoint:
    """Return where to connect to, within a time limit if it has to be fetched."""
    endpoint = protocol.endpoint()
    if not inspect.isawaitable(endpoint):
        return endpoint
    with anyio.move_on_after(seconds):
        return await endpoint
    raise SocketRefusedError(f"no address or token within {seconds:g} s")


async def _say_farewell(socket: Socket, protocol: Protocol) -> None:
    """Send the last messages of a protocol, if that is still possible, also when the session is cancelled."""
    with (
        # Nova Sonic and Qwen want their session ended in order. The shield lets a cancelled session do that, and the
        # bound keeps it short.
        anyio.CancelScope(shield=True),
        anyio.move_on_after(FAREWELL_SECONDS),
        suppress(SocketClosedError, SocketRefusedError),
    ):
        for message in protocol.close_session():
            await socket.send(message)


def _explain(error: SocketRefusedError) -> str:
    """Return a refusal in words, with the beginning of what the server says."""
    meaning = REFUSALS.get(error.status or 0)
    body = " ".join(error.body.split())[:200]
    return f"{error}{f': {meaning}' if meaning else ''}{f' ({body})' if body else ''}"
