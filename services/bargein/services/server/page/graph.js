// Draws every session's pipeline anew each second, with what has been counted in it.

import { ask, askJson, pause } from "./server.js";

const EVERY_MS = 1000;
const EDGE = 20; // pixels above the first row
const NAME = 14; // pixels of the name above a frame
const $ = (id) => document.getElementById(id);
const sections = new Map(); // by session
const counts = new WeakMap(); // the counters of the last drawing, by processor, for each article

async function refresh() {
  const sessions = await askJson("sessions");
  $("none").hidden = sessions.length > 0;
  for (const [name, section] of sections) {
    if (sessions.some((each) => each.name === name)) continue;
    section.remove();
    sections.delete(name);
  }
  for (const session of sessions) await draw(session);
}

async function draw({ name, brain, seconds, inside }) {
  const section = sections.get(name) ?? document.createElement("section");
  if (!sections.has(name)) {
    for (const part of ["whole", "inside"]) {
      const [title, article] = [document.createElement("h2"), document.createElement("article")];
      title.className = article.className = part;
      section.append(title, article);
    }
    $("sessions").append(section);
    sections.set(name, section);
  }
  const [title, whole, innerTitle, inner] = section.children;
  const about = await fill(whole, `session=${encodeURIComponent(name)}`);
  head(title, name, [brain, `${Math.round(seconds)} s`, about]);
  innerTitle.hidden = inner.hidden = !inside;
  if (inside) head(innerTitle, inside, ["has the conversation now", await fill(inner, `session=${encodeURIComponent(name)}&inside=1`)]);
}

function head(title, name, facts) {
  const about = document.createElement("span");
  about.textContent = facts.filter(Boolean).join(" · ");
  title.replaceChildren(name, about);
}

async function fill(article, query) {
  // Draw a pipeline anew. Gives what stands below its drawing.
  const answer = await ask(`graph.svg?${query}`);
  if (!answer.ok) return ""; // it has just ended
  const parsed = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
  const drawing = document.importNode(parsed, true);
  drawing.querySelector("style")?.remove(); // graph.css has the page's own, and the page's policy refuses others
  const foot = [...drawing.children].filter((node) => node.tagName === "text").pop(); // it may be wider than a column
  foot?.remove();
  light(article, drawing);
  article.replaceChildren(...columns(drawing, article.clientWidth));
  return foot?.textContent;
}

function light(article, drawing) {
  // The processors that have worked since the last drawing stand out. 
  const before = counts.get(article) ?? new Map();
  const now = new Map();
  for (const node of drawing.querySelectorAll("g")) {
    const [name, , counted] = [...node.querySelectorAll("text")].map((text) => text.textContent);
    now.set(name, counted);
    if (before.has(name) && before.get(name) !== counted) node.classList.add("busy");
  }
  counts.set(article, now);
}

function columns(drawing, room) {
  // A pipeline is drawn from top to bottom. Cut it between two rows into as many columns as there is room for.
  const width = drawing.viewBox.baseVal.width;
  const height = drawing.viewBox.baseVal.height;
  const boxes = [...drawing.querySelectorAll(".box, .task, .thread, .end")];
  const rows = [...new Set(boxes.map((box) => Number(box.getAttribute("y"))))].sort((one, other) => one - other);
  const count = Math.max(1, Math.min(Math.floor((room - 24) / (width + 8)), Math.ceil(rows.length / 4)));
  const each = Math.ceil(rows.length / count);
  const slices = [];
  for (let first = 0; first < rows.length; first += each) {
    const top = first === 0 ? rows[0] - EDGE : between(drawing, boxes, rows, first);
    const bottom = first + each < rows.length ? between(drawing, boxes, rows, first + each) : height - EDGE;
    const slice = first === 0 ? drawing : drawing.cloneNode(true);
    slices.push([slice, top, bottom]);
  }
  for (const [slice, top, bottom] of slices) {
    slice.setAttribute("viewBox", `0 ${top} ${width} ${bottom - top}`);
    slice.setAttribute("height", bottom - top);
  }
  return slices.map(([slice]) => slice);
}

function between(drawing, boxes, rows, row) {
  // Where to cut above a row: above the name of a frame that begins there, else in the middle of the gap.
  const above = boxes.filter((box) => Number(box.getAttribute("y")) === rows[row - 1]);
  const end = Math.max(...above.map((box) => rows[row - 1] + Number(box.getAttribute("height"))));
  const frames = [...drawing.querySelectorAll(".frame")].map((frame) => Number(frame.getAttribute("y")));
  return Math.min((end + rows[row]) / 2, ...frames.filter((top) => top > end && top < rows[row]).map((top) => top - NAME));
}

$("none").querySelector("a").href = `./${location.search}`; // with the token, if there is one
for (;;) {
  try {
    await refresh();
    $("problem").hidden = true;
  } catch (error) {
    $("problem").textContent = error.message;
    $("problem").hidden = false;
  }
  await pause(EVERY_MS);
}
