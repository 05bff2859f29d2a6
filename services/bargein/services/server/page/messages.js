// What each of the agent's messages changes on the page; docs/guides/transports.md has the messages.

export function reader({ conversation, timeline, figures, state, notices, ended }) {
  const readers = {
    speech({ state: what }) {
      if (what === "started") timeline.mark("speech", "you");
      state.user(what === "started");
    },
    transcript({ speaker, item, text, final }) {
      if (speaker === "user") return conversation.user(item, text, final);
      conversation.heard(item, text, final);
      if (!final) state.agent();
    },
    text({ item, response, text }) {
      if (text) conversation.written(item || response, text);
    },
    response({ state: what }) {
      if (what === "started") state.think();
      else state.think(false);
      if (what === "failed") notices.note("The agent could not finish its answer.");
    },
    flush({ epoch }) {
      state.quiet();
      if (!conversation.interrupted(epoch)) return;
      timeline.mark("cut", "");
      figures.cut();
    },
    tool(message) {
      conversation.tool(message);
      if (message.state === "called") timeline.mark("tool", message.name);
    },
    latency({ ms }) {
      figures.answered(ms);
      conversation.answered(ms);
      timeline.mark("turn", `${Math.round(ms)} ms`);
    },
    reaction({ ms, epoch }) {
      figures.reacted(ms);
      conversation.reacted(epoch, ms);
    },
    usage: ({ input_tokens, output_tokens }) => figures.used(input_tokens, output_tokens),
    error: (message) => notices.error(message),
    end: (message) => ended(message),
  };
  return (message) => readers[message.type]?.(message);
}
