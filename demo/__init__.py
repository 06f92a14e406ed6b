"""`make demo`: thirty jobs over three accounts, with every part a real process and the upstream a simulator."""
