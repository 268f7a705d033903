"""A route that does nothing, to see what everything around it costs; and one that needs no token where others do."""

from service.api import Answer, Route, hookimpl


def nothing(request):
    return Answer.json({"status": "ok"})


class Plugin:
    @hookimpl
    def routes(self):
        return [
            Route("GET", "noop", nothing, name="noop"),
            Route("GET", "open", nothing, name="open", settings={"auth": "none"}),
        ]
