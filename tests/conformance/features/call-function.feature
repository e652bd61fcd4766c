Feature: Functions, and where they come from

  @CALL-FUNCTION-001 @CALL-FUNCTION-002 @USE-004 @command
  Scenario: a function of the document
    Given a workflow
      """
      use:
        functions:
          double: {set: {doubled: '${ .n * 2 }', keys: '${ keys }'}}
      do:
        - one: {call: double, with: {n: '${ .number }'}}
      """
    And the input {number: 21, other: 1}
    When it runs
    Then it completes with {doubled: 42, keys: [n]}

  @CALL-FUNCTION-003
  Scenario: a function that is not there
    Given a workflow
      """
      do:
        - one: {call: treble}
      """
    When it is validated
    Then it is invalid with reference.unknown-function

  @CALL-FUNCTION-004 @RESOURCE-001
  Scenario: a function by its address
    Given a workflow
      """
      do:
        - one: {call: 'http://service.example/functions/double/1.0.0/function.yaml', with: {n: 4}}
      """
    And GET /functions/double/1.0.0/function.yaml answers 200 as application/yaml
      """
      set: {doubled: '${ .n * 2 }'}
      """
    When it runs
    Then it completes with {doubled: 8}

  @CALL-FUNCTION-005
  Scenario: a function with an input schema
    Given a workflow
      """
      use:
        functions:
          double:
            input: {schema: {format: json, document: {type: object, required: [n]}}}
            set: {doubled: '${ .n * 2 }'}
      do:
        - one: {call: double, with: {m: 1}}
      """
    When it runs
    Then it faults with validation 400 at /do/0/one

  @CATALOG-001 @CATALOG-002 @CATALOG-006 @command
  Scenario: a function of a catalog
    Given a workflow
      """
      use:
        catalogs:
          ours:
            endpoint: {uri: 'http://service.example/catalog', authentication: {basic: {username: me, password: pass}}}
      do:
        - one: {call: 'double:1.2.0@ours', with: {n: 4}}
      """
    And GET /catalog/functions/double/1.2.0/function.yaml answers 200 as application/yaml
      """
      set: {doubled: '${ .n * 2 }'}
      """
    When it runs
    Then it completes with {doubled: 8}
    And request 1 has the header Authorization: Basic bWU6cGFzcw==

  @CATALOG-003
  Scenario: the runner's own catalog
    Given a workflow
      """
      do:
        - one: {call: 'double:1.0.0@default', with: {n: 4}}
      """
    And the runner's own catalog is at /own
    And GET /own/functions/double/1.0.0/function.yaml answers 200 as application/yaml
      """
      set: {doubled: '${ .n * 2 }'}
      """
    When it runs
    Then it completes with {doubled: 8}

  @CATALOG-004
  Scenario: another catalog instead of the runner's own
    Given a workflow
      """
      use: {catalogs: {default: {endpoint: 'http://service.example/catalog'}}}
      do:
        - one: {call: 'double:1.0.0@default', with: {n: 4}}
      """
    And the runner's own catalog is at /own
    And GET /catalog/functions/double/1.0.0/function.yaml answers 200 as application/yaml
      """
      set: {of: theirs}
      """
    And GET /own/functions/double/1.0.0/function.yaml answers 200 as application/yaml
      """
      set: {of: ours}
      """
    When it runs
    Then it completes with {of: theirs}

  @CATALOG-005
  Scenario: a catalog that is not there
    Given a workflow
      """
      do:
        - one: {call: 'double:1.0.0@nowhere'}
      """
    When it is validated
    Then it is invalid with reference.unknown-catalog
