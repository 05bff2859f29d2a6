// The call as the page sees it: it begins, is muted, sees, is lost, and ends.

import { Call } from "./call.js";
import { stayAwake } from "./awake.js";
import { stop } from "./media.js";
import { parameters } from "./server.js";
import { openCamera, openMicrophone, chooseSpeaker } from "./microphone.js";

const $ = (id) => document.getElementById(id);

export class PageCall {
  // `shown` has the parts of the page: state, conversation, timeline, figures, events, notices, meters, settings, read.
  constructor(shown) {
    Object.assign(this, shown);
    this.call = null;
    this.muted = false;
    this.holding = false; // push to talk: the button is held
    this.lost = ""; // the token of a conversation whose connection could not be restored
  }

  async start({ speaking = true } = {}) {
    // Begin a call; without `speaking` the page does not ask for the microphone.
    if (this.call) return;
    this.notices.clear();
    this.events.clear();
    this.figures.clear();
    this.timeline.clear();
    this.muted = false;
    this.failure = "";
    const { settings, state } = this;
    const params = { ...parameters, ...(settings.brain && { brain: settings.brain.name }) };
    const on = this.#ears(() => this.call === call);
    const call = new Call({ transport: settings.transport, params, speaker: $("speaker"), resume: this.lost, on });
    this.call = call;
    this.lost = "";
    const mark = this.conversation.begin("New call");
    call.media.unlock();
    stayAwake(call.leaving.signal);
    this.wake();
    state.enter("opening");
    this.update();
    try {
      await call.open(speaking ? () => this.#microphone() : null);
      if (this.call !== call) return;
      if (call.connection.resumed) this.conversation.rename(mark, "The agent remembers what was said before.");
      chooseSpeaker(settings.loudspeaker, $("speaker"), call.media.context).catch(() => {});
      settings.devices();
    } catch (error) {
      if (this.call === call) this.fail(error);
    }
    this.update();
  }

  #ears(mine) {
    // What the call calls back. Nothing of a call that is over reaches the page.
    return {
      phase: (name) => {
        if (!mine()) return;
        this.state.enter(name);
        this.update();
      },
      message: (message) => {
        if (!mine()) return;
        this.events.add("agent", message);
        if (message.type === "error" && message.fatal) this.failure = message.message;
        this.read(message);
      },
      level: (who, time, level) => mine() && this.meters.level(who, time, level),
      sent: (message) => this.events.add("page", message),
      blocked: () => mine() && this.notices.note("The browser holds the sound back. Press anywhere to hear the agent."),
      unplugged: () => {
        if (!mine()) return;
        this.notices.note("The microphone was disconnected. You can write, or use another one.");
        this.update();
      },
      reconnected: (anew) => mine() && this.#reconnected(anew),
      failed: (error, when) => mine() && this.fail(error, when),
    };
  }

  async #microphone() {
    try {
      return await openMicrophone(this.settings.microphone);
    } catch (error) {
      this.notices.error(error, "microphone");
      return null;
    }
  }

  #reconnected(anew) {
    this.events.add("page", { type: "reconnected", anew });
    if (!anew) this.notices.note("Reconnected.");
    else if (this.call.connection.resumed) this.conversation.begin("Reconnected");
    else this.conversation.begin("Reconnected in a new session: the agent does not remember what was said before.");
    this.state.enter("open");
    this.update();
  }

  fail(error, when) {
    this.notices.error(error, when);
    const unsent = this.call.unsent.map(({ text }) => text).join(" ");
    if (unsent) $("text").value ||= unsent; // to be sent again
    const lost = when === "reconnecting";
    this.lost = lost ? this.call.resume : "";
    this.stop(lost ? "lost" : "off", { lost });
  }

  ended(message) {
    // The agent hung up.
    this.notices.error({ ...message, why: this.failure });
    this.stop("ended");
  }

  stop(phase = "off", options) {
    const old = this.call;
    this.call = null;
    this.holding = false;
    old?.close(options);
    this.conversation.finish();
    this.meters.clear();
    $("preview").hidden = true;
    $("preview").srcObject = null;
    this.state.enter(phase);
    this.update();
  }

  send(message) {
    return this.call?.send(message) ?? false;
  }

  write(text) {
    // Send a typed message; without a call it begins one without a microphone.
    if (!this.call) this.start({ speaking: false });
    this.conversation.user("", text, true);
    this.send({ type: "text", text });
    this.state.think();
  }

  interrupt() {
    if (this.send({ type: "interrupt", reason: "the user asked for it" })) this.state.quiet();
  }

  hold(held) {
    // Push to talk: the microphone is open while the button is held, and the turn ends with its release.
    if (!this.call?.media.stream) return;
    if (held && this.state.busy) this.interrupt();
    this.holding = held;
    this.update();
    if (!held) this.send({ type: "commit" });
  }

  async mute() {
    // Mute or unmute; without a microphone, ask for one.
    if (!this.call.media.stream) return this.chooseMicrophone();
    this.muted = !this.muted;
    this.update();
  }

  async chooseMicrophone() {
    const { call } = this;
    const stream = await this.#microphone();
    if (!stream) return;
    if (this.call !== call) return stop(stream);
    this.notices.clear();
    await call.microphone(stream);
    this.settings.devices();
    this.update();
  }

  async camera() {
    const { call } = this;
    try {
      const stream = call.media.picture ? null : await openCamera(this.settings.lens);
      if (this.call !== call) return stop(stream);
      await call.camera(stream);
      $("preview").hidden = stream === null;
      $("preview").srcObject = stream;
      if (stream) $("preview").play().catch(() => {});
    } catch (error) {
      this.notices.error(Object.assign(new Error(error.message), { name: "CameraError" }), "camera");
    }
    this.update();
  }

  wake() {
    this.call?.media.wake();
  }
}
