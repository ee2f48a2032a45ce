"""The command. One file a group; everything heavy is imported inside the command that needs it, so `--help` is quick."""

from service.cli.app import main

__all__ = ["main"]
