"""Rings: which destinations a name belongs to, name for name as in the relays that people run.

The law: one name of a ring type is one placement, the same in every process and version.  What another program does
is done here, too, its oddities among it; where we differ, docs/compatibility.rst says so.
"""
