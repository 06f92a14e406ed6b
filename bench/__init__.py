"""Programs that measure, each on real processes and a real server; figures go to JSON."""
