Feature: Expressions and what they can see

  @EVALUATE-001 @EXPRESSION-001 @EXPRESSION-002 @command
  Scenario: expressions are jq, at any depth
    Given a workflow
      """
      do:
        - only:
            set:
              deep: [{list: ['${ .items | map(. * 2) }', plain]}]
              object: '${ {a: (.items | length)} }'
              nothing: '${ null }'
      """
    And the input {items: [1, 2, 3]}
    When it runs
    Then it completes with {deep: [{list: [[2, 4, 6], plain]}], object: {a: 3}, nothing: null}

  @EVALUATE-002
  Scenario: in strict mode only marked strings are evaluated
    Given a workflow
      """
      do:
        - only: {set: {text: 1 + 1, number: '${ 1 + 1 }'}}
      """
    When it runs
    Then it completes with {text: 1 + 1, number: 2}

  @EVALUATE-003 @EVALUATE-004 @command
  Scenario: in loose mode what can be evaluated is evaluated
    Given a workflow
      """
      evaluate: {language: jq, mode: loose}
      do:
        - only: {set: {sum: .a + 1, marked: '${ .a + 2 }', text: 'Hello there!'}}
      """
    And the input {a: 1}
    When it runs
    Then it completes with {sum: 2, marked: 3, text: Hello there!}

  @EVALUATE-004
  Scenario: in loose mode a program that fails stays text
    Given a workflow
      """
      evaluate: {language: jq, mode: loose}
      do:
        - only: {set: {a: '.text | tonumber'}}
      """
    And the input {text: x}
    When it runs
    Then it completes with {a: .text | tonumber}

  @EVALUATE-005 @EVALUATE-006
  Scenario Outline: expressions are evaluated by <member> <value>
    Given a workflow
      """
      evaluate: {<member>: <value>}
      do: []
      """
    When it is validated
    Then it is invalid with property.bad-value

    Examples:
      | member   | value  |
      | mode     | lenient |
      | language | cel    |

  @EXPRESSION-003 @ERROR-005 @command
  Scenario: an expression that fails
    Given a workflow
      """
      do:
        - only: {set: {a: '${ .text + 1 }'}}
      """
    And the input {text: x}
    When it runs
    Then it faults with expression 400 at /do/0/only

  @EXPRESSION-004 @command
  Scenario: a program that does not compile
    Given a workflow
      """
      do:
        - fine: {set: {a: 1}}
        - only: {set: {a: '${ .a | }'}}
      """
    When it is validated
    Then it is invalid with expression.invalid

  @EXPRESSION-005
  Scenario: where expressions need no mark
    Given a workflow
      """
      input: {from: .given}
      do:
        - loop:
            if: .go == true
            input: {from: .numbers}
            for: {each: n, in: .}
            while: $n < 3
            do:
              - keep: {set: {last: '${ $n }'}, output: {as: .last}}
        - choose: {switch: [{small: {when: . < 5, then: end}}]}
        - never: {set: {a: 1}}
      """
    And the input {given: {go: true, numbers: [1, 2, 3, 4]}}
    When it runs
    Then it completes with 2

  @EXPRESSION-006
  Scenario: an expression inside of a longer string
    Given a workflow
      """
      do:
        - only: {set: {a: 'Hello ${ .name }'}}
      """
    When it is validated
    Then it is valid with the warning expression.embedded

  @EXPRESSION-006
  Scenario: such a string is text
    Given a workflow
      """
      do:
        - only: {set: {a: 'Hello ${ .name }'}}
      """
    And the input {name: Ada}
    When it runs
    Then it completes with {a: 'Hello ${ .name }'}

  @EXPRESSION-007
  Scenario: a value that looks like an expression
    Given a workflow
      """
      do:
        - first: {set: {a: '${ .given }'}}
        - second: {set: {a: '${ .a }'}}
      """
    And the input {given: '${ 1 + 1 }'}
    When it runs
    Then it completes with {a: '${ 1 + 1 }'}

  @EXPRESSION-008
  Scenario: a key that looks like an expression
    Given a workflow
      """
      do:
        - only: {set: {'${ .a }': 1}}
      """
    And the input {a: key}
    When it runs
    Then it completes with {'${ .a }': 1}

  @EXPRESSION-009
  Scenario: an integer that is too large for a double
    Given a workflow
      """
      do:
        - only: {set: {a: '${ .id }', b: 9007199254740993}}
      """
    And the input {id: 9007199254740993}
    When it runs
    Then it completes with {a: 9007199254740993, b: 9007199254740993}

  @EXPRESSION-010
  Scenario Outline: a program with <what>
    Given a workflow
      """
      do:
        - only: {set: {a: '${ <what> }'}}
      """
    When it is validated
    Then it is invalid with expression.forbidden

    Examples:
      | what      |
      | now       |
      | env.HOME  |
      | $ENV.HOME |
      | input     |

  @ARGUMENT-001 @ARGUMENT-002 @DATAFLOW-004 @command
  Scenario: context and input in a task
    Given a workflow
      """
      do:
        - first: {set: {a: 1}, export: {as: '{kept: .a}'}}
        - second:
            input: {from: '{b: (.a + 1)}'}
            set: {context: '${ $context.kept }', input: '${ $input.b }', dot: '${ .b }'}
      """
    When it runs
    Then it completes with {context: 1, input: 2, dot: 2}

  @ARGUMENT-003 @DATAFLOW-007
  Scenario: the transformed output in export
    Given a workflow
      """
      do:
        - first:
            set: {a: 1}
            output: {as: '{b: .a}'}
            export: {as: '{dot: ., output: $output, raw: $task.output}'}
        - second: {set: '${ $context }'}
      """
    When it runs
    Then it completes with {dot: {b: 1}, output: {b: 1}, raw: {a: 1}}

  @ARGUMENT-006 @ARGUMENT-007
  Scenario: what a task knows of itself
    Given a workflow
      """
      do:
        - outer:
            do:
              - inner:
                  input: {from: .a}
                  set:
                    name: '${ $task.name }'
                    reference: '${ $task.reference }'
                    keys: '${ $task.definition | keys }'
                    raw: '${ $task.input }'
      """
    And the input {a: 1}
    When it runs
    Then it completes with {name: inner, reference: /do/0/outer/do/0/inner, keys: [input, set], raw: {a: 1}}

  @ARGUMENT-008
  Scenario: the raw output
    Given a workflow
      """
      do:
        - only: {set: {a: 1}, output: {as: '{raw: $task.output}'}}
      """
    When it runs
    Then it completes with {raw: {a: 1}}

  @ARGUMENT-009 @ARGUMENT-010 @ARGUMENT-013 @ARGUMENT-014
  Scenario: moments and the id of the run
    Given a workflow
      """
      do:
        - only:
            set:
              task: '${ $task.startedAt | [(.iso8601 | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*(Z|[+-][0-9:]+)$")), (.epoch.milliseconds / 1000 | floor) == .epoch.seconds] }'
              workflow: '${ $workflow.startedAt | [(.iso8601 | type), (.epoch.seconds | type), (.epoch.milliseconds | type)] }'
              id: '${ $workflow.id | type == "string" and length > 0 }'
      """
    When it runs
    Then it completes with {task: [true, true], workflow: [string, number, number], id: true}

  @ARGUMENT-011 @ARGUMENT-012
  Scenario: what is known of the workflow
    Given a workflow
      """
      input: {from: .a}
      do:
        - only:
            set:
              name: '${ $workflow.definition.document.name }'
              task: '${ $workflow.definition.do[0] | keys[0] }'
              raw: '${ $workflow.input }'
              input: '${ . }'
      """
    And the input {a: {b: 1}}
    When it runs
    Then it completes with {name: test, task: only, raw: {a: {b: 1}}, input: {b: 1}}

  @ARGUMENT-015
  Scenario: what is known of the runtime
    Given a workflow
      """
      do:
        - only: {set: {known: '${ $runtime | (.name | length > 0) and (.version | length > 0) and (.metadata | type == "object") }'}}
      """
    When it runs
    Then it completes with {known: true}

  @ARGUMENT-016 @ARGUMENT-017 @ARGUMENT-018 @ARGUMENT-019 @ARGUMENT-020
  Scenario Outline: <variable> is not there in <place>
    Given a workflow
      """
      <workflow>
      """
    When it is validated
    Then it is invalid with expression.unknown-variable

    Examples:
      | variable | place                     | workflow                                             |
      | $context | the workflow's input.from | {input: {from: $context}, do: [], document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0'}} |
      | $input   | a task's if               | do: [{a: {if: $input.b, set: {b: 1}}}]               |
      | $input   | a task's input.from       | do: [{a: {input: {from: $input.b}, set: {b: 1}}}]    |
      | $output  | a task's output.as        | do: [{a: {set: {b: 1}, output: {as: $output}}}]      |
      | $task    | the workflow's output.as  | {output: {as: $task}, do: [], document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0'}} |
      | $input   | the workflow's output.as  | {output: {as: $input}, do: [], document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0'}} |
      | $item    | a task outside of loops   | do: [{a: {set: {b: '${ $item }'}}}]                  |

  @ARGUMENT-016 @ARGUMENT-021 @ARGUMENT-022
  Scenario Outline: nor is <variable> in <place>
    Given a workflow
      """
      <workflow>
      """
    When it is validated
    Then it is invalid with expression.unknown-variable

    Examples:
      | variable       | place                     | workflow                                                |
      | $input         | the workflow's input.from | {input: {from: $input}, do: [], document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0'}} |
      | $output        | the workflow's input.from | {input: {from: $output}, do: [], document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0'}} |
      | $task          | the workflow's input.from | {input: {from: $task}, do: [], document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0'}} |
      | $authorization | the workflow's input.from | {input: {from: $authorization}, do: [], document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0'}} |
      | $output        | a task's if               | do: [{a: {if: $output, set: {b: 1}}}]                   |
      | $authorization | a task's if               | do: [{a: {if: $authorization, set: {b: 1}}}]            |
      | $output        | a task's input.from       | do: [{a: {input: {from: $output}, set: {b: 1}}}]        |
      | $authorization | a task's input.from       | do: [{a: {input: {from: $authorization}, set: {b: 1}}}] |
      | $output        | a task's definition       | do: [{a: {set: {b: '${ $output }'}}}]                   |
      | $output        | the workflow's output.as  | {output: {as: $output}, do: [], document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0'}} |
      | $authorization | the workflow's output.as  | {output: {as: $authorization}, do: [], document: {dsl: '1.0.3', namespace: n, name: m, version: '1.0.0'}} |

  @ARGUMENT-023
  Scenario: what is there in each place of a task
    Given a workflow
      """
      output: {as: '[., $context.c, $workflow.definition.document.name, ($runtime | has("version"))]'}
      do:
        - first: {set: {a: 1}, export: {as: '{c: 1}'}}
        - second:
            if: ($context.c == 1) and ($task.name == "second") and ($workflow.id | length > 0) and ($runtime.name | length > 0)
            input: {from: '[$context.c, $task.name, $workflow.definition.document.name, ($runtime | has("version"))]'}
            set: '${ . + [$context.c, $input[1], $task.name, $workflow.input.n] }'
            output: {as: '. + [$context.c, $input[1], $task.output[1], $workflow.input.n]'}
            export: {as: '{c: [$context.c, $input[1], $output[1], $task.name, $workflow.input.n]}'}
      """
    And the input {n: 5}
    When it runs
    Then it completes with
      """
      - [1, second, test, true, 1, second, second, 5, 1, second, second, 5]
      - [1, second, second, second, 5]
      - test
      - true
      """

  @ARGUMENT-016
  Scenario: what the workflow's input.from sees
    Given a workflow
      """
      use: {secrets: [s]}
      input: {from: '{secret: ($secrets.s | length), id: ($workflow.id | type), runtime: ($runtime.name | type)}'}
      do: []
      """
    And the secret s is abc
    When it runs
    Then it completes with {secret: 3, id: string, runtime: string}

  @ARGUMENT-019
  Scenario: the context in the workflow's output.as
    Given a workflow
      """
      output: {as: '{out: ., context: $context}'}
      do:
        - only: {set: {a: 1}, export: {as: .a}}
      """
    When it runs
    Then it completes with {out: {a: 1}, context: 1}

  @ARGUMENT-005
  Scenario: the authorization that an authentication gave
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint: {uri: 'http://service.example/a', authentication: {bearer: {token: abc}}}
            output: {as: $authorization}
      """
    And GET /a answers 200 with {}
    When it runs
    Then it completes with {scheme: Bearer, parameter: abc}
