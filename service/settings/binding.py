"""From a table to a validated model; what is wrong becomes faults that say where, what, and the line to write.

A validator may end its message with the pair to write: `raise ValueError("min is above max; write: max = 20")`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel

from service.settings.checking import Error, validate
from service.settings.fixing import removal_for
from service.settings.merging import Node
from service.settings.references import Resolver
from service.settings.remedies import remedy, renaming
from service.settings.reporting import Fault, Report, place_of
from service.settings.spelling import there_are
from service.settings.subject import Subject
from service.settings.telling import phrased, told
from service.settings.units import MASK
from service.settings.wording import OUR_WORDS, sentence

M = TypeVar("M", bound=BaseModel)


class Binding(Generic[M]):
    """One table for one model. `result` is the model, or None: then the report has the faults."""

    def __init__(
        self,
        node: Node,
        model: type[M],
        *,
        resolver: Resolver,
        report: Report,
        context: Mapping[str, object],
        also: Sequence[str] = (),
    ) -> None:
        data = resolver.data(node, model)
        self._subject = Subject(
            model, data if isinstance(data, dict) else {}, resolver=resolver, context=context, also=also
        )
        self._model = model
        self._context = context
        result, found = validate(model, self._subject.data, context)
        settled = resolver.settled
        errors = [error for error in found if error.path not in settled]
        misspelt = {
            (*error.path[:-1], self._subject.guess(error)) for error in errors if error.kind == "extra_forbidden"
        }
        for error in errors:
            if not (error.kind == "missing" and error.path in misspelt):  # one mistake, one fault
                report.add(self._fault(error))
        self.result = None if settled or errors else result
        self.faulty = {path[0] for path in settled} | {error.path[0] for error in errors if error.path}
        """Keys whose value is wrong."""

    def salvaged(self) -> M:
        """The model, with defaults in place of what is faulty, so that checking can go on."""
        if self.result is not None:
            return self.result
        good = {key: value for key, value in self._subject.data.items() if key not in self.faulty}
        result = validate(self._model, good, self._context)[0] or validate(self._model, {}, self._context)[0]
        return result if result is not None else self._model.model_construct()

    def _fault(self, error: Error) -> Fault:
        if error.kind == "extra_forbidden":
            return self._unknown_key(error)
        subject = self._subject
        source, written = subject.resolver.written(error.path)
        annotation = subject.annotation(error.path)
        shown = None if subject.is_secret(error.path, annotation) else subject.shown(error.path, source)
        message = sentence(error.kind, error.message, error.context, annotation, shown)
        if error.kind not in OUR_WORDS:  # a validator's own message may repeat what it was given
            for text in sorted(subject.resolver.secrets - {""}, key=len, reverse=True):
                message = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", MASK, message)  # a key "id" is not in "hidden"
        message, says_fix, fix = message.partition("; write: ")
        if not says_fix:
            return Fault(place_of(source.layer, written), written, phrased(message, source), remedy(subject, error))
        try:
            pair = tomllib.loads(fix)
        except tomllib.TOMLDecodeError:
            pair = {}
        if not pair:
            return Fault(place_of(source.layer, written), written, phrased(message, source), fix)
        key, value = next(iter(pair.items()))
        path = error.path if error.path[-1:] == (key,) else (*error.path, key)
        return told(subject.resolver, self._model, path, message, write=value)

    def _unknown_key(self, error: Error) -> Fault:
        source, written = self._subject.resolver.written(error.path)
        place = place_of(source.layer, written)
        guess = self._subject.guess(error)
        if guess is not None:
            message = f'there is no such setting; did you mean "{guess}"?'
            return Fault(place, written, message, renaming(self._subject, error, guess))
        known = self._subject.known(error.path)
        message = f"there is no such setting; {there_are(known)}" if known else "there is no such setting"
        return Fault(place, written, message, removal_for(source, written), "remove")
