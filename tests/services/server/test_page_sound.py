"""The page's sound thread: what it plays, and what it sends of the microphone."""

from __future__ import annotations

import numpy as np
import pytest

from bargein.services.server import serve_page
from bargein.services.server.app import PAGE

from .browser import BROWSER, agent, choice, page_of, run

pytestmark = BROWSER


SOUND_THREAD = """(() => {
  const sampleRate = 48000, currentTime = 0, made = {};
  class AudioWorkletProcessor {
    port = { posted: [], postMessage: (message) => this.port.posted.push(message) };
  }
  const registerProcessor = (name, its) => (made[name] = its);
  SOURCE
  const play = (player, blocks) => {
    const all = [];
    for (let block = 0; block < blocks; block++) {
      const output = new Float32Array(128);
      player.process([], [[output]]);
      all.push(...output);
    }
    return all;
  };
  const give = (player, data) => player.port.onmessage({ data });
  const piece = (value, epoch) => ({ epoch, samples: new Int16Array(1920).fill(value * 32767).buffer });
  const player = new made.player();
  give(player, piece(0.5, 0));
  give(player, piece(0.5, 1));
  const before = play(player, 2);
  give(player, { flush: 1 });
  give(player, piece(0.9, 0)); // a straggler
  const after = play(player, 20);
  give(player, piece(0.25, 1));
  play(player, 2);
  give(player, { flush: 1 }); // says nothing new
  const kept = play(player, 20);
  give(player, piece(0.5, 1));
  play(player, 2);
  give(player, { held: true });
  const held = play(player, 20);
  give(player, { held: false });
  const resumed = play(player, 20);
  give(player, { held: true });
  give(player, { flush: 2 });
  give(player, piece(0.5, 2));
  const next = play(player, 20);

  const captured = (pitch) => {
    const capture = new made.capture({ processorOptions: { less: 3 } });
    for (let block = 0; block < 75; block++) {
      const angle = (at) => (2 * Math.PI * pitch * (block * 128 + at)) / sampleRate;
      const input = Float32Array.from({ length: 128 }, (_, at) => 0.5 * Math.sin(angle(at)));
      capture.process([[input]]);
    }
    const samples = capture.port.posted.slice(1).flatMap((sound) => [...new Int16Array(sound)]);
    return [samples.length, Math.max(...samples.map(Math.abs)) / 32767];
  };
  const tones = { low: captured(1000), middle: captured(5000), high: captured(10000) };
  return { before, after, kept, held, resumed, next, ...tones };
})()"""
"""The worklets with a hand for a browser: what they play and post."""


def test_the_sound_thread() -> None:
    """A flush is silence in 5 ms and keeps what is new, a hold keeps all; what is sent less of has no false tones."""

    async def main() -> dict[str, list[float]]:
        async with serve_page(agent, port=0, brains=[choice()]) as server, page_of(server) as page:
            source = (PAGE / "worklets.js").read_text()
            played: dict[str, list[float]] = await page.evaluate(SOUND_THREAD.replace("SOURCE", source))
            return played

    told = run(main)
    sound = {name: np.array(values) for name, values in told.items()}
    assert np.allclose(sound["before"][:256], 0.5, atol=0.001)
    assert sound["after"][0] > 0.9, "the old fades while the new begins"
    assert np.all(np.diff(sound["after"][:240]) < 0.002)
    assert np.allclose(sound["after"][240:1920], 0.5, atol=0.001)
    assert not sound["after"][1920:].any(), "and no straggler comes"
    assert np.count_nonzero(sound["kept"]) == 1920 - 256, "what is not flushed goes on where it was"
    assert not sound["held"][260:].any()
    assert np.count_nonzero(sound["held"][:260]) + np.count_nonzero(sound["resumed"]) >= 1920 - 256 - 2
    assert np.count_nonzero(sound["next"]) >= 1918, "an interrupt ends a hold"
    for name, level in (("low", 0.5), ("middle", 0.5)):
        count, most = told[name]
        assert count == 2880
        assert most == pytest.approx(level, abs=0.01)
    assert told["high"][1] < 0.001
