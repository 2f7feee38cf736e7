from daemon.cli.sample import sample_data, sample_events
from daemon.config.sections.events import EventsConfig

TYPES = EventsConfig().types


def test_the_sample_has_each_type_in_turn_with_data_of_its_own() -> None:
    sample = sample_events(TYPES)
    first = [next(sample) for _ in TYPES]
    second = [next(sample) for _ in TYPES]
    assert [event_type for event_type, _ in first] == [event_type for event_type, _ in second] == list(TYPES)
    assert len({frozenset(data) for _, data in first}) == len(TYPES)
    assert first[0][1]["candidate"]["name"] != second[0][1]["candidate"]["name"]
    assert sample_data("other.type", 3) == {"note": "a sample of other.type", "number": 3}
