"""Discord's gateway: one session a token, and the events that it brings. Needs the extra ``gateway``."""
