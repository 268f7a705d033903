"""`pegboard db advise`: which index, which ANALYZE would serve what is served. It looks, and changes nothing.

- `facts.py`       what PostgreSQL knows of the tables: sizes, statistics, indexes and their use
- `statements.py`  lists that pg_stat_statements has seen
- `wanted.py`      the index that a list wants, and how far one that is there serves it; pure
- `explaining.py`  a list of that shape with values from the table, explained in a transaction that is READ ONLY
- `advising.py`    what is looked at, and what is advised
- `command.py`     the command: options, and how it prints

Nothing here is imported by a service that serves.
"""
