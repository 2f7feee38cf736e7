"""Random histories of the queue: the rules of a Hypothesis state machine, by subject, and what they share."""
