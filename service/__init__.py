"""taskrelay: submit paid generation tasks, learn their end by push or poll, relay one signed event to every subscriber."""

__version__ = "0.1.0"
