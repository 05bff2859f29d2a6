// A connection over a WebSocket: 16-bit samples behind a header of 16 bytes, both ways; see docs/guides/transports.md.

import { capture, makePlayer, sentRate } from "./sound.js";
import { alive, ask, refusal, ServerError, socketAddress } from "./server.js";

const HEADER = 16;
const OPEN_MS = 15000; // how long a connection may take to open
const BEHIND_BYTES = 64000; // two seconds of sound that the network has not taken: what follows is dropped

export class WebSocketConnection {
  // All sound is in one context at the browser's own rate: Firefox does not join two rates, and Safari wants a context
  // that a touch has started. The microphone's sound is resampled in it; the agent's is asked for at its rate.
  // `resume` is the token of a conversation to go on with, or empty.
  static async open({ stream, context, params, resume, signal, ...hears }) {
    const connection = new WebSocketConnection(context, hears);
    try {
      await connection.#started(params, resume, signal);
    } catch (error) {
      connection.abandon();
      throw error;
    }
    await connection.microphone(stream);
    connection.player.node.connect(context.destination);
    hears.heard(connection.player.node);
    return connection;
  }

  constructor(context, hears) {
    this.chatty = false; // nothing comes while the agent is silent
    this.over = false;
    this.context = context;
    this.hears = hears;
    this.player = makePlayer(context);
    this.input = null;
    this.camera = null; // pictures go over WebRTC only
    this.messages = 0;
    this.resume = ""; // the conversation's token
    this.resumed = false; // whether the agent remembers what was said before
    this.sequence = 0;
    this.socket = new WebSocket(socketAddress());
    this.socket.binaryType = "arraybuffer";
  }

  #started(params, resume, signal) {
    const { socket, context, hears } = this;
    return new Promise((done, fail) => {
      socket.onopen = () =>
        this.send({ type: "start", rate: sentRate(context), channels: 1, output_rate: context.sampleRate, resume, params });
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type !== "ready") return fail(refusal(message));
        this.resume = message.resume ?? "";
        this.resumed = Boolean(message.resumed);
        hears.receive({ ...message, resume: undefined }); // the token is not shown
        socket.onmessage = (event) => this.over || this.#receive(event.data);
        socket.onclose = () => this.over || hears.lost();
        done();
      };
      socket.onclose = () => unopened().then(fail, fail);
      signal.addEventListener("abort", () => fail(signal.reason));
      setTimeout(() => fail(new ServerError("The server does not answer over the WebSocket.")), OPEN_MS);
    });
  }

  #receive(data) {
    this.messages++;
    if (data instanceof ArrayBuffer) {
      return this.player.post({ epoch: new DataView(data).getUint32(12, true), samples: data.slice(HEADER) });
    }
    const message = JSON.parse(data);
    if (message.type === "end") this.over = true; // the socket closes now, and that is no fault
    if (message.type === "flush") this.player.post({ flush: message.epoch });
    else if (message.type === "hold" || message.type === "resume") this.player.post({ held: message.type === "hold" });
    this.hears.receive(message);
    if (this.over) this.#release();
  }

  async received() {
    return this.messages;
  }

  async restart() {
    // A socket has no second way. It is kept when the server answers again. Gives false if it is lost.
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    if ((await alive()) !== "yes") throw new ServerError("The server does not answer.");
    return true;
  }

  send(message) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  async microphone(stream) {
    this.input?.release();
    this.input = stream ? capture(this.context, stream, (samples) => this.#sound(samples)) : null;
  }

  #sound(samples) {
    const sequence = this.sequence++; // counted also when it is dropped, so that the agent knows of the gap
    if (this.over || this.socket.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > BEHIND_BYTES) return;
    const message = new ArrayBuffer(HEADER + samples.byteLength);
    const header = new DataView(message);
    header.setUint8(0, 1);
    header.setUint8(1, 1);
    header.setUint32(4, sentRate(this.context), true);
    header.setUint32(8, sequence, true);
    new Uint8Array(message, HEADER).set(new Uint8Array(samples));
    this.socket.send(message);
  }

  #release() {
    this.player.release();
    this.input?.release();
    this.input = null;
  }

  abandon() {
    // Nothing of it stays here. The server keeps the conversation for the next connection.
    this.over = true;
    this.socket.close();
    this.#release();
  }

  close() {
    // Say goodbye.
    this.send({ type: "end" });
    this.abandon();
  }
}

async function unopened() {
  // Why a socket was not opened: browsers do not tell.
  if ((await alive()) !== "yes") return new ServerError("The server does not answer.");
  const ready = await ask("readyz");
  if (!ready.ok) return new ServerError((await ready.text()).trim(), ready.status);
  return new ServerError("The server refused the connection.", 403);
}
