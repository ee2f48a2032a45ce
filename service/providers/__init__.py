"""Provider contracts: one file each, pure. Adapters *ask* (they yield requests and return readings); they never dial."""
