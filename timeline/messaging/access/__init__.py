"""Who may do what, and what each user sees: names, roles, visibility, bitmaps, fields of entries.

It may import the engine and what stands below it, and nothing else of `messaging`.
"""
