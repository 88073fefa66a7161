"""``python -m faena`` is the same as ``faena``."""

from faena.cli import main

if __name__ == "__main__":
    main()
