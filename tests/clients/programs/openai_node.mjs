// The `openai` package for Node: events by hand. It connects by TLS only.
import { load, pieces, run, until, url } from "./_report.mjs";

const { default: OpenAI } = await load("openai");
const { OpenAIRealtimeWS } = await load("openai/realtime/ws");
const baseURL = url.replace("wss", "https").replace(/\/realtime$/, "");
const client = new OpenAI({ apiKey: "sk-local", baseURL });

const clock = {
  type: "function",
  name: "clock",
  description: "The time in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

function session(turnDetection) {
  const input = { transcription: { model: "gpt-4o-mini-transcribe" }, turn_detection: turnDetection };
  return { type: "realtime", tools: [clock], audio: { input } };
}

class Call {
  constructor(report, turnDetection) {
    this.events = [];
    this.socket = new OpenAIRealtimeWS({ model: "gpt-realtime" }, client);
    this.socket.on("event", (event) => this.events.push(event));
    this.socket.on("error", (error) => report.errors.push(String(error)));
    this.socket.on("session.created", () => this.send("session.update", { session: session(turnDetection) }));
  }
  send(type, fields = {}) {
    this.socket.send({ type, ...fields });
  }
  of(type) {
    return this.events.filter((event) => event.type === type);
  }
  // Wait for the end of one more response than there was; return it.
  async answer(count) {
    await until(() => this.of("response.done").length >= count, `response ${count}`);
    return this.of("response.done")[count - 1].response;
  }
  say(text) {
    const content = [{ type: "input_text", text }];
    this.send("conversation.item.create", { item: { type: "message", role: "user", content } });
    this.send("response.create");
  }
  async speak(name) {
    for await (const piece of pieces(name)) {
      this.send("input_audio_buffer.append", { audio: piece.toString("base64") });
    }
  }
  soundOf(itemId) {
    const deltas = this.of("response.output_audio.delta").filter((event) => !itemId || event.item_id === itemId);
    return deltas.reduce((sum, event) => sum + Buffer.from(event.delta, "base64").length, 0);
  }
}

const said = (response) => response.output[0].content[0].transcript;

await run(async (report) => {
  const call = new Call(report, { type: "server_vad" });
  await until(() => call.of("session.updated").length);
  call.say("hello");
  report.text = said(await call.answer(1));
  await call.speak("time");
  const [request] = (await call.answer(2)).output;
  report.tools = [`12:00 in ${JSON.parse(request.arguments).city}`];
  const output = { type: "function_call_output", call_id: request.call_id, output: report.tools[0] };
  call.send("conversation.item.create", { item: output });
  call.send("response.create");
  report.tool = said(await call.answer(3));
  const heard = () => call.of("conversation.item.input_audio_transcription.completed");
  report.heard = (await until(() => heard()[0])).transcript;
  report.sound = call.soundOf();
  call.say("Tell me everything.");
  await until(() => call.soundOf(call.of("response.output_audio.delta").at(-1).item_id) >= 90_000);
  const long = call.of("response.output_audio.delta").at(-1).item_id;
  await call.speak("stop");
  await until(() => call.of("input_audio_buffer.speech_started").length === 2);
  call.send("conversation.item.truncate", { item_id: long, content_index: 0, audio_end_ms: 450 });
  await until(() => call.of("conversation.item.truncated").length);
  report.after = said(await call.answer(5));
  call.socket.close();

  const pushed = new Call(report, null);
  await until(() => pushed.of("session.updated").length);
  await pushed.speak("time");
  pushed.send("input_audio_buffer.commit");
  pushed.send("response.create");
  report.pushed = said(await pushed.answer(1));
  const completed = "conversation.item.input_audio_transcription.completed";
  report.pushed_heard = (await until(() => pushed.of(completed)[0])).transcript;
  pushed.socket.close();
});
