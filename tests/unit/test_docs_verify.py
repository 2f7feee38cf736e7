"""The how-to on verifying has what `make interop` runs, and the snippet of this language works."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.interop.languages import LANGUAGES, snippets

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_there_is_one_snippet_for_each_language() -> None:
    assert set(snippets()) == set(LANGUAGES)


def test_the_snippet_in_python_takes_what_is_genuine_alone() -> None:
    names: dict[str, object] = {}
    exec(snippets()["python"], names)  # noqa: S102  (our own document)
    verify = names["verify"]
    assert callable(verify)
    now, body = datetime.now(UTC), '{"id":"1"}'
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": "v1,AAAA " + Webhook(SECRET).sign("1", now, body),
    }
    assert verify(SECRET, headers, body.encode()) == {"id": "1"}
    with pytest.raises(WebhookVerificationError):
        verify(SECRET, headers, body.encode() + b" ")
