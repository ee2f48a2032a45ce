"""`probe`: buys one job, the cheapest, at one account, and tells which documented facts held."""
