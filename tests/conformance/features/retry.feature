Feature: Retries

  @RETRY-001 @RETRY-016 @command
  Scenario: what fails at first is tried again
    Given a workflow
      """
      do:
        - guard:
            try:
              - before: {set: {n: 1}}
              - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a'}}
            catch:
              errors: {with: {status: 503}}
              retry: {delay: {milliseconds: 5}, limit: {attempt: {count: 5}}}
      """
    And GET /a answers 503
    And GET /a answers 503
    And GET /a answers 200 with {ok: true}
    When it runs
    Then it completes with {ok: true}
    And there are 3 requests
    And the tasks started are guard, before, ask, before, ask, before, ask
    And the tasks retried are guard, guard

  @RETRY-016
  Scenario: another error is not tried again
    Given a workflow
      """
      do:
        - guard:
            try:
              - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a'}}
            catch:
              errors: {with: {status: 503}}
              retry: {limit: {attempt: {count: 5}}}
      """
    And GET /a answers 404
    When it runs
    Then it faults with communication 404
    And there are 1 requests

  @RETRY-002 @USE-002
  Scenario: a policy by name
    Given a workflow
      """
      use: {retries: {twice: {delay: {seconds: 1}, limit: {attempt: {count: 2}}}}}
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 500}}}
            catch: {retry: twice}
      """
    When it runs
    Then it faults with https://example.com/e 500
    And it waits 1 seconds

  @RETRY-003 @RETRY-004
  Scenario Outline: retry <condition>
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 500}}}
            catch:
              retry:
                <condition>
                limit: {attempt: {count: 2}}
      """
    When it runs
    Then the tasks retried are <retried>

    Examples:
      | condition                        | retried |
      | when: $error.status == 500       | guard   |
      | when: $error.status == 400       |         |
      | exceptWhen: $error.status == 500 |         |
      | exceptWhen: $error.status == 400 | guard   |

  @RETRY-005 @RETRY-006 @RETRY-009 @RETRY-010 @RETRY-011 @RETRY-015
  Scenario Outline: delays with <backoff>
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 500}}}
            catch:
              retry:
                delay: {seconds: 2}
                <backoff>
                limit: {attempt: {count: 4}}
      """
    When it runs
    Then it faults with https://example.com/e 500
    And it waits <delays> seconds
    And the tasks started are guard, fails, fails, fails, fails

    Examples:
      | backoff                    | delays  |
      | when: 'true'               | 2, 2, 2 |
      | backoff: {constant: {}}    | 2, 2, 2 |
      | backoff: {linear: {}}      | 2, 4, 6 |
      | backoff: {exponential: {}} | 2, 4, 8 |

  @RETRY-007
  Scenario: an attempt that takes too long
    Given a workflow
      """
      do:
        - guard:
            try:
              - rest: {wait: {minutes: 10}}
            catch:
              retry: {delay: PT0S, limit: {attempt: {count: 2, duration: {seconds: 3}}}}
      """
    When it runs
    Then it faults with timeout 408
    And it takes 6 seconds

  @RETRY-008
  Scenario: attempts that take too long together
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 500}}}
            catch:
              retry: {delay: {seconds: 2}, limit: {duration: {seconds: 5}}}
      """
    When it runs
    Then it faults with https://example.com/e 500
    And the tasks started are guard, fails, fails, fails
    And it waits 2, 2 seconds

  @RETRY-012
  Scenario: jitter
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 500}}}
            catch:
              retry:
                delay: {seconds: 2}
                jitter: {from: {seconds: 1}, to: {seconds: 3}}
                limit: {attempt: {count: 2}}
      """
    When it runs
    Then it waits 4 seconds

  @RETRY-013
  Scenario: jitter with one bound
    Given a workflow
      """
      do:
        - guard:
            try:
              - a: {set: {n: 1}}
            catch: {retry: {delay: PT1S, jitter: {from: PT1S}, limit: {attempt: {count: 2}}}}
      """
    When it is validated
    Then it is invalid with property.missing

  @RETRY-006 @RETRY-014
  Scenario: the handler after the last attempt
    Given a workflow
      """
      do:
        - guard:
            try:
              - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a'}}
            catch:
              retry: {delay: {milliseconds: 1}, limit: {attempt: {count: 3}}}
              do:
                - handle: {set: {status: '${ $error.status }'}}
      """
    And GET /a answers 503
    When it runs
    Then it completes with {status: 503}
    And there are 3 requests

  @RETRY-017
  Scenario Outline: a backoff of <what>
    Given a workflow
      """
      do:
        - guard: {try: [{a: {set: {n: 1}}}], catch: {retry: {backoff: <backoff>, limit: {attempt: {count: 2}}}}}
      """
    When it is validated
    Then it is invalid with property.bad-value

    Examples:
      | what      | backoff                     |
      | no kind   | {}                          |
      | two kinds | {constant: {}, linear: {}}  |

  @RETRY-018 @RETRY-014
  Scenario: the handler where a condition forbids another attempt
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 500}}}
            catch:
              retry: {when: $error.status == 503, limit: {attempt: {count: 5}}}
              do:
                - handle: {set: {status: '${ $error.status }'}}
      """
    When it runs
    Then it completes with {status: 500}
    And the tasks started are guard, fails, handle

  @RETRY-019
  Scenario: a policy without limits goes on until nothing fails
    Given a workflow
      """
      do:
        - guard:
            try:
              - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a'}}
            catch: {retry: {delay: {milliseconds: 1}}}
      """
    And GET /a answers 503
    And GET /a answers 503
    And GET /a answers 503
    And GET /a answers 503
    And GET /a answers 503
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And there are 6 requests

  @RETRY-020
  Scenario: without a delay the next attempt is at once
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 500}}}
            catch: {retry: {limit: {attempt: {count: 3}}}}
      """
    When it runs
    Then it faults with https://example.com/e 500
    And the tasks started are guard, fails, fails, fails
    And it takes 0 seconds
