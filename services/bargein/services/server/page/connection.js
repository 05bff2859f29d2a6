// Two ways to the agent, WebRTC and WebSocket, with the same few methods.

const token = new URLSearchParams(location.search).get("token");

export function connect(transport, options) {
  return transport === "websocket" ? overSocket(options) : overWebRtc(options);
}

export function ask(path, { headers = {}, ...options } = {}) {
  // A request to the agent's server, with the token that the page was opened with.
  return fetch(path, { ...options, headers: token ? { ...headers, authorization: `Bearer ${token}` } : headers });
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

async function overWebRtc({ stream, speaker, wishes, receive, heard, closed, signal }) {
  const { iceServers } = await (await ask("choices", { signal })).json();
  const peer = new RTCPeerConnection({ iceServers });
  const channel = peer.createDataChannel("control", { ordered: true });
  let over = false;
  let session = null; // what the server calls it, once it has answered

  const close = (reason) => {
    if (over) return;
    over = true;
    peer.close();
    closed(reason);
  };
  const leave = () => session && ask(`whip/${session}`, { method: "DELETE", keepalive: true }).catch(() => {});

  const track = stream?.getAudioTracks()[0] ?? "audio";
  peer.addTransceiver(track, { direction: "sendrecv", streams: stream ? [stream] : [] });
  const video = peer.addTransceiver("video", { direction: "sendrecv" });
  peer.ontrack = ({ track, streams }) => {
    if (track.kind !== "audio" || over) return;
    const sound = streams[0] ?? new MediaStream([track]);
    speaker.srcObject = sound;
    speaker.play().catch(() => {}); // the page plays it when it is touched
    heard(sound);
  };
  channel.onmessage = ({ data }) => {
    if (over) return;
    const message = JSON.parse(data);
    receive(message);
    if (message.type === "end") close("");
  };
  peer.onconnectionstatechange = () => {
    if (peer.connectionState === "failed") close("The connection was lost.");
  };

  try {
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    const answer = await ask("offer", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sdp: peer.localDescription.sdp, type: "offer", wishes }),
      signal,
    });
    if (!answer.ok) throw new Error(await problem(answer));
    const { type, sdp, session: name } = await answer.json();
    session = name;
    signal.throwIfAborted();
    await peer.setRemoteDescription({ type, sdp });
    await opened(channel, peer, signal);
  } catch (error) {
    over = true; // nothing of it stays, neither here nor there
    peer.close();
    leave();
    throw error;
  }
  channel.onclose = () => close("");

  return {
    send: (message) => channel.readyState === "open" && channel.send(JSON.stringify(message)),
    camera: (track) => video.sender.replaceTrack(track),
    leave,
    close: () => {
      if (channel.readyState === "open") channel.send(JSON.stringify({ type: "end" }));
      else leave();
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

function opened(channel, peer, signal) {
  return new Promise((done, fail) => {
    if (channel.readyState === "open") return done();
    channel.addEventListener("open", () => done(), { once: true });
    channel.addEventListener("close", () => fail(new Error("The server has closed the connection.")), { once: true });
    peer.addEventListener("connectionstatechange", () => {
      if (peer.connectionState === "failed") fail(new Error("No way to the server was found. Try WebSocket instead."));
    });
    signal.addEventListener("abort", () => fail(signal.reason));
    setTimeout(() => fail(new Error("The server does not answer over WebRTC. Try WebSocket instead.")), 15000);
  });
}

// WebSocket: 16-bit samples behind a header of 16 bytes, both ways; see docs/transports.md ------------------------------

const HEADER = 16;
const HEARS = 16000; // samples a second that are enough to be understood

// All sound is in one context of the browser's own rate: Firefox joins no two rates, and Safari wants a context that a
// touch has started. What is sent is made less in it; what comes is asked for at that rate.
async function overSocket({ stream, context, wishes, receive, heard, closed, signal }) {
  if (!context.audioWorklet) stream = null;
  const player = context.audioWorklet && new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
  const address = new URL("ws", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  if (token) address.searchParams.set("token", token);
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  signal.addEventListener("abort", () => socket.close());

  const send = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
  const input = stream && capture(context, stream, (sound) => socket.readyState === WebSocket.OPEN && socket.send(sound));
  const release = () => {
    player?.disconnect();
    input?.release();
  };

  const start = { type: "start", rate: input?.rate ?? HEARS, channels: 1, output_rate: context.sampleRate, wishes };
  await new Promise((done, fail) => {
    socket.onopen = () => send(start);
    socket.onmessage = ({ data }) => {
      const { type, reason, message } = JSON.parse(data);
      if (type === "ready") done();
      else fail(new Error(reason || message || "The agent does not begin."));
    };
    socket.onclose = () => fail(new Error("The server does not let this page in, or does not answer."));
  }).catch((error) => {
    socket.close();
    release();
    throw error;
  });

  let ended = false; // it has said goodbye, and why
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) {
      player?.port.postMessage({ epoch: new DataView(data).getUint32(12, true), samples: data.slice(HEADER) });
      return;
    }
    const message = JSON.parse(data);
    ended ||= message.type === "end";
    if (message.type === "flush") player?.port.postMessage({ flush: message.epoch });
    else if (message.type === "hold" || message.type === "resume") player?.port.postMessage({ held: message.type === "hold" });
    receive(message);
  };
  socket.onclose = ({ code, reason }) => {
    release();
    closed(code === 1000 || ended ? "" : reason || "The connection was lost.");
  };
  input?.begin();
  player?.connect(context.destination);
  if (player) heard(player);

  const close = () => {
    send({ type: "end" });
    socket.onclose = socket.onmessage = null;
    socket.close();
    release();
  };
  return { send, camera: null, leave: close, close };
}

function capture(context, stream, send) {
  const less = Math.max(1, Math.floor(context.sampleRate / HEARS));
  const rate = context.sampleRate / less;
  const source = context.createMediaStreamSource(stream);
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, processorOptions: { less } });
  let sequence = 0;
  node.port.onmessage = ({ data }) => {
    const message = new ArrayBuffer(HEADER + data.byteLength);
    const header = new DataView(message);
    header.setUint8(0, 1);
    header.setUint8(1, 1);
    header.setUint32(4, rate, true);
    header.setUint32(8, sequence++, true);
    new Uint8Array(message, HEADER).set(new Uint8Array(data));
    send(message);
  };
  return { rate, begin: () => source.connect(node), release: () => source.disconnect() };
}
