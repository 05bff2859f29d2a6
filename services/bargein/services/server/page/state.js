// What the page says of a call: its phase, and while it is open who speaks.

const WORDS = {
  off: "Not connected",
  asking: "Waiting for the microphone",
  opening: "Connecting ...",
  reconnecting: "Reconnecting ...",
  listening: "Listening",
  deaf: "No microphone: you can write",
  muted: "Muted",
  hearing: "You speak",
  thinking: "Thinking ...",
  speaking: "Speaking",
  lost: "Connection lost",
  ended: "Call ended",
};
const AUDIBLE = 0.01; // root mean square of full scale
const SPOKE_MS = 700; // a pause between two sentences is shorter
const THOUGHT_MS = 8000; // after that nothing comes of what was heard

export class State {
  // Calls `show(name, words)` whenever the name changes.
  constructor(show) {
    this.show = show;
    this.name = "";
    this.enter("off");
    setInterval(() => this.settle(), 150);
  }

  enter(phase) {
    // off, asking, opening, open, reconnecting, lost, ended
    this.phase = phase;
    this.hearing = false;
    this.thought = this.spoke = -Infinity;
    if (["off", "lost", "ended"].includes(phase)) this.input = "open";
    this.settle();
  }

  use(input) {
    // The microphone is "open", "muted", or there is none: "deaf".
    this.input = input;
    this.settle();
  }

  user(speaks) {
    this.hearing = speaks;
    if (!speaks) this.think();
    this.settle();
  }

  think(does = true) {
    this.thought = does ? performance.now() : -Infinity;
    this.settle();
  }

  agent(level = 1) {
    // Sound of the agent has come.
    if (level < AUDIBLE) return;
    this.spoke = performance.now();
    this.thought = -Infinity;
    if (this.name !== "speaking") this.settle();
  }

  quiet() {
    // An interrupt has silenced the agent.
    this.spoke = -Infinity;
    this.settle();
  }

  get busy() {
    return ["thinking", "speaking"].includes(this.name);
  }

  settle() {
    const now = performance.now();
    let name = this.phase;
    if (name === "open") {
      if (this.hearing) name = "hearing";
      else if (now - this.spoke < SPOKE_MS) name = "speaking";
      else if (now - this.thought < THOUGHT_MS) name = "thinking";
      else name = { open: "listening", muted: "muted", deaf: "deaf" }[this.input];
    }
    if (name === this.name) return;
    this.name = name;
    this.show(name, WORDS[name]);
  }
}
