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
    Case("tab as indent", "document:\n\tdsl: 1.0.3\n", [(2, 1, "yaml.syntax", "a tab cannot indent")]),
    Case("percent begins a value", "a: %b\n", [(1, 4, "yaml.syntax", "in quotes")]),
    Case("nothing", "", [(1, 1, "yaml.empty", "the document is empty")]),
    Case("only a comment", "# nothing\n", [(1, 1, "yaml.empty", "the document is empty")]),
    Case("two documents", "a: 1\n---\nb: 2\n", [(2, 1, "yaml.many-documents", "one document")]),
    Case("an alias of nothing", "a: *b\n", [(1, 4, "yaml.bad-alias", "'b' was not defined before")]),
    Case("an alias inside itself", "a: &b [1, *b]\n", [(1, 11, "yaml.bad-alias", "'b' is used inside itself")]),
    Case("a list as a key", "a: 1\n? [b]\n: 2\n", [(2, 3, "yaml.key-not-scalar", "a key must be a string")]),
    Case("a manifest", "apiVersion: v1\nkind: Pod\n", [(1, 1, "document.other-kind", "a manifest of Kubernetes (Pod)")]),
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
                "a mode that is none",
                "do: []\nevaluate: {mode: lose}\n",
                [(3, 18, "property.bad-value", "did you mean 'loose'?")],
            ),
            (
                "another language",
                "do: []\nevaluate: {language: js}\n",
                [(3, 22, "property.bad-value", "language cannot be 'js': it is one of jq")],
            ),
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
            "do:\n  - a: {listen: {to: {any: []}}, foreach: {do: [{b: {run: {container: {image: a}}}}]}}\n"
            "  - c: {call: asyncapi, with: {}}\n",
            [
                (3, 50, "task.not-supported-yet", "run: container is"),
                (4, 5, "task.not-supported-yet", "call: asyncapi is"),
            ],
        ),
        (
            "a mistake in a task that cannot be run yet",
            "do:\n  - a: {call: asyncapi, with: {documnt: {}}}\n  - b: {listen: {to: {any: []}}, foreach: {itm: x}}\n",
            [
                (3, 5, "task.not-supported-yet", "call: asyncapi"),
                (3, 32, "property.unknown", "did you mean 'document'?"),
                (4, 44, "property.unknown", "did you mean 'item'?"),
            ],
        ),
        (
            "calls of openapi",
            "do:\n"
            "  - a: {call: openapi}\n"
            "  - b: {call: openapi, with: {document: {}, parameters: [], output: json, redirect: 1}}\n"
            "  - c: {call: openapi, with: {document: {endpoint: ftp://x.test/a}, operationId: '', authentication: none}}\n"
            "  - d: {call: openapi, with: {document: {endpoint: {}}, operationId: a, parameters: text, method: get}}\n",
            [
                (3, 8, "property.missing", "a call of openapi needs 'with'"),
                (4, 30, "property.missing", "a call of openapi needs 'operationId'"),
                (4, 41, "property.missing", "an OpenAPI document needs 'endpoint'"),
                (4, 57, "property.wrong-type", "parameters must be an object"),
                (4, 69, "property.bad-value", "output cannot be 'json'"),
                (4, 85, "property.wrong-type", "redirect must be a boolean"),
                (5, 52, "endpoint.invalid", "http, https or file URI"),
                (5, 82, "property.bad-value", "operationId cannot be empty"),
                (5, 102, "reference.unknown-authentication", "'none'"),
                (6, 52, "property.missing", "an endpoint needs 'uri'"),
                (6, 85, "property.wrong-type", "or one expression"),
                (6, 91, "property.unknown", "a call of openapi has no 'method'"),
            ],
        ),
        (
            "calls of grpc",
            "do:\n"
            "  - a: {call: grpc}\n"
            "  - b: {call: grpc, with: {proto: {endpoint: x.proto}, service: {name: a-b, port: 70000}}}\n"
            "  - c: {call: grpc, with: {service: {name: A, host: 'g://h', port: '80', tls: 1}, method: a.b, arguments: []}}\n"
            "  - d: {call: grpc, with: {service: {name: A, host: h}, method: M, metadata: {a b: x, grpc-x: y, c: [], d: 1}}}\n",
            [
                (3, 8, "property.missing", "a call of grpc needs 'with'"),
                (4, 27, "property.missing", "a call of grpc needs 'method'"),
                (4, 46, "endpoint.invalid", "no endpoint of a proto resource"),
                (4, 65, "property.missing", "a grpc service needs 'host'"),
                (4, 72, "property.bad-value", "name is 'a-b'; it is the full name of a service"),
                (4, 83, "property.bad-value", "port must be between 0 and 65535"),
                (5, 53, "property.bad-value", "without scheme and port"),
                (5, 68, "property.wrong-type", "port must be a whole number"),
                (5, 79, "property.wrong-type", "tls must be a boolean"),
                (5, 91, "property.bad-value", "method is 'a.b'"),
                (5, 107, "property.wrong-type", "arguments must be an object"),
                (6, 79, "property.bad-value", "'a b' is no name of metadata"),
                (6, 87, "property.bad-value", "grpc- is reserved"),
                (6, 101, "property.wrong-type", "the metadata 'c' must be a string"),
            ],
        ),
        (
            "calls of agents",
            "do:\n"
            "  - a: {call: agent}\n"
            "  - b: {call: agent, with: {agent: '', message: m, scope: galaxy, config: {}}}\n"
            "  - c: {call: agent, with: {agent: a, env: [], temperature: 3, timeout: soon, output: raw}}\n"
            "  - d: {call: agent, with: {agent: a, message: m, env: {a-b: x}, temperature: '0.5', model: 1}}\n",
            [
                (3, 8, "property.missing", "a call of agent needs 'with'"),
                (4, 36, "property.bad-value", "agent cannot be empty"),
                (4, 59, "property.bad-value", "scope cannot be 'galaxy': it is one of organization, platform"),
                (4, 67, "property.unknown", "a call of agent has no 'config'"),
                (5, 28, "property.missing", "a call of agent needs 'message'"),
                (5, 44, "property.wrong-type", "env must be an object"),
                (5, 61, "property.bad-value", "temperature must be a number from 0 to 2"),
                (5, 73, "duration.invalid", "timeout"),
                (5, 87, "property.bad-value", "output cannot be 'raw'"),
                (6, 57, "property.bad-value", "'a-b' is no name of an environment variable"),
                (6, 79, "property.bad-value", "temperature must be a number from 0 to 2"),
                (6, 93, "property.wrong-type", "model must be a string"),
            ],
        ),
        (
            "calls of activities",
            "do:\n"
            "  - a: {call: activity}\n"
            "  - b: {call: activity, with: {activity: '', options: {}}}\n"
            "  - c: {call: activty, with: {activity: x}}\n",
            [
                (3, 8, "property.missing", "a call of activity needs 'with'"),
                (4, 42, "property.bad-value", "activity cannot be empty"),
                (4, 46, "property.unknown", "a call of activity has no 'options'"),
                (5, 15, "reference.unknown-function", "did you mean 'activity'?"),
            ],
        ),
        (
            "a mistyped member of a task",
            "do:\n  - a: {set: {x: 1}, iff: .x}\n",
            [(3, 22, "property.unknown", "did you mean 'if'?")],
        ),
        (
            "members at the wrong level",
            "dsl: 1.0.3\ndo:\n  - a: {call: http, method: get, with: {method: get, endpoint: 'http://x.test', then: exit}}\n"
            "  - b: {for: {in: .x, while: .y}, each: z, do: [{c: {set: {x: 1}, catch: {}}}]}\n"
            "  - d: {try: [{e: {set: {x: 1}, catch: {}}}], backoff: {}, catch: {retry: {count: 3, errors: {}}, use: {}}}\n",
            [
                (2, 1, "property.misplaced", "'dsl' does not belong in a workflow: it belongs under 'document'"),
                (4, 21, "property.misplaced", "'method' does not belong in a call task: it belongs under 'with'"),
                (4, 81, "property.misplaced", "in a call of http: it belongs in a call task, beside 'with'"),
                (5, 23, "property.misplaced", "in for: it belongs in a for task, beside 'for'"),
                (5, 35, "property.misplaced", "it belongs under 'for'"),
                (5, 67, "property.unknown", "a set task has no 'catch'"),
                (6, 33, "property.misplaced", "in a set task: it belongs in a try task, beside 'try'"),
                (6, 47, "property.misplaced", "it belongs under 'catch.retry'"),
                (6, 68, "task.endless-retry", "repeated at once"),
                (6, 76, "property.misplaced", "it belongs under 'limit.attempt'"),
                (6, 86, "property.misplaced", "it belongs in catch, beside 'retry'"),
                (6, 99, "property.misplaced", "it belongs at the top of the document"),
            ],
        ),
        (
            "members of events and processes at the wrong level",
            "do:\n  - a: {emit: {type: x, event: {with: {type: x, source: 'http://x.test'}}}}\n"
            "  - b: {run: {command: ls, shell: {command: ls}}}\n  - c: {set: {x: 1}, as: .x, frm: .y}\n",
            [
                (3, 16, "property.misplaced", "'type' does not belong in emit: it belongs under 'event.with'"),
                (4, 15, "property.misplaced", "'command' does not belong in run: it belongs under 'shell'"),
                (5, 22, "property.misplaced", "'as' does not belong in a set task: it belongs under 'output'"),
                (5, 30, "property.unknown", "a set task has no 'frm': it can have if, input, output, export"),
            ],
        ),
        (
            "jumps that go round for ever",
            "do:\n  - a: {set: {x: 1}}\n  - b: {set: {x: 1}, then: d}\n  - c: {wait: PT1S}\n"
            "  - d: {if: .x, set: {x: 1}, then: c}\n"
            "  - e: {do: [{f: {switch: [{g: {when: .x, then: f}}, {h: {then: f}}]}}], if: .x}\n  - i: {set: {x: 1}, then: i}\n",
            [
                (7, 49, "task.endless-loop", "'f' follows itself for ever"),
                (8, 28, "task.endless-loop", "'i' follows itself for ever, and no jump leads out: add a case that leads on"),
            ],
        ),
        (
            "a loop that is closed by going on",
            "do:\n  - a: {set: {x: 1}, then: c}\n  - b: {wait: PT1S}\n  - c: {wait: PT1S, then: b}\n",
            [(4, 5, "task.endless-loop", "from 'c' to 'b' and back for ever")],
        ),
        (
            "loops that something breaks off",
            "do:\n  - a: {if: .x, timeout: {after: PT1S}, do: [{b: {wait: PT1S, then: b}}]}\n"
            "  - c: {try: [{d: {wait: PT1S, then: d}}], catch: {}}\n"
            "  - e: {fork: {compete: true, branches: [{f: {wait: PT1S, then: f}}, {g: {wait: PT9S}}]}}\n"
            "  - h: {switch: [{i: {when: .x, then: h}}]}\n",
            [],
        ),
        (
            "what comes after a block that never completes",
            "do:\n  - a: {if: .x, do: [{b: {raise: {error: {type: 'http://e', status: 1}}}}]}\n"
            "  - c: {do: [{d: {set: {x: 1}, then: end}}]}\n  - e: {set: {x: 1}}\n",
            [(5, 5, "task.unreachable", "'e' is never reached")],
        ),
        (
            "time limits that are none",
            "timeout: {afer: PT1S}\nuse: {timeouts: {soon: {after: PT1S}, never: {after: 5}}}\ndo:\n"
            "  - a: {set: {x: 1}, timeout: son}\n  - b: {set: {x: 1}, timeout: {after: 10s}}\n"
            "  - c: {set: {x: 1}, timeout: soon}\n",
            [
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
            f"do:\n  - a: {{fork: {{branches: [{', '.join(f'b{number}: {{set: {{x: 1}}}}' for number in range(1001))}]}}}}\n",
            [(3, 26, "task.too-many-branches", "1001 branches, and at most 1000")],
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
                (6, 109, "property.bad-value", "exactly one of basic"),
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
            "a then of nothing",
            "do:\n  - a: {set: {x: 1}, then: ''}\n  - b: {switch: [{c: {then: ''}}]}\n",
            [
                (3, 28, "then.unknown-target", "'' is no task"),
                (4, 29, "then.unknown-target", "'' is no task"),
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
            "do:\n  - a: {raise: {error: {type: nothing, status: '400'}}}\n"
            "  - b: {raise: {error: {type: 'http://e/f', status: 400, instance: mine}}}\n",
            [
                (3, 31, "property.bad-value", "'nothing' is no URI"),
                (3, 48, "property.wrong-type", "status must be a whole number, not a string"),
                (4, 68, "property.bad-value", "'mine' is no JSON pointer"),
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
                (4, 91, "reference.unknown-authentication", "no authentication 'c': define it under use.authentications"),
            ],
        ),
        (
            "authentications of nothing, of several schemes, of a scheme that is none",
            "do:\n  - a: {call: http, with: {method: get, endpoint: {uri: 'http://x', authentication: 5}}}\n"
            "  - b: {call: http, with: {method: get, endpoint: {uri: 'http://x', authentication: {basik: {}}}}}\n"
            "  - c: {call: http, with: {method: get, endpoint: {uri: 'http://x',\n"
            "      authentication: {bearer: {token: x}, basic: {username: a}}}}}\n",
            [
                (3, 85, "property.wrong-type", "an authentication must be an object"),
                (4, 85, "property.bad-value", "exactly one of basic, bearer"),
                (4, 86, "property.unknown", "did you mean 'basic'?"),
                (6, 23, "property.bad-value", "this has basic, bearer"),
            ],
        ),
        (
            "members of authentications",
            "use:\n  secrets: [mine]\n  authentications:\n"
            "    a: {use: b}\n"
            "    b: {basic: {username: x, pasword: y}}\n"
            "    c: {digest: {use: mime}}\n"
            "    d: {bearer: {use: mine, token: x}}\n"
            "    e: {bearer: {token: 5}}\n"
            "    f: {certificate: {certificate: x}}\n"
            "do: []\n",
            [
                (5, 9, "property.misplaced", "cannot use another one"),
                (6, 30, "property.unknown", "did you mean 'password'?"),
                (7, 23, "secret.undeclared", "the secret 'mime' is not declared: did you mean 'mine'?"),
                (8, 29, "property.unknown", "bearer authentication from a secret has no 'token'"),
                (9, 25, "property.wrong-type", "token must be a string"),
                (10, 22, "property.missing", "certificate authentication needs 'key'"),
            ],
        ),
        (
            "an authentication that mentions what it comes to",
            "do:\n  - a: {call: http, with: {method: get, endpoint: {uri: 'http://x',\n"
            "      authentication: {bearer: '${ $authorization }'}}}}\n",
            [(4, 36, "expression.unknown-variable", "$authorization is not available here")],
        ),
        (
            "members of oauth2 and oidc",
            "use:\n  authentications:\n"
            "    a: {oauth2: {authority: here, grant: client-credentials, client: {id: x}}}\n"
            "    b: {oauth2: {authority: 'http://x', grant: password, client: {id: x, authentication: no}}}\n"
            "    c: {oidc: {authority: 'http://x', grant: refresh_token, client: {authentication: none}, endpoints: {}}}\n"
            "    d: {oauth2: {authority: 'http://x', grant: client_credentials, scopes: api, endpoints: {token: 'ftp://x'}}}\n"
            "    e: {oauth2: {authority: 'http://x', grant: client_credentials, client: {authentication: private_key_jwt}}}\n"
            "    f: {oidc: {authority: 'http://{x}', grant: '${ .g }', client: {id: x}, subject: {token: x},\n"
            "        request: {encoding: text/plain}, audiences: [5]}}\n"
            "do: []\n",
            [
                (4, 29, "endpoint.invalid", "authority is 'here'"),
                (4, 42, "property.bad-value", "did you mean 'client_credentials'?"),
                (5, 17, "property.missing", "the grant password needs 'username'"),
                (5, 17, "property.missing", "the grant password needs 'password'"),
                (5, 90, "property.bad-value", "client.authentication cannot be 'no'"),
                (6, 15, "property.missing", "the grant refresh_token needs 'subject.token'"),
                (6, 93, "property.unknown", "oidc authentication has no 'endpoints'"),
                (7, 17, "property.missing", "client_secret_post needs 'client.id'"),
                (7, 76, "property.wrong-type", "scopes must be an array"),
                (7, 100, "endpoint.invalid", "endpoints.token is 'ftp://x'"),
                (8, 17, "property.missing", "private_key_jwt needs 'client.id'"),
                (8, 17, "property.missing", "private_key_jwt needs 'client.assertion'"),
                (9, 85, "property.missing", "subject of oidc authentication needs 'type'"),
                (10, 29, "property.bad-value", "it is one of application/x-www-form-urlencoded"),
                (10, 54, "property.wrong-type", "an entry of audiences must be a string"),
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
            [(3, 17, "expression.invalid", "it ends too early")],
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
                (3, 36, "expression.unknown-variable", "did you mean '$context'?"),
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

EVENTS = _bodies(
    [
        (
            "events that cannot be emitted",
            "do:\n"
            "  - a: {emit: {}}\n"
            "  - b: {emit: {event: {}}}\n"
            "  - c: {emit: {event: {with: {type: t, Room: 5, more: {x: 1}, subject: 5}}}}\n"
            "  - d: {emit: {event: {with: {source: 'a b', type: '', time: today, specversion: '0.3'}}}}\n",
            [
                (3, 15, "property.missing", "emit needs 'event'"),
                (4, 23, "property.missing", "event needs 'with'"),
                (5, 30, "property.missing", "needs 'source'"),
                (5, 40, "event.bad-attribute", "'Room' cannot be an attribute of an event"),
                (5, 55, "property.wrong-type", "'more' must be a string, a whole number or a boolean, not an object"),
                (5, 72, "property.wrong-type", "subject must be a string"),
                (6, 39, "property.bad-value", "source cannot be 'a b'"),
                (6, 52, "property.bad-value", "type of an event cannot be empty"),
                (6, 62, "property.bad-value", "time cannot be 'today'"),
                (6, 82, "property.bad-value", "events are of CloudEvents 1.0"),
            ],
        ),
        (
            "listeners that cannot be meant",
            "do:\n"
            "  - a: {listen: {read: dta}}\n"
            "  - b: {listen: {to: {}}}\n"
            "  - c: {listen: {to: {one: {with: {type: a}}, any: []}}}\n"
            "  - d: {listen: {to: {all: [], until: .x}}}\n"
            "  - e: {listen: {to: {any: [{with: {}}], until: {any: [], until: .x}}}}\n"
            "  - f: {listen: {to: {one: {with: {type: a}, correlate: {x: {frm: .a}}}}}}\n"
            "  - g: {listen: {to: {any: []}}, foreach: {item: x, at: x, do: [{h: {set: '${ $x + $y }'}}]}}\n",
            [
                (3, 17, "property.missing", "listen needs 'to'"),
                (3, 24, "property.bad-value", "did you mean 'data'?"),
                (4, 22, "property.missing", "listen.to needs exactly one of one, any, all, and has none"),
                (5, 22, "property.bad-value", "exactly one of one, any, all, and has one and any"),
                (6, 28, "property.bad-value", "`all` needs a filter"),
                (6, 39, "property.bad-value", "an `until`, which only goes with `any`: `all` ends by itself"),
                (7, 36, "property.bad-value", "at least one attribute"),
                (7, 66, "property.bad-value", "listen.to.until ends another one already"),
                (8, 62, "property.unknown", "did you mean 'from'?"),
                (9, 43, "variable.bad-name", "`item` and `at` are both 'x'"),
                (9, 84, "expression.unknown-variable", "$y is not available here"),
            ],
        ),
        ("a schedule of nothing", "do: []\nschedule: {}\n", [(3, 11, "property.missing", "exactly one of every, cron")]),
        (
            "a schedule of two kinds",
            "do: []\nschedule: {every: PT1S, after: PT1S}\n",
            [(3, 11, "property.bad-value", "has every and after")],
        ),
        ("a schedule without rest", "do: []\nschedule: {every: PT0S}\n", [(3, 19, "property.bad-value", "more than nothing")]),
        ("a computed schedule", "do: []\nschedule: {after: '${ .x }'}\n", [(3, 19, "property.bad-value", "cannot be an expr")]),
        (
            "a cron expression that is none",
            "do: []\nschedule: {cron: 61 * * * *}\n",
            [(3, 18, "schedule.bad-cron", "'61 * * * *' is no cron expression: Bad minute")],
        ),
        (
            "a day that never comes",
            "do: []\nschedule: {cron: 0 0 30 2 *}\n",
            [(3, 18, "schedule.bad-cron", "Bad day-of-month")],
        ),
        (
            "events that start a workflow",
            "do: []\nschedule: {on: {one: {with: {subject: '${ $context.x }'}}}}\n",
            [(3, 43, "expression.unknown-variable", "$context is not available here")],
        ),
    ]
)

ELSEWHERE = _bodies(
    [
        (
            "calls of functions that nothing has",
            "use: {functions: {get: {set: {x: 1}}}}\ndo:\n  - a: {call: gt}\n  - b: {call: 'f:1.0@mine'}\n"
            "  - c: {call: get, with: [1]}\n  - d: {call: 'http://x.test/{id}'}\n  - e: {call: get, wth: {}}\n",
            [
                (4, 15, "reference.unknown-function", "there is no function 'gt': did you mean 'get'?"),
                (5, 15, "reference.unknown-catalog", "there is no catalog 'mine': define it under use.catalogs"),
                (6, 26, "property.wrong-type", "with must be an object"),
                (7, 15, "endpoint.invalid", "no address of a function"),
                (8, 20, "property.unknown", "did you mean 'with'?"),
            ],
        ),
        (
            "functions that call themselves",
            "use:\n  functions:\n    a: {do: [{x: {call: b}}]}\n    b: {try: [{y: {call: a}}], catch: {}}\n"
            "    c: {if: .n, call: c}\n    http: {set: {x: 1}}\n    d: {call: 5}\ndo: [{z: {call: a}}]\n",
            [
                (5, 19, "reference.function-cycle", "the function 'a' calls itself: a → b → a"),
                (6, 8, "reference.function-cycle", "the function 'c' calls itself: c → c"),
                (7, 11, "property.bad-value", "no function can be called 'http'"),
                (8, 15, "property.wrong-type", "call must be a string"),
            ],
        ),
        (
            "mistakes inside functions",
            "use: {functions: {f: {do: [{x: {set: '${ $item }', then: y}}]}, g: [1]}}\ndo: []\n",
            [
                (2, 42, "expression.unknown-variable", "$item is not available here"),
                (2, 58, "then.unknown-target", "'y' is no task"),
                (2, 68, "task.no-kind", "'g' is an array"),
            ],
        ),
        (
            "catalogs",
            "use: {catalogs: {a: {}, b: {endpoint: ftp://x}, c: {endpoint: {uri: 'http://x', auth: 1}}}}\ndo: []\n",
            [
                (2, 21, "property.missing", "a catalog needs 'endpoint'"),
                (2, 39, "endpoint.invalid", "'ftp://x' is no endpoint"),
                (2, 81, "property.unknown", "an endpoint has no 'auth'"),
            ],
        ),
        (
            "extensions that are none",
            "use:\n  extensions:\n    - a: {}\n    - b: {extend: tasks}\n    - c: {extend: do, befor: []}\n    - 5\n"
            "    - a: {extend: all, when: '$item', after: [{x: {set: {y: '${ $task.name + $output }'}}}]}\ndo: []\n",
            [
                (4, 10, "property.missing", "an extension needs 'extend'"),
                (5, 19, "property.bad-value", "extend cannot be 'tasks': it is one of call, composite"),
                (6, 19, "property.bad-value", "extend cannot be 'do'"),
                (6, 23, "property.unknown", "did you mean 'before'?"),
                (7, 7, "task.bad-item", "one name with its extension"),
                (8, 7, "task.duplicate-name", "two extensions 'a'"),
                (8, 31, "expression.unknown-variable", "$item is not available here"),
                (8, 78, "expression.unknown-variable", "$output is not available here"),
            ],
        ),
        (
            "processes that are none",
            "do:\n  - a: {run: {}}\n  - b: {run: {shell: {command: ls}, script: {}, await: 1}}\n"
            "  - c: {run: {shell: {comand: ls}, return: out}}\n"
            "  - d: {run: {script: {language: ruby, code: a}}}\n  - e: {run: {script: {language: js}}}\n"
            "  - f: {run: {script: {language: js, code: a, source: {endpoint: 'ftp://x'}}}}\n"
            "  - g: {run: {shell: {command: ls, arguments: a, environment: [b], stdin: 1}}}\n",
            [
                (3, 14, "property.bad-value", "this has none of them"),
                (4, 14, "property.bad-value", "this has script and shell"),
                (5, 23, "property.unknown", "did you mean 'command'?"),
                (5, 44, "property.bad-value", "return cannot be 'out'"),
                (6, 34, "property.bad-value", "language cannot be 'ruby'"),
                (7, 23, "property.bad-value", "either its 'code' or a 'source'"),
                (8, 23, "property.bad-value", "either its 'code' or a 'source'"),
                (8, 66, "endpoint.invalid", "no endpoint of the source of a script"),
                (9, 47, "property.wrong-type", "arguments must be a list, an object or an expression"),
                (9, 63, "property.wrong-type", "environment must be an object"),
                (9, 75, "property.wrong-type", "stdin must be a string"),
            ],
        ),
        (
            "workflows to run that are none",
            "do:\n  - a: {run: {workflow: {name: b}}}\n"
            "  - b: {run: {workflow: {namespace: a, name: b, version: 1}, return: code}}\n",
            [
                (3, 25, "property.missing", "a workflow process needs 'namespace'"),
                (4, 58, "property.wrong-type", "version must be a string"),
                (4, 70, "property.bad-value", "a workflow has no 'code'"),
            ],
        ),
        (
            "expressions of ours inside of programs",
            "do:\n  - a: {run: {shell: {command: 'echo ${ .name }'}}}\n  - b: {run: {shell: {command: 'echo ${name}'}}}\n",
            [(3, 32, "expression.embedded", "this is text")],
        ),
        (
            "marked expressions in loose mode",
            "evaluate: {mode: loose}\ndo:\n  - a: {set: {x: '${ .a + }', y: .a +, z: '$nothing', w: $secrets.s, v: now}}\n",
            [(4, 26, "expression.invalid", "jq cannot compile this expression: it ends too early")],
        ),
    ]
)

ALL = [*ELSEWHERE, *YAML, *VALUES, *DOCUMENT, *TASKS, *EXPRESSIONS, *EVENTS]
