// A connection over WebRTC: the browser's own echo cancellation, jitter buffer and codec.

import { ask, askJson, pause, ServerError } from "./server.js";

const OPEN_MS = 15000; // how long a connection may take to open
const RESTART_MS = 6000; // how long an ICE restart may wait for the server's answer, and then look for a way
const GATHER_MS = 1000; // how long the page waits for a slow STUN or TURN server

export class WebRtcConnection {
  // `hears` has the callbacks `receive(message)`, `heard(sound)`, `blocked()`, `doubt()`, `lost()`.
  static async open({ stream, speaker, params, signal, ...hears }) {
    const { iceServers } = await askJson("choices", { signal });
    const connection = new WebRtcConnection(iceServers, speaker, hears);
    try {
      connection.#media(stream);
      await connection.#negotiate({ signal, params });
      await connection.#opened(signal);
      return connection;
    } catch (error) {
      connection.abandon();
      throw error;
    }
  }

  constructor(iceServers, speaker, hears) {
    this.chatty = true; // the server sends a packet at least every 0.4 s, also while the agent is silent
    this.over = false;
    this.session = null; // the server's name for it, once it has answered
    this.hears = hears;
    this.peer = new RTCPeerConnection({ iceServers });
    this.channel = this.peer.createDataChannel("control", { ordered: true });
    this.channel.onmessage = ({ data }) => this.over || this.#receive(JSON.parse(data));
    this.channel.onclose = () => this.over || hears.lost();
    this.peer.oniceconnectionstatechange = () => {
      if (!this.over && ["disconnected", "failed"].includes(this.peer.iceConnectionState)) hears.doubt();
    };
    this.peer.ontrack = ({ track, streams }) => {
      if (track.kind !== "audio" || this.over) return;
      speaker.srcObject = streams[0] ?? new MediaStream([track]);
      speaker.play().catch((error) => error.name === "NotAllowedError" && hears.blocked());
      hears.heard(speaker.srcObject);
    };
  }

  #media(stream) {
    const options = { direction: "sendrecv", streams: stream ? [stream] : [] };
    this.voice = this.peer.addTransceiver(stream?.getAudioTracks()[0] ?? "audio", options);
    this.picture = this.peer.addTransceiver("video", { direction: "sendrecv" });
  }

  #receive(message) {
    if (message.type === "end") this.over = true; // the channel closes now, and that is no fault
    this.hears.receive(message);
  }

  async #negotiate({ signal, params = {}, iceRestart = false, ms }) {
    await this.peer.setLocalDescription(await this.peer.createOffer({ iceRestart }));
    await gathered(this.peer);
    const offer = { sdp: this.peer.localDescription.sdp, type: "offer", params, session: this.session ?? "" };
    const { type, sdp, session } = await askJson("offer", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(offer),
      signal,
      ms,
    });
    this.session = session;
    signal.throwIfAborted();
    await this.peer.setRemoteDescription({ type, sdp });
  }

  #opened(signal) {
    const { channel, peer } = this;
    return new Promise((done, fail) => {
      if (channel.readyState === "open") return done();
      const noWay = () => fail(new ServerError("No way to the server was found over WebRTC."));
      channel.addEventListener("open", () => done(), { once: true });
      channel.addEventListener("close", () => fail(new ServerError("The server closed the connection.")), { once: true });
      peer.addEventListener("connectionstatechange", () => peer.connectionState === "failed" && noWay());
      signal.addEventListener("abort", () => fail(signal.reason));
      setTimeout(noWay, OPEN_MS);
    });
  }

  async received() {
    // Bytes that have come so far; a number that stands still is a connection in doubt.
    let bytes = 0;
    for (const each of (await this.peer.getStats()).values()) {
      if (each.type === "candidate-pair" || each.type === "inbound-rtp") bytes += each.bytesReceived ?? 0;
    }
    return bytes;
  }

  async restart(signal) {
    // Look for a new way to the same session. Throws `ServerError`; status 404 says that the session is over.
    await this.#negotiate({ signal, iceRestart: true, ms: RESTART_MS });
    const before = await this.received();
    for (const until = performance.now() + RESTART_MS; performance.now() < until; await pause(100)) {
      signal.throwIfAborted();
      if ((await this.received()) > before) return;
    }
    throw new ServerError("No way to the server was found over WebRTC.");
  }

  send(message) {
    if (this.channel.readyState !== "open") return false;
    this.channel.send(JSON.stringify(message));
    return true;
  }

  microphone(stream) {
    return this.voice.sender.replaceTrack(stream?.getAudioTracks()[0] ?? null);
  }

  camera(track) {
    return this.picture.sender.replaceTrack(track);
  }

  abandon() {
    // Nothing of it stays, neither here nor at the server. Works also while the page is being closed.
    this.over = true;
    this.peer.close();
    if (this.session) ask(`whip/${this.session}`, { method: "DELETE", keepalive: true }).catch(() => {});
    this.session = null;
  }

  close() {
    this.over = true;
    if (!this.send({ type: "end" })) return this.abandon();
    setTimeout(() => this.peer.close(), 100); // the goodbye is on its way
  }
}

function gathered(peer) {
  return new Promise((done) => {
    if (peer.iceGatheringState === "complete") return done();
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done());
    setTimeout(done, GATHER_MS);
  });
}
