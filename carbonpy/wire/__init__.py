"""Codecs without I/O: bytes in, points or requests out, and back.

The law: a codec never touches a socket, a clock or a file; how the bytes were cut into chunks never
changes what comes out; garbage gives a WireError or a counted reject, never another exception.
"""
