"""What taskrelay remembers: rows, the statements that read and write them, and the engines that run those statements."""
