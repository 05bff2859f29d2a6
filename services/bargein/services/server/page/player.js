// Plays the agent's sound where the browser has no sound thread.

export class BufferPlayer {
  // Plays pieces one after the other as buffers; a flush stops those of older epochs, a hold waits.
  constructor(context) {
    this.context = context;
    this.node = context.createGain();
    this.epoch = 0;
    this.held = false;
    this.until = 0; // when the last piece ends
    this.sources = [];
    this.waiting = []; // pieces that came during a hold
  }

  post({ epoch, samples, flush, held }) {
    if (flush !== undefined) this.#flush(flush);
    else if (held !== undefined) this.#hold(held);
    else if (epoch >= this.epoch) this.#play({ epoch, samples: new Int16Array(samples) });
  }

  #play(piece) {
    if (this.held) return this.waiting.push(piece);
    const { context } = this;
    const buffer = context.createBuffer(1, piece.samples.length, context.sampleRate);
    buffer.getChannelData(0).set(Float32Array.from(piece.samples, (sample) => sample / 32768));
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.node);
    const begins = Math.max(this.until, context.currentTime + 0.02);
    source.start(begins);
    this.until = begins + buffer.duration;
    const entry = { source, piece, begins };
    source.onended = () => (this.sources = this.sources.filter((each) => each !== entry));
    this.sources.push(entry);
  }

  #stop(which) {
    const stopped = this.sources.filter(which);
    this.sources = this.sources.filter((each) => !stopped.includes(each));
    for (const { source } of stopped) {
      source.onended = null;
      source.stop();
    }
    const left = this.sources.map(({ begins, source }) => begins + source.buffer.duration);
    this.until = Math.max(this.context.currentTime, ...left);
    return stopped.map(({ piece }) => piece);
  }

  #flush(epoch) {
    this.epoch = Math.max(this.epoch, epoch);
    this.#stop(({ piece }) => piece.epoch < this.epoch);
    this.waiting = this.waiting.filter((piece) => piece.epoch >= this.epoch);
    this.#hold(false);
  }

  #hold(held) {
    this.held = held;
    if (held) this.waiting = [...this.#stop(() => true), ...this.waiting];
    else for (const piece of this.waiting.splice(0)) this.#play(piece);
  }

  release() {
    this.#stop(() => true);
    this.node.disconnect();
  }
}
