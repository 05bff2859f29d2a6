// The page: a button, a connection, and what is shown of it.

import { ask, connect } from "./connection.js";
import { Conversation } from "./conversation.js";
import { Timeline, loudness } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const conversation = new Conversation($("log"));
const timeline = new Timeline($("timeline"));
const figures = { turns: [], reactions: [] };
const loud = { user: 0, agent: 0 };
let call = null; // what is open: { connection, stream, context, camera, leaving }
let state = "off";
let offered = { brains: [], camera: false }; // what the server has

const sees = () => offered.brains.find(({ name }) => name === $("brain").value)?.sees;

// Looking after the page --------------------------------------------------------------------------------------------

const STATES = {
  off: "Not connected",
  asking: "Waiting for the microphone",
  opening: "Connecting",
  listening: "Listening",
  hearing: "You speak",
  thinking: "Thinking",
  speaking: "Speaking",
  lost: "Connection lost",
};

function show(next) {
  state = next;
  $("status").textContent = STATES[next];
  $("status").dataset.state = next;
  const open = Boolean(call?.connection) && !["asking", "opening"].includes(next);
  for (const id of ["mute", "interrupt", "text", "send"]) $(id).disabled = !open;
  $("mute").disabled = !open || !call.stream;
  $("camera").disabled = !open || !call.connection.camera || !offered.camera || !sees();
  $("talk").setAttribute("aria-pressed", String(call !== null));
  $("talk-label").textContent = call ? "Hang up" : "Talk";
  $("brain").disabled = $("transport").disabled = call !== null;
}

function note(words, seconds = 8) {
  const line = document.createElement("p");
  line.textContent = words;
  $("notes").append(line);
  setTimeout(() => line.remove(), seconds * 1000);
}

function help(title, ...remedies) {
  const list = document.createElement("ul");
  for (const remedy of remedies) {
    const item = document.createElement("li");
    item.textContent = remedy;
    list.append(item);
  }
  $("help").replaceChildren(title, list);
  $("help").hidden = false;
}

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)];
}

function figure(id, values, ms, what) {
  values.push(ms);
  $(`${id}-ms`).textContent = `${Math.round(ms)} ms`;
  $(`${id}-note`).textContent = `${what}; median ${Math.round(median(values))} of ${values.length}`;
}

// What the agent tells ----------------------------------------------------------------------------------------------

const HEARS = {
  ready: () => show("listening"),
  speech({ state: what }) {
    if (what === "started") timeline.mark("speech", "you");
    show(what === "started" ? "hearing" : "thinking");
  },
  transcript({ speaker, item, text, final }) {
    if (speaker === "user") conversation.user(item, text, final);
    else {
      conversation.heard(item, text, final);
      if (!final) show("speaking");
    }
  },
  text: ({ item, response, text }) => text && conversation.written(item || response, text),
  response({ state: what }) {
    if (what === "started") show("thinking");
    else if (what === "failed") note("The agent could not finish its answer.");
    if (what === "completed" && state === "thinking") show("listening");
  },
  flush({ epoch }) {
    $("epoch").textContent = epoch;
    if (conversation.interrupted(epoch)) timeline.mark("cut", epoch);
    if (state === "speaking") show("listening");
  },
  tool(message) {
    conversation.tool(message);
    if (message.state === "called") timeline.mark("tool", message.name);
  },
  latency({ ms }) {
    figure("turn", figures.turns, ms, "end of speech to first sound");
    conversation.figure(conversation.turn, `after ${Math.round(ms)} ms`);
    timeline.mark("turn", `${Math.round(ms)} ms`);
    show("speaking");
  },
  reaction({ ms, epoch }) {
    figure("reaction", figures.reactions, ms, "start of speech to silence");
    conversation.reacted(epoch, ms);
  },
  error: ({ message }) => note(message),
  end: ({ reason }) => note(reason ? `The agent hung up: ${reason}` : "The agent hung up."),
};

function receive(message) {
  HEARS[message.type]?.(message);
}

// A call ------------------------------------------------------------------------------------------------------------

async function microphone() {
  if (!navigator.mediaDevices?.getUserMedia) {
    help("This browser gives no microphone to this page.", "Open it over https, or at http://localhost.", "Or write, below.");
    return null;
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
  } catch (error) {
    if (error.name === "NotAllowedError") {
      help(
        "The microphone is not allowed.",
        "Click the icon left of the address, allow the microphone, and press Talk again.",
        "On a Mac, look at System Settings, Privacy, Microphone as well; on Windows at Settings, Privacy, Microphone.",
        "Or write, below.",
      );
    } else if (error.name === "NotFoundError") {
      help("There is no microphone.", "Plug one in and press Talk again.", "Or write, below.");
    } else {
      help(`The microphone cannot be used: ${error.message}`, "Close other programs that use it.", "Or write, below.");
    }
    return null;
  }
}

function meter(context, sound, who) {
  if (!context.audioWorklet) return;
  const source = sound instanceof MediaStream ? context.createMediaStreamSource(sound) : sound;
  const node = new AudioWorkletNode(context, "meter", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => {
    loud[who] = data.level;
    timeline.level(who, data.time, data.level);
  };
  source.connect(node);
}

async function start() {
  $("help").hidden = true;
  conversation.clear();
  timeline.clear();
  figures.turns.length = figures.reactions.length = 0;
  $("epoch").textContent = "0";
  call = { connection: null, stream: null, context: new AudioContext(), camera: null, leaving: new AbortController() };
  const mine = call;
  wake();
  show("asking");
  try {
    await open(mine);
  } catch (error) {
    if (call === mine) lost(error.message);
  }
  if (call !== mine) release(mine); // hung up meanwhile: what has come since goes, too
}

async function open(mine) {
  await mine.context.audioWorklet?.addModule("worklets.js"); // there is none on a page that is not secure
  mine.stream = await microphone();
  if (call !== mine) return;
  if (mine.stream) meter(mine.context, mine.stream, "user");
  show("opening");
  mine.connection = await connect($("transport").value, {
    stream: mine.stream,
    context: mine.context,
    speaker: $("speaker"),
    wishes: { brain: $("brain").value },
    receive: (message) => call === mine && receive(message), // what comes after hanging up is not for us
    heard: (sound) => call === mine && meter(mine.context, sound, "agent"),
    signal: mine.leaving.signal,
    closed: (reason) => call === mine && lost(reason),
  });
  if (call !== mine) return;
  show("listening");
  if (!mine.context.audioWorklet && $("transport").value === "websocket") note("There is no sound here: it takes https, or WebRTC.");
}

function release({ connection, stream, context, camera, leaving }) {
  if (connection) connection.close();
  else leaving.abort(); // what is being opened is given up
  for (const track of [...(stream?.getTracks() ?? []), ...(camera?.getTracks() ?? [])]) track.stop();
  if (context?.state !== "closed") context?.close();
}

function stop(next = "off") {
  const old = call;
  call = null;
  if (old) release(old);
  $("preview").hidden = true;
  $("preview").srcObject = null;
  $("camera").setAttribute("aria-pressed", "false");
  $("mute").setAttribute("aria-pressed", "false");
  loud.user = loud.agent = 0;
  show(next);
}

function wake() {
  // Sound that the browser does not begin by itself, or has stopped for a telephone call, goes on at the next touch.
  if (call?.context.state !== "running") call?.context.resume().catch(() => {});
  if (call && $("speaker").srcObject && $("speaker").paused) $("speaker").play().catch(() => {});
}

function lost(reason) {
  stop(reason ? "lost" : "off");
  if (reason) note(reason);
}

// What the user does ------------------------------------------------------------------------------------------------

$("talk").addEventListener("click", () => (call ? stop() : start()));

$("mute").addEventListener("click", () => {
  const muted = $("mute").getAttribute("aria-pressed") !== "true";
  $("mute").setAttribute("aria-pressed", String(muted));
  for (const track of call.stream.getAudioTracks()) track.enabled = !muted;
});

$("interrupt").addEventListener("click", () => call?.connection?.send({ type: "interrupt" }));

$("camera").addEventListener("click", async () => {
  const mine = call;
  const off = (camera) => camera.getTracks().forEach((track) => track.stop());
  if (mine.camera) {
    off(mine.camera);
    mine.camera = null;
  } else {
    try {
      const camera = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
      if (call !== mine || mine.camera) return off(camera); // while the browser asked, it was hung up, or asked for twice
      mine.camera = camera;
    } catch (error) {
      note(`The camera cannot be used: ${error.message}`);
      return;
    }
  }
  const track = mine.camera?.getVideoTracks()[0] ?? null;
  await mine.connection.camera(track);
  if (call !== mine) return;
  $("camera").setAttribute("aria-pressed", String(track !== null));
  $("preview").hidden = track === null;
  $("preview").srcObject = mine.camera;
  if (track) $("preview").play().catch(() => {});
});

$("type").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !call?.connection) return;
  call.connection.send({ type: "text", text });
  conversation.user("", text, true);
  $("text").value = "";
});

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, canvas") || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = { m: "mute", c: "camera", escape: "interrupt" }[event.key.toLowerCase()];
  if (button && !$(button).disabled) $(button).click();
});

document.addEventListener("pointerdown", wake);
document.addEventListener("keydown", wake);
window.addEventListener("pagehide", () => call?.connection?.leave());

// Drawing -----------------------------------------------------------------------------------------------------------

const still = matchMedia("(prefers-reduced-motion: reduce)");

function draw() {
  for (const who of ["user", "agent"]) {
    const level = loudness(loud[who]);
    $(`meter-${who}`).value = level;
    $("rings").querySelector(`.${who}`).setAttribute("r", still.matches ? 62 : 62 + level * 32);
  }
  timeline.draw();
  requestAnimationFrame(draw);
}

async function choices() {
  offered = await (await ask("choices")).json();
  for (const { name, title, missing } of offered.brains) {
    const option = new Option(missing ? `${title} (${missing})` : title, name);
    option.disabled = Boolean(missing);
    $("brain").append(option);
  }
  for (const { name, title } of offered.transports) $("transport").append(new Option(title, name));
}

show("off");
choices().catch(() => note("The server does not answer. Is it still running?"));
requestAnimationFrame(draw);
window.bargein = { conversation, timeline, figures, get state() { return state; } }; // for consoles and tests
