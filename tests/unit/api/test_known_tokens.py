from api.known_tokens import KnownTokens


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


KEYS, OTHER_KEYS = object(), object()


def test_a_token_is_known_until_it_ends() -> None:
    clock = Clock()
    known = KnownTokens[str](clock=clock)
    known.keep("a.b.c", KEYS, "me", 1010.0)
    assert (known.find("a.b.c", KEYS), known.find("a.b.d", KEYS)) == ("me", None)
    clock.now = 1010.0
    assert known.find("a.b.c", KEYS) is None
    clock.now = 1005.0
    assert known.find("a.b.c", KEYS) is None, "it is forgotten, not only hidden"


def test_other_keys_look_at_every_token_anew() -> None:
    known = KnownTokens[str](clock=Clock())
    known.keep("a.b.c", KEYS, "me", 2000.0)
    assert known.find("a.b.c", OTHER_KEYS) is None


def test_a_clock_that_is_set_back_looks_anew() -> None:
    clock = Clock()
    known = KnownTokens[str](clock=clock)
    known.keep("a.b.c", KEYS, "me", 2000.0)
    clock.now = 999.0
    assert known.find("a.b.c", KEYS) is None


def test_the_oldest_make_room() -> None:
    known = KnownTokens[int](most=2, clock=Clock())
    for number in range(3):
        known.keep(str(number), KEYS, number, 2000.0)
    assert [known.find(str(number), KEYS) for number in range(3)] == [None, 1, 2]
