from daemon.store.columns import alike, some


def test_a_column_is_left_out_only_if_nothing_is_in_it() -> None:
    assert some([]) is None
    assert some([None, None]) is None
    assert some([None, 0]) == [None, 0]


def test_a_column_becomes_one_value_only_if_all_are_alike() -> None:
    assert alike([]) == []
    assert alike([7, 7, 7]) == [7]
    assert alike([None, None]) == [None]
    assert alike([7, 7, 8]) == [7, 7, 8]
