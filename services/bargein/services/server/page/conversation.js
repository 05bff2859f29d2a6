// The conversation as it is heard: who said what, which words are still coming, and which never came.

export class Conversation {
  constructor(list) {
    this.list = list;
    this.clear();
  }

  clear() {
    this.list.replaceChildren();
    this.entries = new Map(); // by speaker and item
    this.tools = new Map(); // by call
    this.open = null; // the agent's entry that is being heard
    this.turn = null; // the last entry of the agent's, for its figures
    this.cuts = new Map(); // marks of interrupts, by epoch
    this.reactions = new Map(); // how fast they were, by epoch: may be known before the interrupt is
  }

  get lines() {
    // What stands there, for programs and tests.
    return [...this.entries.values()].map(({ speaker, text, heard, final, cut }) => ({ speaker, text, heard, final, cut }));
  }

  user(item, text, final) {
    const entry = this.#entry("user", item || `typed-${this.entries.size}`);
    Object.assign(entry, { text, heard: text, final });
    entry.words.textContent = text;
    entry.node.classList.toggle("partial", !final);
    entry.node.setAttribute("aria-busy", String(!final)); // read aloud when it is whole, not word by word
    if (final && !text.trim()) {
      entry.node.remove();
      this.entries.delete(entry.key);
    }
    this.#follow();
  }

  written(item, text) {
    const entry = this.#entry("agent", item);
    if (entry.cut) return;
    entry.text += text;
    this.open = this.turn = entry;
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
    // What the agent had not yet said fades: it never will. Gives whether there was anything.
    let cut = false;
    for (const entry of this.entries.values()) {
      if (entry.speaker === "agent" && !entry.final && !entry.cut) {
        entry.cut = cut = true;
        entry.node.classList.add("cut");
        entry.node.setAttribute("aria-busy", "false");
      }
    }
    this.open = null;
    if (cut) {
      this.cuts.set(epoch, this.#line("mark", `interrupted, epoch ${epoch}`));
      this.reacted(epoch, this.reactions.get(epoch));
    }
    return cut;
  }

  reacted(epoch, ms) {
    this.reactions.set(epoch, ms);
    if (ms !== undefined) this.figure(this.cuts.get(epoch), `silent after ${Math.round(ms)} ms`);
  }

  tool(message) {
    let node = this.tools.get(message.call);
    if (!node) this.tools.set(message.call, (node = this.#line("tool", "")));
    node.data = { ...node.data, ...message };
    const { name, arguments: given, state, output, error, cancelled } = node.data;
    const code = document.createElement("code");
    code.textContent = `${name}${given && given !== "{}" ? ` ${given}` : ""}`;
    const outcome = cancelled ? "called off" : state === "finished" ? output : state === "progress" ? message.message : "…";
    node.replaceChildren(code, ` ${error ? "failed: " : "→ "}${outcome}`);
    this.#follow();
  }

  figure(node, words) {
    if (!node) return;
    const tag = document.createElement("span");
    tag.className = "tag";
    tag.textContent = words;
    (node.head ?? node).append(tag);
  }

  #entry(speaker, item) {
    const key = `${speaker} ${item}`;
    let entry = this.entries.get(key);
    if (!entry) {
      const node = document.createElement("li");
      const head = document.createElement("span");
      const words = document.createElement("span");
      node.className = speaker;
      head.className = "who";
      head.textContent = speaker === "user" ? "you" : "agent";
      words.className = "words";
      node.append(head, words);
      this.list.append(node);
      entry = { key, speaker, node, head, words, text: "", heard: "", final: false, cut: false };
      this.entries.set(key, entry);
    }
    return entry;
  }

  #show(entry) {
    const coming = document.createElement("span");
    coming.className = "coming";
    coming.textContent = entry.text.slice(entry.heard.length);
    entry.words.replaceChildren(entry.heard, coming);
    entry.node.setAttribute("aria-busy", String(!entry.final && !entry.cut));
    this.#follow();
  }

  #line(kind, words) {
    const node = document.createElement("li");
    node.className = kind;
    node.textContent = words;
    this.list.append(node);
    this.#follow();
    return node;
  }

  #follow() {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    if (scrollHeight - scrollTop - clientHeight < 160) this.list.scrollTop = scrollHeight;
  }
}
