"""Everything dies while jobs run: processes, the store, the way to it, the upstream. The simulator's oracle judges.

``python -m chaos`` plays a run; ``--prove`` shows that it fails when a rule is taken away. See docs/chaos.md.
"""
