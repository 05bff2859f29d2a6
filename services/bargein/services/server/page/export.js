// The conversation as a file: as text for people, as JSON for programs.

export function asText(conversation) {
  return conversation.story
    .map(({ kind, speaker, heard, cut, text, words }) => {
      if (kind !== "words") return `(${words})`;
      const name = speaker === "user" ? "You" : "Agent";
      const lost = speaker === "agent" && cut && text.length > heard.length ? " [interrupted]" : "";
      return `${name}: ${heard.trim()}${lost}`;
    })
    .join("\n")
    .concat("\n");
}

export function asJson({ conversation, figures, events }) {
  const { turns, reactions, cuts, usage } = figures;
  const whole = {
    saved: new Date().toISOString(),
    conversation: conversation.story,
    figures: { answered_after_ms: turns, silent_after_ms: reactions, interruptions: cuts, usage },
    events: events.all,
  };
  return `${JSON.stringify(whole, null, 2)}\n`;
}

export function save(text, extension, type) {
  const link = document.createElement("a");
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `conversation-${stamp}.${extension}`;
  document.body.append(link); // Firefox wants it in the page
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
