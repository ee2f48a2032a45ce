"""Moving house: everything that an SQLite file holds into an empty PostgreSQL, verified, and from then on served there alone.

`course` is the way through; `source` and `target` are its two ends, `tables` what both are read by, `marks` what `serve` asks.
"""
