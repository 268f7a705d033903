"""`python -m service` is the command `pegboard`.

Python puts the working directory in front of everything that can be imported; it is taken away again before anything
is, so that an operator's own folder called `plugins` there hides nothing of ours. A package called `service` there (a
folder with an `__init__.py`) is what Python itself runs in our place: use `pegboard`, or `python -P -m service`.
"""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]

    from service.cli import main

    sys.exit(main())
