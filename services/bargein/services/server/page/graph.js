// Draws every session's pipeline anew each second, with what has been counted in it.

import { ask } from "./connection.js";

const sessions = document.getElementById("sessions");

async function refresh() {
  const names = await (await ask("sessions")).json();
  document.getElementById("none").hidden = names.length > 0;
  for (const node of [...sessions.children]) if (!names.some(({ name }) => name === node.dataset.name)) node.remove();
  for (const { name, brain, seconds } of names) {
    let node = [...sessions.children].find((each) => each.dataset.name === name);
    if (!node) {
      node = document.createElement("section");
      node.dataset.name = name;
      node.append(document.createElement("h2"), document.createElement("article"));
      sessions.append(node);
    }
    const drawn = await ask(`graph.svg?session=${encodeURIComponent(name)}`);
    node.firstChild.textContent = `${name}, ${brain || "any brain"}, ${Math.round(seconds)} s`;
    if (drawn.ok) node.lastChild.innerHTML = await drawn.text();
  }
}

document.querySelector("#none a").href = `./${location.search}`; // with the token, if there is one
for (;;) {
  await refresh().catch(() => {});
  await new Promise((done) => setTimeout(done, 1000));
}
