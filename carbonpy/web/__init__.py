"""HTTP: what Graphite's clients ask, answered from the local store."""
