Feature: Waits, time limits and durations

  @TASK-WAIT-001 @TASK-WAIT-003 @DURATION-001
  Scenario: a wait of many parts
    Given a workflow
      """
      do:
        - rest: {wait: {days: 1, hours: 2, minutes: 3, seconds: 4, milliseconds: 500}}
      """
    And the input {a: 1}
    When it runs
    Then it completes with {a: 1}
    And it takes 93784.5 seconds

  @TASK-WAIT-002 @DURATION-002 @command
  Scenario: a wait by ISO 8601
    Given a workflow
      """
      do:
        - rest: {wait: PT0.01S}
      """
    And the input {a: 1}
    When it runs
    Then it completes with {a: 1}

  @TASK-WAIT-002 @DURATION-002
  Scenario: a longer wait by ISO 8601
    Given a workflow
      """
      do:
        - rest: {wait: P1DT1H30M}
      """
    When it runs
    Then it takes 91800 seconds

  @DURATION-003
  Scenario: a wait that is computed
    Given a workflow
      """
      do:
        - rest: {wait: '${ "PT\(.n)M" }'}
      """
    And the input {n: 5}
    When it runs
    Then it takes 300 seconds

  @DURATION-004
  Scenario: a wait that is none
    Given a workflow
      """
      do:
        - rest: {wait: five minutes}
      """
    When it is validated
    Then it is invalid with duration.invalid at 2:18

  @TIMEOUT-001 @ERROR-008 @command
  Scenario: a task that takes too long
    Given a workflow
      """
      do:
        - outer:
            timeout: {after: {milliseconds: 20}}
            do:
              - rest: {wait: {minutes: 10}}
      """
    When it runs
    Then it faults with timeout 408 at /do/0/outer

  @TIMEOUT-001 @USE-003
  Scenario: a task with a time limit by name
    Given a workflow
      """
      use: {timeouts: {short: {after: PT1S}}}
      do:
        - rest: {wait: {minutes: 10}, timeout: short}
      """
    When it runs
    Then it faults with timeout 408 at /do/0/rest
    And it takes 1 seconds

  @TIMEOUT-002 @command
  Scenario: a workflow that takes too long
    Given a workflow
      """
      timeout: {after: {milliseconds: 30}}
      do:
        - rest: {wait: {minutes: 10}}
      """
    When it runs
    Then it faults with timeout 408

  @TIMEOUT-003
  Scenario: a time limit that is caught
    Given a workflow
      """
      do:
        - guard:
            try:
              - rest: {wait: {minutes: 10}, timeout: {after: {milliseconds: 20}}}
            catch:
              errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/timeout'}}
              do:
                - handle: {set: {status: '${ $error.status }'}}
      """
    When it runs
    Then it completes with {status: 408}

  @TIMEOUT-004
  Scenario: a task that is quick enough
    Given a workflow
      """
      do:
        - rest: {wait: {seconds: 1}, timeout: {after: {seconds: 2}}}
        - after: {set: {done: true}}
      """
    When it runs
    Then it completes with {done: true}
    And it takes 1 seconds

  @TIMEOUT-005
  Scenario: a time limit without a time
    Given a workflow
      """
      timeout: {}
      do: []
      """
    When it is validated
    Then it is invalid with property.missing

  @TIMEOUT-006
  Scenario: the workflow's time limit is not caught inside
    Given a workflow
      """
      timeout: {after: {milliseconds: 20}}
      do:
        - guard:
            try:
              - rest: {wait: {minutes: 10}}
            catch:
              do:
                - handle: {set: {caught: true}}
      """
    When it runs
    Then it faults with timeout 408

  @DURATION-006
  Scenario Outline: a wait of <duration>
    Given a workflow
      """
      do:
        - rest: {wait: <duration>}
      """
    When it runs
    Then it takes <seconds> seconds

    Examples:
      | duration | seconds  |
      | P2W      | 1209600  |
      | P1Y2M    | 36720000 |
      | PT1.5S   | 1.5      |

  @TIMEOUT-007
  Scenario: what is going on when the time is over
    Given a workflow
      """
      do:
        - guard:
            try:
              - limited:
                  timeout: {after: {milliseconds: 200}}
                  do:
                    - ask: {call: http, with: {method: get, endpoint: 'http://service.example/slow'}}
                    - never: {set: {n: 1}}
            catch:
              do:
                - handle: {set: {where: '${ $error.instance }'}}
      """
    And GET /slow never answers
    When it runs
    Then it completes with {where: /do/0/guard/try/0/limited}
    And the tasks started are guard, limited, ask, handle
    And the tasks failed are ask, limited

  @TIMEOUT-008
  Scenario: the time limit covers what is inside, however often it begins
    Given a workflow
      """
      do:
        - loop:
            timeout: {after: {seconds: 5}}
            for: {in: '[1, 2, 3, 4]'}
            do:
              - rest: {wait: {seconds: 2}}
      """
    When it runs
    Then it faults with timeout 408 at /do/0/loop
    And it takes 5 seconds
