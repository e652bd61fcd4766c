Feature: Lifecycle events

  @LIFECYCLE-WORKFLOW-001 @LIFECYCLE-WORKFLOW-002 @LIFECYCLE-TASK-001 @LIFECYCLE-TASK-002 @command
  Scenario: a run that completes
    Given a workflow
      """
      do:
        - outer:
            do:
              - inner: {set: {n: 1}}
      """
    When it runs
    Then it completes with {n: 1}
    And the lifecycle events are
      | workflow.started.v1   |                        |
      | task.created.v1       | /do/0/outer            |
      | task.started.v1       | /do/0/outer            |
      | task.created.v1       | /do/0/outer/do/0/inner |
      | task.started.v1       | /do/0/outer/do/0/inner |
      | task.completed.v1     | /do/0/outer/do/0/inner |
      | task.completed.v1     | /do/0/outer            |
      | workflow.completed.v1 |                        |
    And a lifecycle event workflow.started.v1 has the data
      """
      name: <text>
      definition: {name: test, namespace: tests, version: 1.0.0}
      startedAt: <text>
      """
    And a lifecycle event workflow.completed.v1 has the data {name: <text>, completedAt: <text>, output: {n: 1}}
    And a lifecycle event task.started.v1 has the data {workflow: <text>, task: /do/0/outer, startedAt: <text>}
    And a lifecycle event task.completed.v1 has the data {workflow: <text>, task: /do/0/outer, completedAt: <text>}

  @LIFECYCLE-WORKFLOW-003 @LIFECYCLE-TASK-003
  Scenario: a run that faults
    Given a workflow
      """
      do:
        - fails: {raise: {error: {type: 'https://example.com/e', status: 418}}}
      """
    When it runs
    Then it faults with https://example.com/e 418
    And a lifecycle event workflow.faulted.v1 has the data
      """
      name: <text>
      faultedAt: <text>
      error: {type: 'https://example.com/e', status: 418, instance: /do/0/fails}
      """
    And a lifecycle event task.faulted.v1 has the data
      """
      workflow: <text>
      task: /do/0/fails
      faultedAt: <text>
      error: {type: 'https://example.com/e', status: 418}
      """

  @LIFECYCLE-WORKFLOW-004 @LIFECYCLE-TASK-005
  Scenario: a run that is cancelled
    Given a workflow
      """
      do:
        - long: {wait: {minutes: 10}}
      """
    When it is cancelled at long
    Then it is cancelled
    And the lifecycle events are
      | workflow.started.v1   |            |
      | task.created.v1       | /do/0/long |
      | task.started.v1       | /do/0/long |
      | task.cancelled.v1     | /do/0/long |
      | workflow.cancelled.v1 |            |
    And a lifecycle event workflow.cancelled.v1 has the data {name: <text>, cancelledAt: <text>}

  @LIFECYCLE-WORKFLOW-005 @LIFECYCLE-WORKFLOW-006 @LIFECYCLE-TASK-006 @LIFECYCLE-TASK-007
  Scenario: a run that is suspended
    Given a workflow
      """
      do:
        - rest: {wait: {milliseconds: 30}}
      """
    When it is paused at rest and resumed
    Then it completes
    And a lifecycle event workflow.suspended.v1 has the data {name: <text>, suspendedAt: <text>}
    And a lifecycle event workflow.resumed.v1 has the data {name: <text>, resumedAt: <text>}
    And a lifecycle event task.suspended.v1 has the data {workflow: <text>, task: /do/0/rest, suspendedAt: <text>}
    And a lifecycle event task.resumed.v1 has the data {workflow: <text>, task: /do/0/rest, resumedAt: <text>}

  @LIFECYCLE-WORKFLOW-007 @LIFECYCLE-WORKFLOW-008
  Scenario: a run that correlates
    Given a workflow
      """
      do:
        - hear: {listen: {to: {one: {with: {type: a}, correlate: {order: {from: .data.order}}}}}}
      """
    And the event {type: a, data: {order: A-1}}
    When it runs
    Then it completes with [{order: A-1}]
    And a lifecycle event workflow.correlation-started.v1 has the data {name: <text>, startedAt: <text>}
    And a lifecycle event workflow.correlation-completed.v1 has the data
      """
      name: <text>
      completedAt: <text>
      correlationKeys: {order: A-1}
      """

  @LIFECYCLE-TASK-004
  Scenario: a block that is tried again
    Given a workflow
      """
      do:
        - guard:
            try:
              - fails: {raise: {error: {type: 'https://example.com/e', status: 418}}}
            catch: {retry: {delay: {milliseconds: 1}, limit: {attempt: {count: 2}}}}
      """
    When it runs
    Then it faults with https://example.com/e 418
    And a lifecycle event task.retried.v1 has the data {workflow: <text>, task: /do/0/guard, retriedAt: <text>}

  @LIFECYCLE-001 @command
  Scenario: lifecycle events are CloudEvents, in structured mode by HTTP
    Given a workflow
      """
      do:
        - only: {set: {n: 1}}
      """
    When it runs
    Then it completes with {n: 1}
    And every lifecycle event has {specversion: '1.0', id: <text>, source: <text>, type: <text>, time: <text>}
    And events are sent as application/cloudevents+json
