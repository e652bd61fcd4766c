Feature: Forks

  @TASK-FORK-001 @TASK-FORK-002 @command
  Scenario: outputs in the order of declaration
    Given a workflow
      """
      do:
        - both:
            fork:
              branches:
                - slow:
                    do:
                      - rest: {wait: {milliseconds: 30}}
                      - give: {set: {slow: '${ .n }'}}
                - quick: {set: {quick: '${ .n }'}}
      """
    And the input {n: 1}
    When it runs
    Then it completes with [{slow: 1}, {quick: 1}]
    And the tasks completed are quick, rest, give, slow, both

  @TASK-FORK-003 @TASK-FORK-004 @command
  Scenario: a race
    Given a workflow
      """
      do:
        - race:
            fork:
              compete: true
              branches:
                - slow: {wait: {minutes: 10}}
                - quick: {set: {winner: quick}}
      """
    When it runs
    Then it completes with {winner: quick}
    And the tasks cancelled are slow

  @TASK-FORK-005
  Scenario: branches at the same time
    Given a workflow
      """
      do:
        - both:
            fork:
              branches:
                - a: {wait: {seconds: 3}}
                - b: {wait: {seconds: 2}}
      """
    When it runs
    Then it takes 3 seconds

  @TASK-FORK-006
  Scenario: a branch that fails
    Given a workflow
      """
      do:
        - both:
            fork:
              branches:
                - a: {wait: {minutes: 10}}
                - b: {raise: {error: {type: 'https://example.com/bad', status: 418}}}
      """
    When it runs
    Then it faults with https://example.com/bad 418 at /do/0/both/fork/branches/1/b
    And the tasks cancelled are a

  @TASK-FORK-007
  Scenario: a branch that fails in a race
    Given a workflow
      """
      do:
        - race:
            fork:
              compete: true
              branches:
                - bad: {raise: {error: {type: 'https://example.com/bad', status: 418}}}
                - good:
                    do:
                      - rest: {wait: {milliseconds: 20}}
                      - give: {set: {winner: good}}
      """
    When it runs
    Then it completes with {winner: good}

  @TASK-FORK-008
  Scenario: exports of branches
    Given a workflow
      """
      do:
        - both:
            fork:
              branches:
                - slow:
                    do:
                      - rest: {wait: {milliseconds: 20}}
                      - give: {set: {n: 1}, export: {as: '$context + {last: "slow", slow: 1}'}}
                - quick: {set: {n: 2}, export: {as: '$context + {last: "quick", quick: 2}'}}
        - after: {set: '${ $context }'}
      """
    When it runs
    Then it completes with {last: quick, slow: 1, quick: 2}

  @TASK-FORK-009 @FLOW-004
  Scenario: end in a branch
    Given a workflow
      """
      do:
        - both:
            fork:
              branches:
                - long: {wait: {minutes: 10}}
                - stop: {set: {stopped: true}, then: end}
        - never: {set: {a: 1}}
      """
    When it runs
    Then it completes with {stopped: true}
