"""Hand-made faults in the transitions, each of which some test must notice: ``python -m tests.mutants``."""
