"""The write-back cache and its journal: a small log-structured store.

The law: a datapoint that `Cache.append` took is readable by `peek` until a writer has confirmed it,
and in the journal (if there is one) from the same moment until then.
"""
