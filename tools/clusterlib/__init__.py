"""The parts of `tools/cluster-demo` and `tools/chaos`: a whole cluster, its load, and the judge of its files.

Nothing here is imported by carbonpy, and carbonpy is not imported here.
"""
