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

  @CALL-FUNCTION-006
  Scenario: a function that is called with nothing
    Given a workflow
      """
      use: {functions: {tell: {set: {got: '${ . }'}}}}
      do:
        - one: {call: tell}
      """
    And the input {n: 1}
    When it runs
    Then it completes with {got: {}}

  @CALL-FUNCTION-007
  Scenario: a function sees no context, and leaves none
    Given a workflow
      """
      use:
        functions:
          tell: {set: {context: '${ $context }'}, export: {as: '{theirs: 1}'}}
      do:
        - before: {set: {n: 1}, export: {as: '{ours: 1}'}}
        - one: {call: tell, with: {}}
        - after: {set: {inside: '${ .context }', outside: '${ $context }'}}
      """
    When it runs
    Then it completes with {inside: {}, outside: {ours: 1}}

  @CALL-FUNCTION-008
  Scenario: a function that is a call itself
    Given a workflow
      """
      use:
        functions:
          getPet:
            call: http
            with: {method: get, endpoint: 'http://service.example/pets/{petId}'}
            output: {as: .name}
      do:
        - one: {call: getPet, with: {petId: '${ .id }'}, output: {as: '{name: .}'}}
      """
    And the input {id: 7}
    And GET /pets/7 answers 200 with {name: Milou}
    When it runs
    Then it completes with {name: Milou}

  @CATALOG-007
  Scenario Outline: a catalog in a repository, by its page <page>
    Given a workflow
      """
      use: {catalogs: {ours: {endpoint: 'http://service.example/group/project/-/<page>/main'}}}
      do:
        - one: {call: 'double:1.0.0@ours', with: {n: 4}}
      """
    And GET /group/project/-/raw/main/functions/double/1.0.0/function.yaml answers 200 as text/plain
      """
      set: {doubled: '${ .n * 2 }'}
      """
    When it runs
    Then it completes with {doubled: 8}

    Examples:
      | page |
      | tree |
      | blob |

  @CATALOG-008
  Scenario: a catalog without endpoint
    Given a workflow
      """
      use: {catalogs: {ours: {}}}
      do: []
      """
    When it is validated
    Then it is invalid with property.missing

  @CATALOG-009
  Scenario: a function that the catalog does not have
    Given a workflow
      """
      use: {catalogs: {ours: {endpoint: 'http://service.example/catalog'}}}
      do:
        - one: {call: 'double:9.9.9@ours'}
      """
    When it runs
    Then it faults with communication 404 at /do/0/one

  @CATALOG-009
  Scenario: a function that is none
    Given a workflow
      """
      use: {catalogs: {ours: {endpoint: 'http://service.example/catalog'}}}
      do:
        - one: {call: 'double:1.0.0@ours'}
      """
    And GET /catalog/functions/double/1.0.0/function.yaml answers 200 as application/yaml
      """
      sett: {doubled: 2}
      """
    When it runs
    Then it faults with configuration 400 at /do/0/one
