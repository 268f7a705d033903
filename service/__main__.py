"""`python -m service` is the command `pegboard`.

Python puts the working directory in front of everything that can be imported; it is taken away again before anything
is, so that an operator's own folders `plugins` and `service` there hide nothing of ours. A package called `service`
there, with an `__init__.py`, is what Python itself runs in our place: use `pegboard`, or `python -P -m service`.
"""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]
        if getattr(sys.modules["service"], "__file__", None) is None:
            del sys.modules["service"]  # such a folder, met before the finder of an editable installation was asked

    from service.cli import main

    sys.exit(main())
