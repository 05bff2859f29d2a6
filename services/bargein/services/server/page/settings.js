// What the next call uses: brain, connection, devices, push to talk. The browser remembers it.

import { canChooseSpeaker, devices } from "./microphone.js";

const $ = (id) => document.getElementById(id);
const KEY = "bargein";
const REMEMBERED = ["brain", "transport", "microphone", "loudspeaker", "lens"];
const DEFAULTS = { microphone: "Standard microphone", loudspeaker: "Standard speaker", lens: "Standard camera" };

export class Settings {
  // `changed(name)` is called for a field that the user has changed.
  constructor(changed) {
    this.offered = { brains: [], transports: [], camera: false, suggestions: [] };
    this.kept = recall();
    this.dialog = $("settings");
    $("push").checked = Boolean(this.kept.push);
    $("loudspeaker-field").hidden = !canChooseSpeaker();
    $("settings-button").addEventListener("click", () => this.#open());
    this.dialog.addEventListener("change", ({ target }) => {
      this.#remember();
      this.#describe();
      changed(target.id);
    });
    this.dialog.addEventListener("click", ({ target }) => target === this.dialog && this.#close());
    this.dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#close();
    });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.devices());
    this.devices();
  }

  offer(offered) {
    // Show what the server has.
    this.offered = offered;
    for (const { name, title, missing } of offered.brains) {
      const option = new Option(missing ? `${title} (${missing})` : title, name);
      option.disabled = Boolean(missing);
      $("brain").append(option);
    }
    $("brain-field").hidden = offered.brains.length === 0;
    const usable = offered.transports.filter(({ name }) => name !== "webrtc" || "RTCPeerConnection" in window);
    if (usable.length > 1) $("transport").append(new Option("Automatic", "auto"));
    for (const { name, title } of usable) $("transport").append(new Option(title, name));
    for (const name of ["brain", "transport"]) choose($(name), this.kept[name]);
    this.#describe();
  }

  get brain() {
    return this.offered.brains.find(({ name }) => name === $("brain").value);
  }

  get transport() {
    return $("transport").value || "websocket";
  }

  get microphone() {
    return $("microphone").value;
  }

  get loudspeaker() {
    return $("loudspeaker").value;
  }

  get lens() {
    // The camera.
    return $("lens").value;
  }

  get push() {
    return $("push").checked;
  }

  get camera() {
    // Whether the agent would look at pictures.
    return this.offered.camera && this.transport !== "websocket" && (this.brain?.sees ?? true);
  }

  get suggestions() {
    return this.brain?.suggestions?.length ? this.brain.suggestions : (this.offered.suggestions ?? []);
  }

  async devices() {
    const kinds = { microphone: "audioinput", loudspeaker: "audiooutput", lens: "videoinput" };
    for (const [name, kind] of Object.entries(kinds)) {
      const found = await devices(kind);
      const select = $(name);
      const chosen = select.value || this.kept[name];
      const options = found.map(({ label, deviceId }) => new Option(label, deviceId));
      select.replaceChildren(new Option(DEFAULTS[name], ""), ...options);
      choose(select, chosen);
    }
  }

  lock(locked) {
    // Brain and connection belong to a call.
    $("brain").disabled = $("transport").disabled = locked;
  }

  #open() {
    this.devices();
    if (this.dialog.showModal) this.dialog.showModal();
    else this.dialog.setAttribute("open", "");
  }

  #close() {
    if (this.dialog.showModal) this.dialog.close();
    else this.dialog.removeAttribute("open");
  }

  #remember() {
    for (const name of REMEMBERED) this.kept[name] = $(name).value;
    this.kept.push = this.push;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.kept));
    } catch {
      // a private window keeps nothing
    }
  }

  #describe() {
    $("chosen").textContent = this.brain?.title ?? "";
    $("lens-field").hidden = !this.camera;
  }
}

function recall() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

function choose(select, value) {
  if ([...select.options].some((option) => option.value === value && !option.disabled)) select.value = value;
}
