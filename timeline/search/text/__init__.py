"""Text and queries: words, folding, the query language, snippets.

It may import nothing else of `search`.
"""
