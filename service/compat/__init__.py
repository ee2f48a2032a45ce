"""Other people's dialects at our door, translated into the one language inside."""
