// Notices that nothing comes from the server any more, within about two seconds.

import { alive, pause } from "./server.js";

const LOOK_MS = 400; // how often it looks
const QUIET_MS = 1600; // how long nothing may come
const LEAST_FAILURES = 2; // how many slow answers in a row are a doubt

export class Watch {
  // Calls `doubt(server)` once, with what `alive()` says of the server, and ends.
  constructor(connection, doubt) {
    this.over = false;
    this.#look(connection, doubt).catch(() => {}); // statistics of a connection that is being closed
  }

  stop() {
    this.over = true;
  }

  async #look(connection, doubt) {
    let received = -1;
    let came = performance.now();
    let looked = came;
    let slow = 0;
    while (!this.over) {
      await pause(LOOK_MS);
      const [now, count] = [performance.now(), await connection.received()];
      const slept = now - looked > 4 * LOOK_MS; // a browser holds the timers of a page that nobody sees
      looked = now;
      if (count !== received || slept) [received, came, slow] = [count, now, 0];
      if (this.over || connection.over || now - came < QUIET_MS) continue;
      const server = await alive();
      if (this.over || connection.over) return;
      slow = server === "slow" ? slow + 1 : 0;
      const moved = (await connection.received()) !== received;
      if (!moved && (connection.chatty || server === "no" || slow >= LEAST_FAILURES)) return doubt(server);
      came = performance.now(); // the server answers: it is silent because there is nothing to say
    }
  }
}
