"""What an operator does by command, a file each: `pegboard token`, `pegboard key`, `pegboard auth`.

`database.py`, `roles.py` and `times.py` are for several of them.
"""
