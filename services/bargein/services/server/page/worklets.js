// What runs in the browser's sound thread: measuring a sound, taking the microphone's, playing the agent's.

const STEP = 0.02; // seconds that one measured level stands for

class Meter extends AudioWorkletProcessor {
  // Posts the level (root mean square, 0 to 1) of every 20 ms, with the time at which they began.
  constructor() {
    super();
    this.size = Math.round(STEP * sampleRate);
    this.sum = this.count = 0;
  }

  process([input]) {
    const samples = input[0];
    const length = samples ? samples.length : 128;
    for (let at = 0; at < length; at++) {
      const value = samples ? samples[at] : 0;
      this.sum += value * value;
      if (++this.count === this.size) {
        this.port.postMessage({ time: currentTime + at / sampleRate - STEP, level: Math.sqrt(this.sum / this.size) });
        this.sum = this.count = 0;
      }
    }
    return true;
  }
}

class Capture extends AudioWorkletProcessor {
  // Posts the microphone's sound as 16-bit samples, 20 ms at a time, one for every `less` of the context's: a weighted
  // mean of those around it, without what so few samples cannot carry.
  constructor({ processorOptions: { less } }) {
    super();
    this.less = less;
    this.weights = lowpass(less);
    this.past = new Float32Array(this.weights.length); // a ring
    this.next = 0;
    this.skip = 0;
    this.piece = new Int16Array(Math.round((STEP * sampleRate) / less));
    this.filled = 0;
  }

  process([input]) {
    for (const value of input[0] ?? []) {
      this.past[this.next] = value;
      this.next = (this.next + 1) % this.past.length;
      if (++this.skip < this.less) continue;
      this.skip = 0;
      this.piece[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(this.mean() * 32767)));
      if (this.filled === this.piece.length) {
        this.port.postMessage(this.piece.slice().buffer);
        this.filled = 0;
      }
    }
    return true;
  }

  mean() {
    let sum = 0;
    let at = this.next;
    for (const weight of this.weights) {
      sum += weight * this.past[at];
      if (++at === this.past.length) at = 0;
    }
    return sum;
  }
}

function lowpass(less) {
  // Blackman's window over a sinc, up to nine tenths of what the fewer samples can carry.
  if (less === 1) return [1];
  const half = 12 * less;
  const weights = [];
  for (let at = -half; at <= half; at++) {
    const angle = (Math.PI * at * 0.9) / less;
    const sinc = at ? Math.sin(angle) / angle : 1;
    const turn = (Math.PI * (at + half)) / half;
    weights.push(sinc * (0.42 - 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn)));
  }
  const sum = weights.reduce((total, weight) => total + weight);
  return weights.map((weight) => weight / sum);
}

const FADE = 0.005; // seconds in which a sound that is cut goes: no click

class Player extends AudioWorkletProcessor {
  // Plays 16-bit samples in order; a flush drops what is older than its epoch, a hold keeps everything.
  constructor() {
    super();
    this.pieces = [];
    this.at = 0; // in the first of them
    this.epoch = 0;
    this.held = false;
    this.gain = 1;
    this.fading = []; // the last of what was flushed
    this.port.onmessage = ({ data }) => {
      if (data.flush !== undefined) this.flush(data.flush);
      else if (data.held !== undefined) this.held = data.held;
      else if (data.epoch >= this.epoch) this.pieces.push({ epoch: data.epoch, samples: new Int16Array(data.samples) });
    };
  }

  flush(epoch) {
    this.epoch = Math.max(this.epoch, epoch);
    this.held = false;
    const [first] = this.pieces;
    this.pieces = this.pieces.filter((piece) => piece.epoch >= this.epoch);
    if (!first || first === this.pieces[0]) return;
    const last = first.samples.subarray(this.at, this.at + Math.round(FADE * sampleRate));
    this.fading = Array.from(last, (sample, at) => (sample / 32768) * this.gain * (1 - (at + 1) / last.length));
    this.at = 0;
  }

  process(inputs, [[output]]) {
    const step = 1 / (FADE * sampleRate);
    for (let to = 0; to < output.length; to++) {
      this.gain += Math.max(-step, Math.min(step, (this.held ? 0 : 1) - this.gain));
      output[to] = this.fading.shift() ?? 0;
      const piece = this.pieces[0];
      if (!piece || (this.held && this.gain <= 0)) continue;
      output[to] += (piece.samples[this.at++] / 32768) * this.gain;
      if (this.at >= piece.samples.length) {
        this.pieces.shift();
        this.at = 0;
      }
    }
    return true;
  }
}

registerProcessor("meter", Meter);
registerProcessor("capture", Capture);
registerProcessor("player", Player);
