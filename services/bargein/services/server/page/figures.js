// The figures of one call: how fast answers and silences came, how many answers were cut short, and what was used.

const count = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export class Figures {
  constructor(list) {
    this.list = list;
    this.clear();
  }

  clear() {
    this.turns = []; // milliseconds
    this.reactions = [];
    this.cuts = 0;
    this.usage = { input: 0, output: 0 };
    this.#show("turn", "–", "from your last word to the first sound");
    this.#show("reaction", "–", "from your first word to silence");
    this.#show("cuts", "0", "interruptions");
    this.#show("usage", "–", "not reported");
  }

  answered(ms) {
    this.turns.push(ms);
    this.#show("turn", `${Math.round(ms)} ms`, typical(this.turns));
  }

  reacted(ms) {
    this.reactions.push(ms);
    this.#show("reaction", `${Math.round(ms)} ms`, typical(this.reactions));
  }

  cut() {
    this.cuts++;
    this.#show("cuts", String(this.cuts), this.cuts === 1 ? "interruption" : "interruptions");
  }

  used(input, output) {
    this.usage.input += input ?? 0;
    this.usage.output += output ?? 0;
    const { input: all, output: made } = this.usage;
    this.#show("usage", count.format(all + made), `${count.format(all)} in, ${count.format(made)} out`);
  }

  #show(name, value, note) {
    this.list.querySelector(`#${name}-value`).textContent = value;
    this.list.querySelector(`#${name}-note`).textContent = note;
  }
}

function typical(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return `median ${Math.round(sorted[Math.floor(sorted.length / 2)])} ms of ${values.length}`;
}
