Feature: Workflows and what they say of themselves

  @WORKFLOW-001 @WORKFLOW-002 @PHASE-001 @FLOW-008 @command
  Scenario: tasks run in the order of their declaration
    Given a workflow
      """
      do:
        - first: {set: {said: first}}
        - second: {set: {said: '${ .said + " second" }'}}
      """
    When it runs
    Then it completes with {said: first second}
    And the tasks started are first, second

  @WORKFLOW-003
  Scenario: a workflow without tasks gives its input
    Given a workflow
      """
      do: []
      """
    And the input {a: [1, null]}
    When it runs
    Then it completes with {a: [1, null]}

  @WORKFLOW-004 @command
  Scenario: a workflow without document
    Given a workflow
      """
      {"do": []}
      """
    When it is validated
    Then it is invalid with property.missing

  @WORKFLOW-004
  Scenario: a workflow without do
    Given a workflow
      """
      input: {from: .a}
      """
    When it is validated
    Then it is invalid with property.missing

  @WORKFLOW-005 @command
  Scenario: a member that is not known
    Given a workflow
      """
      do: []
      outptu: {as: .}
      """
    When it is validated
    Then it is invalid with property.unknown at 2:1

  @WORKFLOW-006 @USE-003
  Scenario: the workflow's time limit is one by name
    Given a workflow
      """
      use: {timeouts: {short: {after: {milliseconds: 20}}}}
      timeout: short
      do:
        - rest: {wait: {seconds: 20}}
      """
    When it runs
    Then it faults with timeout 408 at /timeout

  @WORKFLOW-007 @command
  Scenario: a document in JSON
    Given a workflow
      """
      {"document": {"dsl": "1.0.3", "namespace": "tests", "name": "json", "version": "1.0.0"},
       "do": [{"only": {"set": {"a": "${ .b }"}}}]}
      """
    And the input {b: 1}
    When it runs
    Then it completes with {a: 1}

  @WORKFLOW-008
  Scenario: strings that YAML 1.1 takes for something else
    Given a workflow
      """
      do:
        - only: {set: {on: yes, n: 2024-01-01, time: 1:30, number: 012}}
      """
    When it runs
    Then it completes with {"on": "yes", "n": "2024-01-01", "time": "1:30", "number": 12}

  @WORKFLOW-009
  Scenario: a key that is written twice
    Given a workflow
      """
      do:
        - only: {set: {a: 1, a: 2}}
      """
    When it is validated
    Then it is invalid with yaml.duplicate-key at 2:24

  @WORKFLOW-010
  Scenario: two tasks with one name
    Given a workflow
      """
      do:
        - same: {set: {a: 1}}
        - same: {set: {a: 2}}
      """
    When it is validated
    Then it is invalid with task.duplicate-name

  @DOCUMENT-001 @DOCUMENT-002 @DOCUMENT-003 @DOCUMENT-004
  Scenario Outline: the document has no <member>
    Given a workflow
      """
      document: {<rest>}
      do: []
      """
    When it is validated
    Then it is invalid with property.missing

    Examples:
      | member    | rest                                             |
      | dsl       | namespace: n, name: m, version: '1.0.0'          |
      | namespace | dsl: '1.0.3', name: m, version: '1.0.0'          |
      | name      | dsl: '1.0.3', namespace: n, version: '1.0.0'     |
      | version   | dsl: '1.0.3', namespace: n, name: m              |

  @DOCUMENT-005
  Scenario: a version that is not semantic
    Given a workflow
      """
      document: {dsl: '1.0.3', namespace: n, name: m, version: one}
      do: []
      """
    When it is validated
    Then it is invalid with document.bad-version

  @DOCUMENT-006
  Scenario: what a document may say besides
    Given a workflow
      """
      document:
        dsl: '1.0.3'
        namespace: n
        name: m
        version: 1.0.0-rc.1
        title: A title
        summary: '# Markdown'
        tags: {team: core}
        metadata: {any: {thing: [1]}}
      do: []
      """
    When it is validated
    Then it is valid

  @DOCUMENT-007
  Scenario Outline: <member> is no label
    Given a workflow
      """
      document: {dsl: '1.0.3', namespace: <namespace>, name: <name>, version: '1.0.0'}
      do: []
      """
    When it is validated
    Then it is invalid with document.bad-name

    Examples:
      | member    | namespace | name |
      | namespace | a.b       | m    |
      | name      | n         | -m   |

  @DOCUMENT-008
  Scenario: a document of another version of the DSL
    Given a workflow
      """
      document: {dsl: '0.9', namespace: n, name: m, version: '1.0.0'}
      do: []
      """
    When it is validated
    Then it is invalid with document.dsl-version

  @PHASE-002 @FLOW-007 @command
  Scenario: an error that nothing catches
    Given a workflow
      """
      do:
        - fails: {raise: {error: {type: 'https://example.com/errors/full', status: 507}}}
        - never: {set: {a: 1}}
      """
    When it runs
    Then it faults with https://example.com/errors/full 507 at /do/0/fails
    And the tasks started are fails

  @PHASE-003 @command
  Scenario: a workflow that is stopped
    Given a workflow
      """
      do:
        - long: {wait: {minutes: 10}}
        - never: {set: {a: 1}}
      """
    When it is cancelled at long
    Then it is cancelled
    And the tasks started are long

  @PHASE-004
  Scenario: a workflow that is suspended for a while
    Given a workflow
      """
      do:
        - before: {set: {a: 1}}
        - rest: {wait: {milliseconds: 30}}
        - after: {set: {a: '${ .a + 1 }'}}
      """
    When it is paused at rest and resumed
    Then it completes with {a: 2}
    And the tasks completed are before, rest, after

  @USE-006 @command
  Scenario: a secret that is not listed
    Given a workflow
      """
      do:
        - only: {set: {a: '${ $secrets.token }'}}
      """
    When it is validated
    Then it is invalid with secret.undeclared

  @USE-007
  Scenario Outline: <what> that is not defined
    Given a workflow
      """
      do:
        - only: <task>
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what            | task                                                                                              | code                             |
      | an error        | {raise: {error: nothing}}                                                                         | reference.unknown-error          |
      | a retry policy  | {try: [{a: {set: {b: 1}}}], catch: {retry: nothing}}                                              | reference.unknown-retry          |
      | a time limit    | {set: {b: 1}, timeout: nothing}                                                                   | reference.unknown-timeout        |
      | a policy        | {call: http, with: {method: get, endpoint: {uri: 'http://a.example', authentication: {use: no}}}} | reference.unknown-authentication |

  @SECRET-001 @ARGUMENT-004 @command
  Scenario: a secret has its value
    Given a workflow
      """
      use: {secrets: [token]}
      do:
        - only: {set: {length: '${ $secrets.token | length }'}}
      """
    And the secret token is four
    When it runs
    Then it completes with {length: 4}

  @SECRET-002 @command
  Scenario: a secret without a value
    Given a workflow
      """
      use: {secrets: [token]}
      do:
        - fine: {set: {a: 1}}
        - uses: {set: {a: '${ $secrets.token | length }'}}
      """
    When it runs
    Then it faults with authorization 403 at /do/1/uses

  @SECRET-003
  Scenario: a secret that is an object
    Given a workflow
      """
      use: {secrets: [login]}
      do:
        - only: {set: {length: '${ $secrets.login.password | length }'}}
      """
    And the secret login is {user: me, password: six-66}
    When it runs
    Then it completes with {length: 6}

  @WORKFLOW-011
  Scenario Outline: tasks as <what>
    Given a workflow
      """
      do: <tasks>
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what                 | tasks                                    | code                |
      | a map                | {a: {set: {n: 1}}}                       | property.wrong-type |
      | entries of two names | [{a: {set: {n: 1}}, b: {set: {n: 1}}}]   | task.bad-item       |

  @DOCUMENT-009
  Scenario Outline: <member> of the wrong kind
    Given a workflow
      """
      document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0', <member>: <value>}
      do: []
      """
    When it is validated
    Then it is invalid with property.wrong-type

    Examples:
      | member   | value |
      | title    | 1     |
      | summary  | [a]   |
      | tags     | [a]   |
      | metadata | a     |

  @SECRET-004
  Scenario: a secret in every place of a task
    Given a workflow
      """
      use: {secrets: [s]}
      input: {from: '{from: ($secrets.s | length)}'}
      output: {as: '. + {out: ($secrets.s | length)}'}
      do:
        - one:
            if: ($secrets.s | length) == 3
            input: {from: '. + {in: ($secrets.s | length)}'}
            set: {from: '${ .from }', in: '${ .in }', own: '${ $secrets.s | length }'}
            output: {as: '. + {as: ($secrets.s | length)}'}
            export: {as: '{export: ($secrets.s | length)}'}
        - two: {set: '${ . + $context }'}
      """
    And the secret s is abc
    When it runs
    Then it completes with {from: 3, in: 3, own: 3, as: 3, export: 3, out: 3}
