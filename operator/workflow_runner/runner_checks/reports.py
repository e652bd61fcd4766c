"""Results as text for people, as JSON, and as JUnit's ElementTree. Called by cli.conformance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree  # only written, never read

from workflow_runner.runner_checks.suite import Result

_COLOURS = {"pass": "32", "fail": "31", "not offered": "33"}
_MARGIN = " " * 18


def line(result: Result, *, verbose: bool, coloured: bool) -> str:
    """A result as text; with all that was asked when it failed, or when `verbose`."""
    mark = f"\033[{_COLOURS[result.mark]}m{result.mark}\033[0m" if coloured else result.mark
    padding = " " * (11 - len(result.mark))
    lines = [f"{result.number:>3}  {mark}{padding}  {result.requirement.id:<10} {result.requirement.text}"]
    if result.mark == "not offered":
        lines.append(f"{_MARGIN}because   {result.came}")
    if result.mark == "fail" or verbose:
        lines += [f"{_MARGIN}{'asked' if not number else '     '}     {_call(one)}" for number, one in enumerate(result.asked)]
    if result.mark == "fail":
        lines += [f"{_MARGIN}expected  {result.expected}", f"{_MARGIN}came      {result.came}"]
    return "\n".join(lines)


def _call(asked: tuple[str, str]) -> str:
    return f"{asked[0]} → {asked[1]}"


def totals(results: Sequence[Result]) -> str:
    """The last line."""
    marks = Counter(result.mark for result in results)
    many = f"{len(results)} check{'' if len(results) == 1 else 's'}"
    return f"{many}: {marks['pass']} passed, {marks['fail']} failed, {marks['not offered']} not offered"


def to_json(target: str, results: Sequence[Result]) -> dict[str, Any]:
    """`{target, passed, failed, notOffered, checks: […]}`; docs/runner-conformance.md says what is in them."""
    marks = Counter(result.mark for result in results)
    return {
        "target": target,
        "passed": marks["pass"],
        "failed": marks["fail"],
        "notOffered": marks["not offered"],
        "checks": [
            {
                "number": result.number,
                "requirement": result.requirement.id,
                "must": result.requirement.must,
                "sentence": result.requirement.text,
                "result": result.mark,
                "asked": [{"call": call, "answer": answer} for call, answer in result.asked],
                "expected": result.expected,
                "came": result.came,
                "seconds": result.seconds,
            }
            for result in results
        ],
    }


def to_junit(target: str, results: Sequence[Result]) -> str:
    """One test suite; what is not offered is skipped."""
    marks = Counter(result.mark for result in results)
    counts = {"tests": len(results), "failures": marks["fail"], "skipped": marks["not offered"], "errors": 0}
    suite = ElementTree.Element(
        "testsuite", {"name": f"runner conformance of {target}"} | {k: str(v) for k, v in counts.items()}
    )
    suite.set("time", f"{sum(result.seconds for result in results):.3f}")
    for result in results:
        name = f"{result.requirement.id} {result.requirement.text}"
        case = ElementTree.SubElement(suite, "testcase", {"classname": "runner", "name": name, "time": f"{result.seconds:.3f}"})
        asked = "\n".join(_call(one) for one in result.asked)
        if result.mark == "fail":
            failure = ElementTree.SubElement(case, "failure", {"message": f"expected {result.expected}; came {result.came}"})
            failure.text = asked
        elif result.mark == "not offered":
            ElementTree.SubElement(case, "skipped", {"message": result.came})
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode")
