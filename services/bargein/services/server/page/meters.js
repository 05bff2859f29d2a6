// How loud both sides are: rings around the button, bars, and the lanes of the timeline.

import { loudness } from "./timeline.js";

const QUIET_RADIUS = 56; // behind the button
const REACH = 36; // how much larger the ring of a loud voice is

export class Meters {
  constructor(timeline, state) {
    this.timeline = timeline;
    this.state = state;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.parts = ["user", "agent"].map((who) => ({
      who,
      bar: document.getElementById(`meter-${who}`),
      ring: document.querySelector(`#rings .${who}`),
      shown: -1,
    }));
    this.clear();
    requestAnimationFrame(() => this.#draw());
  }

  clear() {
    this.loud = { user: 0, agent: 0 };
  }

  level(who, time, level) {
    this.loud[who] = level;
    this.timeline.level(who, time, level);
    if (who === "agent") this.state.agent(level);
  }

  #draw() {
    for (const part of this.parts) {
      const level = Math.round(loudness(this.loud[part.who]) * 100) / 100;
      if (level === part.shown) continue;
      part.shown = level;
      part.bar.value = level;
      if (!this.still.matches) part.ring.setAttribute("r", QUIET_RADIUS + level * REACH);
    }
    this.timeline.draw();
    requestAnimationFrame(() => this.#draw());
  }
}
