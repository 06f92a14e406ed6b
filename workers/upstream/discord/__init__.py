"""The Discord upstream: slash commands of the PixVerse bot, driven as its user would."""
