Feature: Events

  @TASK-EMIT-001 @TASK-EMIT-003 @TASK-EMIT-004 @TASK-EMIT-005 @TASK-EMIT-006 @command
  Scenario: an event is emitted
    Given a workflow
      """
      do:
        - tell:
            emit:
              event:
                with:
                  source: https://petstore.example
                  type: com.petstore.order.placed.v1
                  subject: ${ .order }
                  priority: high
                  data: {items: '${ .items }'}
            output: {as: '{type, data, specversion, id: (.id | length > 0)}'}
      """
    And the input {order: A-1, items: [1, 2]}
    When it runs
    Then it completes with {type: com.petstore.order.placed.v1, data: {items: [1, 2]}, specversion: '1.0', id: true}
    And the emitted events are
      """
      - source: https://petstore.example
        type: com.petstore.order.placed.v1
        subject: A-1
        priority: high
        data: {items: [1, 2]}
        specversion: '1.0'
        id: <text>
      """

  @TASK-EMIT-002
  Scenario Outline: an event without <member>
    Given a workflow
      """
      do:
        - tell: {emit: {event: {with: {<rest>}}}}
      """
    When it is validated
    Then it is invalid with property.missing

    Examples:
      | member | rest                       |
      | source | type: a                    |
      | type   | source: 'https://a.example' |

  @TASK-LISTEN-001 @TASK-LISTEN-002 @TASK-LISTEN-003 @STRATEGY-001 @FILTER-001 @command
  Scenario: one event
    Given a workflow
      """
      do:
        - hear: {listen: {to: {one: {with: {type: order.placed, source: /shop}}}}}
      """
    And the event {type: other, source: /shop, data: 1}
    And the event {type: order.placed, source: /elsewhere, data: 2}
    And the event {type: order.placed, source: /shop, data: {order: 3}}
    When it runs
    Then it completes with [{order: 3}]

  @TASK-LISTEN-004
  Scenario: the envelope
    Given a workflow
      """
      do:
        - hear: {listen: {to: {one: {with: {type: a}}}, read: envelope}}
      """
    And the event {type: a, source: /shop, subject: s, data: {n: 1}}
    When it runs
    Then it completes with at least [{type: a, source: /shop, subject: s, id: e1, specversion: '1.0', data: {n: 1}}]

  @TASK-LISTEN-005
  Scenario: raw data
    Given a workflow
      """
      do:
        - hear: {listen: {to: {one: {with: {type: a}}}, read: raw}}
      """
    And the event {type: a, datacontenttype: text/plain, data: as it came}
    When it runs
    Then it completes with [as it came]

  @TASK-LISTEN-011 @TASK-LISTEN-012 @STRATEGY-008 @FILTER-004 @CORRELATION-004
  Scenario Outline: listen <what>
    Given a workflow
      """
      do:
        - hear: {listen: <listen>}
      """
    When it is validated
    Then it is invalid with <code>

    Examples:
      | what                    | listen                                                        | code               |
      | with another read       | {to: {one: {with: {type: a}}}, read: body}                    | property.bad-value |
      | to nothing              | {read: data}                                                  | property.missing   |
      | in two ways             | {to: {one: {with: {type: a}}, all: [{with: {type: a}}]}}      | property.bad-value |
      | to an empty filter      | {to: {one: {with: {}}}}                                       | property.bad-value |
      | correlating nothing     | {to: {one: {with: {type: a}, correlate: {id: {expect: a}}}}}  | property.missing   |

  @TASK-LISTEN-006 @TASK-LISTEN-007 @TASK-LISTEN-008 @TASK-LISTEN-009 @TASK-LISTEN-010 @STRATEGY-005 @command
  Scenario: events one by one
    Given a workflow
      """
      do:
        - hear:
            listen: {to: {any: [{with: {type: a}}], until: '($context.seen // []) | length == 3'}}
            foreach:
              item: event
              at: number
              do:
                - rest: {wait: {milliseconds: 10}}
                - keep: {set: {text: '${ "\($number) \($event.n)" }'}}
              output: {as: .text}
              export: {as: '{seen: (($context.seen // []) + [.])}'}
        - after: {set: {collected: '${ . }', exported: '${ $context.seen }'}}
      """
    And the event {type: a, data: {n: x}}
    And the event {type: a, data: {n: y}}
    And the event {type: a, data: {n: z}}
    When it runs
    Then it completes with {collected: [0 x, 1 y, 2 z], exported: [0 x, 1 y, 2 z]}

  @TASK-LISTEN-007
  Scenario: the names of the variables where nothing is said
    Given a workflow
      """
      do:
        - hear:
            listen: {to: {one: {with: {type: a}}}}
            foreach:
              do:
                - keep: {set: {item: '${ $item.n }', index: '${ $index }'}}
              output: {as: .}
      """
    And the event {type: a, data: {n: x}}
    When it runs
    Then it completes with [{item: x, index: 0}]

  @STRATEGY-002 @TASK-LISTEN-002
  Scenario: all
    Given a workflow
      """
      do:
        - hear: {listen: {to: {all: [{with: {type: a}}, {with: {type: b}}]}}}
      """
    And the event {type: b, data: 1}
    And the event {type: c, data: 2}
    And the event {type: a, data: 3}
    When it runs
    Then it completes with [1, 3]

  @STRATEGY-003
  Scenario: any
    Given a workflow
      """
      do:
        - hear: {listen: {to: {any: [{with: {type: a}}, {with: {type: b}}]}}}
      """
    And the event {type: c, data: 1}
    And the event {type: b, data: 2}
    And the event {type: a, data: 3}
    When it runs
    Then it completes with [2]

  @STRATEGY-004
  Scenario: any event at all
    Given a workflow
      """
      do:
        - hear: {listen: {to: {any: []}}}
      """
    And the event {type: whatever, data: 1}
    When it runs
    Then it completes with [1]

  @STRATEGY-006 @STRATEGY-007
  Scenario: until another event
    Given a workflow
      """
      do:
        - hear:
            listen:
              to:
                any: [{with: {type: measured}}]
                until: {one: {with: {type: done}}}
      """
    And the event {type: measured, data: 1}
    And the event {type: measured, data: 2}
    And the event {type: done, data: 3}
    When it runs
    Then it completes with [1, 2]

  @FILTER-002 @FILTER-003 @FILTER-005
  Scenario Outline: a filter by <what>
    Given a workflow
      """
      do:
        - hear: {listen: {to: {one: {with: <with>}}}}
      """
    And the input {limit: 38}
    And the event {type: order.cancelled, subject: far, data: {temperature: 37, id: 1}}
    And the event {type: order.placed, subject: near, data: {temperature: 39, id: 2}}
    When it runs
    Then it completes with at least [{id: 2}]

    Examples:
      | what                       | with                                     |
      | a regular expression       | {type: 'order\.(placed\|paid)'}          |
      | an expression              | {subject: '${ startswith("n") }'}        |
      | an expression over data    | {data: '${ .temperature > 38 }'}         |

  @CORRELATION-001 @CORRELATION-003
  Scenario Outline: a correlation with <what>
    Given a workflow
      """
      do:
        - hear:
            listen:
              to: {one: {with: {type: a}, correlate: {order: {from: .data.order, expect: <expect>}}}}
      """
    And the input {order: B}
    And the event {type: a, data: {order: A}}
    And the event {type: a, data: {order: B}}
    When it runs
    Then it completes with [{order: B}]

    Examples:
      | what          | expect        |
      | a constant    | B             |
      | an expression | '${ .order }' |

  @CORRELATION-002
  Scenario: a correlation by the first value
    Given a workflow
      """
      do:
        - hear:
            listen:
              to:
                all:
                  - {with: {type: a}, correlate: {order: {from: .data.order}}}
                  - {with: {type: b}, correlate: {order: {from: .data.order}}}
      """
    And the event {type: a, data: {order: 1}}
    And the event {type: b, data: {order: 2}}
    And the event {type: b, data: {order: 1, last: true}}
    When it runs
    Then it completes with [{order: 1}, {order: 1, last: true}]

  @TASK-EMIT-007
  Scenario: what an author says of an event is kept
    Given a workflow
      """
      do:
        - tell:
            emit:
              event:
                with:
                  id: e-17
                  source: ${ .shop }
                  type: order.placed
                  time: '2026-01-02T03:04:05Z'
                  datacontenttype: application/json
                  dataschema: https://shop.example/order.json
                  data: [1]
      """
    And the input {shop: 'https://shop.example'}
    When it runs
    Then the emitted events are
      """
      - id: e-17
        source: https://shop.example
        type: order.placed
        time: '2026-01-02T03:04:05Z'
        datacontenttype: application/json
        dataschema: https://shop.example/order.json
        data: [1]
      """

  @TASK-LISTEN-013 @ERROR-004
  Scenario Outline: what foreach makes does not match <member>.schema
    Given a workflow
      """
      do:
        - hear:
            listen: {to: {one: {with: {type: a}}}}
            foreach:
              <member>: {as: '{n: .n}', schema: {document: {properties: {n: {type: string}}}}}
      """
    And the event {type: a, data: {n: 1}}
    When it runs
    Then it faults with validation 400 at /do/0/hear

    Examples:
      | member |
      | output |
      | export |

  @TASK-LISTEN-014
  Scenario: foreach gets events as they are read
    Given a workflow
      """
      do:
        - hear:
            listen: {to: {one: {with: {type: a}}}, read: envelope}
            foreach:
              do:
                - keep: {set: {type: '${ $item.type }', n: '${ $item.data.n }'}}
              output: {as: .}
      """
    And the event {type: a, data: {n: 1}}
    When it runs
    Then it completes with [{type: a, n: 1}]

  @STRATEGY-009
  Scenario Outline: until with <other>
    Given a workflow
      """
      do:
        - hear: {listen: {to: {<other>, until: .a}}}
      """
    When it is validated
    Then it is invalid with property.bad-value

    Examples:
      | other                       |
      | one: {with: {type: a}}      |
      | all: [{with: {type: a}}]    |

  @STRATEGY-006
  Scenario: until all of several events
    Given a workflow
      """
      do:
        - hear:
            listen:
              to:
                any: [{with: {type: measured}}]
                until: {all: [{with: {type: left}}, {with: {type: locked}}]}
      """
    And the event {type: measured, data: 1}
    And the event {type: locked}
    And the event {type: measured, data: 2}
    And the event {type: left}
    And the event {type: measured, data: 3}
    When it runs
    Then it completes with [1, 2]

  @STRATEGY-005
  Scenario: until a condition over what has come
    Given a workflow
      """
      do:
        - hear: {listen: {to: {any: [{with: {type: measured}}], until: '${ length == 2 }'}}}
      """
    And the event {type: measured, data: 1}
    And the event {type: other, data: 2}
    And the event {type: measured, data: 3}
    When it runs
    Then it completes with [1, 3]

  @FILTER-001
  Scenario: an event without an attribute that is asked for
    Given a workflow
      """
      do:
        - hear: {listen: {to: {one: {with: {type: a, subject: s}}}}}
      """
    And the event {type: a, data: 1}
    And the event {type: a, subject: s, data: 2}
    When it runs
    Then it completes with [2]

  @CORRELATION-005
  Scenario: a correlation by several keys
    Given a workflow
      """
      do:
        - hear:
            listen:
              to:
                one:
                  with: {type: a}
                  correlate:
                    order: {from: .data.order, expect: '${ .order }'}
                    shop: {from: .source, expect: /shop}
      """
    And the input {order: 7}
    And the event {type: a, source: /elsewhere, data: {order: 7}}
    And the event {type: a, source: /shop, data: {order: 8}}
    And the event {type: a, source: /shop, data: {order: 7, right: true}}
    When it runs
    Then it completes with [{order: 7, right: true}]
