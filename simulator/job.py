"""One generation: what was asked for, by whom, and what has become of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.channels import Message
    from simulator.directives import Directive

_CAPTIONED = {
    "style": "style",
    "aspect_ratio": "aspect-ratio",
    "character": "character",
    "seed_value": "seed",
    "motion": "motion",
    "hd_quality": "hd",
}
"""Options that the bot repeats in its messages, and what it calls them there."""


@dataclass(frozen=True, slots=True)
class Press:
    """A pressed button: its label and the message it stands on."""

    label: str
    message_id: int


@dataclass(slots=True, eq=False)
class Job:
    """A submission that passed validation.

    ``options`` are the command's; a pressed button has those of the job whose message it stands on. ``nonce`` is the
    client's own name for the interaction. ``original`` is the first message of the bot's answer.
    """

    interaction_id: str
    channel_id: str
    server_id: str
    user: dict[str, Any]
    command: str
    options: dict[str, Any]
    directive: Directive
    press: Press | None = None
    nonce: str | None = None
    original: Message | None = None

    @property
    def prompt(self) -> str:
        """The prompt as sent, directive included; empty where none was sent."""
        return str(self.options.get("prompt", ""))

    @property
    def title(self) -> str:
        """The name under which the oracle knows the submission."""
        return f"button:{self.press.label}" if self.press else self.command

    @property
    def edits_pressed(self) -> bool:
        """Whether the bot answers by editing the message whose button was pressed."""
        return self.press is not None and self.directive.result == "pressed"

    @property
    def is_named(self) -> bool:
        """Whether the bot's messages name the interaction; those that answer a command always do."""
        return self.press is None or self.directive.named

    @property
    def file_count(self) -> int:
        """How many videos the job yields: four for ``create``, else one."""
        return 4 if self.command == "create" and self.press is None else 1

    @property
    def caption(self) -> str:
        """The request as the bot repeats it: ``prompt: … style: Realistic aspect-ratio: 16:9``."""
        prompt = rewritten(self.prompt) if self.directive.rewrite else self.prompt
        known = self.options if self.command == "animate" else {"aspect_ratio": "16:9", **self.options}
        settings = [f"{title}: {known[name]}" for name, title in _CAPTIONED.items() if name in known]
        return " ".join([f"prompt: {prompt}", *settings])


def rewritten(prompt: str) -> str:
    """Change a prompt's dashes and spacing as a careless bot does: ``—`` to ``--``, each gap to two spaces."""
    return re.sub(r"\s+", "  ", re.sub("[\u2013\u2014]", "--", prompt))
