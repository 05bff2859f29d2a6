// Every message of a call, newest last: the page's own and the agent's.

import { Follower } from "./follow.js";

const KEPT = 1000; // events
const SHOWN = 200; // of those that fit the filter
const DELAY_MS = 150; // between two drawings

export class Events {
  // `list` is an <ol>, `scroller` what scrolls around it, `filter` a text field.
  constructor(list, scroller, filter) {
    Object.assign(this, { list, filter });
    this.follower = new Follower(scroller);
    this.visible = false;
    this.clear();
    filter.addEventListener("input", () => this.#soon());
  }

  clear() {
    this.all = []; // { seconds, from, type, message }
    this.began = performance.now();
    this.#soon();
  }

  add(from, message) {
    const { type, ...rest } = message;
    const seconds = (performance.now() - this.began) / 1000;
    this.all.push({ seconds: Math.round(seconds * 1000) / 1000, from, type, message: rest });
    if (this.all.length > KEPT) this.all.shift();
    this.#soon();
  }

  show(visible) {
    this.visible = visible;
    if (visible) this.#draw();
  }

  #soon() {
    if (this.visible) this.timer ??= setTimeout(() => this.#draw(), DELAY_MS);
  }

  #draw() {
    clearTimeout(this.timer);
    this.timer = undefined;
    const words = this.filter.value.toLowerCase().split(/\s+/);
    const wanted = words.filter((word) => !word.startsWith("-"));
    const hidden = words.filter((word) => /^-./.test(word)).map((word) => word.slice(1));
    const fits = (text) => wanted.every((word) => text.includes(word)) && !hidden.some((word) => text.includes(word));
    const lines = this.all.map((event) => [event, JSON.stringify(event.message, short)]);
    const fit = lines.filter(([{ from, type }, text]) => fits(`${from} ${type} ${text}`.toLowerCase()));
    this.list.replaceChildren(...fit.slice(-SHOWN).map(([event, text]) => line(event, text)));
    this.follower.changed();
  }
}

function line({ seconds, from, type }, text) {
  const node = document.createElement("li");
  const part = (name, words) => {
    const span = document.createElement("bdi"); // characters that turn the direction of text round end with their part
    span.className = name;
    span.textContent = words;
    return span;
  };
  node.className = from;
  node.append(part("when", seconds.toFixed(2)), part("from", from), part("type", type), part("data", text === "{}" ? "" : text));
  return node;
}

function short(_, value) {
  return typeof value === "number" ? Math.round(value * 100) / 100 : value;
}
