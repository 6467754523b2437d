"""`python -m switchbench` is `switchbench`: the imports of the command line, and Ctrl-C during them."""

import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        # Here and not above: whoever presses Ctrl-C this early wants it to end as it does later, without a traceback.
        from switchbench.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
