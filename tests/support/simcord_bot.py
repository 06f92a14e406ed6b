"""A small PixVerse bot, written with discord.py for a Discord that we did not write (simcord).

How it behaves is planned by the test, command by command and channel by channel (`Plan`); it ends its jobs when the
time has come, by whatever way Discord gives a bot.
"""

from __future__ import annotations

import asyncio
import io
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Literal

import discord
from discord import app_commands

Result = Literal["edit", "followup", "message", "components", "update"]
"""``update``: a press is answered by an edit of the pressed message."""
Outcome = Literal["completed", "failed", "moderated", "busy", "ephemeral", "silent", "deleted", "modal"]

LABELS = {4: ("U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4", "ReDo"), 1: ("🔀", "ReDo")}
WORDS = {
    "failed": "Generation failed. Please try again later.",
    "moderated": "Your prompt was blocked by moderation.",
    "busy": "You have too many jobs running.",
    "ephemeral": "You have too many jobs running.",
}
REPEATED = {
    "prompt": "prompt",
    "style": "style",
    "aspect_ratio": "aspect-ratio",
    "seed_value": "seed",
    "motion": "motion",
    "hd_quality": "hd",
}
"""Options as the bot's messages call them."""
_ROW = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """How one command goes; ``seconds`` from its answer to its end."""

    result: Result = "edit"
    outcome: Outcome = "completed"
    seconds: float = 0.3
    is_deferred: bool = True


@dataclass(slots=True)
class Record:
    """What the bot knows that the client must find out: whose result is whose."""

    interaction: str
    channel: str
    command: str
    options: dict[str, Any]
    files: list[str] = field(default_factory=list)
    uploads: dict[str, int] = field(default_factory=dict)
    ended: bool = False


class PixVerse(discord.Client):
    """The bot; ``records`` are its commands in the order in which they came."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents.default())
        self.tree = app_commands.CommandTree(self)
        self.plans: defaultdict[str, deque[Plan]] = defaultdict(deque)
        self.records: list[Record] = []
        self.waiting: asyncio.Queue[tuple[discord.Interaction, Record, Plan]] = asyncio.Queue()
        _register(self)

    async def setup_hook(self) -> None:
        """Publish the commands."""
        await self.tree.sync()

    async def take(self, interaction: discord.Interaction, command: str, files: int, **options: Any) -> None:
        """Answer a command, and leave its end to whoever works the queue."""
        given = {name: value for name, value in options.items() if value is not None}
        uploads = {n: v.size for n, v in given.items() if isinstance(v, discord.Attachment)}
        record = Record(str(interaction.id), str(interaction.channel_id), command, given, uploads=uploads)
        record.files = [f"pixverse_{interaction.id}_{n}.mp4" for n in range(1, files + 1)]
        self.records.append(record)
        plans = self.plans[record.channel]
        plan = plans.popleft() if plans else Plan()
        if plan.outcome == "silent":
            return
        if plan.outcome in {"busy", "ephemeral"}:
            await interaction.response.send_message(WORDS[plan.outcome], ephemeral=plan.outcome == "ephemeral")
            return
        if plan.outcome == "modal":
            await interaction.response.send_modal(Form())
            return
        if plan.result == "update":
            await interaction.response.defer()
        elif plan.is_deferred:
            await interaction.response.defer(thinking=True)
        else:
            await interaction.response.send_message(f"{caption(interaction, record)} (Waiting to start)")
        self.waiting.put_nowait((interaction, record, plan))

    async def end(self, interaction: discord.Interaction, record: Record, plan: Plan) -> None:
        """End a job as planned."""
        record.ended = True
        if plan.outcome == "deleted":
            await interaction.delete_original_response()
            return
        text = caption(interaction, record)
        is_done = plan.outcome == "completed"
        text = f"{text} Author: {interaction.user.mention})" if is_done else f"{text} {WORDS[plan.outcome]}"
        files = [discord.File(io.BytesIO(name.encode()), name) for name in record.files] if is_done else []
        buttons = Buttons(self, record, len(files)) if is_done else None
        if plan.result == "components":
            parts = Parts(self, record, text, files)
            await interaction.edit_original_response(content=None, view=parts, attachments=files)
        elif plan.result in {"edit", "update"}:
            await interaction.edit_original_response(content=text, attachments=files, view=buttons)
        else:
            await interaction.edit_original_response(content=f"{caption(interaction, record)} (100%)")
            more: dict[str, Any] = {"files": files}
            if buttons:
                more["view"] = buttons
            if plan.result == "followup":
                await interaction.followup.send(text, **more)
            else:
                channel = interaction.channel
                assert isinstance(channel, discord.abc.Messageable)
                await channel.send(text, **more)


class Pressed(discord.ui.Button[Any]):
    """A button whose press is a command like any other, of one file."""

    def __init__(self, bot: PixVerse, record: Record, label: str) -> None:
        face: dict[str, Any] = {"label": label} if label.isascii() else {"emoji": label}
        super().__init__(custom_id=f"{label}:{record.interaction}", **face)
        self._bot = bot
        self._label = label
        self._options = record.options

    async def callback(self, interaction: discord.Interaction) -> None:
        await self._bot.take(interaction, f"button:{self._label}", 1, **self._options)


class Form(discord.ui.Modal, title="New prompt"):
    """What some buttons open instead of an answer."""

    prompt: discord.ui.TextInput[Any] = discord.ui.TextInput(label="Prompt")


class Buttons(discord.ui.View):
    """The buttons below a result."""

    def __init__(self, bot: PixVerse, record: Record, files: int) -> None:
        super().__init__(timeout=None)
        for label in LABELS[files]:
            self.add_item(Pressed(bot, record, label))


class Parts(discord.ui.LayoutView):
    """A result, or a refusal, made of components."""

    def __init__(self, bot: PixVerse, record: Record, text: str, files: list[discord.File]) -> None:
        super().__init__(timeout=None)
        container: discord.ui.Container[Any] = discord.ui.Container(discord.ui.TextDisplay(text))
        if files:
            items = [discord.MediaGalleryItem(f"attachment://{file.filename}") for file in files]
            container.add_item(discord.ui.MediaGallery(*items))
            labels = LABELS[len(files)]
            for start in range(0, len(labels), _ROW):
                row = [Pressed(bot, record, label) for label in labels[start : start + _ROW]]
                container.add_item(discord.ui.ActionRow(*row))
        self.add_item(container)


def caption(interaction: discord.Interaction, record: Record) -> str:
    """The request as the bot repeats it: the prompt, and the options that were given."""
    given = [f"{title}: {record.options[name]}" for name, title in REPEATED.items() if name in record.options]
    return f"{interaction.user.mention} ({' '.join(given)})"


Prompt = app_commands.Range[str, 1, 512]
Seed = app_commands.Range[int, 0, 2_147_483_647]
Style = Literal["Realistic", "Anime", "3D Animation"]
Ratio = Literal["16:9", "9:16", "1:1", "4:3", "3:4"]


def _register(bot: PixVerse) -> None:
    @bot.tree.command(description="Four videos")
    async def create(
        interaction: discord.Interaction,
        prompt: Prompt,
        style: Style,
        negative_prompt: Prompt | None = None,
        aspect_ratio: Ratio | None = None,
        character: str | None = None,
    ) -> None:
        more = {"negative_prompt": negative_prompt, "aspect_ratio": aspect_ratio, "character": character}
        await bot.take(interaction, "create", 4, prompt=prompt, style=style, **more)

    @bot.tree.command(description="One video")
    async def create_single(
        interaction: discord.Interaction,
        prompt: Prompt,
        style: Style,
        negative_prompt: Prompt | None = None,
        aspect_ratio: Ratio | None = None,
        character: str | None = None,
        seed_value: Seed | None = None,
    ) -> None:
        more = {"negative_prompt": negative_prompt, "aspect_ratio": aspect_ratio, "character": character}
        await bot.take(interaction, "create_single", 1, prompt=prompt, style=style, seed_value=seed_value, **more)

    @bot.tree.command(description="Move a picture")
    async def animate(
        interaction: discord.Interaction,
        image: discord.Attachment,
        prompt: Prompt | None = None,
        motion: app_commands.Range[int, 1, 10] | None = None,
        seed_value: Seed | None = None,
        hd_quality: Literal["Yes", "No"] | None = None,
    ) -> None:
        more = {"motion": motion, "seed_value": seed_value, "hd_quality": hd_quality}
        await bot.take(interaction, "animate", 1, image=image, prompt=prompt, **more)

    @bot.tree.command(description="A face into a meme")
    async def meme_face(
        interaction: discord.Interaction,
        face: discord.Attachment,
        prompt: Prompt,
        negative_prompt: Prompt | None = None,
        seed_value: Seed | None = None,
        aspect_ratio: Ratio | None = None,
    ) -> None:
        more = {"negative_prompt": negative_prompt, "seed_value": seed_value, "aspect_ratio": aspect_ratio}
        await bot.take(interaction, "meme_face", 1, face=face, prompt=prompt, **more)
