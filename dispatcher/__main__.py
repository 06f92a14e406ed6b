"""``python -m dispatcher``: the same program as `dispatcher`."""

from dispatcher.cli import main

main()
