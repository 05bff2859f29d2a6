// The conversation as it is heard: who said what, which words are still to come, and which never came.

import { Follower } from "./follow.js";

const MOST = 500; // lines that are kept

export class Conversation {
  // `list` is an <ol>; its parent scrolls; `newest` is the button that goes to its end. `changed(empty)` is called when
  // it becomes empty, or no longer is.
  constructor(list, newest, changed) {
    this.list = list;
    this.follower = new Follower(list.parentElement, newest);
    this.changed = changed;
    this.clear();
  }

  clear() {
    this.list.replaceChildren();
    this.nodes = []; // what stands there, in order: entries, tools and marks
    this.#forget();
    this.changed(true);
  }

  #forget() {
    this.entries = new Map(); // by speaker and item
    this.tools = new Map(); // by call
    this.turn = null; // the agent's last entry, for its figures
    this.early = ""; // a figure that came before its entry
    this.cuts = new Map(); // marks of interrupts, by epoch
    this.reactions = new Map(); // how fast they were, by epoch: may be known before the interrupt is
  }

  begin(words) {
    // A new session begins: its items and epochs count anew. What stands there stays.
    this.finish();
    this.#forget();
    return this.nodes.length ? this.mark(words) : null;
  }

  rename(mark, words) {
    if (!mark) return;
    mark.words = words;
    mark.node.textContent = words;
  }

  finish() {
    // The call is over: nothing more comes, and nobody speaks.
    this.#cut();
    for (const entry of this.entries.values()) if (entry.speaker === "user") entry.node.classList.remove("partial");
  }

  get lines() {
    return this.story.filter(({ kind }) => kind === "words");
  }

  get story() {
    // What stands there, for programs and files.
    return this.nodes.map(({ kind, speaker, text, heard, final, cut, words, node, data }) => {
      if (kind === "words") return { kind, speaker, text, heard, final, cut };
      return { kind, words: kind === "tool" ? node.textContent : words, ...(data && { tool: data }) };
    });
  }

  user(item, text, final) {
    const entry = this.#entry("user", item || `typed-${this.nodes.length}`);
    Object.assign(entry, { text, heard: text, final });
    entry.body.textContent = text;
    entry.node.classList.toggle("partial", !final);
    entry.node.setAttribute("aria-busy", String(!final)); // read aloud when it is whole, not word by word
    if (final && !text.trim()) this.#remove(entry);
    this.follower.changed();
  }

  written(item, text) {
    const entry = this.#entry("agent", item);
    if (entry.cut) return;
    entry.text += text;
    this.turn = entry;
    this.#show(entry);
  }

  heard(item, text, final) {
    const entry = this.#entry("agent", item);
    if (!entry.text.startsWith(text)) entry.text = text;
    entry.heard = text;
    entry.final ||= final;
    if (!entry.cut) this.turn = entry;
    this.#show(entry);
  }

  interrupted(epoch) {
    // What the agent had not said fades: it never will. Gives whether there was anything.
    const cut = this.#cut();
    if (cut) {
      this.cuts.set(epoch, this.mark("Interrupted", "cut"));
      this.reacted(epoch, this.reactions.get(epoch));
    }
    return cut;
  }

  #cut() {
    let cut = false;
    for (const entry of this.entries.values()) {
      if (entry.speaker !== "agent" || entry.final || entry.cut) continue;
      entry.cut = cut = true;
      entry.node.classList.add("cut");
      entry.node.setAttribute("aria-busy", "false");
    }
    return cut;
  }

  reacted(epoch, ms) {
    this.reactions.set(epoch, ms);
    if (ms !== undefined) this.figure(this.cuts.get(epoch), `silent after ${Math.round(ms)} ms`);
  }

  answered(ms) {
    // The answer's first sound came so long after the question. Its words may come later than this.
    const words = `after ${Math.round(ms)} ms`;
    const { turn } = this;
    if (turn && !turn.cut && !turn.answered) this.figure(turn, words);
    else this.early = words;
    if (turn) turn.answered = true;
  }

  tool(message) {
    let tool = this.tools.get(message.call);
    if (!tool) {
      tool = this.#add({ kind: "tool", data: {} }, "tool");
      this.tools.set(message.call, tool);
    }
    Object.assign(tool.data, message);
    const { name, arguments: given, state, output, error, cancelled } = tool.data;
    const code = document.createElement("code");
    code.append(isolated(`${name}${given && given !== "{}" ? ` ${given}` : ""}`));
    const outcome = cancelled ? "cancelled" : state === "finished" ? output : state === "progress" ? message.message : "...";
    tool.node.replaceChildren(code, ` ${error ? "failed: " : "→ "}`, isolated(outcome));
    this.follower.changed();
  }

  mark(words, kind = "mark") {
    const mark = this.#add({ kind, words }, kind);
    mark.node.textContent = words;
    this.follower.changed();
    return mark;
  }

  figure(line, words) {
    if (!line) return;
    const tag = document.createElement("span");
    tag.className = "tag";
    tag.textContent = words;
    (line.head ?? line.node).append(" ", tag);
  }

  #entry(speaker, item) {
    const key = `${speaker} ${item}`;
    if (this.entries.has(key)) return this.entries.get(key);
    const entry = this.#add({ kind: "words", key, speaker, text: "", heard: "", final: false, cut: false }, speaker);
    entry.head = document.createElement("span");
    entry.head.className = "who";
    entry.head.textContent = speaker === "user" ? "You" : "Agent";
    entry.body = document.createElement("bdi"); // a character that turns the direction of text round ends with the words
    entry.body.className = "words";
    entry.node.append(entry.head, entry.body);
    this.entries.set(key, entry);
    if (speaker === "agent" && this.early) {
      this.figure(entry, this.early);
      entry.answered = true;
      this.early = "";
    }
    return entry;
  }

  #add(line, style) {
    line.node = document.createElement("li");
    line.node.className = style;
    this.list.append(line.node);
    this.nodes.push(line);
    if (this.nodes.length === 1) this.changed(false);
    if (this.nodes.length > MOST) this.#remove(this.nodes[0]);
    return line;
  }

  #remove(line) {
    line.node.remove();
    this.nodes.splice(this.nodes.indexOf(line), 1);
    if (line.key) this.entries.delete(line.key);
    if (!this.nodes.length) this.changed(true);
  }

  #show(entry) {
    const coming = document.createElement("span");
    coming.className = "coming";
    coming.textContent = entry.text.slice(entry.heard.length);
    entry.body.replaceChildren(entry.heard, coming);
    entry.node.setAttribute("aria-busy", String(!entry.final && !entry.cut));
    this.follower.changed();
  }
}

function isolated(words) {
  // Words of others. A character in them that turns the direction of text round has no effect behind them.
  const node = document.createElement("bdi");
  node.textContent = words;
  return node;
}
