"""A fake Discord with a PixVerse bot, and an oracle that judges whoever drives it.

A program (``python -m simulator``), not a library: what it checks imports nothing of it, and it imports
nothing of what it checks. See ``simulator/README.md``.
"""
