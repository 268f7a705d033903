"""From a table to a validated model; what is wrong becomes faults that say where, what, and the line to write.

A validator may end its message with the pair to write: `raise ValueError("min is above max; write: max = 20")`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel

from service.secrets import MASK
from service.settings.annotations import inside, is_secret, mentions_secret
from service.settings.checking import Error, validate
from service.settings.fixing import line_for, line_renamed, removal_for, secret_reference
from service.settings.merging import Node, is_reference
from service.settings.references import Resolver, Source
from service.settings.remedies import Subject, remedy, renaming
from service.settings.reporting import Fault, Report
from service.settings.spelling import Path_, dotted, pair_of, there_are
from service.settings.wording import OUR_WORDS, sentence

M = TypeVar("M", bound=BaseModel)

REFERENCES = {"env": "the variable {}", "file": "the file {}", "default": "the default"}


class Binding(Generic[M]):
    """One table for one model. `result` is the model, or None: then the report has the faults.

    Where the table is `partial`, others write into it too: what theirs may put right is no fault.
    """

    def __init__(
        self,
        node: Node,
        model: type[M],
        resolver: Resolver,
        report: Report,
        *,
        context: Mapping[str, object],
        also: Sequence[str] = (),
        partial: bool = False,
    ) -> None:
        data = resolver.data(node, model)
        self.resolver = resolver
        self._subject = Subject(
            model, data if isinstance(data, dict) else {}, resolver=resolver, context=context, also=also
        )
        self._model = model
        self._context = context
        result, found = validate(model, self._subject.data, context)
        settled = resolver.settled
        errors = [error for error in found if error.path not in settled]
        if partial:
            errors = [error for error in errors if not self._subject.may_come_right(error)]
        misspelt = {
            (*error.path[:-1], self._subject.guess(error)) for error in errors if error.kind == "extra_forbidden"
        }
        wrong_inside = {error.path[:length] for error in errors for length in range(len(error.path))}
        for error in errors:  # one mistake, one fault
            is_misspelt = error.kind == "missing" and error.path in misspelt
            is_short_of_it = error.kind == "too_short" and error.path in wrong_inside  # pydantic counts what is right
            if not (is_misspelt or is_short_of_it):
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

    def told(self, path: Path_, message: str, *, write: object = None, rename: str | None = None) -> Fault:
        """A fault at `path` of the data, in words that are not ours: a plugin's, or those of its validators.

        The way out is the value to `write` there, or in the pair around a list item; or how to `rename` the last key;
        with neither, what is there is to be removed. Where it was set decides whether that is a pair, a variable or an
        option.
        """
        resolver, pair = self.resolver, pair_of(path)
        source, written = resolver.source(pair), resolver.source(path)
        annotation = inside(self._model, pair)
        message = _phrased(message, written)
        if source.is_part:
            return Fault(written.place, message, line_for(resolver.source(resolver.known(pair)), "..."))
        if rename is not None:
            line = line_renamed(resolver, pair, rename, resolver.raw(pair), annotation)
            return Fault(written.place, message, line)
        if write is None:
            return Fault(written.place, message, removal_for(source.place), "remove")
        in_file = source.place.document is not None and (source.reference is None or source.reference[0] != "env")
        if is_reference(write):
            write = write if in_file else "..."  # a variable holds the value itself
        elif in_file and mentions_secret(annotation):
            write = secret_reference(resolver.named(pair))
        return Fault(written.place, message, line_for(source, write))

    def _fault(self, error: Error) -> Fault:
        if error.kind == "extra_forbidden":
            return self._unknown_key(error)
        subject = self._subject
        source, annotation = self.resolver.source(error.path), subject.annotation(error.path)
        shown = None if is_secret(error.path, annotation) else subject.shown(error.path, source)
        message = sentence(error.kind, error.message, error.context, annotation, shown)
        if error.kind not in OUR_WORDS:  # a validator's own message may repeat what it was given
            for text in sorted(self.resolver.secrets - {""}, key=len, reverse=True):
                message = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", MASK, message)  # a key "id" is not in "hidden"
        message, says_fix, fix = message.partition("; write: ")
        if not says_fix:
            return Fault(source.place, _phrased(message, source), remedy(subject, error))
        try:
            pair = tomllib.loads(fix)
        except tomllib.TOMLDecodeError:
            pair = {}
        if not pair:
            return Fault(source.place, _phrased(message, source), fix)
        key, value = next(iter(pair.items()))
        path = error.path if error.path[-1:] == (key,) else (*error.path, key)
        return self.told(path, message, write=value)

    def _unknown_key(self, error: Error) -> Fault:
        place = self.resolver.source(error.path).place
        guess = self._subject.guess(error)
        if guess is not None:
            message = f'there is no such setting; did you mean "{guess}"?'
            return Fault(place, message, renaming(self._subject, error, guess))
        known = self._subject.known(error.path)
        below = self._subject.below(error.path)
        if below is not None:
            message = f"there is no such setting; there is {below}, below which it may belong"
            right = dotted((*place.path[:-1], below, place.path[-1]))
            return Fault(place, message, f"{right} in place of {dotted(place.path)}")
        message = f"there is no such setting; {there_are(known)}" if known else "there is no such setting"
        return Fault(place, message, removal_for(place), "remove")


def _phrased(message: str, source: Source) -> str:
    """`message` on a value of `source`: one that was looked up is that of the variable or file."""
    if source.reference is None:
        return message
    kind, name = source.reference
    where = REFERENCES[kind].format(name)
    return f"{where} {message}" if message.startswith(("must", "is ")) else f"{where}: {message}"
