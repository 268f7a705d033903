"""Questions that plugins answer while the service runs: asked by a command, of every worker, over the control socket.

    command → control socket → supervisor → Ask → each worker that serves → Told → supervisor → command

Who answers says so in its lifespan: `ports.need(SERVING).answer("NAME", function)`. Each worker answers for itself, and
who asked puts the answers together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from service.channel import Ask, Told

log = logging.getLogger("pegboard")

ANSWER_S: Final = 2.0
"""How long a worker may take to answer (chosen): one that does not is busy with something that it should not be."""

MOST_BYTES: Final = 262_144
"""How long an answer may be, as JSON (chosen): it passes through memory that others need."""

Answering = Callable[[], object]


def told(answering: Mapping[str, Answering], asked: Ask) -> Told:
    """What there is to tell: an answer as JSON, or why there is none."""
    answer = answering.get(asked.question)
    if answer is None:
        known = ", ".join(sorted(answering)) or "no question at all"
        return Told(asked.number, None, f"nothing here answers {asked.question}; what is answered: {known}")
    try:
        body = orjson.dumps(answer())
    except Exception:
        log.exception("The question %s could not be answered.", asked.question)
        return Told(asked.number, None, f"the answer to {asked.question} failed; the log of the service says why")
    if len(body) > MOST_BYTES:
        return Told(asked.number, None, f"the answer to {asked.question} has {len(body)} bytes, more than {MOST_BYTES}")
    return Told(asked.number, body.decode())
