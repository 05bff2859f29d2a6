"""An agent behind WebRTC. Signalling is two strings, so any HTTP framework can do it. aiortc plays the browser.

The peer asks by a message, hears the answer on its track, and interrupts it. With a real page, a POST request calls
`offer`. docs/guides/transports.md has the page's twenty lines of JavaScript.
"""

import json
from typing import Any

import anyio
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from bargein import Pipeline, Sessions, Transport, WebRtcServer
from bargein.services.testing import ScriptedBrain


def agent(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, ScriptedBrain("It is nine, and all is well. " * 10), peer.sink)


async def browser(server: WebRtcServer) -> None:
    pc, flushed = RTCPeerConnection(RTCConfiguration(iceServers=[])), anyio.Event()
    pc.addTrack(AudioStreamTrack())
    tracks: list[Any] = []
    pc.on("track", tracks.append)
    channel = pc.createDataChannel("bargein")

    @channel.on("message")
    def on_message(data: str) -> None:
        message = json.loads(data)
        if message["type"] == "ready":
            channel.send('{"type": "text", "text": "What time is it?"}')
        elif message["type"] == "flush":
            print("the page drops what it has not played")
            flushed.set()

    await pc.setLocalDescription(await pc.createOffer())
    answer = await server.offer(pc.localDescription.sdp)
    await pc.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    while not np.any(np.abs((await tracks[0].recv()).to_ndarray()) > 300):
        pass  # silence
    print("the agent is heard")
    channel.send('{"type": "interrupt"}')
    await flushed.wait()
    await pc.close()


async def main() -> None:
    async with WebRtcServer(Sessions(agent)) as server:
        await browser(server)


if __name__ == "__main__":
    anyio.run(main)
