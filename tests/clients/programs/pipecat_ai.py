"""The `pipecat-ai` package: a pipeline around its OpenAI Realtime service, without a transport."""

from __future__ import annotations

import asyncio
from typing import Any

from _report import URL, pieces, run, until
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMMessagesAppendFrame,
    TTSAudioRawFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner


class Loudspeaker(FrameProcessor):
    """Counts what would be heard."""

    def __init__(self, report: dict[str, Any]) -> None:
        super().__init__()
        self.report = report
        self.sound = self.ended = self.interrupted = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.sound += len(frame.audio)
        elif isinstance(frame, LLMFullResponseEndFrame):
            self.ended += 1
        elif isinstance(frame, InterruptionFrame):
            self.interrupted += 1
        elif isinstance(frame, ErrorFrame):
            self.report["errors"].append(frame.error)
        await self.push_frame(frame, direction)


class Call:
    """A running pipeline, and what is known of its conversation."""

    def __init__(self, report: dict[str, Any], *first: dict[str, Any], turn_detection: Any) -> None:
        self.called: list[str] = []

        async def clock(params: FunctionCallParams, city: str) -> None:
            """Return the time in a city.

            Args:
                city: The city.
            """
            self.called.append(f"12:00 in {city}")
            await params.result_callback(self.called[-1])

        listening = events.AudioInput(
            transcription=events.InputAudioTranscription(model="gpt-4o-mini-transcribe"), turn_detection=turn_detection
        )
        properties = events.SessionProperties(audio=events.AudioConfiguration(input=listening))
        settings = OpenAIRealtimeLLMService.Settings(
            model="gpt-realtime", system_instruction="Be brief.", session_properties=properties
        )
        self.service = OpenAIRealtimeLLMService(api_key="sk-local", base_url=URL, settings=settings)
        self.context = LLMContext(list(first), tools=[clock])  # type: ignore[arg-type]
        aggregators = LLMContextAggregatorPair(self.context)
        self.loudspeaker = Loudspeaker(report)
        pipeline = Pipeline([aggregators.user(), self.service, self.loudspeaker, aggregators.assistant()])
        rates = PipelineParams(audio_in_sample_rate=24_000, audio_out_sample_rate=24_000)
        self.worker = PipelineWorker(pipeline, params=rates, enable_rtvi=False, idle_timeout_secs=None)

        @self.worker.event_handler("on_pipeline_error")
        async def on_error(worker: Any, frame: ErrorFrame) -> None:
            report["errors"].append(frame.error)

    async def say(self, name: str) -> None:
        async for piece in pieces(name):
            await self.worker.queue_frame(InputAudioRawFrame(audio=piece, sample_rate=24_000, num_channels=1))

    async def ask(self, text: str) -> None:
        """Add a message for the model, as an application does: this package sends it as a system item."""
        await self.service.queue_frame(LLMMessagesAppendFrame([{"role": "user", "content": text}], run_llm=True))

    def said(self, role: str) -> list[str]:
        """Return the words of one side, as the context has them."""
        messages = [each for each in self.context.messages if isinstance(each, dict)]
        return [str(each["content"]) for each in messages if each.get("role") == role and each.get("content")]


async def talk(report: dict[str, Any], call: Call) -> None:
    speaker = call.loudspeaker
    await call.ask("hello")
    await until(lambda: call.said("assistant"))
    report["text"] = call.said("assistant")[-1]
    await call.say("time")
    await until(lambda: call.called and any("noon" in each for each in call.said("assistant")))
    report["tools"], report["tool"] = call.called, call.said("assistant")[-1]
    report["heard"], report["sound"] = call.said("user")[-1], speaker.sound
    before = speaker.sound
    await call.ask("Tell me everything.")
    await until(lambda: speaker.sound - before >= 90_000)
    await asyncio.sleep(0.45)  # this package takes the time that has passed for what was heard
    await call.say("stop")
    await until(lambda: speaker.interrupted and "Yes" in call.said("assistant")[-1])
    report["after"] = call.said("assistant")[-1]


async def push(report: dict[str, Any], call: Call) -> None:
    await call.worker.queue_frame(UserStartedSpeakingFrame())
    await call.say("time")
    await call.worker.queue_frame(UserStoppedSpeakingFrame())
    await until(lambda: call.said("assistant") and call.said("user"))
    report["pushed"], report["pushed_heard"] = call.said("assistant")[-1], call.said("user")[-1]


async def hold(call: Call, conversation: Any) -> None:
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(call.worker)
    running = asyncio.create_task(runner.run())
    try:
        await conversation
    finally:
        await call.worker.cancel()
        await running


async def main(report: dict[str, Any]) -> None:
    call = Call(report, turn_detection=events.TurnDetection())
    await hold(call, talk(report, call))
    call = Call(report, turn_detection=False)
    await hold(call, push(report, call))


run(main)
