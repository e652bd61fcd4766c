Feature: Errors, and what becomes of them

  @TASK-RAISE-001 @TASK-RAISE-003 @ERROR-002 @ERROR-011 @command
  Scenario: an error that is raised
    Given a workflow
      """
      do:
        - outer:
            do:
              - fails:
                  raise:
                    error: {type: 'https://example.com/errors/full', status: 507, title: Full, detail: no room is left}
      """
    When it runs
    Then it faults with https://example.com/errors/full 507 at /do/0/outer/do/0/fails
    And the error has the title Full
    And the error has the detail no room is left

  @TASK-RAISE-002 @USE-001
  Scenario: an error by name
    Given a workflow
      """
      use: {errors: {full: {type: 'https://example.com/errors/full', status: 507}}}
      do:
        - fails: {raise: {error: full}}
      """
    When it runs
    Then it faults with https://example.com/errors/full 507 at /do/0/fails

  @TASK-RAISE-004
  Scenario: title and detail that are computed
    Given a workflow
      """
      do:
        - fails: {raise: {error: {type: 'https://example.com/e', status: 400, title: '${ "No \(.what)" }', detail: '${ .why }'}}}
      """
    And the input {what: tea, why: it is gone}
    When it runs
    Then it faults with https://example.com/e 400
    And the error has the title No tea
    And the error has the detail it is gone

  @TASK-RAISE-005
  Scenario: an instance of the author's
    Given a workflow
      """
      do:
        - fails: {raise: {error: {type: 'https://example.com/e', status: 400, instance: /somewhere/else}}}
      """
    When it runs
    Then it faults with https://example.com/e 400 at /somewhere/else

  @ERROR-001
  Scenario Outline: an error without <member>
    Given a workflow
      """
      do:
        - fails: {raise: {error: {<rest>}}}
      """
    When it is validated
    Then it is invalid with property.missing

    Examples:
      | member | rest                          |
      | type   | status: 400                   |
      | status | type: 'https://example.com/e' |

  @ERROR-003
  Scenario: a configuration error
    Given a workflow
      """
      do:
        - child: {run: {workflow: {namespace: tests, name: broken, version: 1.0.0}}}
      """
    And a workflow beside it
      """
      document: {dsl: '1.0.3', namespace: tests, name: broken, version: 1.0.0}
      do: nothing
      """
    When it runs
    Then it faults with configuration 400 at /do/0/child

  @ERROR-006 @ERROR-007 @ERROR-009
  Scenario Outline: the standard error of a server's <status>
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a'}}
      """
    And GET /a answers <status> with {}
    When it runs
    Then it faults with <type> <status> at /do/0/ask

    Examples:
      | status | type           |
      | 401    | authentication |
      | 403    | authorization  |
      | 404    | communication  |
      | 503    | communication  |

  @ERROR-009
  Scenario: nobody answers
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://127.0.0.1:1/'}}
      """
    When it runs
    Then it faults with communication 500 at /do/0/ask

  @ERROR-010 @RUN-009 @command
  Scenario: a runtime error
    Given a workflow
      """
      do:
        - fails: {run: {shell: {command: exit 3}}}
      """
    When it runs
    Then it faults with runtime 500 at /do/0/fails
    And the error's detail mentions 3

  @TASK-TRY-001
  Scenario: nothing fails
    Given a workflow
      """
      do:
        - guard:
            try:
              - a: {set: {n: 1}}
              - b: {set: {n: '${ .n + 1 }'}}
            catch:
              do:
                - handle: {set: {handled: true}}
      """
    When it runs
    Then it completes with {n: 2}

  @TASK-TRY-002 @TASK-TRY-009 @TASK-TRY-010 @TASK-TRY-013 @TASK-TRY-014 @TASK-TRY-015 @command
  Scenario: an error is handled
    Given a workflow
      """
      do:
        - guard:
            try:
              - change: {set: {changed: true}}
              - fails: {raise: {error: {type: 'https://example.com/e', status: 418, title: Teapot, detail: short and stout}}}
              - never: {set: {a: 1}}
            catch:
              errors: {}
              do:
                - handle: {set: {input: '${ . }', error: '${ $error }'}}
        - after: {set: '${ . }'}
      """
    And the input {n: 1}
    When it runs
    Then it completes with
      """
      input: {n: 1}
      error:
        type: https://example.com/e
        status: 418
        title: Teapot
        detail: short and stout
        instance: /do/0/guard/try/1/fails
      """
    And the tasks started are guard, change, fails, handle, after

  @TASK-TRY-003
  Scenario: try without catch
    Given a workflow
      """
      do:
        - guard: {try: [{a: {set: {n: 1}}}]}
      """
    When it is validated
    Then it is invalid with property.missing

  @TASK-TRY-004 @TASK-TRY-005
  Scenario Outline: a filter by <filter>
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 418, title: Teapot}}}
            catch:
              errors: {with: <filter>}
              do:
                - handle: {set: {handled: true}}
      """
    When it runs
    Then <end>

    Examples:
      | filter                                         | end                                         |
      | {type: 'https://example.com/e'}                | it completes with {handled: true}           |
      | {status: 418}                                  | it completes with {handled: true}           |
      | {type: 'https://example.com/e', status: 418}   | it completes with {handled: true}           |
      | {instance: /do/0/guard/try/0/fails}            | it completes with {handled: true}           |
      | {title: Teapot}                                | it completes with {handled: true}           |
      | {status: 500}                                  | it faults with https://example.com/e 418    |
      | {type: 'https://example.com/e', status: 500}   | it faults with https://example.com/e 418    |

  @TASK-TRY-006
  Scenario: the error under another name
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 418}}}
            catch:
              as: problem
              do:
                - handle: {set: {status: '${ $problem.status }'}}
      """
    When it runs
    Then it completes with {status: 418}

  @TASK-TRY-007 @TASK-TRY-008
  Scenario Outline: catch <condition>
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 418}}}
            catch:
              <condition>
              do:
                - handle: {set: {handled: true}}
      """
    When it runs
    Then <end>

    Examples:
      | condition                           | end                                      |
      | when: '${ $error.status == 418 }'   | it completes with {handled: true}        |
      | when: $error.status == 500          | it faults with https://example.com/e 418 |
      | exceptWhen: $error.status == 418    | it faults with https://example.com/e 418 |
      | exceptWhen: $error.status == 500    | it completes with {handled: true}        |

  @TASK-TRY-011
  Scenario: an error that is swallowed
    Given a workflow
      """
      do:
        - guard:
            try:
              - change: {set: {changed: true}}
              - fails: {raise: {error: {type: 'https://example.com/e', status: 418}}}
            catch: {}
        - after: {set: {input: '${ . }'}}
      """
    And the input {n: 1}
    When it runs
    Then it completes with {input: {n: 1}}

  @TASK-TRY-012
  Scenario: an error in the handler
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/first', status: 418}}}
            catch:
              do:
                - again: {raise: {error: {type: 'https://example.com/second', status: 419}}}
      """
    When it runs
    Then it faults with https://example.com/second 419 at /do/0/guard/catch/do/0/again

  @TASK-RAISE-007
  Scenario: a type and an instance that are computed
    Given a workflow
      """
      do:
        - fails: {raise: {error: {type: '${ "https://example.com/" + .kind }', status: 400, instance: '${ "/orders/" + .order }'}}}
      """
    And the input {kind: stock, order: A-1}
    When it runs
    Then it faults with https://example.com/stock 400 at /orders/A-1

  @ERROR-012
  Scenario Outline: an error whose <member> is <value>
    Given a workflow
      """
      do:
        - fails: {raise: {error: {type: 'https://example.com/e', status: 400, <member>: <value>}}}
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | member   | value | code                |
      | title    | 1     | property.wrong-type |
      | detail   | [a]   | property.wrong-type |
      | instance | 1     | property.wrong-type |
      | reason   | a     | property.unknown    |

  @ERROR-012
  Scenario Outline: an error with a wrong type or status, <code>
    Given a workflow
      """
      do:
        - fails: {raise: {error: <error>}}
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | error                                     | code                |
      | {type: stock, status: 400}                | property.bad-value  |
      | {type: 'https://example.com/e', status: x} | property.wrong-type |

  @ERROR-013 @command
  Scenario Outline: <name> is caught by its type
    Given a workflow
      """
      use: {secrets: [missing]}
      do:
        - guard:
            try:
              - fails: <task>
            catch:
              errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/<name>'}}
              do:
                - handle: {set: {status: '${ $error.status }'}}
      """
    And GET /401 answers 401
    When it runs
    Then it completes with {status: <status>}

    Examples:
      | name           | status | task                                                                                          |
      | configuration  | 404    | {run: {workflow: {namespace: tests, name: nothing, version: 1.0.0}}}                           |
      | validation     | 400    | {set: {n: 1}, output: {schema: {document: {type: string}}}}                                    |
      | expression     | 400    | {set: {n: '${ 1 + "a" }'}}                                                                     |
      | authentication | 401    | {call: http, with: {method: get, endpoint: 'http://service.example/401'}}                      |
      | authorization  | 403    | {set: {n: '${ $secrets.missing }'}}                                                            |
      | timeout        | 408    | {wait: PT1H, timeout: {after: {milliseconds: 5}}}                                              |
      | communication  | 404    | {call: http, with: {method: get, endpoint: 'http://service.example/nothing'}}                  |
      | runtime        | 500    | {run: {shell: {command: exit 1}}}                                                              |

  @TASK-TRY-016
  Scenario Outline: a filter by <member> <text>
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 418, detail: short and stout}}}
            catch:
              errors: {with: {<member>: <text>}}
              do:
                - handle: {set: {handled: true}}
      """
    When it runs
    Then <end>

    Examples:
      | member  | text            | end                                      |
      | detail  | short and stout | it completes with {handled: true}        |
      | details | short and stout | it completes with {handled: true}        |
      | details | tall            | it faults with https://example.com/e 418 |

  @TASK-TRY-017
  Scenario: an error filter that names nothing
    Given a workflow
      """
      do:
        - guard: {try: [{a: {set: {n: 1}}}], catch: {errors: {with: {}}}}
      """
    When it is validated
    Then it is invalid with property.bad-value

  @TASK-TRY-018
  Scenario Outline: the filter <holds> and the condition <condition>
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 418}}}
            catch:
              errors: {with: {status: <status>}}
              when: $error.status == <number>
              exceptWhen: .quiet
              do:
                - handle: {set: {handled: true}}
      """
    And the input {quiet: false}
    When it runs
    Then <end>

    Examples:
      | holds    | condition | status | number | end                                      |
      | holds    | holds     | 418    | 418    | it completes with {handled: true}        |
      | holds    | does not  | 418    | 500    | it faults with https://example.com/e 418 |
      | does not | holds     | 500    | 418    | it faults with https://example.com/e 418 |
