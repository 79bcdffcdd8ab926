"""carbonpy: a Graphite-compatible replacement for the carbon daemons."""

__version__ = "0.1.0"
