"""What all connections of a daemon share: one object with the engine, and the parts around it.

Imports `subscriptions`, `clients`, `registry`, `config`, `wire`, `logs` and `errors`.
"""
