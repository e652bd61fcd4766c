"""For all tests: whatever they logged or printed holds no secret (tests/canaries.py), or the session fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests import canaries

from workflow_runner import telemetry

_leaks: list[str] = []


@pytest.fixture(autouse=True)
def _concealed() -> Iterator[None]:
    """What one test conceals is not taken out of what another one reads: a secret may be a word that messages use."""
    concealed, passing, spellings = telemetry._concealed.copy(), telemetry._passing.copy(), telemetry._spellings.copy()
    yield
    telemetry._concealed.clear()
    telemetry._concealed.update(concealed)
    telemetry._passing.clear()
    telemetry._passing.update(passing)
    telemetry._spellings[:] = spellings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first: of two processes none waits for the other one's last file."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Looks through what a test wrote; with xdist the main process is told of every worker's reports."""
    if report.passed:  # a failed test may print what it compares, and fails anyway
        for name, text in report.sections:
            _leaks.extend(f"{report.nodeid}: {name}: {what}" for what in canaries.found_in(text))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a session in which a secret was seen."""
    if _leaks and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says where."""
    if _leaks:
        terminalreporter.section("secrets in what tests wrote", red=True)
        for leak in sorted(set(_leaks)):
            terminalreporter.line(leak)
