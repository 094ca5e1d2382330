"""From notebooks to the hand-in: run them (run), look at them as a grader would (check), publish them (publish).

Importing this package needs the standard library only, so that the set-up of an empty environment can use it.
"""
