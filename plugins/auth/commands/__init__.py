"""What an operator does by command: `pegboard token`, `pegboard key`, `pegboard auth`; each file has one."""
