// Sound in and out of an AudioContext: with its sound thread where there is one, and with older means where not.
// Pages that are not secure (http from another machine) have no sound thread.

import { BufferPlayer } from "./player.js";

const ENOUGH = 16000; // samples a second that are enough to be understood
const STEP_MS = 20; // how often a level is measured

export async function prepare(context) {
  // Load the processors of the sound thread.
  try {
    await context.audioWorklet?.addModule("worklets.js");
  } catch {
    return; // without them the older means are used
  }
  context.threaded = Boolean(context.audioWorklet);
}

export function meter(context, sound, tell) {
  // Call `tell(time, level)` every 20 ms; gives a function that ends it.
  const source = sound instanceof MediaStream ? context.createMediaStreamSource(sound) : sound;
  if (context.threaded) {
    const node = new AudioWorkletNode(context, "meter", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => tell(data.time, data.level);
    source.connect(node);
    return () => {
      node.port.onmessage = null;
      safely(() => source.disconnect(node));
    };
  }
  const node = context.createAnalyser();
  node.fftSize = 1024;
  source.connect(node);
  const samples = new Float32Array(node.fftSize);
  const timer = setInterval(() => {
    node.getFloatTimeDomainData(samples);
    tell(context.currentTime, Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length));
  }, STEP_MS);
  return () => {
    clearInterval(timer);
    safely(() => source.disconnect(node));
  };
}

function safely(disconnect) {
  try {
    disconnect();
  } catch {
    // it was not connected any more
  }
}

function less(context) {
  return Math.max(1, Math.floor(context.sampleRate / ENOUGH));
}

export function sentRate(context) {
  // The rate of the microphone's sound as `capture` gives it.
  return context.threaded ? context.sampleRate / less(context) : context.sampleRate;
}

export function capture(context, stream, send) {
  // Call `send(samples)` with the microphone's 16-bit samples.
  const source = context.createMediaStreamSource(stream);
  if (context.threaded) {
    const processorOptions = { less: less(context) };
    const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, processorOptions });
    node.port.onmessage = ({ data }) => send(data);
    source.connect(node);
    return {
      release: () => {
        node.port.onmessage = null;
        safely(() => source.disconnect(node));
      },
    };
  }
  const node = context.createScriptProcessor(1024, 1, 1); // deprecated, and the only means of older browsers
  node.onaudioprocess = ({ inputBuffer }) => {
    const samples = Int16Array.from(inputBuffer.getChannelData(0), (value) => Math.max(-1, Math.min(1, value)) * 32767);
    send(samples.buffer);
  };
  source.connect(node);
  node.connect(context.destination); // it runs only when it leads somewhere; it gives silence
  return {
    release: () => {
      node.onaudioprocess = null;
      safely(() => source.disconnect(node));
      safely(() => node.disconnect());
    },
  };
}

export function makePlayer(context) {
  // What plays the agent's pieces: `post({ epoch, samples })`, `post({ flush })`, `post({ held })`.
  if (!context.threaded) return new BufferPlayer(context);
  const node = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
  return { node, post: (message) => node.port.postMessage(message), release: () => safely(() => node.disconnect()) };
}
