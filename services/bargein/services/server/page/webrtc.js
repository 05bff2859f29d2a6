// A connection over WebRTC: the browser's own echo cancellation, jitter buffer and codec.

import { ask, askJson, pause, refusal, ServerError } from "./server.js";

const OPEN_MS = 15000; // how long a connection may take to open
const RESTART_MS = 6000; // how long an ICE restart may wait for the server's answer, and then look for a way
const GATHER_MS = 1000; // how long the page waits for a slow STUN or TURN server

export class WebRtcConnection {
  // `resume` is the token of a conversation to go on with, or empty. `hears` has the callbacks `receive(message)`,
  // `heard(sound)`, `blocked()`, `doubt()`, `lost()`.
  static async open({ stream, speaker, params, resume, signal, ...hears }) {
    const { iceServers } = await askJson("choices", { signal });
    const connection = new WebRtcConnection(iceServers, speaker, hears);
    try {
      connection.#media(stream);
      const begun = connection.#begun(signal);
      await Promise.all([begun, connection.#negotiate({ signal, params, resume })]);
      return connection;
    } catch (error) {
      if (resume) connection.abandon(); // without a goodbye, for the next attempt
      else connection.close();
      throw error;
    }
  }

  constructor(iceServers, speaker, hears) {
    this.chatty = true; // the server sends a packet at least every 0.4 s, also while the agent is silent
    this.over = false;
    this.session = null; // the server's name for it, once it has answered
    this.resume = ""; // the conversation's token
    this.resumed = false; // whether the agent remembers what was said before
    this.roundTripMs = 0; // of the network, as far as it is known
    this.hears = hears;
    this.peer = new RTCPeerConnection({ iceServers });
    this.channel = this.peer.createDataChannel("control", { ordered: true });
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
    if (message.type === "ready") {
      this.resume = message.resume ?? "";
      this.resumed = Boolean(message.resumed);
    }
    if (message.type === "end") this.over = true; // the channel closes now, and that is no fault
    this.hears.receive({ ...message, resume: undefined }); // the token is not shown
  }

  async #negotiate({ signal, params = {}, resume = "", iceRestart = false, ms }) {
    await this.peer.setLocalDescription(await this.peer.createOffer({ iceRestart }));
    await gathered(this.peer);
    const offer = { sdp: this.peer.localDescription.sdp, type: "offer", params, resume, session: this.session ?? "" };
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

  #begun(signal) {
    // The session has begun: the first message on the channel is `ready`, or says why not.
    const { channel, peer } = this;
    return new Promise((done, fail) => {
      const noWay = () => fail(new ServerError("No way to the server was found over WebRTC."));
      channel.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type !== "ready") return fail(refusal(message));
        channel.onmessage = (event) => this.over || this.#receive(JSON.parse(event.data));
        channel.onclose = () => this.over || this.hears.lost();
        this.#receive(message);
        done();
      };
      channel.onclose = () => fail(new ServerError("The server closed the connection."));
      peer.addEventListener("connectionstatechange", () => peer.connectionState === "failed" && noWay());
      signal.addEventListener("abort", () => fail(signal.reason));
      setTimeout(noWay, OPEN_MS);
    });
  }

  async received() {
    // Bytes that have come so far; a number that stands still is a connection in doubt.
    let bytes = 0;
    for (const each of (await this.peer.getStats()).values()) {
      if (each.type === "candidate-pair" && each.nominated) this.roundTripMs = 1000 * (each.currentRoundTripTime ?? 0);
      if (each.type === "candidate-pair" || each.type === "inbound-rtp") bytes += each.bytesReceived ?? 0;
    }
    return bytes;
  }

  async restart(signal) {
    // Look for a new way to the same session. Gives false if there is none. Throws when the server does not answer.
    try {
      await this.#negotiate({ signal, iceRestart: true, ms: RESTART_MS });
    } catch (error) {
      if (error.status === 404) return false; // the session is over
      throw error;
    }
    const before = await this.received();
    for (const until = performance.now() + RESTART_MS; performance.now() < until; await pause(100)) {
      signal.throwIfAborted();
      if ((await this.received()) > before) return true;
    }
    return false;
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
    // Nothing of it stays here. The server keeps the conversation for the next connection.
    this.over = true;
    this.peer.close();
  }

  close({ leaving = false } = {}) {
    // Say goodbye. `leaving` says that the page is being closed: then only a request is sure to be sent.
    this.over = true;
    const told = !leaving && this.send({ type: "end" });
    if (!told && this.session) ask(`whip/${this.session}`, { method: "DELETE", keepalive: true }).catch(() => {});
    setTimeout(() => this.peer.close(), told ? 100 : 0); // the goodbye is on its way
  }
}

function gathered(peer) {
  return new Promise((done) => {
    if (peer.iceGatheringState === "complete") return done();
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done());
    setTimeout(done, GATHER_MS);
  });
}
