"""What a session is configured with, as the application and the processors above change it."""

from __future__ import annotations

from typing import Any

import msgspec

from bargein.services.frames import Configure
from bargein.services.tools import Toolbox, ToolRunner, complete_schema

from .profile import Profile
from .settings import Settings

__all__ = ["Configuration"]


class Configuration:
    """The present settings of a model, and what they were at first.

    Args:
        profile: What the provider can do.
        settings: The first settings.
        toolbox: The tools that run here.
    """

    def __init__(self, profile: Profile, settings: Settings, toolbox: Toolbox) -> None:
        self.settings = msgspec.structs.replace(settings, tools=tuple(toolbox.schemas))
        """What the next session is configured with."""
        self._profile = profile
        self._first = settings
        self._application_schemas: dict[str, dict[str, Any]] = {}  # of the tools that the application answers, by name

    def is_answered_by_application(self, tool: str) -> bool:
        """Return whether the application answers the calls of a tool."""
        return tool in self._application_schemas

    def set_external_turns(self, external: bool) -> bool:
        """Leave turn detection to a processor above, or take it back, if the provider can be told when a turn is over.

        Returns:
            Whether the settings have changed.
        """
        detection = None if external else self._first.turn_detection
        if not self._profile.supports_commit or detection == self.settings.turn_detection:
            return False
        self.settings = msgspec.structs.replace(self.settings, turn_detection=detection)
        return True

    def apply(self, frame: Configure, runner: ToolRunner) -> None:
        """Change the settings as the application asks, and the tools that run here.

        Raises:
            UnsupportedError: The provider cannot change a session.
        """
        self._profile.require("supports_updates", "changing a session")
        if frame.tools is not None:
            runner.toolbox = Toolbox(frame.tools)
        if frame.schemas is not None:
            self._application_schemas = {each["name"]: complete_schema(each) for each in frame.schemas}
        settings, theirs = self.settings, self._application_schemas
        ours = [each for each in runner.toolbox.schemas if each["name"] not in theirs]
        instructions = frame.instructions or self._first.instructions  # empty: those of the beginning
        self.settings = msgspec.structs.replace(
            settings,
            instructions=settings.instructions if frame.instructions is None else instructions,
            voice=settings.voice if frame.voice is None else frame.voice,
            tools=(*ours, *theirs.values()),
        )
