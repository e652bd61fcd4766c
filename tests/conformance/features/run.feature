Feature: Processes and other workflows

  @RUN-001 @RUN-008 @RUN-SHELL-001 @RUN-SCRIPT-006 @RUN-SCRIPT-007
  Scenario Outline: run <what>
    Given a workflow
      """
      do:
        - a: {run: <run>}
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what                       | run                                                                           | code               |
      | nothing                    | {await: true}                                                                 | property.bad-value |
      | two things                 | {shell: {command: a}, script: {language: python, code: a}}                    | property.bad-value |
      | with another return        | {shell: {command: a}, return: output}                                         | property.bad-value |
      | a shell without a command  | {shell: {arguments: [a]}}                                                     | property.missing   |
      | a script without code      | {script: {language: python}}                                                  | property.bad-value |
      | a script in COBOL          | {script: {language: cobol, code: a}}                                          | property.bad-value |

  @RUN-002 @RUN-003 @RUN-004 @RUN-005 @RUN-006 @RUN-SHELL-001 @command
  Scenario Outline: return <return>
    Given a workflow
      """
      do:
        - a: {run: {shell: {command: 'printf out; printf err >&2; exit <code>'}, return: <return>}}
      """
    When it runs
    Then it completes with <output>

    Examples:
      | return | code | output                              |
      | stdout | 0    | out                                 |
      | stderr | 0    | err                                 |
      | code   | 3    | 3                                   |
      | all    | 3    | {code: 3, stdout: out, stderr: err} |
      | none   | 0    | null                                |

  @RUN-002
  Scenario: the standard output where nothing is said
    Given a workflow
      """
      do:
        - a: {run: {shell: {command: 'printf "{}"'}}}
      """
    When it runs
    Then it completes with "{}"

  @RUN-007
  Scenario: nobody waits
    Given a workflow
      """
      do:
        - a: {input: {from: .b}, run: {shell: {command: exit 1}, await: false}}
      """
    And the input {b: [1]}
    When it runs
    Then it completes with [1]

  @RUN-SHELL-002 @RUN-SHELL-003 @RUN-SHELL-004
  Scenario: what a command gets
    Given a workflow
      """
      do:
        - a:
            run:
              shell:
                command: 'read line; printf "%s" "$line $1 $2 $GREETING"'
                arguments: [one, '${ .two }']
                environment: {GREETING: '${ .greeting }'}
                stdin: ${ .given }
      """
    And the input {two: 2nd, greeting: hi, given: in}
    When it runs
    Then it completes with in one 2nd hi

  @RUN-SCRIPT-001 @RUN-SCRIPT-002 @RUN-SCRIPT-003 @RUN-SCRIPT-004 @command
  Scenario: a script in Python
    Given a workflow
      """
      do:
        - a:
            run:
              script:
                language: python
                code: |
                  import os, sys
                  print(sys.stdin.read(), *sys.argv[1:], os.environ["GREETING"], end="")
                arguments: [one, two]
                environment: {GREETING: hi}
                stdin: ${ .given }
      """
    And the input {given: in}
    When it runs
    Then it completes with in one two hi

  @RUN-SCRIPT-005 @RESOURCE-002 @RESOURCE-003
  Scenario: a script from a resource
    Given a workflow
      """
      do:
        - a:
            run:
              script:
                language: python
                source:
                  name: the-script
                  endpoint: {uri: 'http://service.example/a.py', authentication: {bearer: {token: abc}}}
      """
    And GET /a.py answers 200 as text/x-python print("fetched", end="")
    When it runs
    Then it completes with fetched
    And request 1 has the header Authorization: Bearer abc

  @RESOURCE-001
  Scenario: a resource without endpoint
    Given a workflow
      """
      do:
        - a: {run: {script: {language: python, source: {name: a}}}}
      """
    When it is validated
    Then it is invalid with property.missing

  @RUN-WORKFLOW-001 @RUN-WORKFLOW-002 @RUN-WORKFLOW-003 @command
  Scenario Outline: another workflow, version <version>
    Given a workflow
      """
      do:
        - child: {run: {workflow: {namespace: other, name: child, version: <version>, input: {n: '${ .m }'}}}}
        - after: {set: {child: '${ . }'}}
      """
    And a workflow beside it
      """
      document: {dsl: '1.0.3', namespace: other, name: child, version: 1.9.0}
      do:
        - give: {set: {old: '${ .n }'}}
      """
    And a workflow beside it
      """
      document: {dsl: '1.0.3', namespace: other, name: child, version: 1.10.0}
      do:
        - give: {set: {new: '${ .n }'}}
      """
    And the input {m: 1}
    When it runs
    Then it completes with <output>

    Examples:
      | version | output            |
      | 1.9.0   | {child: {old: 1}} |
      | latest  | {child: {new: 1}} |

  @RUN-WORKFLOW-004 @RUN-WORKFLOW-005
  Scenario Outline: another workflow that <what>
    Given a workflow
      """
      do:
        - child: {run: {workflow: {namespace: other, name: child, version: 1.0.0, input: {n: '<n>'}}}}
      """
    And a workflow beside it
      """
      document: {dsl: '1.0.3', namespace: other, name: child, version: 1.0.0}
      input: {schema: {format: json, document: {properties: {n: {minLength: 2}}}}}
      do:
        - fails: {raise: {error: {type: 'https://example.com/child', status: 418}}}
      """
    When it runs
    Then it faults with <type> <status> at /do/0/child

    Examples:
      | what                    | n   | type                      | status |
      | does not take the input | a   | validation                | 400    |
      | fails                   | abc | https://example.com/child | 418    |

  @RUN-WORKFLOW-006
  Scenario: a workflow that is not there
    Given a workflow
      """
      do:
        - child: {run: {workflow: {namespace: other, name: child, version: 1.0.0}}}
      """
    When it runs
    Then it faults with configuration 404 at /do/0/child

  @RUN-WORKFLOW-007 @RUN-007
  Scenario: nobody waits for another workflow
    Given a workflow
      """
      do:
        - child: {run: {workflow: {namespace: other, name: child, version: 1.0.0}, await: false}}
      """
    And a workflow beside it
      """
      document: {dsl: '1.0.3', namespace: other, name: child, version: 1.0.0}
      do:
        - fails: {raise: {error: {type: 'https://example.com/child', status: 418}}}
      """
    And the input {n: 1}
    When it runs
    Then it completes with {n: 1}

  @RUN-SHELL-005
  Scenario: arguments as a map
    Given a workflow
      """
      do:
        - a: {run: {shell: {command: 'printf "%s " "$@"', arguments: {--name: Ada, --quiet: ~}}}}
      """
    When it runs
    Then it completes with '--name=Ada --quiet '

  @RUN-SCRIPT-008 @command
  Scenario Outline: a script in JavaScript, called <language>
    Given a workflow
      """
      do:
        - a:
            run:
              script:
                language: <language>
                code: process.stdout.write([...process.argv.slice(2), process.env.GREETING].join(" "))
                arguments: [one, two]
                environment: {GREETING: hi}
      """
    When it runs
    Then it completes with one two hi

    Examples:
      | language   |
      | js         |
      | javascript |

  @RUN-SCRIPT-009
  Scenario: arguments of a script as a map are variables
    Given a workflow
      """
      do:
        - a: {run: {script: {language: python, code: 'print(n * 2, user["name"], end="")', arguments: {n: 21, user: '${ .user }'}}}}
      """
    And the input {user: {name: Ada}}
    When it runs
    Then it completes with 42 Ada

  @RUN-WORKFLOW-008
  Scenario Outline: another workflow without <member>
    Given a workflow
      """
      do:
        - child: {run: {workflow: {<workflow>}}}
      """
    When it is validated
    Then it is invalid with property.missing

    Examples:
      | member    | workflow                       |
      | namespace | name: child, version: 1.0.0    |
      | name      | namespace: other, version: 1.0.0 |

  @RUN-WORKFLOW-003
  Scenario: another workflow whose version is not said
    Given a workflow
      """
      do:
        - child: {run: {workflow: {namespace: other, name: child}}}
      """
    And a workflow beside it
      """
      document: {dsl: '1.0.3', namespace: other, name: child, version: 2.0.0}
      do: [{give: {set: {version: 2}}}]
      """
    And a workflow beside it
      """
      document: {dsl: '1.0.3', namespace: other, name: child, version: 1.0.0}
      do: [{give: {set: {version: 1}}}]
      """
    When it runs
    Then it completes with {version: 2}
