Feature: The flow of tasks

  @FLOW-001
  Scenario: continue
    Given a workflow
      """
      do:
        - a: {set: {n: 1}, then: continue}
        - b: {set: {n: 2}}
      """
    When it runs
    Then it completes with {n: 2}

  @FLOW-002 @command
  Scenario: exit leaves the list
    Given a workflow
      """
      do:
        - outer:
            do:
              - a: {set: {n: 1}, then: exit}
              - b: {set: {n: 2}}
        - after: {set: {n: '${ .n + 10 }'}}
      """
    When it runs
    Then it completes with {n: 11}
    And the tasks started are outer, a, after

  @FLOW-003
  Scenario: exit in the workflow's own list
    Given a workflow
      """
      do:
        - a: {set: {n: 1}, then: exit}
        - b: {set: {n: 2}}
      """
    When it runs
    Then it completes with {n: 1}

  @FLOW-004 @PHASE-001
  Scenario: end, from inside
    Given a workflow
      """
      output: {as: '{out: .}'}
      do:
        - outer:
            do:
              - inner:
                  do:
                    - a: {set: {n: 1}, then: end}
                    - b: {set: {n: 2}}
        - after: {set: {n: 3}}
      """
    When it runs
    Then it completes with {out: {n: 1}}

  @FLOW-005
  Scenario: a name, forwards and backwards
    Given a workflow
      """
      do:
        - start: {set: {n: 0}, then: check}
        - add: {set: {n: '${ .n + 1 }'}}
        - check: {switch: [{more: {when: .n < 3, then: add}}, {done: {then: end}}]}
      """
    When it runs
    Then it completes with {n: 3}

  @FLOW-006 @command
  Scenario Outline: a name of <where>
    Given a workflow
      """
      do:
        - a: {set: {n: 1}, then: <inner>}
        - b:
            do:
              - c: {set: {n: 2}, then: <outer>}
      """
    When it is validated
    Then it is invalid with then.unknown-target

    Examples:
      | where         | inner | outer |
      | a list inside | c     | exit  |
      | a list around | b     | a     |

  @FLOW-009
  Scenario: a task that no flow leads to
    Given a workflow
      """
      do:
        - a: {set: {n: 1}, then: end}
        - b: {set: {n: 2}}
      """
    When it is validated
    Then it is valid with the warning task.unreachable

  @TASK-001 @TASK-002 @TASK-003 @command
  Scenario: a task that is skipped
    Given a workflow
      """
      do:
        - a:
            if: .go
            input: {from: '{go: true}'}
            set: {n: 1}
            output: {as: '{changed: true}'}
            export: {as: '{exported: true}'}
            then: end
        - b: {set: {before: '${ . }', context: '${ $context | has("exported") }'}}
      """
    And the input {go: false, x: 1}
    When it runs
    Then it completes with {before: {go: false, x: 1}, context: false}
    And the tasks skipped are a

  @TASK-001
  Scenario: a task whose condition holds
    Given a workflow
      """
      do:
        - a: {if: '${ .n > 1 }', set: {ran: true}}
      """
    And the input {n: 2}
    When it runs
    Then it completes with {ran: true}

  @TASK-006
  Scenario: a skipped task compares nothing
    Given a workflow
      """
      do:
        - a:
            if: .n > 10
            input: {schema: {format: json, document: {type: string}}}
            set: {ran: true}
      """
    And the input {n: 2}
    When it runs
    Then it completes with {n: 2}

  @TASK-004
  Scenario: a task with metadata
    Given a workflow
      """
      do:
        - a: {set: {n: 1}, metadata: {owner: me, any: [1]}}
      """
    When it is validated
    Then it is valid

  @TASK-005
  Scenario Outline: a task of <what>
    Given a workflow
      """
      do:
        - a: <task>
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what       | task                            | code            |
      | nothing    | {metadata: {a: 1}}              | task.no-kind    |
      | two things | {set: {n: 1}, wait: {seconds: 1}} | task.many-kinds |

  @TASK-DO-001 @TASK-DO-002 @TASK-DO-004
  Scenario: tasks inside of a task
    Given a workflow
      """
      do:
        - outer:
            do:
              - a: {set: {n: '${ .n + 1 }'}}
              - b: {set: {n: '${ .n * 10 }', reference: '${ $task.reference }'}}
      """
    And the input {n: 1}
    When it runs
    Then it completes with {n: 20, reference: /do/0/outer/do/1/b}
    And the tasks completed are a, b, outer

  @TASK-DO-003
  Scenario: no tasks inside of a task
    Given a workflow
      """
      do:
        - outer: {do: []}
      """
    And the input {n: 1}
    When it runs
    Then it completes with {n: 1}

  @TASK-SET-001 @TASK-SET-003 @command
  Scenario: set an object
    Given a workflow
      """
      do:
        - a: {set: {shape: circle, size: '${ .size }', more: {list: [1, true, null, '${ .size * 2 }']}}}
      """
    And the input {size: 3, other: gone}
    When it runs
    Then it completes with {shape: circle, size: 3, more: {list: [1, true, null, 6]}}

  @TASK-SET-002
  Scenario: set what an expression gives
    Given a workflow
      """
      do:
        - a: {set: '${ .colors | map(ascii_upcase) }'}
      """
    And the input {colors: [red]}
    When it runs
    Then it completes with [RED]

  @TASK-SET-004
  Scenario: set a number
    Given a workflow
      """
      do:
        - a: {set: 1}
      """
    When it is validated
    Then it is invalid with property.wrong-type

  @TASK-SWITCH-001 @TASK-SWITCH-002 @TASK-SWITCH-005 @command
  Scenario Outline: a switch over <kind>
    Given a workflow
      """
      do:
        - choose:
            switch:
              - other: {then: last}
              - one: {when: .kind == "one", then: first}
              - also: {when: .kind == "one", then: last}
              - stop: {when: .kind == "stop", then: end}
        - first: {set: {at: first}, then: end}
        - last: {set: {at: last}}
      """
    And the input {kind: <kind>}
    When it runs
    Then it completes with <output>

    Examples:
      | kind  | output       |
      | one   | {at: first}  |
      | stop  | {kind: stop} |
      | three | {at: last}   |

  @TASK-SWITCH-003
  Scenario: two cases without condition
    Given a workflow
      """
      do:
        - choose: {switch: [{a: {then: exit}}, {b: {then: end}}]}
      """
    When it is validated
    Then it is invalid with switch.many-defaults

  @TASK-SWITCH-004 @TASK-SWITCH-007
  Scenario: a switch in which nothing holds
    Given a workflow
      """
      do:
        - choose: {switch: [{a: {when: .n > 5, then: end}}]}
        - next: {set: {n: '${ .n + 1 }'}}
      """
    And the input {n: 1}
    When it runs
    Then it completes with {n: 2}

  @TASK-SWITCH-006
  Scenario: a case that leads nowhere
    Given a workflow
      """
      do:
        - choose: {switch: [{a: {when: .n > 5}}]}
      """
    When it is validated
    Then it is invalid with property.missing

  @FLOW-010
  Scenario Outline: then <target>, which is no task
    Given a workflow
      """
      do:
        - a: {set: {n: 1}, then: <target>}
      """
    When it is validated
    Then it is invalid with then.unknown-target

    Examples:
      | target  |
      | nowhere |
      | ''      |

  @TASK-SET-005 @TASK-SWITCH-008 @TASK-FORK-010 @TASK-FOR-013 @TASK-RAISE-006 @DURATION-005
  Scenario Outline: <what>
    Given a workflow
      """
      do:
        - a: <task>
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what                       | task                         | code               |
      | set of nothing             | {set: {}}                    | property.bad-value |
      | a switch without a case    | {switch: []}                 | property.bad-value |
      | a fork without branches    | {fork: {compete: true}}      | property.missing   |
      | a loop without tasks       | {for: {in: '[1]'}}           | property.missing   |
      | raise without an error     | {raise: {}}                  | property.missing   |
      | a duration without parts   | {wait: {}}                   | duration.invalid   |
      | a duration of other parts  | {wait: {weeks: 1}}           | property.unknown   |
      | a duration that is negative | {wait: {seconds: -1}}       | duration.invalid   |
