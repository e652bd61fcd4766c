"""From an OpenAPI document and parameters to a request: where everything goes, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workflow_runner.calls.openapi_documents import InvalidOpenApi, OpenApiDocument, UnknownOperation, read_openapi_document
from workflow_runner.calls.openapi_requests import OpenApiRequest, request_for
from workflow_runner.dsl.problems import CONFIGURATION, VALIDATION, Problem, WorkflowFault

URI = "https://api.test:8443/docs/openapi.json"


def document(operation: dict[str, Any], *, path: str = "/things", uri: str = URI, **members: Any) -> OpenApiDocument:
    """A document of version 3 (or of `swagger`) with one operation `op`, by POST."""
    version = {} if "swagger" in members else {"openapi": "3.0.3"}
    paths = {path: {"post": {"operationId": "op", **operation}}}
    return read_openapi_document(json.dumps({**version, "paths": paths, **members}).encode(), uri)


def asked(parameters: dict[str, Any], operation: dict[str, Any], **members: Any) -> OpenApiRequest:
    return request_for(document(operation, **members).operation("op"), parameters)


def refused(parameters: dict[str, Any], operation: dict[str, Any], **members: Any) -> Problem:
    with pytest.raises(WorkflowFault) as caught:
        asked(parameters, operation, **members)
    return caught.value.problem


def parameter(name: str, place: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": {}, **more}


def json_body(schema: Any, *, required: bool = False) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


PET = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "tag": {"type": "string"}}}


class TestServers:
    @pytest.mark.parametrize(
        ("servers", "uri"),
        [
            (None, "https://api.test:8443/things"),
            ([{"url": "/v1"}], "https://api.test:8443/v1/things"),
            ([{"url": "v1/"}], "https://api.test:8443/docs/v1/things"),
            ([{"url": "../v2"}], "https://api.test:8443/v2/things"),
            ([{"url": "//other.test/x"}], "https://other.test/x/things"),
            ([{"url": "http://other.test"}, {"url": "http://second.test"}], "http://other.test/things"),
            (
                [
                    {
                        "url": "https://{user}.test:{port}/{base}",
                        "variables": {"user": {"default": "demo"}, "port": {"default": 444}, "base": {"default": "v2"}},
                    }
                ],
                "https://demo.test:444/v2/things",
            ),
        ],
    )
    def test_the_first_server_counts_relative_to_the_document(self, servers: Any, uri: str) -> None:
        members = {} if servers is None else {"servers": servers}
        assert asked({}, {}, **members).uri == uri

    def test_an_operations_servers_go_before_its_paths_and_these_before_the_documents(self) -> None:
        root = {"openapi": "3.1.0", "servers": [{"url": "http://root.test"}]}
        item = {
            "servers": [{"url": "http://path.test"}],
            "get": {"operationId": "a", "servers": [{"url": "http://own.test"}]},
            "put": {"operationId": "b"},
        }
        found = read_openapi_document(
            json.dumps({**root, "paths": {"/x": item, "/y": {"get": {"operationId": "c"}}}}).encode(), URI
        )
        assert [found.operation(name).url for name in "abc"] == ["http://own.test", "http://path.test", "http://root.test"]

    @pytest.mark.parametrize(
        ("members", "uri"),
        [
            ({}, "https://api.test:8443/things"),
            ({"basePath": "/v2"}, "https://api.test:8443/v2/things"),
            ({"host": "h.test", "basePath": "/v2/", "schemes": ["http"]}, "http://h.test/v2/things"),
            ({"host": "h.test", "schemes": ["http", "https"]}, "https://h.test/things"),
            ({"host": "h.test", "schemes": ["wss"]}, "https://h.test/things"),
            ({"host": "h.test:99"}, "https://h.test:99/things"),
        ],
    )
    def test_swaggers_host_base_path_and_schemes(self, members: dict[str, Any], uri: str) -> None:
        assert asked({}, {}, swagger="2.0", **members).uri == uri

    def test_credentials_in_the_documents_own_address_are_not_for_its_servers(self) -> None:
        assert asked({}, {}, uri="https://u:p@api.test/x.json").uri == "https://api.test/things"

    @pytest.mark.parametrize(
        ("servers", "said"),
        [
            ([{"url": "https://{user}.test"}], "the variable 'user' has no default"),
            ([{"url": "ftp://x.test"}], "no http or https"),
            ([{"url": "http://x.test/?a=b"}], "a query"),
            ([{}], "has no `url`"),
            (["http://x.test"], "is no object"),
        ],
    )
    def test_servers_that_cannot_be_called(self, servers: Any, said: str) -> None:
        with pytest.raises(InvalidOpenApi, match=said):
            document({}, servers=servers).operation("op")

    def test_a_file_needs_an_absolute_server(self) -> None:
        assert asked({}, {}, uri="file:///a.json", servers=[{"url": "http://x.test"}]).uri == "http://x.test/things"
        with pytest.raises(InvalidOpenApi, match="no http or https"):
            document({}, uri="file:///a.json").operation("op")


class TestParameters:
    def test_each_goes_where_it_is_declared(self) -> None:
        declared = [
            parameter("id", "path", required=True),
            parameter("q", "query"),
            parameter("X-Trace", "header"),
            parameter("session", "cookie"),
            parameter("theme", "cookie"),
        ]
        values = {"id": "a/b", "q": ["x y", 1], "X-Trace": 7, "session": "s 1", "theme": "dark"}
        got = asked(values, {"parameters": declared}, path="/things/{id}")
        assert got.uri == "https://api.test:8443/things/a%2Fb?q=x%20y&q=1"
        assert got.headers == {"X-Trace": "7", "Cookie": "session=s%201; theme=dark"}
        assert (got.method, got.content) == ("post", None)

    def test_styles_and_content_are_as_declared(self) -> None:
        declared = [
            parameter("m", "path", style="matrix", explode=True),
            parameter("f", "query", style="deepObject"),
            parameter("p", "query", style="pipeDelimited"),
            {"name": "j", "in": "query", "content": {"application/json": {}}},
        ]
        values: dict[str, Any] = {"m": [1, 2], "f": {"a": 1}, "p": ["x", "y"], "j": {"k": [1]}}
        got = asked(values, {"parameters": declared}, path="/a{m}")
        assert got.uri == "https://api.test:8443/a;m=1;m=2?f%5Ba%5D=1&p=x%7Cy&j=%7B%22k%22%3A%5B1%5D%7D"

    @pytest.mark.parametrize(
        ("collection", "query"),
        [(None, "q=a,b"), ("csv", "q=a,b"), ("ssv", "q=a%20b"), ("tsv", "q=a%09b"), ("pipes", "q=a%7Cb"), ("multi", "q=a&q=b")],
    )
    def test_swaggers_collection_formats(self, collection: str | None, query: str) -> None:
        declared = {"name": "q", "in": "query", "type": "array", **({"collectionFormat": collection} if collection else {})}
        assert asked({"q": ["a", "b"]}, {"parameters": [declared]}, swagger="2.0").uri.endswith("?" + query)

    def test_those_of_the_path_count_and_the_operations_own_go_before(self) -> None:
        item = {
            "parameters": [parameter("a", "query"), parameter("b", "query")],
            "get": {"operationId": "op", "parameters": [parameter("b", "query", style="pipeDelimited")]},
        }
        found = read_openapi_document(json.dumps({"openapi": "3.0.0", "paths": {"/x": item}}).encode(), URI)
        assert request_for(found.operation("op"), {"a": 1, "b": [1, 2]}).uri.endswith("?a=1&b=1%7C2")

    def test_a_name_goes_to_every_place_that_declares_it(self) -> None:
        got = asked({"id": 1}, {"parameters": [parameter("id", "path"), parameter("id", "query")]}, path="/t/{id}")
        assert got.uri.endswith("/t/1?id=1")

    def test_references_are_followed(self) -> None:
        components = {"parameters": {"one/two": parameter("q", "query"), "alias": {"$ref": "#/components/parameters/one~1two"}}}
        got = asked({"q": 1}, {"parameters": [{"$ref": "#/components/parameters/alias"}]}, components=components)
        assert got.uri.endswith("?q=1")

    def test_null_is_as_not_given(self) -> None:
        got = asked({"q": None}, {"parameters": [parameter("q", "query")]})
        assert got.uri == "https://api.test:8443/things"

    def test_api_keys_that_the_operation_asks_for_are_parameters(self) -> None:
        schemes = {
            "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
            "other": {"type": "apiKey", "in": "query", "name": "o"},
        }
        members = {"components": {"securitySchemes": schemes}, "security": [{"key": []}]}
        got = asked({"X-Key": "s"}, {}, **members)
        assert got.headers == {"X-Key": "s"}
        assert refused({"o": "s"}, {}, **members).type == VALIDATION
        assert asked({"o": "s"}, {"security": [{"other": []}]}, **members).uri.endswith("?o=s")

    @pytest.mark.parametrize(
        ("values", "operation", "said"),
        [
            ({}, {"parameters": [parameter("q", "query", required=True)]}, "/with/parameters/q: operation 'op' needs"),
            ({"q": None}, {"parameters": [parameter("q", "query", required=True)]}, "/with/parameters/q: operation 'op' needs"),
            (
                {"quer": 1},
                {"parameters": [parameter("query", "query")]},
                "/with/parameters/quer: operation 'op' has no such parameter; did you mean 'query'?",
            ),
            ({"zzz": 1}, {"parameters": [parameter("a", "query")]}, "it has 'a'"),
            ({"x/y": 1}, {}, "/with/parameters/x~1y: operation 'op' has no such parameter; it has none"),
            ({"q": [[1]]}, {"parameters": [parameter("q", "query")]}, "/with/parameters/q: it holds arrays"),
            ({"h": {"a": []}}, {"parameters": [parameter("h", "header")]}, "/with/parameters/h: it holds arrays"),
        ],
    )
    def test_what_does_not_fit_is_a_validation_error_with_its_place(self, values: Any, operation: Any, said: str) -> None:
        problem = refused(values, operation)
        assert problem.type == VALIDATION
        assert said in str(problem.detail)

    @pytest.mark.parametrize(
        ("value", "said"), [("", "cannot be empty"), ([], "cannot be empty"), (".", "'.' or '..'"), ("..", "'.' or '..'")]
    )
    def test_a_part_of_a_path_cannot_lead_elsewhere(self, value: Any, said: str) -> None:
        problem = refused({"id": value}, {"parameters": [parameter("id", "path")]}, path="/t/{id}")
        assert problem.type == VALIDATION
        assert said in str(problem.detail)

    def test_characters_that_a_path_cannot_have_are_encoded(self) -> None:
        got = asked({"id": 1}, {"parameters": [parameter("id", "path")]}, path="/a b/ü\r\nX: y/{id}/c%2Fd,e?f#g")
        assert got.uri == "https://api.test:8443/a%20b/%C3%BC%0D%0AX:%20y/1/c%2Fd,e%3Ff%23g"

    def test_a_path_with_an_undeclared_part_is_a_mistake_of_the_document(self) -> None:
        problem = refused({}, {}, path="/t/{id}")
        assert (problem.type, "{id}" in str(problem.detail)) == (CONFIGURATION, True)


class TestBodies:
    def test_body_is_the_whole_of_it(self) -> None:
        got = asked({"body": [1, {"a": "ü"}]}, json_body({"type": "array"}))
        assert (got.headers["Content-Type"], json.loads(got.content or b"")) == ("application/json", [1, {"a": "ü"}])

    def test_other_names_are_its_members(self) -> None:
        got = asked({"name": "Rex", "q": 1}, {**json_body(PET), "parameters": [parameter("q", "query")]})
        assert json.loads(got.content or b"") == {"name": "Rex"}
        assert got.uri.endswith("?q=1")

    def test_members_are_found_through_references_and_compositions(self) -> None:
        schemas = {
            "Pet": {"allOf": [{"$ref": "#/components/schemas/Base"}, {"properties": {"b": {}}}]},
            "Base": {"properties": {"a": {}}},
        }
        got = asked({"a": 1, "b": 2}, json_body({"$ref": "#/components/schemas/Pet"}), components={"schemas": schemas})
        assert json.loads(got.content or b"") == {"a": 1, "b": 2}

    def test_an_open_object_takes_any_member(self) -> None:
        got = asked({"x": 1}, json_body({"type": "object", "additionalProperties": {"type": "integer"}}))
        assert json.loads(got.content or b"") == {"x": 1}

    def test_a_member_called_body_is_a_member(self) -> None:
        got = asked({"body": "text"}, json_body({"properties": {"body": {}, "title": {}}}))
        assert json.loads(got.content or b"") == {"body": "text"}

    def test_json_goes_before_other_types(self) -> None:
        content: dict[str, Any] = {"multipart/form-data": {}, "application/vnd.pet+json": {}, "text/plain": {}}
        got = asked({"body": {"a": 1}}, {"requestBody": {"content": content}})
        assert got.headers["Content-Type"] == "application/vnd.pet+json"

    def test_no_body_is_sent_where_none_is_given_and_none_is_needed(self) -> None:
        assert asked({}, json_body(PET)).content is None

    @pytest.mark.parametrize(
        ("values", "operation", "said"),
        [
            ({}, json_body(PET, required=True), "/with/parameters/body: operation 'op' needs a body"),
            ({"tag": "x"}, json_body(PET), "/with/parameters/name: the body of operation 'op' needs this member"),
            (
                {"naem": "x"},
                json_body(PET),
                "/with/parameters/naem: operation 'op' has no such parameter; did you mean 'name'?",
            ),
            ({"body": {}, "name": "x"}, json_body(PET), "/with/parameters/name: the body is given by 'body' as a whole"),
        ],
    )
    def test_what_does_not_fit_is_a_validation_error_with_its_place(self, values: Any, operation: Any, said: str) -> None:
        problem = refused(values, operation)
        assert problem.type == VALIDATION
        assert said in str(problem.detail)

    @pytest.mark.parametrize("name", ["pet", "body"])
    def test_swaggers_body_parameter_by_its_name(self, name: str) -> None:
        declared = {"name": "pet", "in": "body", "required": True, "schema": PET}
        got = asked({name: {"name": "Rex"}}, {"parameters": [declared]}, swagger="2.0")
        assert json.loads(got.content or b"") == {"name": "Rex"}
        assert json.loads(asked({"name": "Rex"}, {"parameters": [declared]}, swagger="2.0").content or b"") == {"name": "Rex"}

    def test_swaggers_form(self) -> None:
        fields = [
            {"name": "a", "in": "formData", "type": "string"},
            {"name": "b", "in": "formData", "type": "array", "collectionFormat": "multi"},
            {"name": "c", "in": "formData", "type": "array"},
        ]
        got = asked({"a": "x&y", "b": [1, 2], "c": [1, 2]}, {"parameters": fields}, swagger="2.0")
        assert (got.headers["Content-Type"], got.content) == ("application/x-www-form-urlencoded", b"a=x%26y&b=1&b=2&c=1,2")

    def test_forms(self) -> None:
        media = {"schema": {"properties": {name: {} for name in "abcd"}}, "encoding": {"d": {"style": "deepObject"}}}
        content = {"application/x-www-form-urlencoded": media}
        got = asked({"a": "x y", "b": [1, "z"], "c": {"k": 1}, "d": {"k": 1}}, {"requestBody": {"content": content}})
        assert got.content == b"a=x%20y&b=1&b=z&c=%7B%22k%22%3A1%7D&d%5Bk%5D=1"

    def test_multipart(self) -> None:
        properties = {"file": {"type": "string", "format": "binary"}, "note": {"type": "string"}, "meta": {"type": "object"}}
        media = {"schema": {"properties": properties}, "encoding": {"file": {"contentType": "image/png"}}}
        content = {"multipart/form-data": media}
        values = {"file": "AAH/", "note": "hé", "meta": {"a": 1}}
        got = asked(values, {"requestBody": {"content": content}})
        boundary = got.headers["Content-Type"].partition("boundary=")[2]
        assert got.content == b"".join(
            [
                f"--{boundary}\r\n".encode(),
                b'Content-Disposition: form-data; name="file"; filename="file"\r\nContent-Type: image/png\r\n\r\n',
                b"\x00\x01\xff\r\n",
                f"--{boundary}\r\n".encode(),
                'Content-Disposition: form-data; name="note"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhé\r\n'.encode(),
                f"--{boundary}\r\n".encode(),
                b'Content-Disposition: form-data; name="meta"\r\nContent-Type: application/json\r\n\r\n{"a": 1}\r\n',
                f"--{boundary}--\r\n".encode(),
            ]
        )
        assert asked(values, {"requestBody": {"content": content}}).content == got.content, "the same when it is tried again"

    def test_swaggers_files_are_multipart(self) -> None:
        got = asked({"f": "AA=="}, {"parameters": [{"name": "f", "in": "formData", "type": "file"}]}, swagger="2.0")
        assert got.headers["Content-Type"].startswith("multipart/form-data; boundary=")
        assert b'filename="f"' in (got.content or b"")

    @pytest.mark.parametrize(
        ("media_type", "value", "sent", "content_type"),
        [
            ("application/octet-stream", "AAH/", b"\x00\x01\xff", "application/octet-stream"),
            ("image/png", "AAH/", b"\x00\x01\xff", "image/png"),
            ("text/plain", "hé", "hé".encode(), "text/plain; charset=utf-8"),
            ("application/xml", "<a/>", b"<a/>", "application/xml; charset=utf-8"),
            ("*/*", {"a": 1}, b'{"a": 1}', "application/json"),
        ],
    )
    def test_other_types(self, media_type: str, value: Any, sent: bytes, content_type: str) -> None:
        got = asked({"body": value}, {"requestBody": {"content": {media_type: {}}}})
        assert (got.content, got.headers["Content-Type"]) == (sent, content_type)

    @pytest.mark.parametrize(
        ("media_type", "value", "said"),
        [
            ("application/octet-stream", "not base64!", "in base64"),
            ("application/octet-stream", {"a": 1}, "as a string"),
            ("text/plain", [1], "as a string"),
            ("application/x-www-form-urlencoded", "a=b", "as an object"),
        ],
    )
    def test_bodies_that_cannot_be_of_their_type(self, media_type: str, value: Any, said: str) -> None:
        problem = refused({"body": value}, {"requestBody": {"content": {media_type: {}}}})
        assert (problem.type, said in str(problem.detail)) == (VALIDATION, True)

    def test_json_is_asked_for_where_the_operation_may_answer_with_it(self) -> None:
        responses: dict[str, Any] = {"200": {"content": {"application/xml": {}, "application/hal+json": {}}}}
        assert asked({}, {"responses": responses}).headers["Accept"] == "application/hal+json, */*;q=0.5"
        assert "Accept" not in asked({}, {"responses": {"200": {"content": {"text/csv": {}}}}}).headers
        assert (
            asked({}, {}, swagger="2.0", produces=["application/xml", "application/json"])
            .headers["Accept"]
            .startswith("application/json")
        )


class TestDocuments:
    @pytest.mark.parametrize("version", ["3.0.0", "3.0.4", "3.1.0", "3.1.1"])
    def test_versions_of_openapi(self, version: str) -> None:
        text = f"openapi: {version}\npaths: {{/x: {{get: {{operationId: a, responses: {{200: {{description: ok}}}}}}}}}}\n"
        assert read_openapi_document(text.encode(), URI).operation("a").path == "/x"

    @pytest.mark.parametrize("version", ["swagger: '2.0'", "swagger: 2.0", "{swagger: '2.0'"])
    def test_versions_of_swagger(self, version: str) -> None:
        text = (
            "{swagger: '2.0', paths: {/x: {get: {operationId: a}}}}"
            if version[0] == "{"
            else f"{version}\npaths: {{/x: {{get: {{operationId: a}}}}}}"
        )
        assert read_openapi_document(text.encode(), URI).operation("a").method == "get"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "neither JSON nor YAML"),
            ("{", "neither JSON nor YAML"),
            ("a: [", "line 2"),
            ("[1]", "no object"),
            ("just words", "no object"),
            ("{}", "neither `openapi: 3"),
            ('{"openapi": "4.0.0", "paths": {}}', "'4.0.0'"),
            ('{"swagger": "1.2", "paths": {}}', "neither `openapi: 3"),
            ('{"openapi": "3.0.0"}', "no `paths`"),
            ('{"openapi": "3.0.0", "paths": []}', "no `paths`"),
            (b"\xff\xfe", "not UTF-8"),
        ],
    )
    def test_what_is_no_openapi_document(self, text: str | bytes, said: str) -> None:
        with pytest.raises(InvalidOpenApi, match=said):
            read_openapi_document(text if isinstance(text, bytes) else text.encode(), URI)

    def test_an_unknown_operation_says_what_is_close(self) -> None:
        with pytest.raises(UnknownOperation, match="did you mean 'op'"):
            document({}).operation("opp")

    def test_an_operation_that_is_there_twice_cannot_be_meant(self) -> None:
        paths = {"/a": {"get": {"operationId": "op"}}, "/b": {"get": {"operationId": "op"}}}
        found = read_openapi_document(json.dumps({"openapi": "3.0.0", "paths": paths}).encode(), URI)
        with pytest.raises(UnknownOperation, match="has 2 operations"):
            found.operation("op")

    def test_path_items_may_be_references_and_unusable_ones_disturb_nobody(self) -> None:
        paths = {"/a": {"$ref": "#/x/item"}, "/b": {"$ref": "other.yaml#/b"}, "/c": {"$ref": "#/x/cycle"}, "/d": 7}
        shared = {"item": {"get": {"operationId": "op"}}, "cycle": {"$ref": "#/x/cycle"}}
        found = read_openapi_document(json.dumps({"openapi": "3.1.0", "paths": paths, "x": shared}).encode(), URI)
        assert found.operation("op").path == "/a"

    @pytest.mark.parametrize(
        ("operation", "said"),
        [
            ({"parameters": [{"$ref": "#/nowhere"}]}, "not there"),
            ({"parameters": [{"$ref": "http://x.test/a.json#/b"}]}, "other documents"),
            ({"parameters": [{"$ref": "#/paths/~1things/post/parameters/0"}]}, "refers to itself"),
            ({"parameters": {}}, "is no list"),
            ({"parameters": [5]}, "is no object"),
            ({"parameters": [{"in": "query"}]}, "has no name"),
            ({"parameters": [{"name": "a", "in": "body"}]}, "in 'body'"),
            ({"requestBody": {}}, "has no `content`"),
        ],
    )
    def test_operations_that_cannot_be_understood(self, operation: Any, said: str) -> None:
        with pytest.raises(InvalidOpenApi, match=said):
            document(operation).operation("op")

    def test_hostile_documents_are_refused_in_time(self) -> None:
        """Each of these would take minutes, or all memory, if it were read without bounds."""
        levels = "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 10)}]\n" for n in range(1, 30))
        for text in (
            "b0: &b0 [x, x]\n" + levels,
            "openapi: 3.0.0\npaths: " + "[" * 100_000,
            '{"a": ' + "[" * 1_000_000,
            "{" + ",".join(f'"{n}":[]' for n in range(260_000)) + "}",
            "- []\n" * 200_000,
            " " * (4 * 1024 * 1024 + 1),
        ):
            with pytest.raises(InvalidOpenApi):
                read_openapi_document(text.encode(), URI)

    def test_schemas_in_circles_are_looked_at_once(self) -> None:
        schemas: dict[str, Any] = {
            f"s{n}": {
                "allOf": [{"$ref": f"#/components/schemas/s{(n + k) % 60}"} for k in range(60)],
                "properties": {f"p{n}": {}},
            }
            for n in range(60)
        }
        got = asked({"p0": 1, "p59": 2}, json_body({"$ref": "#/components/schemas/s0"}), components={"schemas": schemas})
        assert json.loads(got.content or b"") == {"p0": 1, "p59": 2}
