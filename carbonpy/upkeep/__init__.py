"""Whole trees of whisper files: bringing them in line with the rules, letting metrics go, backing them up.

The law: everything here may run beside a daemon (`carbonpy.whisper.treelock`), may be ended at any moment, also by
kill -9, and goes on when it is started again: a file is as it was or as it was to become.
"""
