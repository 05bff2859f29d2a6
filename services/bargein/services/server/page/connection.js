// Two ways to the agent, WebRTC and WebSocket, with the same few methods.

export function connect(transport, options) {
  return transport === "websocket" ? overSocket(options) : overWebRtc(options);
}

async function problem(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text || `The server answers ${answer.status}.`;
  }
}

// WebRTC: the browser's own echo cancellation, jitter buffer and codec ---------------------------------------------------

async function overWebRtc({ stream, speaker, wishes, receive, heard, closed }) {
  const { iceServers } = await (await fetch("choices")).json();
  const peer = new RTCPeerConnection({ iceServers });
  const channel = peer.createDataChannel("control", { ordered: true });
  let over = false;

  const close = (reason) => {
    if (over) return;
    over = true;
    peer.close();
    closed(reason);
  };

  peer.addTransceiver(stream?.getAudioTracks()[0] ?? "audio", { direction: "sendrecv", streams: stream ? [stream] : [] });
  const video = peer.addTransceiver("video", { direction: "sendrecv" });
  peer.ontrack = ({ track, streams }) => {
    if (track.kind !== "audio") return;
    const sound = streams[0] ?? new MediaStream([track]);
    speaker.srcObject = sound;
    speaker.play().catch(() => {});
    heard(sound);
  };
  channel.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    receive(message);
    if (message.type === "end") close("");
  };
  channel.onclose = () => close("");
  peer.onconnectionstatechange = () => {
    if (peer.connectionState === "failed") close("The connection was lost.");
  };

  await peer.setLocalDescription(await peer.createOffer());
  await gathered(peer);
  const answer = await fetch("offer", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ sdp: peer.localDescription.sdp, type: "offer", wishes }),
  });
  if (!answer.ok) {
    over = true;
    peer.close();
    throw new Error(await problem(answer));
  }
  await peer.setRemoteDescription(await answer.json());
  await opened(channel, peer);

  return {
    send: (message) => channel.readyState === "open" && channel.send(JSON.stringify(message)),
    camera: (track) => video.sender.replaceTrack(track),
    close: () => {
      if (channel.readyState === "open") channel.send(JSON.stringify({ type: "end" }));
      over = true;
      setTimeout(() => peer.close(), 100); // the goodbye is on its way
    },
  };
}

function gathered(peer) {
  // Candidates of this machine are there at once; nobody waits for a slow server for more than a second.
  return new Promise((done) => {
    if (peer.iceGatheringState === "complete") return done();
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done());
    setTimeout(done, 1000);
  });
}

function opened(channel, peer) {
  return new Promise((done, fail) => {
    if (channel.readyState === "open") return done();
    channel.addEventListener("open", () => done(), { once: true });
    peer.addEventListener("connectionstatechange", () => {
      if (peer.connectionState === "failed") fail(new Error("No way to the server was found. Try WebSocket instead."));
    });
    setTimeout(() => fail(new Error("The server does not answer over WebRTC. Try WebSocket instead.")), 15000);
  });
}

// WebSocket: 16-bit samples behind a header of 16 bytes, both ways; see docs/transports.md ------------------------------

const HEADER = 16;
const HEARS = 16000; // samples a second that are sent
const SPEAKS = 24000; // and that are asked for

async function overSocket({ stream, wishes, receive, heard, closed }) {
  const address = new URL("ws", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  await new Promise((done, fail) => {
    socket.onopen = done;
    socket.onerror = () => fail(new Error("The server does not let this page in, or does not answer."));
  });
  const send = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
  send({ type: "start", rate: HEARS, channels: 1, output_rate: SPEAKS, wishes });

  const output = new AudioContext({ sampleRate: SPEAKS });
  await output.audioWorklet.addModule("worklets.js");
  const player = new AudioWorkletNode(output, "player", { numberOfInputs: 0 });
  const sound = output.createMediaStreamDestination();
  player.connect(output.destination);
  player.connect(sound);
  heard(sound.stream);
  const input = stream && (await capture(stream, (samples) => socket.readyState === WebSocket.OPEN && socket.send(samples)));

  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) {
      player.port.postMessage({ epoch: new DataView(data).getUint32(12, true), samples: data.slice(HEADER) });
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "flush") player.port.postMessage({ flush: message.epoch });
    else if (message.type === "hold" || message.type === "resume") player.port.postMessage({ held: message.type === "hold" });
    receive(message);
  };
  const release = () => {
    output.close();
    input?.close();
  };
  socket.onclose = ({ code, reason }) => {
    release();
    closed(code === 1000 ? "" : reason || "The connection was lost.");
  };
  return {
    send,
    camera: null,
    close: () => {
      send({ type: "end" });
      socket.onclose = null;
      socket.close();
      release();
    },
  };
}

async function capture(stream, send) {
  const context = new AudioContext({ sampleRate: HEARS });
  await context.audioWorklet.addModule("worklets.js");
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  let sequence = 0;
  node.port.onmessage = ({ data }) => {
    const message = new ArrayBuffer(HEADER + data.byteLength);
    const header = new DataView(message);
    header.setUint8(0, 1);
    header.setUint8(1, 1);
    header.setUint32(4, HEARS, true);
    header.setUint32(8, sequence++, true);
    new Uint8Array(message, HEADER).set(new Uint8Array(data));
    send(message);
  };
  context.createMediaStreamSource(stream).connect(node);
  return context;
}
