"""Many metrics put together to one by rule, as points come in: what an aggregator keeps, and when it sends what.

The law: what a name means for aggregation is decided once per name (`pipeline`); a point then costs some places in
columns (`aggregator`); time is handed in, so that everything can be tried without waiting.
"""
