"""A probe: the cheapest live job at one account, what it proves of the contract's documents, and samples made of what was said."""
