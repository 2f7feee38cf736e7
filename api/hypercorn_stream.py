"""One request and its answer, which Hypercorn's stream sends in parts and this one whole where it can."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import ASGISendEvent, HTTPResponseStartEvent
from hypercorn.utils import build_and_validate_headers, suppress_body

Fields = Iterable[tuple[bytes, bytes]]
SendWhole = Callable[[int, Fields, bytes], Awaitable[None]]
"""Sends the status, header fields and body of an answer."""


class Stream(HTTPStream):
    """Hypercorn's stream with a way around its events, of which an answer that is whole would need four.

    The head of an answer waits for the first of its body, and `send_whole` sends both if that is all.
    """

    def __init__(self, send_whole: SendWhole, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._send_whole = send_whole
        self._head: HTTPResponseStartEvent | None = None

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Take a part of the answer, or None when the application is done."""
        if message is not None and message["type"] == "http.response.start" and self._head is None:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None and message is not None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                status = head["status"]
                body = b"" if suppress_body(self.scope["method"], status) else message["body"]
                self.state = ASGIHTTPState.RESPONSE  # there is none to be made up for it if this fails
                await self._send_whole(status, build_and_validate_headers(head["headers"]), body)
                self.state = ASGIHTTPState.CLOSED
                await self.send(StreamClosed(self.stream_id))
                return
            await super().app_send(head)
        await super().app_send(message)
