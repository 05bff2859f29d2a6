"""An agent behind WebRTC: signalling is two strings, so any HTTP framework will do. The browser is a peer of aiortc.

The peer asks by a message, hears the answer on its track, and interrupts it. With a page in its place, `offer` is what
a POST calls; the page's own part is twenty lines of JavaScript, in docs/transports.md.
"""

import json
from typing import Any

import anyio
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from bargein.pipeline import Pipeline
from bargein.services.testing import ScriptedBrain
from bargein.services.transports import Sessions, Transport
from bargein.services.transports.webrtc import WebRtcServer


def agent(peer: Transport) -> Pipeline:
    return Pipeline(peer.source, ScriptedBrain("It is nine, and all is well. " * 10), peer.sink)


async def browser(server: WebRtcServer) -> None:
    pc, told = RTCPeerConnection(RTCConfiguration(iceServers=[])), anyio.Event()
    pc.addTrack(AudioStreamTrack())
    tracks: list[Any] = []
    pc.on("track", tracks.append)
    channel = pc.createDataChannel("bargein")

    @channel.on("message")
    def on_message(data: str) -> None:
        message = json.loads(data)
        if message["type"] != "text":
            print("told:", message["type"], message.get("state", ""))
        if message["type"] == "ready":
            channel.send('{"type": "text", "text": "What time is it?"}')
        elif message["type"] == "flush":
            told.set()

    await pc.setLocalDescription(await pc.createOffer())
    answer = await server.offer(pc.localDescription.sdp)
    await pc.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    while not np.any(np.abs((await tracks[0].recv()).to_ndarray()) > 300):
        pass  # silence
    print("the agent is heard")
    channel.send('{"type": "interrupt"}')
    await told.wait()
    await pc.close()


async def main() -> None:
    async with WebRtcServer(Sessions(agent)) as server:
        await browser(server)


if __name__ == "__main__":
    anyio.run(main)
