"""`pegboard auth`: what the plugin keeps."""

from __future__ import annotations

import click


def auth_group() -> click.Group:
    return click.Group("auth", help="Look after what auth keeps: revocations of tokens.")
