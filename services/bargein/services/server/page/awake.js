// Keeps the screen of a telephone on during a call: a browser that sleeps hears nothing.

export function stayAwake(signal) {
  // Until `signal` is aborted. A browser without wake locks does nothing, and one that hides the page forgets them.
  let lock = null;
  const ask = async () => {
    if (document.hidden || signal.aborted) return;
    lock = await navigator.wakeLock?.request("screen").catch(() => null);
    if (signal.aborted) lock?.release().catch(() => {});
  };
  document.addEventListener("visibilitychange", ask);
  signal.addEventListener("abort", () => {
    document.removeEventListener("visibilitychange", ask);
    lock?.release().catch(() => {});
  });
  ask();
}
