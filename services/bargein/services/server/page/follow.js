// Keeps the end of a list in sight, unless the reader has scrolled away from it.

const NEAR = 40; // pixels from the end that count as the end

export class Follower {
  // `button` goes back to the end; it is shown when the end cannot be seen.
  constructor(scroller, button) {
    this.scroller = scroller;
    this.button = button;
    this.following = true;
    scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = scroller;
      this.#set(scrollHeight - scrollTop - clientHeight < NEAR);
    });
    button?.addEventListener("click", () => this.end());
    if (window.ResizeObserver) new ResizeObserver(() => this.changed()).observe(scroller);
  }

  end() {
    this.#set(true);
    this.changed();
  }

  changed() {
    // Something has been added.
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #set(following) {
    this.following = following;
    if (this.button) this.button.hidden = following;
  }
}
