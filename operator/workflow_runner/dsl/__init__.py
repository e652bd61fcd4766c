"""The workflow language: models of documents, the loader, validation, and RFC 7807 problems.

Everything here is pure: text in, values out. The interpreter and the expressions read the models
(model, templates); the command line, the operator and launched pods load documents through
`expressions.documents.read_document`, which adds the jq compiler to what is done here.
"""
