"""What becomes of a name in a relay, and what waits for destinations.

The law: everything that depends on the name alone is a `Plan`, made once per name; a datapoint costs a look-up.
"""
