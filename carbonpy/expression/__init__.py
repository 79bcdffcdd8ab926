"""Targets: text to tree (`grammar`), tree to what has to be read (`plan`), and tree to series (`evaluate`)."""
