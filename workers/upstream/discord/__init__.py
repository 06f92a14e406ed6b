"""The Discord upstream: slash commands of the PixVerse bot, driven as its user would."""

from __future__ import annotations

from workers.upstream.discord.client import Discord

__all__ = ["Discord"]
