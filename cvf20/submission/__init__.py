"""From notebooks to the hand-in: run them, look at them as a grader would (check), publish them, put them together (build)."""
