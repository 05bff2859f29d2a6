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
  // Posts the microphone's sound as 16-bit samples, 20 ms at a time. The context has the rate that is sent.
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(STEP * sampleRate));
    this.filled = 0;
  }

  process([input]) {
    for (const value of input[0] ?? []) {
      this.piece[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32767)));
      if (this.filled === this.piece.length) {
        this.port.postMessage(this.piece.slice().buffer);
        this.filled = 0;
      }
    }
    return true;
  }
}

class Player extends AudioWorkletProcessor {
  // Plays 16-bit samples in order; a flush drops what is older than its epoch, a hold keeps everything.
  constructor() {
    super();
    this.pieces = [];
    this.at = 0;
    this.epoch = 0;
    this.held = false;
    this.gain = 1;
    this.port.onmessage = ({ data }) => {
      if (data.flush !== undefined) {
        this.epoch = data.flush;
        this.pieces = this.pieces.filter((piece) => piece.epoch >= this.epoch);
        this.at = 0;
        this.held = false;
      } else if (data.held !== undefined) {
        this.held = data.held;
      } else if (data.epoch >= this.epoch) {
        this.pieces.push({ epoch: data.epoch, samples: new Int16Array(data.samples) });
      }
    };
  }

  process(inputs, [[output]]) {
    for (let to = 0; to < output.length; to++) {
      this.gain += Math.max(-0.005, Math.min(0.005, (this.held ? 0 : 1) - this.gain)); // no clicks: 200 samples
      const piece = this.pieces[0];
      if (!piece || (this.held && this.gain <= 0)) continue;
      output[to] = (piece.samples[this.at++] / 32768) * this.gain;
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
