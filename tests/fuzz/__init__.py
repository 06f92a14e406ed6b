"""The core in virtual time: thousands of jobs a minute on the real scripts, with workers, losses and faults by a seed.

python -m tests.fuzz [--seed 1] [--jobs 13000] [--switches]
"""
