Feature: Loops

  @TASK-FOR-001 @TASK-FOR-002 @TASK-FOR-003 @TASK-FOR-004 @TASK-FOR-006 @command
  Scenario: each item in order, with variables of one's own names
    Given a workflow
      """
      do:
        - loop:
            for: {each: pet, in: .pets, at: number}
            do:
              - keep: {set: {pets: '${ .pets }', seen: '${ (.seen // []) + ["\($number) \($pet.name)"] }'}}
            output: {as: .seen}
      """
    And the input {pets: [{name: Milou}, {name: Tim}]}
    When it runs
    Then it completes with [0 Milou, 1 Tim]

  @TASK-FOR-002 @TASK-FOR-003
  Scenario: the names of the variables where nothing is said
    Given a workflow
      """
      do:
        - loop:
            for: {in: '[5, 6]'}
            do:
              - keep: {set: {item: '${ $item }', index: '${ $index }'}}
      """
    When it runs
    Then it completes with {item: 6, index: 1}

  @TASK-FOR-004
  Scenario: a loop over nothing that is said
    Given a workflow
      """
      do:
        - loop:
            for: {each: a}
            do: []
      """
    When it is validated
    Then it is invalid with property.missing

  @TASK-FOR-005 @TASK-FOR-012
  Scenario: while
    Given a workflow
      """
      do:
        - loop:
            for: {each: n, in: .numbers}
            while: $n < 3
            do:
              - keep: {set: {last: '${ $n }'}}
      """
    And the input {numbers: [1, 2, 3, 1]}
    When it runs
    Then it completes with {last: 2}

  @TASK-FOR-005
  Scenario: while does not hold before the first item
    Given a workflow
      """
      do:
        - loop:
            for: {in: .numbers}
            while: .vet != null
            do:
              - never: {set: {a: 1}}
      """
    And the input {numbers: [1]}
    When it runs
    Then it completes with {numbers: [1]}
    And the tasks started are loop

  @TASK-FOR-007
  Scenario: a loop over nothing
    Given a workflow
      """
      do:
        - loop:
            for: {in: .numbers}
            do:
              - never: {set: {a: 1}}
      """
    And the input {numbers: []}
    When it runs
    Then it completes with {numbers: []}

  @TASK-FOR-008
  Scenario Outline: a loop over <what>
    Given a workflow
      """
      do:
        - loop:
            for: {in: .what}
            do:
              - never: {set: {a: 1}}
      """
    And the input {what: <what>}
    When it runs
    Then it faults with expression 400 at /do/0/loop

    Examples:
      | what   |
      | text   |
      | {a: 1} |
      | null   |

  @TASK-FOR-009 @FLOW-002
  Scenario: exit in the body
    Given a workflow
      """
      do:
        - loop:
            for: {each: n, in: '[1, 2, 3]'}
            do:
              - keep: {set: {last: '${ $n }'}}
              - enough: {switch: [{two: {when: $n == 2, then: exit}}]}
              - more: {set: {last: '${ .last * 10 }'}}
        - after: {set: {after: '${ .last }'}}
      """
    When it runs
    Then it completes with {after: 2}

  @TASK-FOR-010
  Scenario: a loop inside of a loop
    Given a workflow
      """
      do:
        - rows:
            for: {in: '[[1, 2], [3]]'}
            do:
              - cells:
                  for: {in: $item}
                  do:
                    - add: {set: {sum: '${ (.sum // 0) + $item }', outer: '${ $index }'}}
              - after: {set: {sum: '${ .sum }', item: '${ $item }'}}
      """
    When it runs
    Then it completes with {sum: 6, item: [3]}
    And the tasks started are rows, cells[0], add[0.0], add[0.1], after[0], cells[1], add[1.0], after[1]

  @TASK-FOR-011 @FLOW-004
  Scenario: end in the body
    Given a workflow
      """
      do:
        - loop:
            for: {each: n, in: '[1, 2, 3]'}
            do:
              - stop: {set: {last: '${ $n }'}, then: end}
        - never: {set: {a: 1}}
      """
    When it runs
    Then it completes with {last: 1}
