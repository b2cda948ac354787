"""Training, measuring and examining: what happens behind the walls, and its parent's side.

`laboratory.py` is the door and names who does what.  In the jail, generated code is loaded by
`runtime.py` alone; the scorer never loads any.
"""
