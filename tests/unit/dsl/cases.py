"""Documents that are wrong, with what is said about them; test_loader runs them, test_codes counts their codes."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """A document (a body gets HEADER before it) and all its diagnostics as (line, column, code, part of the message)."""

    name: str
    text: str
    expected: list[tuple[int, int, str, str]]


HEADER = """\
document: {dsl: 1.0.3, namespace: test, name: test, version: 1.0.0}
"""


def _bodies(cases: list[tuple[str, str, list[tuple[int, int, str, str]]]]) -> list[Case]:
    return [Case(name, HEADER + text, expected) for name, text, expected in cases]


YAML = [
    Case("unfinished flow", "document: [\n", [(2, 1, "yaml.syntax", "flow node")]),
    Case("tab as indent", "document:\n\tdsl: 1.0.3\n", [(2, 1, "yaml.syntax", "tabs cannot indent")]),
    Case("percent begins a value", "a: %b\n", [(1, 4, "yaml.syntax", "quote what begins")]),
    Case("nothing", "", [(1, 1, "yaml.empty", "the document is empty")]),
    Case("only a comment", "# nothing\n", [(1, 1, "yaml.empty", "the document is empty")]),
    Case("two documents", "a: 1\n---\nb: 2\n", [(2, 1, "yaml.many-documents", "one document")]),
    Case("an alias of nothing", "a: *b\n", [(1, 4, "yaml.bad-alias", "'b' was not defined before")]),
    Case("an alias inside itself", "a: &b [1, *b]\n", [(1, 11, "yaml.bad-alias", "'b' is used inside itself")]),
    Case("a list as a key", "a: 1\n? [b]\n: 2\n", [(2, 3, "yaml.key-not-scalar", "a key must be a string")]),
    Case("a scalar as the document", "hello\n", [(1, 1, "property.wrong-type", "must be an object")]),
]

VALUES = _bodies(
    [
        (
            "a key written twice",
            "do:\n  - a:\n      set: {x: 1, x: 2}\n",
            [(4, 19, "yaml.duplicate-key", "'x' is written twice; first in line 4")],
        ),
        (
            "merge keys",
            "do:\n  - a:\n      set:\n        <<: {x: 1}\n",
            [(5, 9, "yaml.merge-key", "write the members out")],
        ),
        (
            "a tag of an application",
            "do:\n  - a:\n      set: {x: !timestamp 2024-01-01}\n",
            [(4, 16, "yaml.unknown-tag", "'!timestamp'")],
        ),
        (
            "a tag that does not fit",
            "do:\n  - a:\n      set: {x: !!int abc}\n",
            [(4, 16, "yaml.unknown-tag", "'abc' is not of the type int")],
        ),
        ("infinity", "do:\n  - a:\n      set: {x: .inf}\n", [(4, 16, "document.not-json", "JSON has no number .inf")]),
        ("too large a number", "do:\n  - a:\n      set: {x: 1e999}\n", [(4, 16, "document.not-json", "too large")]),
        (
            "half of a surrogate pair",
            'do:\n  - a:\n      set: {x: "\\ud800"}\n',
            [(4, 19, "yaml.syntax", "Unicode")],
        ),
    ]
)

DOCUMENT = [
    Case(
        "no document, no do",
        "input: {}\n",
        [
            (1, 1, "property.missing", "a workflow needs 'document'"),
            (1, 1, "property.missing", "a workflow needs 'do'"),
        ],
    ),
    Case(
        "a name that is none, a version that is none, another language",
        "document:\n  dsl: 2.0.0\n  namespace: my space\n  name: my_name\n  version: '1'\ndo: []\n",
        [
            (2, 8, "document.dsl-version", "dsl cannot be '2.0.0'"),
            (3, 14, "document.bad-name", "namespace cannot be 'my space'"),
            (4, 9, "document.bad-name", "name cannot be 'my_name'"),
            (5, 12, "document.bad-version", "semantic version"),
        ],
    ),
    Case(
        "a version that is a number",
        "document: {dsl: 1.0.3, namespace: a, name: b, version: 1.0}\ndo: []\n",
        [(1, 56, "property.wrong-type", "version must be a string, not a number: put it in quotes")],
    ),
    *_bodies(
        [
            (
                "a mistyped member",
                "do: []\nouptut: {}\n",
                [(3, 1, "property.unknown", "a workflow has no 'ouptut': did you mean 'output'?")],
            ),
            (
                "what is not supported yet",
                "do: []\nschedule: {after: PT1S}\nuse: {functions: {}}\nevaluate: {mode: loose}\n",
                [
                    (3, 1, "property.not-supported-yet", "'schedule' of a workflow"),
                    (4, 7, "property.not-supported-yet", "'functions' of use"),
                    (5, 18, "property.not-supported-yet", "mode: loose"),
                ],
            ),
            ("a mode that is none", "do: []\nevaluate: {mode: lose}\n", [(3, 18, "property.bad-value", "strict or loose")]),
            ("do is no list", "do: {a: {set: {b: 1}}}\n", [(2, 5, "property.wrong-type", "a list of tasks must be an array")]),
        ]
    ),
]

TASKS = _bodies(
    [
        (
            "entries that are not one name with its task",
            "do:\n  - 5\n  - a: {set: {x: 1}}\n    b: {set: {x: 1}}\n",
            [(3, 5, "task.bad-item", "a number"), (4, 5, "task.bad-item", "2 names")],
        ),
        (
            "tasks of no kind",
            "do:\n  - a:\n  - b: {sett: {x: 1}}\n  - c: 5\n",
            [
                (3, 7, "task.no-kind", "'a' is empty"),
                (4, 8, "task.no-kind", "did you mean 'set'?"),
                (5, 8, "task.no-kind", "'c' is a number"),
            ],
        ),
        ("two kinds", "do:\n  - a: {set: {x: 1}, wait: PT1S}\n", [(3, 8, "task.many-kinds", "set, wait")]),
        (
            "two tasks of a name",
            "do:\n  - a: {set: {x: 1}}\n  - a: {set: {x: 2}}\n",
            [(4, 5, "task.duplicate-name", "'a' already, in line 3")],
        ),
        ("a directive as a name", "do:\n  - exit: {set: {x: 1}}\n", [(3, 5, "task.reserved-name", "'exit'")]),
        (
            "tasks that cannot be run yet, and one inside",
            "do:\n  - a: {listen: {to: {}}, foreach: {do: [{b: {run: {shell: {command: ls}}}}]}}\n"
            "  - c: {call: grpc, with: {}}\n",
            [
                (3, 5, "task.not-supported-yet", "listen is"),
                (3, 43, "task.not-supported-yet", "run: shell is"),
                (4, 5, "task.not-supported-yet", "call: grpc is"),
            ],
        ),
        (
            "a mistake in a task that cannot be run yet",
            "do:\n  - a: {call: grpc, with: {protto: {}}}\n  - b: {listen: {to: {}}, foreach: {itm: x}}\n",
            [
                (3, 5, "task.not-supported-yet", "call: grpc"),
                (3, 28, "property.unknown", "did you mean 'proto'?"),
                (4, 5, "task.not-supported-yet", "listen"),
                (4, 37, "property.unknown", "did you mean 'item'?"),
            ],
        ),
        (
            "a mistyped member of a task",
            "do:\n  - a: {set: {x: 1}, iff: .x}\n",
            [(3, 22, "property.unknown", "did you mean 'if'?")],
        ),
        (
            "time limits that are none",
            "timeout: {afer: PT1S}\nuse: {timeouts: {soon: {after: PT1S}, never: {after: 5}}}\ndo:\n"
            "  - a: {set: {x: 1}, timeout: son}\n  - b: {set: {x: 1}, timeout: {after: 10s}}\n"
            "  - c: {set: {x: 1}, timeout: soon}\n",
            [
                (2, 10, "property.missing", "a timeout needs 'after'"),
                (2, 11, "property.unknown", "did you mean 'after'?"),
                (3, 54, "duration.invalid", "after: a duration is"),
                (5, 31, "reference.unknown-timeout", "did you mean 'soon'?"),
                (6, 39, "duration.invalid", "'10s' is not an ISO 8601 duration"),
            ],
        ),
        (
            "a fork without branches, and one without any",
            "do:\n  - a: {fork: {compete: 1}}\n  - b: {fork: {branches: [], compete: true}}\n"
            "  - c: {fork: {branches: {}, brnches: 1}}\n",
            [
                (3, 15, "property.missing", "fork needs 'branches'"),
                (4, 26, "property.bad-value", "a fork needs a branch"),
                (5, 26, "property.wrong-type", "a list of tasks must be an array"),
                (5, 30, "property.unknown", "did you mean 'branches'?"),
            ],
        ),
        (
            "compete that is neither true nor false",
            "do:\n  - a: {fork: {branches: [{b: {set: {x: 1}}}], compete: 1}}\n",
            [(3, 57, "property.wrong-type", "compete must be a boolean")],
        ),
        (
            "branches of one name, and one that leads into another",
            "do:\n  - a:\n      fork:\n        branches:\n          - b: {set: {x: 1}, then: c}\n          - b: {set: {x: 1}}\n"
            "          - c: {set: {x: 1}, then: end}\n",
            [
                (6, 36, "then.unknown-target", "in another list, where `then` cannot go"),
                (7, 13, "task.duplicate-name", "'b' already"),
            ],
        ),
        (
            "too many branches",
            f"do:\n  - a: {{fork: {{branches: [{', '.join(f'b{number}: {{set: {{x: 1}}}}' for number in range(201))}]}}}}\n",
            [(3, 26, "task.too-many-branches", "201 branches, and at most 200")],
        ),
        (
            "schemas that are none",
            "input: {schema: {document: {type: objct}}}\noutput: {schema: {format: jsn, document: {}}}\ndo:\n  - a:\n"
            "      input: {schema: {document: {properties: {n: {pattern: '('}}}}}\n"
            "      output: {schema: {document: {$ref: 'http://example.com/s'}}}\n"
            "      export: {schema: {document: {properties: {a: {minimum: x}}}, format: 'json:draft-07'}}\n"
            "      set: {x: 1}\n",
            [
                (2, 35, "schema.invalid", "input.schema is no JSON schema"),
                (3, 27, "property.bad-value", "format cannot be 'jsn'"),
                (6, 61, "schema.invalid", "regex"),
                (7, 35, "schema.invalid", "schemas are not fetched"),
                (8, 62, "schema.invalid", "number"),
            ],
        ),
        (
            "schemas with nothing, with too much, of no type, of nowhere",
            "input: {schema: {format: json}}\noutput: {schema: {document: {}, resource: {endpoint: 'http://a.test/'}}}\ndo:\n"
            "  - a: {set: {x: 1}, input: {schema: {document: 5}}, output: {schema: {resource: {endpoint: here}}}}\n"
            " "
            " - b: {set: {x: 1}, input: {schema: {resource:"
            " {name: x, endpoint: {uri: 'http://a.test/', authentication: {}}}}}}\n",
            [
                (2, 17, "property.bad-value", "either a document or a resource"),
                (3, 18, "property.bad-value", "either a document or a resource"),
                (5, 49, "property.wrong-type", "the document of input.schema must be an object"),
                (5, 93, "endpoint.invalid", "'here' is no endpoint"),
                (6, 93, "property.not-supported-yet", "'authentication' of an endpoint"),
            ],
        ),
        (
            "retries that go on for ever without a rest",
            "use: {retries: {always: {when: .x}}}\ndo:\n"
            "  - a: {try: [], catch: {retry: {limit: {attempt: {duration: PT1S}}}}}\n"
            "  - b: {try: [], catch: {retry: always}}\n  - c: {try: [], catch: {retry: {delay: PT0S}}}\n"
            "  - d: {try: [], catch: {retry: {delay: PT1S}}}\n  - e: {try: [], catch: {retry: {limit: {duration: PT1S}}}}\n",
            [
                (4, 26, "task.endless-retry", "repeated at once, for ever"),
                (5, 26, "task.endless-retry", "repeated at once, for ever"),
                (6, 26, "task.endless-retry", "repeated at once, for ever"),
            ],
        ),
        (
            "a then that leads nowhere",
            "do:\n  - a: {set: {x: 1}, then: d}\n  - b: {do: [{c: {set: {x: 1}, then: a}}]}\n  - dd: {set: {x: 1}}\n",
            [
                (3, 28, "then.unknown-target", "did you mean 'dd'?"),
                (4, 38, "then.unknown-target", "in another list, where `then` cannot go"),
            ],
        ),
        (
            "set of a number, of nothing, of something like an expression",
            "do:\n  - a: {set: 5}\n  - b: {set: {}}\n  - c: {set: .name}\n",
            [
                (3, 14, "property.wrong-type", "set must be an object, not a number"),
                (4, 14, "property.bad-value", "at least one member"),
                (5, 14, "expression.unmarked", "set as text"),
            ],
        ),
        (
            "a switch with two defaults, two cases of a name, and one without then",
            "do:\n  - a:\n      switch:\n        - b: {then: end}\n        - c: {then: end}\n        - b: {when: .x, then: end}"
            "\n        - d: {when: .x}\n        - 7\n",
            [
                (6, 11, "switch.many-defaults", "one default"),
                (7, 11, "task.duplicate-name", "two cases 'b'"),
                (8, 14, "property.missing", "a switch case needs 'then'"),
                (9, 11, "task.bad-item", "entry of a switch"),
            ],
        ),
        (
            "a switch of nothing",
            "do:\n  - a: {switch: []}\n",
            [(3, 17, "property.bad-value", "at least one case")],
        ),
        (
            "a for without do, without in, with names that are none",
            "do:\n  - a: {for: {in: .x}}\n  - b: {for: {}, do: []}\n  - c: {for: {in: .x, each: input, at: $i}, do: []}\n"
            "  - d: {for: {in: .x, each: v, at: v}, do: []}\n",
            [
                (3, 8, "property.missing", "a for task needs 'do'"),
                (4, 14, "property.missing", "for needs 'in'"),
                (5, 29, "variable.bad-name", "a variable of the language already"),
                (5, 40, "variable.bad-name", "no name for a variable"),
                (6, 14, "variable.bad-name", "both 'v'"),
            ],
        ),
        (
            "durations that are none",
            "do:\n  - a: {wait: 5s}\n  - b: {wait: {second: 1}}\n  - c: {wait: {seconds: -1}}\n  - d: {wait: 5}\n",
            [
                (3, 15, "duration.invalid", "'5s' is not an ISO 8601 duration"),
                (4, 16, "property.unknown", "did you mean 'seconds'?"),
                (5, 15, "duration.invalid", "seconds must be a whole number"),
                (6, 15, "duration.invalid", "a duration is"),
            ],
        ),
        (
            "errors that are none",
            "do:\n  - a: {raise: {error: {type: nothing, status: '400'}}}\n",
            [
                (3, 31, "property.bad-value", "'nothing' is no URI"),
                (3, 48, "property.wrong-type", "status must be a whole number, not a string"),
            ],
        ),
        (
            "references to nothing",
            "use: {errors: {late: {type: 'http://e/late', status: 500}}, retries: {often: {}}}\ndo:\n"
            "  - a: {try: [], catch: {retry: oftn}}\n  - b: {raise: {error: lat}}\n",
            [
                (4, 33, "reference.unknown-retry", "did you mean 'often'?"),
                (5, 24, "reference.unknown-error", "did you mean 'late'?"),
            ],
        ),
        (
            "a retry policy that is none",
            "do:\n  - a:\n      try: []\n      catch:\n        retry:\n          backoff: {linear: {}, constant: {}}\n"
            "          limit: {attempt: {count: 0}}\n          jitter: {from: PT2S, to: PT1S}\n",
            [
                (7, 20, "property.bad-value", "exactly one of"),
                (8, 36, "property.bad-value", "count must be between 1 and"),
                (9, 26, "property.bad-value", "from the shorter to the longer"),
            ],
        ),
        (
            "a try without catch, an empty filter, a filter with an expression",
            "do:\n  - a: {try: []}\n  - b: {try: [], catch: {errors: {with: {}}}}\n"
            "  - c: {try: [], catch: {errors: {with: {type: '${ .x }'}}}}\n",
            [
                (3, 8, "property.missing", "a try task needs 'catch'"),
                (4, 41, "property.bad-value", "at least one of"),
                (5, 48, "property.bad-value", "use `when`"),
            ],
        ),
        (
            "a call that is none",
            "do:\n  - a: {call: http}\n  - b:\n      call: http\n      with:\n        method: get it\n"
            "        endpoint: ftp://x\n"
            "        headers: {'a b': c, d: [1]}\n        query: x\n        output: rawr\n        redirect: 1\n",
            [
                (3, 8, "property.missing", "a call of http needs 'with'"),
                (7, 17, "property.bad-value", "no HTTP method"),
                (8, 19, "endpoint.invalid", "an http or https URI"),
                (9, 19, "property.bad-value", "no name of a header"),
                (9, 32, "property.wrong-type", "the header 'd' must be a string"),
                (10, 16, "property.wrong-type", "query must be an object"),
                (11, 17, "property.bad-value", "did you mean 'raw'?"),
                (12, 19, "property.wrong-type", "redirect must be a boolean, not a number"),
            ],
        ),
        (
            "endpoints with more than simple templates, and with authentication",
            "do:\n  - a: {call: http, with: {method: get, endpoint: 'http://x/{?q}'}}\n"
            "  - b: {call: http, with: {method: get, endpoint: {uri: 'http://x', authentication: {use: c}}}}\n",
            [
                (3, 51, "endpoint.invalid", "{?q}"),
                (4, 69, "property.not-supported-yet", "'authentication' of an endpoint"),
            ],
        ),
    ]
)

EXPRESSIONS = _bodies(
    [
        (
            "a program that jq does not take",
            "do:\n  - a: {set: {x: '${ .a | nope(.b) }'}}\n",
            [(3, 27, "expression.invalid", "nope/1 is not defined")],
        ),
        (
            "letters that take several bytes do not move the column",
            "do:\n  - a: {set: {x: '${ \"éé\" | nope }'}}\n",
            [(3, 29, "expression.invalid", "nope/0 is not defined")],
        ),
        (
            "a program over several lines is shown where it begins",
            "do:\n  - a:\n      set:\n        x: |\n          ${\n            .a | nope\n          }\n",
            [(5, 12, "expression.invalid", "nope/0")],
        ),
        (
            "a program that ends too soon",
            "do:\n  - a: {if: .x +, set: {x: 1}}\n",
            [(3, 13, "expression.invalid", "syntax error")],
        ),
        (
            "a program without measure",
            f"do:\n  - a: {{set: {{x: '${{ .a{' | .a' * 4000} }}'}}}}\n",
            [(3, 21, "expression.too-long", "20004 characters, more than 16384")],
        ),
        ("an empty program", "do:\n  - a: {set: {x: '${ }'}}\n", [(3, 21, "expression.invalid", "empty")]),
        (
            "brackets that do not match",
            "do:\n  - a: {if: '.x[1', set: {x: 1}}\n",
            [(3, 18, "expression.invalid", "never closed")],
        ),
        (
            "what would make runs differ",
            "do:\n  - a: {set: {x: '${ {now: 1} + now }'}}\n  - b: {if: '$ENV.HOME', set: {x: 1}}\n",
            [
                (3, 33, "expression.forbidden", "now cannot be used: a run would differ from its replay"),
                (4, 14, "expression.forbidden", "$ENV cannot be used"),
            ],
        ),
        (
            "variables that are not there",
            "do:\n  - a: {if: $input.x, set: {x: '${ $conext }', y: '${ $error }'}}\n",
            [
                (3, 13, "expression.unknown-variable", "$input is not available here: see docs/language.md"),
                (3, 36, "expression.unknown-variable", "did you mean 'context'?"),
                (3, 55, "expression.unknown-variable", "a loop or a catch"),
            ],
        ),
        (
            "loop variables end with the loop",
            "do:\n  - a: {for: {in: .x, each: pet}, do: [{b: {set: {y: '${ $pet + $index }'}}}]}\n"
            "  - c: {set: {y: '${ $pet }'}}\n",
            [(4, 22, "expression.unknown-variable", "$pet is not available here")],
        ),
        (
            "text with an expression inside",
            "do:\n  - a: {set: {x: 'Hello ${ .name }!', y: '${ .a } and ${ .b }'}}\n",
            [
                (3, 18, "expression.embedded", "must be the whole string"),
                (3, 42, "expression.embedded", "must be the whole string"),
            ],
        ),
        (
            "secrets that are not declared",
            "use: {secrets: [token]}\ndo:\n  - a: {set: {x: '${ $secrets.tokn }', y: '${ $secrets[\"token\"] }'}}\n",
            [(4, 31, "secret.undeclared", "did you mean 'token'?")],
        ),
        (
            "an error that is used in a loop knows the loop's variables, elsewhere not",
            "use: {errors: {e: {type: 'http://e', status: 500, detail: '${ $item }'}}}\ndo:\n"
            "  - a: {for: {in: .x}, do: [{b: {raise: {error: e}}}]}\n  - c: {raise: {error: e}}\n",
            [(2, 63, "expression.unknown-variable", "$item is not available here")],
        ),
        (
            "tasks that are never reached",
            "do:\n  - a: {set: {x: 1}, then: c}\n  - b: {set: {x: 1}}\n  - c: {raise: {error: {type: 'http://e', status: 1}}}\n"
            "  - d: {set: {x: 1}}\n",
            [(4, 5, "task.unreachable", "'b' is never reached"), (6, 5, "task.unreachable", "'d' is never reached")],
        ),
    ]
)

ALL = [*YAML, *VALUES, *DOCUMENT, *TASKS, *EXPRESSIONS]
