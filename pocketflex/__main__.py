"""``python -m pocketflex``: the same as the command `pocketflex`."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
