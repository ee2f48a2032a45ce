"""Faults that are made for real: a disk that fills, a sync that fails, a process that dies between two system calls.

`seam.py` stands where SQLite meets the operating system, `disk.py` is a real small disk, `traced.py` watches system calls. What
is quick runs with every test; `sweep_*.py` are run by `make faults`.
"""
