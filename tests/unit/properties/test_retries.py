"""When attempts happen: constant, linear and exponential delays with jitter, and where limits end them (virtual time)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.interpreter.virtual import run
from tests.unit.properties.documents import Doc, examples, workflow

from workflow_runner.interpreter.events import EventType

MOST_ATTEMPTS = 8


@dataclass(frozen=True)
class Policy:
    """Everything in milliseconds; `takes` is how long an attempt runs before it fails, `chance` what is drawn."""

    delay: int
    backoff: str
    jitter: tuple[int, int] | None
    count: int
    duration: int | None
    attempt: int | None
    takes: int
    chance: float

    def document(self) -> list[Doc]:
        """A block that always fails, and how it is tried again."""
        limit: Doc = {"attempt": {"count": self.count}}
        if self.attempt is not None:
            limit["attempt"]["duration"] = ms(self.attempt)
        if self.duration is not None:
            limit["duration"] = ms(self.duration)
        retry: Doc = {"delay": ms(self.delay), "backoff": {self.backoff: {}}, "limit": limit}
        if self.jitter is not None:
            retry["jitter"] = {"from": ms(self.jitter[0]), "to": ms(self.jitter[1])}
        fails: list[Doc] = [{"work": {"wait": ms(self.takes)}}, {"fail": {"raise": {"error": ERROR}}}]
        return [{"guard": {"try": fails, "catch": {"retry": retry, "do": [{"handle": {"set": "${ $error.status }"}}]}}}]

    def delays(self) -> list[timedelta]:
        """The delays that the rules of docs/language.md give, written down without the engine's code."""
        lasts = self.takes if self.attempt is None else min(self.takes, self.attempt)
        found: list[timedelta] = []
        now = 0.0
        for failed in range(1, self.count):
            now += lasts
            base = {"constant": self.delay, "linear": self.delay * failed, "exponential": self.delay * 2 ** (failed - 1)}
            extra = 0.0 if self.jitter is None else self.jitter[0] + self.chance * (self.jitter[1] - self.jitter[0])
            now += base[self.backoff] + extra
            if self.duration is not None and now > self.duration:
                break
            found.append(timedelta(milliseconds=base[self.backoff] + extra))
        return found


ERROR = {"type": "https://e.test/always", "status": 507}


def ms(count: int) -> Doc:
    return {"milliseconds": count}


times = st.integers(0, 5_000)
policies = st.builds(
    Policy,
    delay=times,
    backoff=st.sampled_from(["constant", "linear", "exponential"]),
    jitter=st.none() | st.tuples(times, times).map(lambda pair: (min(pair), max(pair))),
    count=st.integers(1, MOST_ATTEMPTS),
    duration=st.none() | st.integers(0, 60_000),
    attempt=st.none() | st.integers(1, 6_000),
    takes=times,
    chance=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
)


@given(policies)
@settings(max_examples=examples(150))
def test_attempts_happen_when_the_rules_say(policy: Policy) -> None:
    story = run(workflow(policy.document()), {}, chance=policy.chance)
    expected = policy.delays()
    retried = [event.timestamp for event in story.events if event.type is EventType.TASK_RETRIED]
    begun = [event.timestamp for event in story.events if event.type is EventType.TASK_STARTED and event.task_name == "work"]
    assert len(begun) == len(expected) + 1
    assert [after - before for before, after in zip(retried, begun[1:], strict=True)] == expected
    assert story.counts.retried == len(expected)
    late = (
        policy.attempt is not None and policy.attempt < policy.takes
    )  # at the same moment what ends is before what is too late
    assert story.output == (408 if late else 507)


@given(policies, st.sampled_from([0.0, 0.5, 0.999999]))
@settings(max_examples=examples(60))
def test_jitter_stays_within_its_bounds(policy: Policy, chance: float) -> None:
    story = run(workflow(policy.document()), {}, chance=chance)
    retried = [event.timestamp for event in story.events if event.type is EventType.TASK_RETRIED]
    begun = [event.timestamp for event in story.events if event.type is EventType.TASK_STARTED and event.task_name == "work"]
    low, high = policy.jitter or (0, 0)
    for failed, (before, after) in enumerate(zip(retried, begun[1:], strict=True), 1):
        factor = {"constant": 1, "linear": failed, "exponential": 2 ** (failed - 1)}[policy.backoff]
        waited = (after - before) / timedelta(milliseconds=1)
        assert policy.delay * factor + low <= waited <= policy.delay * factor + high
    if policy.duration is not None and begun[1:]:
        assert begun[-1] - begun[0] <= timedelta(milliseconds=policy.duration)
