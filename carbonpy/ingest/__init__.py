"""Where bytes become batches: the name table and the intake.

The law: everything that depends only on a name is decided when the name is first seen; a datapoint
then costs one dictionary look-up and three array slots.
"""
