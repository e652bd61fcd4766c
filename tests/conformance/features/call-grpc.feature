Feature: gRPC calls

  @CALL-GRPC-001 @CALL-GRPC-003 @CALL-GRPC-006 @command
  Scenario: a method is called
    Given a workflow
      """
      do:
        - greet:
            call: grpc
            with:
              proto: {endpoint: 'http://service.example/greeter.proto'}
              service:
                name: demo.v1.Greeter
                host: localhost
                port: 50051
                authentication: {bearer: {token: abc}}
              method: SayHello
              arguments: {name: '${ .user }'}
            output: {as: .message}
      """
    And the input {user: Ada}
    And the gRPC service
    When it runs
    Then it completes with Hello Ada
    And the gRPC service has heard the authorization Bearer abc

  @CALL-GRPC-002
  Scenario Outline: a call without <member>
    Given a workflow
      """
      do:
        - greet: {call: grpc, with: {proto: {endpoint: 'http://a.example/a.proto'}, <rest>}}
      """
    When it is validated
    Then it is invalid with property.missing

    Examples:
      | member         | rest                                                 |
      | method         | service: {name: a.B, host: localhost}                |
      | a service      | method: A                                            |
      | service's name | method: A, service: {host: localhost}                |
      | service's host | method: A, service: {name: a.B}                      |

  @CALL-GRPC-004 @CALL-GRPC-005
  Scenario Outline: <what>
    Given a workflow
      """
      do:
        - greet:
            call: grpc
            with:
              proto: {endpoint: 'http://service.example/greeter.proto'}
              service: {name: demo.v1.Greeter, host: localhost, port: 50051}
              method: <method>
              arguments: {name: fail NOT_FOUND}
      """
    And the gRPC service
    When it runs
    Then it faults with <type> <status> at /do/0/greet

    Examples:
      | what                     | method   | type          | status |
      | a service that says no   | SayHello | communication | 404    |
      | a method that is unknown | SayNo    | configuration | 400    |

  @CALL-GRPC-007
  Scenario Outline: a service with <what>
    Given a workflow
      """
      do:
        - greet:
            call: grpc
            with: {proto: {endpoint: 'http://a.example/a.proto'}, method: A, service: {name: a.B, <service>}}
      """
    When it is validated
    Then it is invalid with property.bad-value

    Examples:
      | what                     | service                    |
      | a port that is too large | host: localhost, port: 70000 |
      | a host that is an address with scheme | host: 'http://localhost' |

  @CALL-GRPC-008
  Scenario: arguments that the method does not take
    Given a workflow
      """
      do:
        - greet:
            call: grpc
            with:
              proto: {endpoint: 'http://service.example/greeter.proto'}
              service: {name: demo.v1.Greeter, host: localhost, port: 50051}
              method: SayHello
              arguments: {nobody: 1}
      """
    And the gRPC service
    When it runs
    Then it faults with validation 400 at /do/0/greet
