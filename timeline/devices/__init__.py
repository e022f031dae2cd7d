"""Devices: how far each has come, which are online, what each is told, who waits for it.

It knows neither conversations nor feeds, and may import the engine and `fanout`.
"""
