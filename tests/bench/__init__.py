"""`make bench`: how fast the hot paths are, as ratios of a bare ceiling measured in the same run on the same cores."""
