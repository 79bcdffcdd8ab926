"""Sweeps onto whisper files: columns in, files out.

The law: after a sweep every point is in its file, or deferred with its metric, or counted as
dropped with a reason; no file is ever seen half made, and a file's bytes are those that the whisper
package would have written for the same points.
"""
