"""`doctor`: every mistake at once, each with the line that mends it: settings, this machine, the database, the way out and the way in."""
