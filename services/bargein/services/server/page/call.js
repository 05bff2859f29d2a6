// One call: its sound, its connection, and what happens when the connection fails.

import { Media, stop } from "./media.js";
import { WebRtcConnection } from "./webrtc.js";
import { WebSocketConnection } from "./websocket.js";
import { pause, within } from "./server.js";
import { Watch } from "./watch.js";

const PATIENCE_MS = 20000; // how long the page tries to reconnect
const RETRIED = [0, 404, 408, 429, 502, 503, 504]; // answers after which a new attempt can succeed

export class Call {
  // `transport` is "webrtc", "websocket", or "auto": the first that works. `on` has the callbacks `phase(name)`,
  // `message(message)`, `level(who, time, level)`, `sent(message)`, `blocked()`, `unplugged()`, `reconnected(anew)` and
  // `failed(error, when)`. `resume` is the token of a conversation that the agent may still have.
  constructor({ transport, params, speaker, resume = "", on }) {
    this.transport = transport;
    this.params = params;
    this.on = on;
    this.media = new Media(speaker, on);
    this.leaving = new AbortController();
    this.connection = null;
    this.resume = resume; // the conversation's token: a new connection that presents it goes on with it
    this.recovering = false;
    this.unsent = []; // typed while there was no connection
  }

  get over() {
    return this.leaving.signal.aborted;
  }

  async open(microphone) {
    // `microphone()` gives a stream, or null. Throws what makes the call impossible.
    await this.media.prepare();
    if (microphone) {
      this.on.phase("asking");
      const stream = await microphone();
      if (this.over) return stop(stream);
      this.media.hear(stream);
    }
    this.on.phase("opening");
    if (await this.#connect(this.leaving.signal)) this.on.phase("open");
  }

  async #connect(signal) {
    const ways = this.transport === "auto" ? ["webrtc", "websocket"] : [this.transport];
    for (const way of ways) {
      signal.throwIfAborted();
      const open = way === "webrtc" ? WebRtcConnection.open : WebSocketConnection.open;
      try {
        return this.#use(way, await open({ ...this.#options(), signal }));
      } catch (error) {
        if (this.over) return null;
        if (error.status || way === ways.at(-1)) throw error; // the server has refused, and would again
      }
    }
  }

  #options() {
    const mine = () => this.connection && !this.over && !this.recovering;
    return {
      stream: this.media.stream,
      context: this.media.context,
      speaker: this.media.speaker,
      params: this.params,
      resume: this.resume,
      receive: (message) => this.over || this.on.message(message),
      heard: (sound) => this.over || this.media.meter("agent", sound),
      blocked: () => this.over || this.on.blocked(),
      doubt: () => mine() && this.#recover(false),
      lost: () => mine() && this.#recover(true),
    };
  }

  #use(way, connection) {
    if (this.over) {
      connection.close(); // hung up meanwhile
      return null;
    }
    this.transport = way;
    this.connection = connection;
    this.resume = connection.resume;
    this.recovering = false;
    this.watch = new Watch(connection, (server) => this.recovering || this.over || this.#recover(server === "no"));
    for (const message of this.unsent.splice(0)) this.send(message);
    return connection;
  }

  async #recover(dead) {
    // Look for a new way to the same session; if there is none, connect anew. Give up after PATIENCE_MS.
    const old = this.connection;
    this.recovering = true;
    this.on.phase("reconnecting");
    this.watch.stop();
    const limit = within(this.leaving.signal, PATIENCE_MS);
    let problem = null;
    for (let attempt = 0; !limit.aborted; attempt++) {
      try {
        dead ||= !(await old.restart(limit));
        const connection = dead ? await this.#replace(limit) : this.#use(this.transport, old);
        limit.done();
        if (connection) this.on.reconnected(dead);
        return;
      } catch (error) {
        problem = error;
        if (!RETRIED.includes(error.status ?? 0)) break;
      }
      await pause(Math.min(250 * 2 ** attempt, 2000));
    }
    limit.done();
    if (!this.over) this.on.failed(problem ?? limit.reason, "reconnecting");
  }

  async #replace(limit) {
    // A new connection with the same conversation.
    this.connection.abandon();
    const connection = await this.#connect(limit);
    if (connection && this.media.picture) await connection.camera?.(this.media.pictures);
    return connection;
  }

  send(message) {
    // Gives whether it has been sent, or will be.
    if (this.connection && !this.recovering && this.connection.send(message)) this.on.sent(message);
    else if (message.type === "text" && !this.over) this.unsent.push(message);
    else return false;
    return true;
  }

  async microphone(stream) {
    // Use this microphone from now on.
    this.media.hear(stream);
    await this.connection?.microphone(stream);
  }

  async camera(stream) {
    this.media.see(stream);
    await this.connection.camera(this.media.pictures);
  }

  close({ leaving = false, lost = false } = {}) {
    // Hang up. `leaving` says that the page is being closed, `lost` that the agent may keep the conversation.
    this.leaving.abort();
    this.watch?.stop();
    if (lost) this.connection?.abandon();
    else this.connection?.close({ leaving });
    this.media.close();
  }
}
