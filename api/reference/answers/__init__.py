"""What answers look like, as models: the documents are made from them, and tests hold the answers to them.

A field with a default may be absent; one that may be null says so in its type. All good answers of an
operation have one model, an object: generated clients know one type for each, whatever the status is.
"""
