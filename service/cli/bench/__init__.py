"""`bench`: how fast this installation is here. Real processes, a database of their own, nothing left behind."""
