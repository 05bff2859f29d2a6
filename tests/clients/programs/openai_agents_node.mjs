// The `@openai/agents` package for Node: a realtime session with a tool, speech, an interruption, and push to talk.
import { load, pieces, run, until, url } from "./_report.mjs";

const { RealtimeAgent, RealtimeSession } = await load("@openai/agents/realtime");
const { tool } = await load("@openai/agents");
const { z } = await load("zod");

class Call {
  constructor(report, turnDetection) {
    this.called = [];
    this.sound = this.interrupted = this.ended = 0;
    const clock = tool({
      name: "clock",
      description: "The time in a city.",
      parameters: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        this.called.push(`12:00 in ${city}`);
        return this.called.at(-1);
      },
    });
    const input = { transcription: { model: "gpt-4o-mini-transcribe" }, turnDetection };
    this.session = new RealtimeSession(new RealtimeAgent({ name: "Assistant", instructions: "Be brief.", tools: [clock] }), {
      transport: "websocket",
      model: "gpt-realtime-mini", // not that of the URL
      config: { audio: { input } },
    });
    this.session.on("audio", (event) => (this.sound += event.data.byteLength));
    this.session.on("audio_interrupted", () => (this.interrupted += 1));
    this.session.on("agent_end", () => (this.ended += 1));
    this.session.on("error", (error) => report.errors.push(JSON.stringify(error.error ?? error)));
  }
  connect() {
    return this.session.connect({ apiKey: "sk-local", url: `${url}?model=gpt-realtime` });
  }
  async speak(name, commit = false) {
    for await (const piece of pieces(name)) {
      this.session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length));
    }
    if (commit) this.session.sendAudio(new ArrayBuffer(4800), { commit: true });
  }
  said(role) {
    const items = this.session.history.filter((item) => item.type === "message" && item.role === role);
    const texts = items.map((item) => item.content.map((part) => part.transcript ?? part.text ?? "").join(""));
    return texts.filter((text) => text);
  }
}

await run(async (report) => {
  const call = new Call(report, { type: "server_vad" });
  await call.connect();
  call.session.sendMessage("hello");
  report.text = await until(() => call.ended && call.said("assistant").at(-1));
  await call.speak("time");
  report.tool = await until(() => call.called.length && call.said("assistant").find((text) => text.includes("noon")));
  [report.tools, report.heard, report.sound] = [call.called, call.said("user").at(-1), call.sound];
  const before = call.sound;
  call.session.sendMessage("Tell me everything.");
  await until(() => call.sound - before >= 90_000);
  await call.speak("stop");
  report.after = await until(() => call.interrupted && call.said("assistant").find((text) => text.includes("Yes")));
  call.session.close();

  const pushed = new Call(report, null);
  await pushed.connect();
  await pushed.speak("time", true);
  pushed.session.transport.sendEvent({ type: "response.create" });
  report.pushed = await until(() => pushed.said("assistant").at(-1));
  report.pushed_heard = await until(() => pushed.said("user").at(-1));
  pushed.session.close();
});
