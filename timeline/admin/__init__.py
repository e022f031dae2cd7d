"""What is asked of a whole store: inspect, compact, back up, export, load, merge.

It may import `engine` and what stands below it. Each module is one task. Long tasks tell a listener
how far they are (`progress`).
"""
