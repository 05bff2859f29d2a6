// What the page says when something goes wrong. All errors are put into words by `explain`.

import { REMEDIES } from "./microphone.js";

const NOTE_MS = 8000;
const MOST_NOTES = 3;

export function explain(problem, when = "") {
  // Gives { title, remedies, retry, fatal } for an exception, or for the server's message `error` or `end`.
  // On localhost the server's message has the reason; elsewhere it is a general sentence.
  if (problem.type === "error") {
    const title = problem.message || "The agent has a problem.";
    return { title, remedies: problem.fatal ? ["The server's log has the details."] : [], fatal: Boolean(problem.fatal) };
  }
  if (problem.type === "end") {
    const failed = Boolean(problem.why) || /fail/.test(problem.reason ?? "");
    const why = problem.why || problem.reason;
    return {
      title: why ? `The agent hung up: ${end(why)}` : "The agent hung up.",
      remedies: failed ? ["The server's log has the details.", "Press Talk to call again."] : ["Press Talk to call again."],
      fatal: failed,
    };
  }
  if (REMEDIES[problem.name]) return { ...REMEDIES[problem.name], fatal: false };
  const said = sentence(problem.message);
  if (when === "microphone") {
    return { title: `No microphone: ${said} You can write.`, remedies: ["Try another microphone in Settings."], retry: true };
  }
  if (when === "camera") return { title: `The camera cannot be used: ${said}`, remedies: [] };
  if (when === "reconnecting") {
    const remedies = ["Your conversation is kept.", "Check that the server is running, then press Talk."];
    const how = problem.status ? "could not be restored" : "did not come back within 20 seconds";
    return { title: `The connection was lost and ${how}. ${said}`, remedies, fatal: true };
  }
  const remedies = problem.status ? [] : ["Check that the server is running, then press Talk."];
  return { title: `The call could not begin. ${said}`, remedies, fatal: true };
}

function sentence(words = "") {
  return end(words.charAt(0).toUpperCase() + words.slice(1));
}

function end(words) {
  return /[.!?]$/.test(words) ? words : `${words}.`;
}

export class Notices {
  // `banner` stays until it is closed; notes go by themselves.
  constructor(banner, notes) {
    this.banner = banner;
    this.notes = notes;
    banner.querySelector(".close").addEventListener("click", () => this.clear());
    banner.querySelector(".retry").addEventListener("click", () => this.retry?.());
  }

  clear() {
    this.banner.hidden = true;
  }

  show({ title, remedies = [], retry = false, fatal = false }) {
    const items = remedies.map((remedy) => {
      const item = document.createElement("li");
      item.textContent = remedy;
      return item;
    });
    this.banner.querySelector(".title").textContent = title;
    this.banner.querySelector("ul").replaceChildren(...items);
    this.banner.querySelector(".retry").hidden = !retry;
    this.banner.classList.toggle("fatal", fatal);
    this.banner.hidden = false;
  }

  note(words) {
    if (this.notes.lastChild?.textContent === words) return; // it stands there already
    const line = document.createElement("p");
    line.textContent = words;
    this.notes.append(line);
    while (this.notes.childElementCount > MOST_NOTES) this.notes.firstChild.remove();
    setTimeout(() => line.remove(), NOTE_MS);
  }

  error(problem, when = "") {
    // Show an error: as a banner when it ends the call or has a remedy, else as a note.
    const explained = explain(problem, when);
    if (explained.fatal || explained.remedies.length) this.show(explained);
    else this.note(explained.title);
    return explained;
  }
}
