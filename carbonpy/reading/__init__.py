"""Reading: files and the cache together as series."""
