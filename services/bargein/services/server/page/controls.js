// Keys, and the button that is held to talk.

const RELEASE_MS = 250; // the end of a word is still on its way when the button is released

export class HoldToTalk {
  // Calls `talk(true)` when the user begins to hold, and `talk(false)` a moment after the release.
  constructor(button, talk) {
    this.button = button;
    this.talk = talk;
    this.held = false;
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      try {
        button.setPointerCapture(event.pointerId);
      } catch {
        // the pointer is gone already
      }
      this.press();
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(kind, () => this.release());
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) this.press();
    });
    button.addEventListener("keyup", (event) => event.key === "Enter" && this.release());
    button.addEventListener("click", (event) => event.detail === 0 && this.#toggle()); // a screen reader cannot hold
    window.addEventListener("blur", () => this.release());
    document.addEventListener("visibilitychange", () => document.hidden && this.release());
  }

  press() {
    if (this.held || this.button.disabled || this.button.hidden) return;
    this.held = true;
    clearTimeout(this.timer);
    this.button.setAttribute("aria-pressed", "true");
    this.talk(true);
  }

  release() {
    if (!this.held) return;
    this.held = false;
    this.button.setAttribute("aria-pressed", "false");
    this.timer = setTimeout(() => this.talk(false), RELEASE_MS);
  }

  forget() {
    // The call is over.
    clearTimeout(this.timer);
    this.held = false;
    this.button.setAttribute("aria-pressed", "false");
  }

  #toggle() {
    if (this.held) this.release();
    else this.press();
  }
}

export function keys({ hold, buttons, interrupt }) {
  // Space holds to talk, Escape interrupts everywhere, letters press buttons outside of fields.
  let pointed = false; // the focused button was reached by a pointer and not by the keyboard
  document.addEventListener("pointerdown", () => (pointed = true), true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") pointed = false;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const field = event.target.matches?.("input, select, textarea");
    if (event.key === "Escape") return interrupt();
    if (field) return;
    if (event.key === " " && !hold.button.hidden && spaceTalks(event.target, hold.button, pointed)) {
      event.preventDefault();
      if (!event.repeat) hold.press();
    }
    const button = buttons[event.key.toLowerCase()];
    if (button && !event.repeat && !button.disabled && !button.hidden) button.click();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key !== " " || !hold.held) return;
    event.preventDefault(); // a focused button would be pressed
    hold.release();
  });
}

function spaceTalks(target, button, pointed) {
  // A button that the keyboard has reached keeps its own space bar.
  return target === button || pointed || !target.matches?.("button, summary, a, canvas, [role=log], [role=region]");
}
