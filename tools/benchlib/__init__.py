"""The parts of `tools/bench`: what measures carbonpy beside carbon-cache, on the same bytes and the same ground.

Nothing here is imported by carbonpy, and carbonpy is not imported here: both daemons are strangers that are started,
fed through their ports, watched through /proc and judged by the files they leave.
"""
