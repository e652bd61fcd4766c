Feature: HTTP calls

  @CALL-HTTP-001 @CALL-HTTP-004 @CALL-HTTP-005 @CALL-HTTP-006 @CALL-HTTP-007 @CALL-HTTP-015 @command
  Scenario: a request with all that there is
    Given a workflow
      """
      do:
        - order:
            call: http
            with:
              method: post
              endpoint: http://service.example/orders?fixed=1
              headers: {X-Trace: '${ .trace }', X-Kind: test}
              query: {q: '${ .q }', page: 2}
              body: {items: '${ .items }', note: plain}
      """
    And the input {trace: t-1, q: a b, items: [1, 2]}
    And POST /orders answers 201 with {id: 7, tags: [a]}
    When it runs
    Then it completes with {id: 7, tags: [a]}
    And the requests are
      | POST | /orders |
    And request 1 has the header X-Trace: t-1
    And request 1 has the header X-Kind: test
    And request 1 has the header Content-Type with application/json
    And request 1 has the query fixed=1&q=a+b&page=2
    And request 1 has the body {items: [1, 2], note: plain}

  @CALL-HTTP-001
  Scenario Outline: the method <method>
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: <method>, endpoint: 'http://service.example/a'}}
      """
    And <sent> /a answers 200 with {ok: true}
    When it runs
    Then it completes with {ok: true}
    And the requests are
      | <sent> | /a |

    Examples:
      | method | sent    |
      | get    | GET     |
      | PUT    | PUT     |
      | patch  | PATCH   |
      | Delete | DELETE  |
      | options | OPTIONS |

  @CALL-HTTP-002 @CALL-HTTP-019
  Scenario Outline: a call <what>
    Given a workflow
      """
      do:
        - ask: {call: http, with: {<with>}}
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what                 | with                                                  | code               |
      | without a method     | endpoint: 'http://a.example'                          | property.missing   |
      | without an endpoint  | method: get                                           | property.missing   |
      | with another output  | method: get, endpoint: 'http://a.example', output: xml | property.bad-value |

  @CALL-HTTP-003
  Scenario: an endpoint as an object
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: {uri: 'http://service.example/a'}}}
      """
    And GET /a answers 200 with [1]
    When it runs
    Then it completes with [1]

  @CALL-HTTP-008
  Scenario: the content in base64
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a', output: raw}}
      """
    And GET /a answers 200 as text/plain hello
    When it runs
    Then it completes with aGVsbG8=

  @CALL-HTTP-009 @command
  Scenario: the whole response
    Given a workflow
      """
      do:
        - ask:
            call: http
            with: {method: get, endpoint: 'http://service.example/a', output: response, headers: {X-Me: '1'}}
            output: {as: '{request: {method: .request.method, uri: .request.uri, has: (.request.headers | to_entries | map(.key | ascii_downcase) | index("x-me") != null)}, statusCode, content, type: (.headers | with_entries(.key |= ascii_downcase) | .["content-type"] | startswith("application/json"))}'}
      """
    And GET /a answers 200 with {n: 1}
    When it runs
    Then it completes with
      """
      request: {method: get, uri: 'http://service.example/a', has: true}
      statusCode: 200
      content: {n: 1}
      type: true
      """

  @CALL-HTTP-010 @CALL-HTTP-011 @CALL-HTTP-018
  Scenario Outline: a server that answers <status>
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a'}}
      """
    And GET /a answers <status> with the header Location: http://service.example/b
    And GET /b answers 200 with {}
    When it runs
    Then it faults with <type> <status> at /do/0/ask
    And there are 1 requests

    Examples:
      | status | type           |
      | 302    | communication  |
      | 304    | communication  |
      | 400    | communication  |
      | 401    | authentication |
      | 403    | authorization  |
      | 500    | communication  |

  @CALL-HTTP-012
  Scenario: a redirection that is no error
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a', redirect: true, output: response}, output: {as: .statusCode}}
      """
    And GET /a answers 302 with the header Location: http://service.example/b
    When it runs
    Then it completes with 302

  @CALL-HTTP-013
  Scenario: an error is an error with redirect, too
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a', redirect: true}}
      """
    And GET /a answers 400
    When it runs
    Then it faults with communication 400

  @CALL-HTTP-014
  Scenario: a server that is not there
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://127.0.0.1:1/a'}}
      """
    When it runs
    Then it faults with communication 500 at /do/0/ask

  @CALL-HTTP-016
  Scenario: an endpoint that is computed
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: '${ "http://service.example/" + .where }'}}
      """
    And the input {where: a}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1

  @CALL-HTTP-017 @CALL-HTTP-020
  Scenario Outline: an answer of <kind>
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a'}}
      """
    And GET /a answers <answer>
    When it runs
    Then it completes with <output>

    Examples:
      | kind         | answer                                   | output       |
      | text         | 200 as text/plain hello                  | hello        |
      | XML          | 200 as application/xml <a/>              | <a/>         |
      | JSON by name | 200 as application/problem+json {"a": 1} | {a: 1}       |
      | bytes        | 200 as application/octet-stream hello    | aGVsbG8=     |
      | nothing      | 204                                      | null         |

  @URI-001 @URI-006 @URI-007
  Scenario: names in an address
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/pets/{petId}/{name}/{wild}'}}
      """
    And the input {petId: 7, name: a b/c, wild: true}
    And GET /pets/7/a%20b%2Fc/true answers 200 with {ok: true}
    When it runs
    Then it completes with {ok: true}

  @URI-002
  Scenario: a name without a value
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a{missing}b{empty}'}}
      """
    And the input {empty: null}
    And GET /ab answers 200 with 1
    When it runs
    Then it completes with 1

  @URI-003
  Scenario: a name with a dot
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/{pet.id}'}}
      """
    And the input {pet.id: right, pet: {id: wrong}}
    And GET /right answers 200 with 1
    When it runs
    Then it completes with 1

  @URI-004
  Scenario: a name of an object
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/{pet}'}}
      """
    And the input {pet: {id: 1}}
    When it runs
    Then it faults with expression 400 at /do/0/ask

  @URI-005
  Scenario: another operator
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://a.example/{?a,b}'}}
      """
    When it is validated
    Then it is invalid with endpoint.invalid

  @CALL-HTTP-021
  Scenario: headers and query are expressions as a whole
    Given a workflow
      """
      do:
        - ask:
            call: http
            with: {method: get, endpoint: 'http://service.example/a', headers: '${ .headers }', query: '${ .query }'}
      """
    And the input {headers: {X-Trace: t-1}, query: {q: tea}}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the header X-Trace: t-1
    And request 1 has the query q=tea

  @CALL-HTTP-022
  Scenario Outline: a body of <kind>
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: post, endpoint: 'http://service.example/a', body: '${ .body }'}}
      """
    And the input {body: <body>}
    And POST /a answers 204
    When it runs
    Then it completes with null
    And request 1 has the body <body>

    Examples:
      | kind     | body   |
      | an array | [1, a] |
      | a number | 17     |
      | an object | {a: {b: null}} |

  @CALL-HTTP-022
  Scenario: a body of text, as it is
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: post, endpoint: 'http://service.example/a', headers: {Content-Type: text/plain}, body: plain text}}
      """
    And POST /a answers 204
    When it runs
    Then it completes with null
    And request 1 has the text plain text
    And request 1 has the header Content-Type with text/plain

  @CALL-HTTP-023
  Scenario: query values that are no strings are JSON
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a', query: {on: true, n: 1, list: [7]}}}
      """
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the query on=true&n=1&list=%5B7%5D

  @CALL-HTTP-024
  Scenario Outline: a call whose <member> is of the wrong kind
    Given a workflow
      """
      do:
        - ask: {call: http, with: {<with>}}
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | member   | with                                                               | code                |
      | method   | method: 1, endpoint: 'http://a.example'                            | property.wrong-type |
      | redirect | method: get, endpoint: 'http://a.example', redirect: sometimes     | property.wrong-type |
      | endpoint | method: get, endpoint: {authentication: {bearer: {token: a}}}      | property.missing    |
      | address  | method: get, endpoint: nowhere                                     | endpoint.invalid    |

  @CALL-HTTP-008 @CALL-HTTP-009
  Scenario: the content of a whole response that is neither JSON nor text is in base64
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a', output: response}, output: {as: .content}}
      """
    And GET /a answers 200 as application/octet-stream hello
    When it runs
    Then it completes with aGVsbG8=

  @URI-008
  Scenario: variables of expressions have no value in an address
    Given a workflow
      """
      do:
        - ask: {call: http, with: {method: get, endpoint: 'http://service.example/a{$workflow}b'}}
      """
    And GET /ab answers 200 with 1
    When it runs
    Then it completes with 1
