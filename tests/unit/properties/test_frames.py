"""Generated documents, stopped at any await and continued from their written state, tell the same story."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings
from tests.unit.interpreter.test_frames import Counting
from tests.unit.interpreter.virtual import halves, run, told
from tests.unit.properties.documents import Doc, examples, stories, workflow

MOST_STOPS = 40


# Finding a smaller document that fails takes minutes: with the profile `search` it is worth them.
PHASES = [Phase.explicit, Phase.generate] if settings().derandomize else list(Phase)


@given(stories())
@settings(
    max_examples=examples(40),
    phases=PHASES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_a_generated_run_goes_on_from_wherever_it_was_stopped(tasks: list[Doc]) -> None:
    read = workflow(tasks)
    whole = run(read, [], answer=Counting())
    for stop in range(MOST_STOPS):
        parts = halves(read, [], stop_at=stop, answer=Counting())
        if parts is None:
            return
        assert parts.outcome == whole.outcome, f"stopped at await {stop}"
        assert told(parts.before + parts.after) == told(whole.events), f"stopped at await {stop}"
        assert parts.counts == whole.counts
        assert sorted(call.idempotency_key for call in parts.calls) == sorted(call.idempotency_key for call in whole.calls)
