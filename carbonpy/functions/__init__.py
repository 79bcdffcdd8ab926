"""The functions of the query language, by family, and what they share.

A function gets lists of series and plain values and gives a list of series.  It never changes what it
got.  `declare` says what a function is, `context` what it may ask of the request, `aggregates` are the
row functions (sum, average ...) that many of them take by name, `library` is the table of all.
"""
