"""Twisted adapters: sockets, child processes and logs.  What decides stands in lower layers."""
