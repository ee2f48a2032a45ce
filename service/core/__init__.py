"""The rules, pure: no await, clock, randomness, environment or logging. What a rule needs is a parameter, what it decides is a value."""
