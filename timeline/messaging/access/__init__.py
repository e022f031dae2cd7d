"""Who may do what, and what each user sees: roles, spans, visibility, names, bitmaps.

It may import the engine and what stands below it, and nothing else of `messaging`.
"""
