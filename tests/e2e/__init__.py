"""Whole installations: real processes, real sockets, a receiver that checks signatures with a published library."""
