"""Spread PixVerse jobs over many accounts."""
