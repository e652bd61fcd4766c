Feature: OpenAPI calls

  @CALL-OPENAPI-001 @CALL-OPENAPI-002 @command
  Scenario: parameters in path, query and header
    Given a workflow
      """
      do:
        - find:
            call: openapi
            with:
              document: {endpoint: 'http://service.example/openapi.json'}
              operationId: findPet
              parameters: {petId: '${ .id }', verbose: true, X-Trace: t-1}
      """
    And the input {id: 7}
    And GET /openapi.json answers 200
      """
      openapi: 3.0.3
      info: {title: pets, version: '1'}
      servers: [{url: 'http://service.example/api'}]
      paths:
        /pets/{petId}:
          get:
            operationId: findPet
            parameters:
              - {name: petId, in: path, required: true, schema: {type: integer}}
              - {name: verbose, in: query, schema: {type: boolean}}
              - {name: X-Trace, in: header, schema: {type: string}}
            responses: {'200': {description: ok}}
      """
    And GET /api/pets/7 answers 200 with {name: Milou}
    When it runs
    Then it completes with {name: Milou}
    And request 2 has the query verbose=true
    And request 2 has the header X-Trace: t-1

  @CALL-OPENAPI-003 @CALL-OPENAPI-005
  Scenario: a body, and the whole response
    Given a workflow
      """
      do:
        - add:
            call: openapi
            with:
              document: {endpoint: 'http://service.example/openapi.json'}
              operationId: addPet
              parameters: {name: Tim, legs: 4}
              output: response
            output: {as: .statusCode}
      """
    And GET /openapi.json answers 200
      """
      openapi: 3.1.0
      info: {title: pets, version: '1'}
      servers: [{url: /api}]
      paths:
        /pets:
          post:
            operationId: addPet
            requestBody:
              content:
                application/json:
                  schema: {type: object, properties: {name: {type: string}, legs: {type: integer}}}
            responses: {'201': {description: ok}}
      """
    And POST /api/pets answers 201 with {id: 1}
    When it runs
    Then it completes with 201
    And request 2 has the body {name: Tim, legs: 4}

  @CALL-OPENAPI-008
  Scenario: Swagger 2.0
    Given a workflow
      """
      do:
        - find:
            call: openapi
            with:
              document: {endpoint: 'http://service.example/swagger.json'}
              operationId: findPetsByStatus
              parameters: {status: available}
      """
    And GET /swagger.json answers 200
      """
      swagger: '2.0'
      info: {title: pets, version: '1'}
      basePath: /v2
      schemes: [http]
      paths:
        /pet/findByStatus:
          get:
            operationId: findPetsByStatus
            parameters: [{name: status, in: query, type: string}]
            responses: {'200': {description: ok}}
      """
    And GET /v2/pet/findByStatus answers 200 with [{id: 1}]
    When it runs
    Then it completes with [{id: 1}]
    And request 2 has the query status=available

  @CALL-OPENAPI-004
  Scenario: an operation that is not there
    Given a workflow
      """
      do:
        - find: {call: openapi, with: {document: {endpoint: 'http://service.example/openapi.json'}, operationId: other}}
      """
    And GET /openapi.json answers 200
      """
      openapi: 3.0.3
      info: {title: pets, version: '1'}
      paths: {/pets: {get: {operationId: all, responses: {'200': {description: ok}}}}}
      """
    When it runs
    Then it faults with configuration 400 at /do/0/find
    And there are 1 requests

  @CALL-OPENAPI-006 @CALL-OPENAPI-007 @CALL-OPENAPI-010
  Scenario Outline: a server that answers <status> <when>
    Given a workflow
      """
      do:
        - all:
            call: openapi
            with:
              document: {endpoint: 'http://service.example/openapi.json'}
              operationId: all
              redirect: <redirect>
              authentication: {bearer: {token: abc}}
      """
    And GET /openapi.json answers 200
      """
      openapi: 3.0.3
      info: {title: pets, version: '1'}
      servers: [{url: 'http://service.example'}]
      paths: {/pets: {get: {operationId: all, responses: {'200': {description: ok}}}}}
      """
    And GET /pets answers <status>
    When it runs
    Then <end>
    And request 2 has the header Authorization: Bearer abc

    Examples:
      | status | when             | redirect | end                              |
      | 302    | without redirect | false    | it faults with communication 302 |
      | 302    | with redirect    | true     | it completes with null           |
      | 404    | with redirect    | true     | it faults with communication 404 |

  @CALL-OPENAPI-009
  Scenario Outline: a call without <member>
    Given a workflow
      """
      do:
        - find: {call: openapi, with: {<with>}}
      """
    When it is validated
    Then it is invalid with property.missing

    Examples:
      | member      | with                                         |
      | document    | operationId: a                               |
      | operationId | document: {endpoint: 'http://a.example/a'}   |

  @CALL-OPENAPI-005
  Scenario Outline: the output <output>
    Given a workflow
      """
      do:
        - all:
            call: openapi
            with: {document: {endpoint: 'http://service.example/openapi.json'}, operationId: all, output: <output>}
            output: {as: '<as>'}
      """
    And GET /openapi.json answers 200
      """
      openapi: 3.0.3
      info: {title: pets, version: '1'}
      servers: [{url: 'http://service.example'}]
      paths: {/pets: {get: {operationId: all, responses: {'200': {description: ok}}}}}
      """
    And GET /pets answers 200 as application/json [1]
    When it runs
    Then it completes with <end>

    Examples:
      | output   | as                      | end       |
      | content  | .                       | [1]       |
      | raw      | .                       | WzFd      |
      | response | [.statusCode, .content] | [200, [1]] |

  @CALL-OPENAPI-011
  Scenario Outline: a parameter that is <what>
    Given a workflow
      """
      do:
        - find:
            call: openapi
            with: {document: {endpoint: 'http://service.example/openapi.json'}, operationId: findPet, parameters: <parameters>}
      """
    And GET /openapi.json answers 200
      """
      openapi: 3.0.3
      info: {title: pets, version: '1'}
      paths:
        /pets/{petId}:
          get:
            operationId: findPet
            parameters: [{name: petId, in: path, required: true, schema: {type: integer}}]
            responses: {'200': {description: ok}}
      """
    When it runs
    Then it faults with validation 400 at /do/0/find
    And there are 1 requests

    Examples:
      | what    | parameters            |
      | missing | {}                    |
      | unknown | {petId: 1, nobody: 2} |
