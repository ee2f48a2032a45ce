"""`make polling`: how often a provider that never pushes is asked, and how late its ends are learned, over simulated days."""
