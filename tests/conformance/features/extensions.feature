Feature: Extensions

  @EXTENSION-001 @EXTENSION-002 @EXTENSION-004 @EXTENSION-007 @command
  Scenario: tasks before and after all tasks
    Given a workflow
      """
      use:
        extensions:
          - logging:
              extend: all
              before:
                - say: {call: http, with: {method: post, endpoint: 'http://service.example/log', body: {before: '${ $task.reference }'}}, output: {as: $input}}
              after:
                - said: {call: http, with: {method: post, endpoint: 'http://service.example/log', body: {after: '${ $task.reference }'}}}
      do:
        - a: {set: {n: 1}}
        - b: {set: {n: '${ .n + 1 }'}}
      """
    And POST /log answers 204
    When it runs
    Then it completes with {n: 2}
    And there are 4 requests
    And request 1 has the body {before: /do/0/a}
    And request 2 has the body {after: /do/0/a}
    And request 3 has the body {before: /do/1/b}
    And request 4 has the body {after: /do/1/b}

  @EXTENSION-003 @EXTENSION-005
  Scenario Outline: only tasks that are meant, by <what>
    Given a workflow
      """
      use:
        extensions:
          - counting:
              extend: <extend>
              when: <when>
              before:
                - count: {set: '${ . + {counted: ((.counted // 0) + 1)} }'}
      do:
        - a: {wait: PT0S}
        - b: {do: [{c: {wait: PT0S}}]}
        - d: {set: '${ . }'}
      """
    And the input {n: 1}
    When it runs
    Then it completes with {n: 1, counted: <times>}

    Examples:
      | what      | extend | when                | times |
      | kind      | wait   | 'true'              | 2     |
      | condition | all    | '$task.name == "c"' | 1     |

  @EXTENSION-006
  Scenario: a task that is left out
    Given a workflow
      """
      use:
        extensions:
          - mock:
              extend: call
              when: $task.with.endpoint | startswith("http://service.example")
              before:
                - intercept: {set: {mocked: true}, then: exit}
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a'}}
      """
    When it runs
    Then it completes with {mocked: true}
    And there are 0 requests

  @EXTENSION-008
  Scenario: a kind of task that is not there
    Given a workflow
      """
      use: {extensions: [{e: {extend: sleep, before: []}}]}
      do: []
      """
    When it is validated
    Then it is invalid with property.bad-value

  @EXTENSION-003
  Scenario Outline: extend <kind>, which is <task>
    Given a workflow
      """
      use:
        functions: {tell: {set: {n: 1}}}
        extensions:
          - noting:
              extend: <kind>
              before:
                - note: {set: {noted: '${ $task.name }'}, then: exit}
      do:
        - task: <task>
      """
    When it runs
    Then it completes with {noted: task}

    Examples:
      | kind      | task                                                                 |
      | call      | {call: tell}                                                         |
      | composite | {do: []}                                                             |
      | composite | {fork: {branches: [{one: {set: {n: 1}}}]}}                           |
      | emit      | {emit: {event: {with: {source: 'https://a.example', type: a}}}}      |
      | for       | {for: {in: '[1]'}, do: []}                                           |
      | listen    | {listen: {to: {any: []}}}                                            |
      | raise     | {raise: {error: {type: 'https://example.com/e', status: 400}}}       |
      | run       | {run: {shell: {command: exit 1}}}                                    |
      | set       | {set: {n: 1}}                                                        |
      | switch    | {switch: [{one: {then: exit}}]}                                      |
      | try       | {try: [{one: {set: {n: 1}}}], catch: {}}                             |
      | wait      | {wait: PT0S}                                                         |

  @EXTENSION-009
  Scenario: an extension that does not say what it extends
    Given a workflow
      """
      use: {extensions: [{e: {before: []}}]}
      do: []
      """
    When it is validated
    Then it is invalid with property.missing

  @EXTENSION-010
  Scenario: several extensions of one task
    Given a workflow
      """
      use:
        extensions:
          - outer:
              extend: set
              before: [{o1: {call: http, with: {method: post, endpoint: 'http://service.example/outer-before'}}}]
              after: [{o2: {call: http, with: {method: post, endpoint: 'http://service.example/outer-after'}}}]
          - inner:
              extend: set
              before: [{i1: {call: http, with: {method: post, endpoint: 'http://service.example/inner-before'}}}]
              after: [{i2: {call: http, with: {method: post, endpoint: 'http://service.example/inner-after'}}}]
      do:
        - only: {set: {n: 1}}
      """
    And POST /outer-before answers 204
    And POST /outer-after answers 204
    And POST /inner-before answers 204
    And POST /inner-after answers 204
    When it runs
    Then it completes with {n: 1}
    And the requests are
      | POST | /outer-before |
      | POST | /inner-before |
      | POST | /inner-after  |
      | POST | /outer-after  |
