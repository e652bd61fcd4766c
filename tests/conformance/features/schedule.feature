Feature: Schedules

  @SCHEDULE-001 @SCHEDULE-002 @SCHEDULE-003 @SCHEDULE-004
  Scenario Outline: a schedule by <kind> <value>
    Given a workflow
      """
      schedule: {<kind>: <value>}
      do: []
      """
    When it is validated
    Then it is valid

    Examples:
      | kind  | value                             |
      | every | {minutes: 5}                      |
      | cron  | '0 0 * * *'                       |
      | after | PT1H                              |
      | on    | {any: [{with: {type: a}}]}        |
      | on    | {one: {with: {type: a}}}          |

  @SCHEDULE-002 @command
  Scenario: a cron expression that is none
    Given a workflow
      """
      schedule: {cron: every day}
      do: []
      """
    When it is validated
    Then it is invalid with schedule.bad-cron

  @SCHEDULE-005
  Scenario: a schedule that says nothing
    Given a workflow
      """
      schedule: {}
      do: []
      """
    When it is validated
    Then it is invalid with property.missing

  @SCHEDULE-006 @command
  Scenario: a run that an event starts
    Given a workflow
      """
      schedule: {on: {one: {with: {type: order.placed}}}}
      do:
        - only: {set: {orders: '${ [.[].data.order] }', first: '${ $workflow.input[0].type }'}}
      """
    And the event {type: order.placed, data: {order: 7}}
    When it runs by its schedule 1 times
    Then it completes with [{orders: [7], first: order.placed}]

  @SCHEDULE-007 @command
  Scenario: a run after the other
    Given a workflow
      """
      schedule: {after: {milliseconds: 20}}
      do:
        - only: {set: {a: 1}}
      """
    When it runs by its schedule 3 times
    Then it completes with [{a: 1}, {a: 1}, {a: 1}]

  @SCHEDULE-008 @command
  Scenario: runs at an interval, although the first one does not end
    Given a workflow
      """
      schedule: {every: {milliseconds: 200}}
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/slow'}}
      """
    And GET /slow never answers
    And GET /slow answers 200 with {n: 2}
    When it runs by its schedule 1 times
    Then it completes with [{n: 2}]

  @SCHEDULE-005
  Scenario: a schedule of two kinds
    Given a workflow
      """
      schedule: {every: PT1M, after: PT1M}
      do: []
      """
    When it is validated
    Then it is invalid with property.bad-value

  @SCHEDULE-009 @command
  Scenario: each event starts a run of its own
    Given a workflow
      """
      schedule: {on: {one: {with: {type: order.placed}}}}
      do:
        - only: {set: '${ .[0].data.order }'}
      """
    And the event {type: order.placed, data: {order: 7}}
    And the event {type: order.placed, data: {order: 9}}
    When it runs by its schedule 2 times
    Then it completes with [7, 9]

  @SCHEDULE-006 @command
  Scenario: a run that several events start
    Given a workflow
      """
      schedule: {on: {all: [{with: {type: paid}}, {with: {type: packed}}]}}
      do:
        - only: {set: {types: '${ map(.type) | sort }'}}
      """
    And the event {type: paid}
    And the event {type: packed}
    When it runs by its schedule 1 times
    Then it completes with [{types: [packed, paid]}]

  @SCHEDULE-010 @command
  Scenario: a run that fails does not end the schedule
    Given a workflow
      """
      schedule: {after: {milliseconds: 10}}
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a'}}
      """
    And GET /a answers 500
    And GET /a answers 200 with 1
    When it runs by its schedule 1 times
    Then it completes with [1]

  @SCHEDULE-011 @command
  Scenario: runs at the times of a cron expression
    Given a workflow
      """
      schedule: {cron: '* * * * * *'}
      do:
        - only: {set: {a: 1}}
      """
    When it runs by its schedule 2 times
    Then it completes with [{a: 1}, {a: 1}]
