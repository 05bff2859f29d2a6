// The sound and the picture of one call: microphone, camera, the agent's voice, and how loud they are.

import { meter, prepare } from "./sound.js";

export class Media {
  // `on` has the callbacks `level(who, time, level)` and `unplugged()`.
  constructor(speaker, on) {
    this.speaker = speaker;
    this.on = on;
    this.context = new (window.AudioContext ?? window.webkitAudioContext)();
    this.stream = null; // the microphone
    this.picture = null; // the camera
    this.meters = {};
  }

  prepare() {
    return prepare(this.context);
  }

  hear(stream) {
    // Use this microphone from now on, or none.
    stop(this.stream);
    this.stream = stream;
    if (!stream) return;
    this.meter("user", stream);
    stream.getAudioTracks()[0].addEventListener("ended", () => {
      if (this.stream !== stream) return;
      this.hear(null);
      this.on.unplugged();
    });
  }

  see(picture) {
    stop(this.picture);
    this.picture = picture;
  }

  get pictures() {
    return this.picture?.getVideoTracks()[0] ?? null;
  }

  meter(who, sound) {
    this.meters[who]?.();
    this.meters[who] = meter(this.context, sound, (time, level) => this.on.level(who, time, level));
  }

  unmute(open) {
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = open;
  }

  unlock() {
    // Safari lets an element play later only when it has played during a touch: silence, until the agent's sound comes.
    if (!this.context.createMediaStreamDestination) return;
    this.speaker.srcObject = this.context.createMediaStreamDestination().stream;
    this.speaker.play().catch(() => {});
  }

  wake() {
    // Sound that the browser did not begin by itself, or stopped for a telephone call, goes on at the next touch.
    if (this.context.state !== "running") this.context.resume().catch(() => {});
    if (this.speaker.srcObject && this.speaker.paused) this.speaker.play().catch(() => {});
  }

  close() {
    for (const end of Object.values(this.meters)) end();
    stop(this.stream);
    stop(this.picture);
    this.speaker.srcObject = null;
    if (this.context.state !== "closed") this.context.close();
  }
}

export function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
