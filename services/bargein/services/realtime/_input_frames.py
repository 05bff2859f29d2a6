"""What each frame of the graph does to a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bargein.pipeline import (
    Audio,
    Failure,
    Frame,
    Image,
    Interrupt,
    Played,
    SpeechStarted,
    SpeechStopped,
    ToolResult,
    UserText,
    Video,
)
from bargein.processors import AgentActivity, Commit, Heard, SampleFps, Turn, TurnControl
from bargein.services.brain import UnsupportedError
from bargein.services.frames import ClearAudio, Configure, OutOfBand, Remember, Respond, Say
from bargein.services.history import Picture
from bargein.services.tools import ToolRunner

from ._configuration import Configuration
from ._dialogue import SAY_EXACTLY, Dialogue, Request
from .profile import Profile

__all__ = ["InputFrames"]

COMMIT_SILENCE_MS = 1000
"""Silence after a `Commit` where the provider finds the end of a turn itself: it waits for at least half a second."""
GO_ON = "Please go on."
"""What prompts a model to answer now, if it cannot be asked for a response."""

LOUD_RMS = 330.0
"""Root mean square of samples from which on somebody may be speaking: -40 dB of full scale."""


def _is_loud(frame: Audio) -> bool:
    wide = frame.samples.reshape(-1).astype(np.float64)
    return float(wide @ wide) > LOUD_RMS**2 * len(wide)


class InputFrames:
    """Handles the frames that a model takes, by their class.

    Args:
        dialogue: The conversation.
        profile: What the provider can do.
        configuration: The settings, which some frames change.
        runner: What runs the tools, some of which an interrupt cancels.
        name: Name of the model's class, for error messages.
        fps: Maximum number of pictures of a video that are sent a second.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        *,
        profile: Profile,
        configuration: Configuration,
        runner: ToolRunner,
        name: str,
        fps: float,
    ) -> None:
        self._dialogue = dialogue
        self._profile = profile
        self._configuration = configuration
        self._runner = runner
        self._name = name
        self._sampler = SampleFps(fps)
        self._reported: set[str] = set()  # what has been reported as not possible; once is enough
        # A table and not a chain of `isinstance`: twenty classes, and audio is nearly all that comes.
        self._handlers: Mapping[type[Frame], Callable[[Any], None]] = {
            Audio: self._on_audio,
            Video: self._on_picture,
            Image: self._on_picture,
            UserText: self._on_user_text,
            SpeechStarted: self._on_speech,
            SpeechStopped: self._on_speech,
            Turn: self._on_turn,
            TurnControl: self._on_turn_control,
            Commit: self._on_commit,
            Respond: self._on_respond,
            Say: self._on_say,
            ClearAudio: self._on_clear_audio,
            Configure: self._on_configure,
            Remember: self._on_remember,
            ToolResult: self._on_tool_result,
            Played: self._on_played,
            Heard: self._on_heard,
            AgentActivity: self._on_agent_activity,
            Interrupt: self._on_interrupt,
        }

    def handle(self, frame: Frame) -> None:
        """Act on a frame. Frames that a model does not take are ignored."""
        for kind in type(frame).__mro__:  # most often the first
            if (handler := self._handlers.get(kind)) is not None:
                handler(frame)
                return

    def _on_audio(self, frame: Audio) -> None:
        if frame.response_id:
            return  # the agent's own
        rate = self._profile.input_rate
        if frame.rate != rate or frame.channels != 1:
            self._fail(
                f"{self._name} got {frame.rate} Hz with {frame.channels} channel(s), and {self._profile.provider} "
                f"takes {rate} Hz mono; pip install 'bargein[audio]', which converts it"
            )
            return
        if self._dialogue.dead_air.open and not self._profile.emits_speech_events and _is_loud(frame):
            self._dialogue.dead_air.on_sign()  # the user may be speaking, and nothing else says so
        # Only the first audio after a pause moves a deadline. To wake a task at every frame would cost more than the
        # frame.
        if self._dialogue.input.add_audio(frame):
            self._dialogue.deadlines_changed.set()

    def _on_picture(self, frame: Image | Video) -> None:
        if not self._profile.supports_images:
            self._unsupported("supports_images", "pictures")
            return
        if not isinstance(frame.data, bytes):
            self._fail(f"{self._name} takes encoded pictures; pip install 'bargein[video]', which encodes them")
            return
        picture = Picture.from_frame(frame, self._name)
        if (problem := self._picture_problem(picture)) is not None:
            self._dialogue.emit(Failure(problem, processor=self._profile.provider))
        # A still image was sent on purpose. Only pictures of a video are sampled.
        elif isinstance(frame, Image) or any(self._sampler.process(frame)):
            self._dialogue.input.send_entry(self._dialogue.history.show(picture), picture)

    def _picture_problem(self, picture: Picture) -> str | None:
        """Return why the provider does not take a picture, and what to do; None if it does."""
        profile, encoding = self._profile, picture.media.removeprefix("image/")
        if profile.image_formats and encoding not in profile.image_formats:
            formats = " or ".join(profile.image_formats)
            problem = f"a picture in {encoding}, where {profile.provider} takes {formats}, was not shown"
            return f"{problem}; insert EncodeJpeg()"
        size, max_size = len(picture.data), profile.max_image_bytes
        if max_size is not None and size > max_size:
            problem = f"a picture of {size} bytes, where {profile.provider} takes {max_size}, was not shown"
            return f"{problem}; insert Scale() or EncodeJpeg()"
        return None

    def _on_user_text(self, frame: UserText) -> None:
        if not self._profile.supports_text_input:
            self._unsupported("supports_text_input", "typed text")
            return
        self._dialogue.input.send_entry(self._dialogue.history.user(frame.text, frame.item_id))
        self._dialogue.respond(Request(Respond()))

    def _on_speech(self, frame: SpeechStarted | SpeechStopped) -> None:
        self._dialogue.dead_air.on_speech(frame)
        self._dialogue.emit(frame)
        started = self._dialogue.input.detector_hears_speech = isinstance(frame, SpeechStarted)
        # A provider that detects speech itself must not be told of it by another detector.
        if started and self._configuration.settings.turn_detection is None and self._dialogue.ready:
            self._dialogue.send_queue.command(lambda protocol: protocol.speech_started(), behind_audio=True)

    def _on_turn(self, frame: Turn) -> None:
        spoken = frame.reason not in ("typed", "commit")  # `UserText` and `Commit` come as separate frames
        if spoken and not frame.revision and self._configuration.settings.turn_detection is None:
            self._dialogue.commit()

    def _on_commit(self, frame: Commit) -> None:
        if self._configuration.settings.turn_detection is None:
            self._dialogue.commit()
        else:
            self._dialogue.input.send_silence(COMMIT_SILENCE_MS)

    def _on_respond(self, frame: Respond) -> None:
        if frame.out_of_band:
            if not self._profile.supports_out_of_band:
                self._unsupported("supports_out_of_band", "Respond(out_of_band=...)")
                self._dialogue.emit(OutOfBand(name=frame.out_of_band, text="", reason="the provider cannot do this"))
                return
            self._dialogue.ask_out_of_band(frame.out_of_band, frame.instructions)
        else:
            self._respond(frame)

    def _on_say(self, frame: Say) -> None:
        if self._profile.supports_verbatim_speech:
            self._dialogue.say(frame)
        else:  # the nearest thing: ask the model to say it
            self._respond(Respond(instructions=SAY_EXACTLY.format(frame.text), protected=frame.protected))

    def _respond(self, frame: Respond) -> None:
        """Request a response, or prompt the model by a text if its provider has no requests."""
        # A text instead of a request is the nearest thing, but it becomes part of the conversation.
        if self._profile.supports_response_requests:
            self._dialogue.respond(Request(frame))
        elif self._profile.supports_text_input:
            prompt = frame.instructions or GO_ON
            self._dialogue.send_queue.command(lambda protocol: protocol.text(prompt))
        else:
            self._unsupported("supports_response_requests", "Respond()")

    def _unsupported(self, capability: str, what: str) -> None:
        self._fail(str(UnsupportedError.of(self._profile.provider, capability, what)))

    def _fail(self, message: str) -> None:
        """Report what cannot be done, once in a session. The call continues."""
        if message not in self._reported:
            self._reported.add(message)
            self._dialogue.emit(Failure(message, processor=self._profile.provider))

    def _on_clear_audio(self, frame: ClearAudio) -> None:
        self._dialogue.send_queue.command(lambda protocol: protocol.clear_audio())

    def _on_remember(self, frame: Remember) -> None:
        self._dialogue.input.remember(frame)

    def _on_tool_result(self, frame: ToolResult) -> None:
        self._dialogue.tools.on_result(frame)

    def _on_played(self, frame: Played) -> None:
        self._dialogue.on_played(frame)

    def _on_heard(self, frame: Heard) -> None:
        self._dialogue.playback.on_heard(frame)

    def _on_agent_activity(self, frame: AgentActivity) -> None:
        self._dialogue.dead_air.on_activity(frame)
        self._dialogue.playback.has_voice_below = True  # only `Spoken` sends this frame

    def _on_interrupt(self, frame: Interrupt) -> None:
        # The requests first: the end of a cancelled tool sends the request that waits, which the interrupt has dropped.
        self._dialogue.replies.on_interrupt()
        for call_id in self._runner.interrupt():
            self._dialogue.tools.on_cancelled(call_id)

    # Settings -----------------------------------------------------------------------------------------------------

    def _on_turn_control(self, frame: TurnControl) -> None:
        if self._configuration.set_external_turns(frame.external):
            self._dialogue.configure(self._configuration.settings)

    def _on_configure(self, frame: Configure) -> None:
        self._configuration.apply(frame, self._runner)
        self._dialogue.configure(self._configuration.settings)
