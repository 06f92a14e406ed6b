"""The HTTP API: the accounts contract, health."""
