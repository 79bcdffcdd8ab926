"""``python -m carbonpy`` is the `carbonpy` command."""

from carbonpy.cli.main import entry

if __name__ == "__main__":
    entry()
