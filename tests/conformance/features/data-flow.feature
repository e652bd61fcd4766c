Feature: The flow of data

  @DATAFLOW-001 @DATAFLOW-016 @ERROR-004 @command
  Scenario: an input that does not match the workflow's schema
    Given a workflow
      """
      input:
        schema: {format: json, document: {type: object, required: [order]}}
        from: '{order: 1}'
      do:
        - never: {set: {a: 1}}
      """
    And the input {other: 1}
    When it runs
    Then it faults with validation 400
    And no task is started

  @DATAFLOW-001 @DATAFLOW-016
  Scenario: an input that matches the workflow's schema
    Given a workflow
      """
      input:
        schema: {format: json, document: {type: object, required: [order]}}
        from: .order
      do: []
      """
    And the input {order: [1]}
    When it runs
    Then it completes with [1]

  @DATAFLOW-002
  Scenario: the workflow's input is transformed
    Given a workflow
      """
      input: {from: .wanted}
      do:
        - only: {set: {seen: '${ . }', raw: '${ $task.input }'}}
      """
    And the input {wanted: 1, other: 2}
    When it runs
    Then it completes with {seen: 1, raw: 1}

  @DATAFLOW-003
  Scenario: a task's raw input is compared
    Given a workflow
      """
      do:
        - first: {set: {a: text}}
        - second:
            input:
              schema: {format: json, document: {properties: {a: {type: number}}}}
              from: '{a: 1}'
            set: {b: 1}
      """
    When it runs
    Then it faults with validation 400 at /do/1/second
    And the tasks completed are first

  @DATAFLOW-005 @DATAFLOW-010
  Scenario: outputs are inputs
    Given a workflow
      """
      do:
        - first: {set: {a: 1, b: 2}, output: {as: .b}}
        - second: {set: {a: '${ . }'}}
        - third: {set: {b: '${ .a }'}}
      """
    When it runs
    Then it completes with {b: 2}

  @DATAFLOW-006 @DATAFLOW-015
  Scenario: a task's output is compared, and then nothing is exported
    Given a workflow
      """
      do:
        - guard:
            try:
              - only:
                  set: {a: 1}
                  output: {as: .a, schema: {format: json, document: {type: object}}}
                  export: {as: '{exported: true}'}
            catch:
              do:
                - handle: {set: {where: '${ $error.instance }', type: '${ $error.type | split("/") | last }', context: '${ $context }'}}
      """
    When it runs
    Then it completes with at least {where: /do/0/guard/try/0/only, type: validation}
    And it completes with {where: /do/0/guard/try/0/only, type: validation, context: {}}

  @DATAFLOW-008 @DATAFLOW-014
  Scenario: the context changes by exports only
    Given a workflow
      """
      do:
        - first: {set: {context: '${ $context }'}}
        - second: {set: {a: 1}, export: {as: '{n: 1}'}}
        - third: {set: {b: 1}}
        - fourth: {set: '${ $context }', export: {as: '$context + {m: 2}'}}
        - fifth: {set: '${ $context }'}
      """
    When it runs
    Then it completes with {n: 1, m: 2}

  @DATAFLOW-009
  Scenario: the new context is compared
    Given a workflow
      """
      do:
        - only:
            set: {a: 1}
            export: {as: .a, schema: {format: json, document: {type: object}}}
      """
    When it runs
    Then it faults with validation 400 at /do/0/only

  @DATAFLOW-011
  Scenario: the workflow's output is transformed
    Given a workflow
      """
      output: {as: '{result: .a}'}
      do:
        - only: {set: {a: 1, b: 2}}
      """
    When it runs
    Then it completes with {result: 1}

  @DATAFLOW-012 @command
  Scenario: the workflow's output is compared
    Given a workflow
      """
      output: {as: .a, schema: {format: json, document: {type: object}}}
      do:
        - only: {set: {a: 1}}
      """
    When it runs
    Then it faults with validation 400

  @DATAFLOW-013
  Scenario: transformations may be objects
    Given a workflow
      """
      input: {from: {id: '${ .pet.id }', fixed: 1}}
      output: {as: {result: '${ . }'}}
      do:
        - only:
            input: {from: {x: '${ .id }', y: ['${ .fixed }']}}
            set: '${ . }'
            output: {as: {z: '${ .x }', y: '${ .y }'}}
            export: {as: {kept: '${ .z }'}}
      """
    And the input {pet: {id: 7}}
    When it runs
    Then it completes with {result: {z: 7, y: [1]}}

  @DATAFLOW-017 @RESOURCE-001 @command
  Scenario: a schema from a resource
    Given a workflow
      """
      input:
        schema: {format: json, resource: {endpoint: 'http://service.example/schema.json'}}
      do: []
      """
    And GET /schema.json answers 200 with {type: object, required: [order]}
    And the input {other: 1}
    When it runs
    Then it faults with validation 400
    And the requests are
      | GET | /schema.json |

  @DATAFLOW-018 @DATAFLOW-019
  Scenario Outline: a schema <what>
    Given a workflow
      """
      input: {schema: <schema>}
      do: []
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what                | schema                                         | code               |
      | of nothing          | {format: json}                                 | property.bad-value |
      | of an unknown form  | {format: 'avro:1.12', document: {type: record}} | property.bad-value |

  @DATAFLOW-020
  Scenario: a schema whose form is not said is JSON Schema
    Given a workflow
      """
      input: {schema: {document: {type: object, required: [order]}}}
      do: []
      """
    And the input {other: 1}
    When it runs
    Then it faults with validation 400

  @DATAFLOW-021
  Scenario Outline: <member> that is a number
    Given a workflow
      """
      do:
        - only: {set: {n: 1}, <task>}
      """
    When it is validated
    Then it is invalid with property.wrong-type

    Examples:
      | member     | task                |
      | input.from | input: {from: 1}    |
      | output.as  | output: {as: 1}     |
      | export.as  | export: {as: true}  |
