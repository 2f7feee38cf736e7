from daemon.store.sessions import SETTINGS, differences, remedy


def test_settings_that_arrive_are_not_complained_of() -> None:
    arrived: list[str | None] = list(SETTINGS.values())
    arrived[list(SETTINGS).index("idle_session_timeout")] = None  # a server that does not know it
    assert differences(arrived) == {}


def test_settings_that_a_pooler_loses_are_told_with_the_remedy() -> None:
    arrived: list[str | None] = list(SETTINGS.values())
    arrived[list(SETTINGS).index("search_path")] = "public"
    arrived[list(SETTINGS).index("array_nulls")] = "off"
    wrong = differences(arrived)
    assert wrong == {"search_path": ("public", "pg_catalog, pg_temp"), "array_nulls": ("off", "on")}
    said = remedy('my "account', wrong)
    assert "search_path = public, array_nulls = off" in said
    name = '"my ""account"'
    assert f"alter role {name} set search_path = 'pg_catalog', 'pg_temp';" in said
    assert f"alter role {name} set array_nulls = 'on';" in said
