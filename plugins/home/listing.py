"""What there is to show: the routes as they are served, sorted by what a reader looks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from service.api import Door, MountedRoute

LISTS: Final = ".list"
"""How the name of a route ends that answers with a page of rows and takes `limit`: `users.list`."""

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""In the order in which they are shown."""

TO_TRY: Final = "?limit=3"
"""What is asked of a list to see what it is like (chosen)."""


@dataclass(frozen=True, slots=True)
class Place:
    """One path, and the routes at it."""

    path: str
    """With its placeholders: `/api/v1/users/{id}`."""
    name: str
    """That of the route that reads it, else of the first."""
    methods: tuple[str, ...]
    summary: str
    door: Door

    @property
    def can_be_got(self) -> bool:
        """Whether a GET of the path as it stands is answered."""
        return "GET" in self.methods and "{" not in self.path

    @property
    def is_list(self) -> bool:
        return self.can_be_got and self.door is Door.API and self.name.endswith(LISTS)

    def under(self, base: str | None) -> str:
        """Its URL: below `base`, unless that is None or where clients are; operators have a door of their own."""
        return self.path if base is None or self.door is Door.OPERATOR else base + self.path

    def is_below(self, other: Place) -> bool:
        return self.path.startswith(f"{other.path.rstrip('/')}/")


@dataclass(frozen=True, slots=True)
class Resource:
    """A list, and what is below it: its items, what belongs to them."""

    name: str
    """`users`"""
    place: Place
    below: tuple[Place, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        return (self.place, *self.below)


@dataclass(frozen=True, slots=True)
class Listing:
    """All of it; each place once."""

    resources: tuple[Resource, ...]
    probes: tuple[Place, ...]
    others: tuple[Place, ...]

    def links(self) -> list[Place]:
        """What a client can get without knowing anything else."""
        lists = [resource.place for resource in self.resources]
        return [place for place in (*self.others, *lists, *self.probes) if place.can_be_got]

    def without_others(self) -> Listing:
        """This, but of the others only the indexes."""
        indexes = {above(resource.place.path) for resource in self.resources}
        return Listing(self.resources, self.probes, tuple([place for place in self.others if place.path in indexes]))


def above(path: str) -> str:
    """Where an index is, of a list at `path`."""
    return path.rpartition("/")[0]


def indexed(routes: Sequence[MountedRoute]) -> list[MountedRoute]:
    """The probes, and the routes of plugins with an index of their lists: what anyone is told of who asks there."""
    lists = {(route.plugin, above(route.path)) for route in routes if route.name.endswith(LISTS)}
    plugins = {route.plugin for route in routes if (route.plugin, route.path) in lists}
    return [route for route in routes if route.door is Door.PROBE or route.plugin in plugins]


def listing(routes: Iterable[MountedRoute], *, doors: Collection[Door]) -> Listing:
    """What is served behind `doors`, in the order in which it was declared."""
    places = _places([route for route in routes if route.door in doors])
    below: dict[Place, list[Place]] = {place: [] for place in places if place.is_list}
    probes, others = [], []
    for place in places:
        if place in below:
            continue
        holders = [place_of_list for place_of_list in below if place.is_below(place_of_list)]
        if holders:
            below[max(holders, key=lambda place_of_list: len(place_of_list.path))].append(place)
        elif place.door is Door.PROBE:
            probes.append(place)
        else:
            others.append(place)
    resources = [Resource(place.name.removesuffix(LISTS), place, tuple(inner)) for place, inner in below.items()]
    return Listing(tuple(resources), tuple(probes), tuple(others))


def _places(routes: Iterable[MountedRoute]) -> list[Place]:
    """Routes that share a path, together; what reads it speaks for them."""
    shared: dict[str, dict[str, MountedRoute]] = {}
    for route in routes:
        shared.setdefault(route.path, {})[route.method] = route
    places = []
    for path, here in shared.items():
        first = here.get("GET") or next(iter(here.values()))
        places.append(Place(path, first.name, _shown(here), first.summary, first.door))
    return places


def _shown(methods: Collection[str]) -> tuple[str, ...]:
    """In their order, others last; OPTIONS, which tells of the others, only where there are none."""
    telling = [method for method in methods if method != "OPTIONS"] or methods
    return tuple(sorted(telling, key=lambda method: METHODS.index(method) if method in METHODS else len(METHODS)))
