// The page: puts its parts together.

import { keys, HoldToTalk } from "./controls.js";
import { Conversation } from "./conversation.js";
import { Events } from "./events.js";
import { Figures } from "./figures.js";
import { chooseSpeaker } from "./microphone.js";
import { reader } from "./messages.js";
import { Meters } from "./meters.js";
import { Notices } from "./notices.js";
import { PageCall } from "./session.js";
import { askJson } from "./server.js";
import { Settings } from "./settings.js";
import { State } from "./state.js";
import { Timeline } from "./timeline.js";
import { asJson, asText, save } from "./export.js";

const $ = (id) => document.getElementById(id);

const notices = new Notices($("banner"), $("notes"));
const conversation = new Conversation($("lines"), $("newest"), (empty) => ($("words").dataset.empty = String(empty)));
const events = new Events($("event-lines"), $("event-scroller"), $("filter"));
const timeline = new Timeline($("timeline"));
const figures = new Figures($("figures"));
const settings = new Settings(change);
const TURNS = ["listening", "muted", "hearing", "thinking", "speaking"];
const state = new State((name, words) => {
  const before = $("status").dataset.state;
  $("status").textContent = words;
  $("status").dataset.state = name;
  if (!TURNS.includes(name) || !TURNS.includes(before)) $("announced").textContent = words; // not into the conversation
});
const meters = new Meters(timeline, state);
const read = reader({ conversation, timeline, figures, state, notices, ended: (message) => page.ended(message) });
const page = new PageCall({ conversation, events, timeline, figures, settings, state, meters, notices, read, update });
const hold = new HoldToTalk($("hold"), (held) => page.hold(held));

function update() {
  // Show what can be pressed, and what pressing does.
  const { call } = page;
  const open = Boolean(call?.connection) && !call.recovering;
  const { push } = settings;
  $("stage").classList.toggle("open", call !== null);
  $("talk-label").textContent = call ? "Hang up" : "Talk";
  $("interrupt").disabled = !open;
  $("mute").disabled = !open;
  $("mute").hidden = push && !(open && !call.media.stream);
  $("mute").classList.toggle("muted", page.muted);
  $("mute-label").textContent = open && !call.media.stream ? "Use microphone" : page.muted ? "Unmute" : "Mute";
  $("hold").hidden = !push;
  $("hold").disabled = !open || !call.media.stream;
  $("camera").hidden = !settings.camera;
  $("camera").disabled = !open || !call.connection.camera;
  $("camera").title = open && !call.connection.camera ? "The camera needs WebRTC" : "";
  $("camera").setAttribute("aria-pressed", String(Boolean(call?.media.picture)));
  $("hint").textContent = hint(open, call, push);
  $("start-hint").textContent = call ? "Nothing has been said yet." : "Press Talk and speak, or write below. The words appear as they are heard.";
  settings.lock(call !== null);
  if (!call) hold.forget();
  else call.media.unmute(push ? page.holding : !page.muted);
  if (open) state.use(!call.media.stream ? "deaf" : page.muted && !push ? "muted" : "open");
}

const NETWORKS = { webrtc: "WebRTC", websocket: "WebSocket" };

function network() {
  // The connection, and how much of what one waits is the network's.
  const connection = page.call?.connection;
  const ms = Math.round(connection?.roundTripMs ?? 0);
  $("network").textContent = connection ? `${NETWORKS[page.call.transport]}${ms ? `, ${ms} ms` : ""}` : "";
}

function hint(open, call, push) {
  if (call?.recovering) return "Your conversation is kept. What you write now is sent afterwards.";
  if (call && !open) return "One moment ...";
  if (call && !call.media.stream) return "Write a message. You will hear the answer.";
  if (push) return call ? "Hold the button or the space bar while you speak." : "Press Talk, then hold a button while you speak.";
  return call ? "Speak. You can interrupt at any time." : "Press Talk and speak. You can interrupt at any time.";
}

function change(field) {
  // The user has changed a setting.
  if (field === "microphone" && page.call?.media.stream) page.chooseMicrophone();
  if (field === "loudspeaker") {
    chooseSpeaker(settings.loudspeaker, $("speaker"), page.call?.media.context).catch(() => notices.note("This speaker cannot be used."));
  }
  if (field === "lens" && page.call?.media.picture) page.camera().then(() => page.camera());
  if (field === "brain") suggest();
  update();
}

function suggest() {
  const items = settings.suggestions.map((text) => {
    const [item, button] = [document.createElement("li"), document.createElement("button")];
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => page.write(text));
    item.append(button);
    return item;
  });
  $("suggestions").replaceChildren(...items);
  $("suggest").hidden = items.length === 0;
}

function view(name) {
  document.body.dataset.view = name;
  for (const button of $("views").children) button.setAttribute("aria-pressed", String(button.dataset.view === name));
  events.show(name === "events");
}

$("talk").addEventListener("click", () => {
  if (page.call) page.stop();
  else page.start().then(() => settings.push && !$("hold").disabled && $("hold").focus());
});
$("mute").addEventListener("click", () => page.mute());
$("interrupt").addEventListener("click", () => page.interrupt());
$("camera").addEventListener("click", () => page.camera());
$("views").addEventListener("click", ({ target }) => target.dataset.view && view(target.dataset.view));
$("type").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  if (document.body.dataset.view === "events") view("conversation");
  page.write(text);
  $("text").value = "";
});
$("save-text").addEventListener("click", () => save(asText(conversation), "txt", "text/plain"));
$("save-json").addEventListener("click", () => save(asJson({ conversation, figures, events }), "json", "application/json"));
$("clear").addEventListener("click", () => conversation.clear());
$("save").addEventListener("click", ({ target }) => target.matches("button") && ($("save").open = false));
document.addEventListener("pointerdown", ({ target }) => $("save").contains(target) || ($("save").open = false));
notices.retry = () => (page.call ? page.chooseMicrophone() : page.start());

function escape() {
  if ($("save").open) $("save").open = false;
  else if (!$("interrupt").disabled) page.interrupt();
}

keys({ hold, buttons: { m: $("mute"), c: $("camera") }, interrupt: escape });
document.addEventListener("pointerdown", () => page.wake());
document.addEventListener("keydown", () => page.wake());
window.addEventListener("pagehide", () => page.call && page.stop("off", { leaving: true }));

async function load() {
  settings.offer(await askJson("choices"));
  suggest();
  update();
}

view("conversation");
for (const link of document.querySelectorAll("a.graph")) link.href = `graph${location.search}`; // with the token, if any
setInterval(network, 1000);
load().catch((error) => notices.error(error));
window.bargein = { conversation, timeline, figures, events, page, get state() { return state.name; } }; // for consoles and tests
