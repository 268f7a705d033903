"""Permissions: which rows and columns a role may have, and which roles and scopes a route asks for.

`settings.py` what an operator can say · `rules.py` what that comes to for one principal, pure ·
`granting.py` the port ACCESS · `checking.py` mistakes in the rules · `requiring.py` the Check for routes
"""
