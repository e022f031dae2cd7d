"""Search: an index that follows the commit log. The only importer of tantivy.

    analysis    text → tokens, the same for what is stored and what is asked
    folding     accents, marks and forms of letters, so that those who leave them out find the word
    language    what somebody types → an expression
    index       documents on disk, and how far in the log they reach
    checksums   whether its files are what was written
    documents   entries and metadata → documents
    serving     the index that is searched, whoever keeps it up
    indexer     keeps it up: follows the log on a thread of its own, builds anew what is lost
    indexview   looks at one that another process keeps up
    search      expression and filters → hits, newest first
    snippets    the matches marked in a text

Rule: derived. The index may lag, crash or vanish, and nobody loses anything; it knows timelines and
entries, and neither conversations nor users: who may see what is decided above.
"""
