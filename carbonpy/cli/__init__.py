"""The `carbonpy` command: one table of commands in `main`, one module with ``main(argv) -> int`` for each."""
