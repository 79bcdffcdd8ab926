"""Rules files: text becomes immutable books, and whatever is wrong is a sentence with file and line."""
