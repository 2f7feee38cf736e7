"""h11's end of a connection, with two things that it does not do."""

from typing import TypeAlias

import h11

_EMPTY_LINES = 4
"""Empty lines before a request line that are passed over: some clients end a body with one."""

_Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class H11Connection(h11.Connection):
    """A server's end of one connection.

    It passes over empty lines before a request (RFC 9112 section 2.2), and lets whoever reads the body say
    that it may come (`body_withheld`): Hypercorn asks for it as soon as a header is there, also where the
    answer is certain to be a refusal (RFC 9110 section 10.1.1).
    """

    def __init__(self, max_header: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=max_header)
        self._empty_lines = 0

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        """Not told to Hypercorn."""
        return False

    @property
    def body_withheld(self) -> bool:
        """Tell whether the client keeps its body back until it hears that it may come, or gets an answer."""
        return self.client_is_waiting_for_100_continue and self.our_state is h11.SEND_RESPONSE

    def next_event(self) -> _Event:
        """Return what comes next of what was received."""
        if self.their_state is h11.IDLE and not self._pass_over_empty_lines():
            return h11.NEED_DATA
        return super().next_event()

    def start_next_cycle(self) -> None:
        """Begin with the next request."""
        super().start_next_cycle()
        self._empty_lines = 0
        self._pass_over_empty_lines()

    def _pass_over_empty_lines(self) -> bool:
        """Tell whether something else has come, or nothing."""
        received = self._receive_buffer
        while (begin := bytes(received)[:2]) and begin[:1] in b"\r\n" and self._empty_lines < _EMPTY_LINES:
            if begin == b"\r":
                return False  # the other half is on its way
            length = 1 if begin[:1] == b"\n" else 2
            if length == 2 and begin != b"\r\n":
                break
            received.maybe_extract_at_most(length)
            self._empty_lines += 1
        return True
