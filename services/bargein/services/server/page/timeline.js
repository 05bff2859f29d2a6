// Two lanes of sound over time, the user's above and the agent's below, with what happened in it.

const STEP = 0.02; // seconds a level stands for
const WIDTH = 42; // pixels that a second takes, as long as between 8 and 24 seconds are seen
const KEPT = 3600 / STEP; // levels that are kept: an hour
const MARKS = 2000; // marks that are kept

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
    this.following = true;
    canvas.addEventListener("pointerdown", (down) => this.#drag(down));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -2, ArrowRight: 2, Home: -Infinity, End: Infinity }[event.key];
      if (step === undefined) return;
      this.#move(step);
      event.preventDefault();
    });
  }

  clear() {
    this.levels = { user: [], agent: [] };
    this.began = null; // the time of the first level
    this.marks = []; // { time, kind, label }
    this.view = 0; // the second at the left edge
  }

  level(who, time, level) {
    this.began ??= time;
    const lane = this.levels[who];
    const at = Math.round((time - this.began) / STEP);
    if (at < 0 || at >= KEPT) return;
    while (lane.length < at) lane.push(0);
    lane[at] = level;
  }

  get window() {
    // Seconds that are seen at once.
    return Math.max(8, Math.min(24, Math.round(this.canvas.clientWidth / WIDTH)));
  }

  get now() {
    return Math.max(this.levels.user.length, this.levels.agent.length) * STEP;
  }

  mark(kind, label) {
    if (this.marks.length >= MARKS) this.marks.shift();
    this.marks.push({ time: this.now, kind, label });
    const words = { cut: "you interrupted", tool: `tool ${label}`, turn: `answer after ${label}`, speech: "you speak" }[kind];
    this.canvas.setAttribute("aria-label", `Timeline, ${Math.round(this.now)} seconds. Last: ${words}.`);
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return; // it is not shown
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const draw = canvas.getContext("2d");
    draw.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw.clearRect(0, 0, width, height);
    const span = this.window;
    if (this.following) this.view = Math.max(0, this.now - span + 1);
    const x = (time) => ((time - this.view) / span) * width;
    this.#seconds(draw, x, width, height, colour);
    this.#lane(draw, "user", x, height * 0.27, height * 0.15, colour("user"));
    this.#lane(draw, "agent", x, height * 0.79, height * 0.15, colour("agent"));
    this.#happenings(draw, x, width, height, colour);
  }

  #seconds(draw, x, width, height, colour) {
    draw.font = "10px system-ui, sans-serif";
    draw.fillStyle = colour("soft");
    draw.strokeStyle = colour("line");
    for (let second = Math.ceil(this.view); second < this.view + this.window; second++) {
      if (second % 2) continue;
      draw.beginPath();
      draw.moveTo(x(second), 0);
      draw.lineTo(x(second), height);
      draw.globalAlpha = 0.5;
      draw.stroke();
      draw.globalAlpha = 1;
      draw.fillText(`${second} s`, x(second) + 3, height - 3);
    }
  }

  #lane(draw, who, x, middle, reach, colour) {
    const lane = this.levels[who];
    const first = Math.max(0, Math.floor(this.view / STEP));
    const last = Math.min(lane.length, Math.ceil((this.view + this.window) / STEP));
    draw.fillStyle = colour;
    draw.globalAlpha = 0.35;
    draw.fillRect(x(this.view), middle - 0.5, x(this.view + this.window), 1);
    draw.globalAlpha = 1;
    const bar = Math.max(1, x(this.view + STEP) * 0.8);
    for (let at = first; at < last; at++) {
      const tall = loudness(lane[at]) * reach;
      if (tall > 0.4) draw.fillRect(x(at * STEP), middle - tall, bar, 2 * tall);
    }
  }

  #happenings(draw, x, width, height, colour) {
    const row = { speech: 10, tool: height * 0.52, turn: height * 0.62, cut: height - 14 };
    const tint = { speech: "user", tool: "soft", turn: "ink", cut: "cut" };
    draw.font = "600 10px system-ui, sans-serif";
    for (const { time, kind, label } of this.marks) {
      if (time < this.view || time > this.view + this.window) continue;
      draw.fillStyle = draw.strokeStyle = colour(tint[kind]);
      if (kind === "cut") draw.fillRect(x(time) - 1, 0, 2, height);
      else draw.fillRect(x(time) - 0.5, row[kind] - 8, 1, 9);
      draw.fillText(label, x(time) + 4, row[kind]);
    }
  }

  #drag(down) {
    const from = this.view;
    const move = (event) => {
      this.view = from;
      this.#move(((down.clientX - event.clientX) / this.canvas.clientWidth) * this.window);
    };
    const up = () => this.canvas.removeEventListener("pointermove", move);
    this.canvas.setPointerCapture(down.pointerId);
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", up, { once: true });
  }

  #move(seconds) {
    const most = Math.max(0, this.now - this.window + 1);
    this.view = Math.max(0, Math.min(most, this.view + seconds));
    this.following = this.view >= most;
  }
}

export function loudness(level) {
  // 0 to 1 over the 50 dB below full scale, as an ear would have it.
  return level > 0 ? Math.max(0, Math.min(1, 1 + (20 * Math.log10(level)) / 50)) : 0;
}
