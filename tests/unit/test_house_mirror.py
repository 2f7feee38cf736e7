"""Each module has a test file of its name, in its package's mirror, or a table says what covers it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

COVERED_BY = {
    "api.access": "integration/api/test_matrix.py",
    "api.request_tasks": "integration/api/test_early_answers.py",
    "api.app": "integration/api/test_token_attacks.py",
    "api.quart_app": "integration/api/test_faults.py",
    "api.commits": "integration/api/test_faults.py",
    "api.connection": "integration/api/test_server.py",
    "api.docs": "unit/api/test_openapi.py",
    "api.events": "integration/api/test_requests.py",
    "api.h11_connection": "integration/api/test_early_answers.py",
    "api.health": "integration/api/test_requests.py",
    "api.http1": "integration/api/test_server.py",
    "api.json_request": "integration/api/test_bad_input.py",
    "api.keys": "unit/api/test_auth.py",
    "api.listeners": "integration/api/test_server.py",
    "api.metrics": "unit/test_metrics.py",
    "api.new_event": "integration/api/test_requests.py",
    "api.paging": "integration/api/test_deliveries.py",
    "api.publishing": "integration/api/test_requests.py",
    "api.reference.answers.deliveries": "unit/api/test_openapi.py",
    "api.reference.answers.endpoint_tests": "unit/api/test_openapi.py",
    "api.reference.answers.events": "unit/api/test_openapi.py",
    "api.reference.answers.problems": "unit/api/test_openapi.py",
    "api.reference.answers.replays": "unit/api/test_openapi.py",
    "api.reference.answers.service": "unit/api/test_openapi.py",
    "api.reference.answers.shape": "unit/api/test_openapi.py",
    "api.reference.answers.subscriptions": "unit/api/test_openapi.py",
    "api.reference.catalogue": "unit/api/test_openapi.py",
    "api.reference.deliveries": "integration/api/test_examples.py",
    "api.reference.endpoint_tests": "integration/api/test_examples.py",
    "api.reference.events": "integration/api/test_examples.py",
    "api.reference.operation": "unit/api/test_openapi.py",
    "api.reference.parameters": "integration/api/test_examples.py",
    "api.reference.error_statuses": "unit/api/test_openapi.py",
    "api.reference.receiving": "unit/api/test_openapi.py",
    "api.reference.replays": "integration/api/test_examples.py",
    "api.reference.service": "integration/api/test_examples.py",
    "api.reference.shell": "unit/api/test_openapi.py",
    "api.reference.signing_secrets": "integration/api/test_examples.py",
    "api.reference.subscriptions": "integration/api/test_examples.py",
    "api.cacheable": "integration/api/test_manners.py",
    "api.secret_fields": "integration/api/test_bad_input.py",
    "api.services": "integration/api/test_requests.py",
    "api.signing_secrets": "integration/api/test_requests.py",
    "api.subscription_fields": "integration/api/test_bad_input.py",
    "api.webhooks": "integration/api/test_requests.py",
    "daemon.cli.__main__": "integration/cli/test_dev.py",
    "daemon.cli.arguments": "unit/cli/test_main.py",
    "daemon.cli.check_config": "unit/config/test_config_file.py",
    "daemon.cli.database": "integration/cli/test_publish.py",
    "daemon.cli.dev_client": "integration/cli/test_dev.py",
    "daemon.cli.dev_settings": "integration/cli/test_dev.py",
    "daemon.cli.dev_show": "integration/cli/test_dev.py",
    "daemon.cli.help_text": "unit/cli/test_main.py",
    "daemon.cli.migrate": "integration/cli/test_dev.py",
    "daemon.cli.parsers.check_config": "unit/cli/test_main.py",
    "daemon.cli.parsers.config": "unit/cli/test_main.py",
    "daemon.cli.parsers.dev": "unit/cli/test_main.py",
    "daemon.cli.parsers.migrate": "unit/cli/test_main.py",
    "daemon.cli.parsers.publish": "unit/cli/test_main.py",
    "daemon.cli.parsers.run": "unit/cli/test_main.py",
    "daemon.cli.parsers.token": "unit/cli/test_main.py",
    "daemon.cli.parsers.units": "unit/cli/test_main.py",
    "daemon.cli.run": "unit/cli/test_failure.py",
    "daemon.cli.settings": "integration/cli/test_publish.py",
    "daemon.config.bind": "unit/config/test_hosts.py",
    "daemon.config.cautions": "unit/config/test_config_file.py",
    "daemon.config.checks": "unit/api/test_cors.py",
    "daemon.config.config_error": "unit/cli/test_failure.py",
    "daemon.config.host_patterns": "unit/config/test_hosts.py",
    "daemon.config.kinds": "unit/config/test_load.py",
    "daemon.config.masking": "unit/config/test_config_file.py",
    "daemon.config.model": "unit/config/test_config_file.py",
    "daemon.config.problems": "unit/config/test_load.py",
    "daemon.config.proxy_url": "unit/process/test_outgoing_proxy.py",
    "daemon.config.sections.api": "unit/config/test_config_file.py",
    "daemon.config.sections.auth": "unit/config/test_config_file.py",
    "daemon.config.sections.base": "unit/config/test_config_file.py",
    "daemon.config.sections.daemon": "unit/config/test_config_file.py",
    "daemon.config.sections.database": "unit/config/test_config_file.py",
    "daemon.config.sections.delivery": "unit/config/test_config_file.py",
    "daemon.config.sections.egress": "unit/config/test_config_file.py",
    "daemon.config.sections.events": "unit/config/test_config_file.py",
    "daemon.config.sections.hosts": "unit/config/test_config_file.py",
    "daemon.config.sections.logging": "unit/config/test_config_file.py",
    "daemon.config.sections.metrics": "unit/config/test_config_file.py",
    "daemon.config.sections.retention": "unit/config/test_config_file.py",
    "daemon.config.sections.signing": "unit/config/test_config_file.py",
    "daemon.config.sections.state": "unit/config/test_config_file.py",
    "daemon.config.secret_file": "unit/config/test_state.py",
    "daemon.config.toml_text": "unit/config/test_config_file.py",
    "daemon.delivery.attempt_metrics": "unit/test_metrics.py",
    "daemon.delivery.attendance": "integration/store/test_queue_daemons.py",
    "daemon.delivery.body_writer": "unit/delivery/test_router.py",
    "daemon.delivery.claimer": "unit/delivery/test_claims.py",
    "daemon.delivery.auto_reset_event": "integration/store/test_retention.py",
    "daemon.delivery.large_bodies": "faults/test_large.py",
    "daemon.delivery.leases": "integration/delivery/test_recorder.py",
    "daemon.delivery.replayer": "integration/store/test_replays.py",
    "daemon.delivery.sweeper": "integration/delivery/test_whole_daemon.py",
    "daemon.delivery.upkeep": "integration/store/test_retention.py",
    "daemon.egress.answer": "unit/egress/test_response.py",
    "daemon.egress.shared_epoll": "unit/egress/test_socket_stream.py",
    "daemon.egress.assemble": "integration/egress/test_transport.py",
    "daemon.egress.dialer": "integration/egress/test_exchange.py",
    "daemon.egress.errors": "unit/egress/test_response.py",
    "daemon.egress.guard": "unit/egress/test_resolver.py",
    "daemon.egress.head_repair": "unit/egress/test_response.py",
    "daemon.egress.imperfections": "unit/egress/test_response.py",
    "daemon.egress.name_lookup": "integration/egress/test_names.py",
    "daemon.egress.nameserver": "integration/egress/test_names.py",
    "daemon.egress.deadline_watcher": "integration/egress/test_hostile.py",
    "daemon.egress.report": "integration/delivery/test_endpoint_test.py",
    "daemon.egress.source": "integration/egress/test_proxy.py",
    "daemon.egress.system_names": "unit/egress/test_resolver.py",
    "daemon.egress.tunnels": "integration/egress/test_proxy.py",
    "daemon.egress.url_policy": "unit/egress/test_url.py",
    "daemon.explained_error": "unit/cli/test_failure.py",
    "daemon.filters.objects": "unit/filters/test_filters.py",
    "daemon.filters.text": "unit/filters/test_filters.py",
    "daemon.filters.tokens": "unit/filters/test_filters.py",
    "daemon.filters.tree": "unit/filters/test_filters.py",
    "daemon.filters.writing": "unit/filters/test_filters.py",
    "daemon.model": "unit/delivery/test_policy.py",
    "daemon.process.child": "integration/process/test_supervisor.py",
    "daemon.process.deliver": "integration/delivery/test_whole_daemon.py",
    "daemon.process.embedded": "integration/process/test_metrics.py",
    "daemon.process.garbage": "integration/process/test_start.py",
    "daemon.process.issuer": "integration/process/test_key_server.py",
    "daemon.process.journal": "unit/process/test_logs.py",
    "daemon.process.main": "integration/process/test_supervisor.py",
    "daemon.process.application": "integration/process/test_start.py",
    "daemon.process.rest_api": "integration/process/test_start.py",
    "daemon.process.settings": "integration/process/test_start.py",
    "daemon.process.signals": "integration/process/test_supervisor.py",
    "daemon.process.startup": "integration/process/test_start.py",
    "daemon.process.master_key_file": "integration/process/test_master_key.py",
    "daemon.process.readiness": "integration/process/test_standstill.py",
    "daemon.process.reload": "integration/process/test_start.py",
    "daemon.process.state": "unit/cli/test_failure.py",
    "daemon.process.systemd": "integration/process/test_start.py",
    "daemon.process.timekeeping": "unit/test_clock.py",
    "daemon.process.token_keys": "integration/process/test_key_server.py",
    "daemon.process.token_secret": "integration/process/test_key_server.py",
    "daemon.process.url_rules": "integration/process/test_start.py",
    "daemon.process.version": "integration/process/test_metrics.py",
    "daemon.rfc3339": "integration/api/test_replays.py",
    "daemon.store.attendance": "integration/store/test_queue_daemons.py",
    "daemon.store.blocking": "unit/test_progress.py",
    "daemon.store.database_clock": "integration/process/test_wrong_clock.py",
    "daemon.store.embedded_binaries": "integration/store/test_embedded.py",
    "daemon.store.embedded_home": "integration/store/test_embedded.py",
    "daemon.store.embedded_locks": "integration/store/test_embedded.py",
    "daemon.store.embedded_server": "integration/store/test_embedded.py",
    "daemon.store.events": "integration/store/test_publish_once.py",
    "daemon.store.poll": "integration/store/test_two_phase.py",
    "daemon.store.queue": "integration/store/test_queue_daemons.py",
    "daemon.store.routing": "integration/store/test_queue_turns.py",
    "daemon.store.subscriptions": "integration/delivery/test_subscriptions.py",
    "daemon.store.tokens": "integration/delivery/test_endpoint_test.py",
    "daemon.store.upkeep": "integration/store/test_retention.py",
}


def modules() -> list[str]:
    """Return the dotted names of all modules that hold code."""
    paths = [path for package in ("api", "daemon") for path in (ROOT / package).rglob("*.py")]
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if path.name != "__init__.py"
    )


def own_files(module: str) -> list[Path]:
    """Return the test files that have the module's name and lie where its package is mirrored."""
    *packages, name = module.removeprefix("daemon.").split(".")
    places = [ROOT / "tests" / kind / Path(*packages) / f"test_{name}.py" for kind in ("unit", "integration")]
    return [place for place in places if place.exists()]


def test_every_module_has_a_test_file_of_its_name_or_a_line_in_the_table() -> None:
    without = {module for module in modules() if not own_files(module)}
    lost = sorted(without - set(COVERED_BY))
    assert not lost, f"give {', '.join(lost)} a test file of its name, or add to COVERED_BY what covers it"


def test_the_table_has_no_line_too_many() -> None:
    known = set(modules())
    gone = sorted(module for module in COVERED_BY if module not in known)
    assert not gone, f"take {', '.join(gone)} out of COVERED_BY, or rename the line as the module was"
    needless = sorted(module for module in COVERED_BY if own_files(module))
    assert not needless, f"take {', '.join(needless)} out of COVERED_BY: there are test files of these names"


def test_what_covers_a_module_names_it() -> None:
    """It imports the module, or says at its head that it reaches it through others."""
    silent = []
    for module, file in COVERED_BY.items():
        package, _, name = module.rpartition(".")
        package, name = re.escape(package), re.escape(name)
        named = rf"\b{package}\.{name}\b|from {package} import [^\n]*\b{name}\b|all of {package}\b"
        if not re.search(named, (ROOT / "tests" / file).read_text()):
            silent.append(f"tests/{file}: # Covers {module}.")
    assert not silent, "write at the head of\n" + "\n".join(silent)
