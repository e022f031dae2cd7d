"""What is known of each client, and how all of them share time, memory and the wait for news.

Imports `registry` and `errors`.
"""
