"""A route that does nothing, to see what everything around it costs."""

from service.api import Answer, Route, hookimpl


class Plugin:
    @hookimpl
    def routes(self):
        return [Route("GET", "noop", lambda request: Answer.json({"status": "ok"}), name="noop")]
