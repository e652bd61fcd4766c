Feature: Authentication

  @AUTH-BASIC-001 @command
  Scenario: basic
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint: {uri: 'http://service.example/a', authentication: {basic: {username: me, password: pass}}}
      """
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the header Authorization: Basic bWU6cGFzcw==

  @AUTH-001 @AUTH-003 @AUTH-BASIC-002 @AUTH-OAUTH2-012
  Scenario Outline: an authentication <what>
    Given a workflow
      """
      use: {authentications: {one: <policy>, two: {bearer: {token: abc}}}}
      do: []
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what                     | policy                                                                       | code               |
      | of nothing               | {}                                                                           | property.bad-value |
      | of two schemes           | {bearer: {token: a}, basic: {username: a, password: b}}                      | property.bad-value |
      | that uses another        | {use: two}                                                                   | property.misplaced |
      | without a password       | {basic: {username: me}}                                                      | property.missing   |
      | without an authority     | {oauth2: {grant: client_credentials, client: {id: a}}}                       | property.missing   |
      | without a grant          | {oauth2: {authority: 'http://a.example', client: {id: a}}}                   | property.missing   |

  @AUTH-002 @USE-005
  Scenario: a policy by name
    Given a workflow
      """
      use: {authentications: {ours: {bearer: {token: abc}}}}
      do:
        - ask: {call: http, with: {method: get, endpoint: {uri: 'http://service.example/a', authentication: {use: ours}}}}
      """
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the header Authorization: Bearer abc

  @AUTH-004 @command
  Scenario: members from a secret
    Given a workflow
      """
      use: {secrets: [login], authentications: {ours: {basic: {use: login}}}}
      do:
        - ask: {call: http, with: {method: get, endpoint: {uri: 'http://service.example/a', authentication: {use: ours}}}}
      """
    And the secret login is {username: me, password: pass}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the header Authorization: Basic bWU6cGFzcw==

  @AUTH-BEARER-001 @AUTH-BEARER-002
  Scenario: bearer
    Given a workflow
      """
      do:
        - ask:
            call: http
            with: {method: get, endpoint: {uri: 'http://service.example/a', authentication: {bearer: {token: '${ .user.token }'}}}}
      """
    And the input {user: {token: abc}}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the header Authorization: Bearer abc

  @AUTH-DIGEST-001 @AUTH-DIGEST-002
  Scenario: digest
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint: {uri: 'http://service.example/a', authentication: {digest: {username: me, password: open-sesame}}}
      """
    And GET /a answers 401 with the header WWW-Authenticate: Digest realm="r", nonce="n1", qop="auth", algorithm=SHA-256
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And there are 2 requests
    And request 1 has no header Authorization
    And request 2 has the header Authorization with Digest username="me"
    And request 2 has the header Authorization with nonce="n1"
    And request 2 does not mention open-sesame

  @AUTH-OAUTH2-001 @AUTH-OAUTH2-002 @AUTH-OAUTH2-004 @AUTH-OAUTH2-006 @AUTH-OAUTH2-015 @command
  Scenario: client credentials
    Given a workflow
      """
      use:
        authentications:
          ours:
            oauth2:
              authority: http://service.example/realm
              grant: client_credentials
              client: {id: runner, secret: hush}
              scopes: [read, write]
              audiences: [api]
      do:
        - one: {call: http, with: {method: get, endpoint: {uri: 'http://service.example/a', authentication: {use: ours}}}}
        - two: {call: http, with: {method: get, endpoint: {uri: 'http://service.example/a', authentication: {use: ours}}}}
      """
    And POST /realm/oauth2/token answers 200 with {access_token: t-1, token_type: Bearer, expires_in: 300}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And the requests are
      | POST | /realm/oauth2/token |
      | GET  | /a                  |
      | GET  | /a                  |
    And request 1 has the form grant_type=client_credentials&client_id=runner&client_secret=hush&scope=read+write&audience=api
    And request 2 has the header Authorization: Bearer t-1
    And request 3 has the header Authorization: Bearer t-1

  @AUTH-OAUTH2-003 @AUTH-OAUTH2-005 @AUTH-OAUTH2-007 @AUTH-OAUTH2-008 @AUTH-OAUTH2-009 @AUTH-OAUTH2-013 @AUTH-OAUTH2-014
  Scenario Outline: OAuth 2 with <what>
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint:
                uri: http://service.example/a
                authentication:
                  oauth2: {authority: 'http://service.example', endpoints: {token: /tokens}, grant: '<grant>', client: <client>, <more>}
      """
    And POST /tokens answers 200 with {access_token: t-1, token_type: Bearer}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has <sent>
    And request 2 has the header Authorization: Bearer t-1

    Examples:
      | what                | grant              | client                                                 | more | sent |
      | another endpoint    | client_credentials | {id: a, secret: b}                                     | scopes: [x] | the form grant_type=client_credentials |
      | the client's header | client_credentials | {id: a, secret: b, authentication: client_secret_basic} | scopes: [x] | the header Authorization: Basic YTpi |
      | a password          | password           | {id: a}                                                | username: me, password: pw | the form grant_type=password&username=me&password=pw |
      | a refresh token     | refresh_token      | {id: a}                                                | subject: {token: r-1, type: refresh} | the form grant_type=refresh_token&refresh_token=r-1 |
      | token exchange      | urn:ietf:params:oauth:grant-type:token-exchange | {id: a}                   | subject: {token: s-1, type: 'urn:s'}, actor: {token: a-1, type: 'urn:a'} | the form subject_token=s-1&subject_token_type=urn:s&actor_token=a-1&actor_token_type=urn:a |
      | no authentication   | client_credentials | {id: a, authentication: none}                          | scopes: [x] | the form client_id=a |
      | an assertion        | client_credentials | {id: a, assertion: x.y.z, authentication: private_key_jwt} | scopes: [x] | the form client_assertion=x.y.z |

  @AUTH-OAUTH2-010
  Scenario: a token request in JSON
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint:
                uri: http://service.example/a
                authentication:
                  oauth2:
                    authority: http://service.example
                    grant: client_credentials
                    client: {id: a, secret: b}
                    request: {encoding: application/json}
      """
    And POST /oauth2/token answers 200 with {access_token: t-1, token_type: Bearer}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the body {grant_type: client_credentials, client_id: a, client_secret: b}

  @AUTH-OAUTH2-011
  Scenario: a token of another issuer
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint:
                uri: http://service.example/a
                authentication:
                  oauth2:
                    authority: http://service.example
                    grant: client_credentials
                    client: {id: a, secret: b}
                    issuers: ['https://right.example']
      """
    And POST /oauth2/token answers 200 with {access_token: eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL3dyb25nLmV4YW1wbGUifQ.x, token_type: Bearer}
    And GET /a answers 200 with 1
    When it runs
    Then it faults with authentication 401 at /do/0/ask
    And the requests are
      | POST | /oauth2/token |

  @AUTH-OAUTH2-016
  Scenario: no token is given
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint:
                uri: http://service.example/a
                authentication:
                  oauth2: {authority: 'http://service.example', grant: client_credentials, client: {id: a, secret: b}}
      """
    And POST /oauth2/token answers 401 with {error: invalid_client}
    When it runs
    Then it faults with authentication 401 at /do/0/ask

  @AUTH-OIDC-001 @AUTH-OIDC-002
  Scenario: OpenID Connect
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint:
                uri: http://service.example/a
                authentication:
                  oidc: {authority: 'http://service.example', grant: client_credentials, client: {id: a, secret: b}}
      """
    And GET /.well-known/openid-configuration answers 200
      """
      issuer: http://service.example
      token_endpoint: http://service.example/tokens
      """
    And POST /tokens answers 200 with {access_token: t-1, token_type: Bearer}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 3 has the header Authorization: Bearer t-1

  @AUTH-005
  Scenario: a policy by its bare name
    Given a workflow
      """
      use: {authentications: {ours: {bearer: {token: abc}}}}
      do:
        - ask: {call: http, with: {method: get, endpoint: {uri: 'http://service.example/a', authentication: ours}}}
      """
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the header Authorization: Bearer abc

  @AUTH-BASIC-003
  Scenario: a password that is written as a number
    Given a workflow
      """
      do:
        - ask:
            call: http
            with: {method: get, endpoint: {uri: 'http://service.example/a', authentication: {basic: {username: admin, password: 123}}}}
      """
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the header Authorization: Basic YWRtaW46MTIz

  @AUTH-BEARER-003
  Scenario: bearer with nothing but an expression
    Given a workflow
      """
      do:
        - ask:
            call: http
            with: {method: get, endpoint: {uri: 'http://service.example/a', authentication: {bearer: '${ .user.token }'}}}
      """
    And the input {user: {token: abc}}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 has the header Authorization: Bearer abc

  @AUTH-BEARER-004 @AUTH-DIGEST-003 @AUTH-OAUTH2-018 @AUTH-OAUTH2-019 @AUTH-OAUTH2-020 @AUTH-OAUTH2-021 @AUTH-OAUTH2-022 @AUTH-OIDC-003
  Scenario Outline: <what>
    Given a workflow
      """
      use: {authentications: {ours: {<policy>}}}
      do: []
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what                                  | policy                                                                                        | code               |
      | bearer without a token                | bearer: {}                                                                                    | property.missing   |
      | digest without a user                 | digest: {password: a}                                                                         | property.missing   |
      | digest without a password             | digest: {username: a}                                                                         | property.missing   |
      | a grant that is not there             | oauth2: {authority: 'http://a.example', grant: implicit, client: {id: a}}                     | property.bad-value |
      | a way for clients that is not there   | oauth2: {authority: 'http://a.example', grant: password, client: {id: a, authentication: guess}} | property.bad-value |
      | a client without an id                | oauth2: {authority: 'http://a.example', grant: client_credentials, client: {secret: a}}       | property.missing   |
      | a client without its assertion        | oauth2: {authority: 'http://a.example', grant: password, client: {id: a, authentication: private_key_jwt}} | property.missing |
      | an encoding that is not there         | oauth2: {authority: 'http://a.example', grant: password, client: {id: a}, request: {encoding: text/plain}} | property.bad-value |
      | a subject without a type              | oauth2: {authority: 'http://a.example', grant: refresh_token, client: {id: a}, subject: {token: a}} | property.missing |
      | oidc without an authority             | oidc: {grant: client_credentials, client: {id: a}}                                            | property.missing   |
      | oidc without a grant                  | oidc: {authority: 'http://a.example', client: {id: a}}                                        | property.missing   |
      | oidc with endpoints                   | oidc: {authority: 'http://a.example', grant: password, client: {id: a}, endpoints: {token: /a}} | property.unknown |

  @AUTH-CERTIFICATE-001 @command
  Scenario: certificate
    Given a workflow
      """
      use: {secrets: [pair], authentications: {ours: {certificate: {use: pair}}}}
      do:
        - ask: {call: http, with: {method: get, endpoint: {uri: 'https://secure.example/a', authentication: {use: ours}}}}
      """
    And the client ann, whose certificate is the secret pair
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 came from the client ann

  @AUTH-004
  Scenario Outline: members of <scheme> from a secret
    Given a workflow
      """
      use: {secrets: [login]}
      do:
        - ask: {call: http, with: {method: get, endpoint: {uri: 'http://service.example/a', authentication: {<scheme>: {use: login}}}}}
      """
    And the secret login is {authority: 'http://service.example', grant: client_credentials, client: {id: a, secret: b}}
    And GET /.well-known/openid-configuration answers 200
      """
      issuer: http://service.example
      token_endpoint: http://service.example/oauth2/token
      """
    And POST /oauth2/token answers 200 with {access_token: t-1, token_type: Bearer}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request <number> has the header Authorization: Bearer t-1

    Examples:
      | scheme | number |
      | oauth2 | 2      |
      | oidc   | 3      |

  @AUTH-OAUTH2-017
  Scenario: an authority that is a discovery document
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint:
                uri: http://service.example/a
                authentication:
                  oauth2:
                    authority: http://service.example/realms/a/.well-known/openid-configuration
                    grant: client_credentials
                    client: {id: a, secret: b}
      """
    And GET /realms/a/.well-known/openid-configuration answers 200
      """
      issuer: http://service.example/realms/a
      token_endpoint: http://service.example/tokens
      """
    And POST /tokens answers 200 with {access_token: t-1, token_type: Bearer}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 3 has the header Authorization: Bearer t-1

  @AUTH-OAUTH2-023 @AUTH-OAUTH2-024
  Scenario Outline: OAuth 2 by <what>
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint:
                uri: http://service.example/a
                authentication:
                  oauth2: {authority: 'http://service.example', grant: <grant>, client: {id: a, secret: secret-of-the-client-which-is-long, authentication: <way>}, <more>}
      """
    And POST /oauth2/token answers 200 with {access_token: t-1, token_type: Bearer}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
    And request 1 <sent>
    And request 2 has the header Authorization: Bearer t-1

    Examples:
      | what                  | grant              | way                | more                             | sent |
      | a code                | authorization_code | client_secret_post | subject: {token: c-1, type: code} | has the form grant_type=authorization_code&code=c-1 |
      | a signed assertion    | client_credentials | client_secret_jwt  | scopes: [x]                      | has the form client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer |
      | what is no secret now | client_credentials | client_secret_jwt  | scopes: [x]                      | does not mention secret-of-the-client-which-is-long |

  @AUTH-OAUTH2-025
  Scenario Outline: a token of which only introspection knows the issuer, <issuer>
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint:
                uri: http://service.example/a
                authentication:
                  oauth2:
                    authority: http://service.example
                    grant: client_credentials
                    client: {id: a, secret: b}
                    issuers: ['https://right.example']
      """
    And POST /oauth2/token answers 200 with {access_token: opaque, token_type: Bearer}
    And POST /oauth2/introspect answers 200 with {active: true, iss: 'https://<issuer>.example'}
    And GET /a answers 200 with 1
    When it runs
    Then <end>

    Examples:
      | issuer | end                               |
      | right  | it completes with 1               |
      | wrong  | it faults with authentication 401 |

  @AUTH-OAUTH2-026
  Scenario: an authority with a name in it
    Given a workflow
      """
      do:
        - ask:
            call: http
            with:
              method: get
              endpoint:
                uri: http://service.example/a
                authentication: {oauth2: {authority: 'http://service.example/{realm}', grant: client_credentials, client: {id: a, secret: b}}}
      """
    And the input {realm: pets}
    And POST /pets/oauth2/token answers 200 with {access_token: t-1, token_type: Bearer}
    And GET /a answers 200 with 1
    When it runs
    Then it completes with 1
