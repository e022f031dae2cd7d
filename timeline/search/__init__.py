"""Search: an index that follows the commit log. The only importer of tantivy.

    text        what a text and a query mean: tokens, folding, the query language, snippets
    index       one index on disk: schema, documents, checksums
    follower    the commit log → an index
    build       the store → a new index
    serving     the index that is searched, whoever updates it
    storeindex  the index of one store, opened with it, or off
    generations the index in use, which follows the log, and the one built to replace it
    indexer     the thread that drives them
    indexview   the index that another process updates
    search      expression and filters → hits, newest first
    pages       hits → pages as callers see them
    finder      finds entries and timelines for callers who may see everything

Rule: the index is derived. It may lag, crash or vanish, and nothing is lost: it is built again from
the store. It knows timelines and entries, and of conversations and feeds no more than how their
names begin. The callers decide who may see what.
"""
