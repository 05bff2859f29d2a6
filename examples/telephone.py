"""An agent on the telephone: a media stream of Twilio. The messages of Twilio and the caller are simulated."""

import base64
import json

import anyio

from bargein import Outlet, Pipeline, Processor, Transport, UserText, serve_websocket
from bargein.services.sockets import Endpoint, Socket, dial
from bargein.services.testing import ScriptedBrain
from bargein.services.transports import Dtmf
from bargein.services.transports.telephony import accept_twilio


class Keys(Processor):
    """Turns each key into a question."""

    async def process(self, frame: Dtmf, out: Outlet[UserText]) -> None:
        print("the caller presses", frame.digit)
        await out.send(UserText(f"I pressed {frame.digit}."))


def agent(call: Transport) -> Pipeline:
    print("a call from", call.peer.params["name"])
    return Pipeline(call.source, Keys(), ScriptedBrain("You have no new messages."), call.sink)


async def caller(socket: Socket) -> None:
    async def send(**message: object) -> None:
        await socket.send(json.dumps(message))

    await send(event="connected", protocol="Call", version="1.0.0")
    start = {"streamSid": "MZ1", "callSid": "CA1", "accountSid": "AC1", "customParameters": {"name": "Jane"}}
    await send(event="start", start=start, streamSid="MZ1")
    await send(event="dtmf", dtmf={"digit": "1"}, streamSid="MZ1")
    heard_ms = 0.0
    while heard_ms < 500:
        message = json.loads(await socket.receive())
        if message["event"] == "media":
            heard_ms += len(base64.b64decode(message["media"]["payload"])) / 8  # 8 kHz, one byte a sample
        else:
            await send(**message)  # a mark: the audio before it was played
    await send(event="stop", streamSid="MZ1")
    print(f"{heard_ms:.0f} ms were heard")


async def main() -> None:
    async with serve_websocket(agent, paths={"/twilio": accept_twilio}) as server:
        async with dial(Endpoint(url=f"{server.url}/twilio")) as socket:
            await caller(socket)


if __name__ == "__main__":
    anyio.run(main)
