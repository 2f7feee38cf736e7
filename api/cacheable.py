"""What is the same for everybody and changes rarely: served whole, and not at all to who has it already."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from quart.wrappers import Response
from quart_trio.wrappers import TrioResponse

from api.etags import matches
from api.quart_app import current_request, no_content


@dataclass(frozen=True, slots=True)
class Cacheable:
    """Some bytes, their media type, and the header fields that go with them besides."""

    content: bytes = field(repr=False)
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The entity tag (RFC 9110 section 8.8.3)."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    def answer(self) -> Response:
        """Return the answer to the request at hand: all of it, or 304 if `If-None-Match` names its tag."""
        # Caches keep it and ask each time: a new version shows at once.
        headers = {**self.headers, "ETag": self.tag, "Cache-Control": "no-cache"}
        if matches(current_request().headers.get("If-None-Match"), self.tag):
            return no_content(304, headers)
        return TrioResponse(self.content, 200, headers, content_type=self.media_type)
