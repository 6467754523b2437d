"""`python -m switchbench` is `switchbench`."""

from switchbench.cli import main

main()
