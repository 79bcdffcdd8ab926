"""Whole daemons: one function each that wires settings to objects to services."""
