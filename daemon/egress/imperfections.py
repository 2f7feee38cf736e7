"""What may be wrong with an answer that is read all the same, as the receiver's owner is told of it.

`docs/reference/imperfect-answers.md` says of each what hookd does.
"""

# The body.
SHORT = "the body is shorter than its Content-Length"
NO_LAST_CHUNK = "the last chunk of the body is missing"
BAD_CHUNKS = "the chunks of the body are malformed"
RESET = "the connection was reset within the body"
LATE = "the body did not end in time"
LONGER = "more bytes came than the answer has"
NO_BODY = "a 204 or 304 tells of a body"
# What tells where it ends.
TWICE = "Content-Length comes more than once"
DIFFERENT = "Content-Length comes with different values"
UNREADABLE = "Content-Length is not a number"
NOT_CHUNKED = "Transfer-Encoding is not chunked"
BOTH = "Transfer-Encoding comes with Content-Length"
OLD_CHUNKED = "Transfer-Encoding comes with HTTP/1.0"
# Headers.
LF = "lines end without CR"
FOLDED = "a header is folded over lines"
BARE_CR = "a header has a bare CR in it"
SPACE = "a space stands before a header's colon"
NO_COLON = "a header line has no colon"
BAD_NAME = "a header has no proper name"
CONTROL = "a header has control characters in it"
CUT = "the connection was closed within the headers"
MALFORMED = "the headers are malformed"
# The status line, and what comes before it.
STATUS_LINE = "the status line is malformed"
VERSION = "the HTTP version is not 1.0 or 1.1"
OUTSIDE = "the status is not 100 to 599"
BLANK = "line breaks come before the status line"
INTERIM = "more than 8 interim answers came first"

MAX_INTERIM = 8
"""Interim (1xx) answers before the final one that are nothing to speak of."""
