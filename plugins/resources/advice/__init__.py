"""`pegboard db advise`: which index, which ANALYZE would serve what is served. It looks, and changes nothing.

- `facts.py`       what PostgreSQL knows of the tables: sizes, statistics, indexes and their use
- `statements.py`  lists that pg_stat_statements has seen
- `looks.py`       which lists are looked at, and how they are called; pure
- `candidates.py`  the indexes that a list wants, and how far one that is there serves it; pure
- `explaining.py`  a list of that shape with values from the table, explained in a transaction that is READ ONLY
- `views.py`       which columns of tables stand behind those of a view
- `upkeep.py`      statistics that are old, indexes that serve nothing; pure
- `advising.py`    puts these together: what is advised
- `findings.py`    what comes out: advice, what was looked at, notes
- `command.py`     the command: options, and how it prints

Nothing here is imported by a service that serves.
"""
