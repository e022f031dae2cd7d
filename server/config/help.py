"""Options as `timelined --help` and docs/configuration.md show them: in groups, amounts with units.

Rule: an option may be given exactly as it is shown. The name of an option says what it takes: one
that ends in `_bytes` takes a size, one that ends in `_ms` a time (see `timeline.amounts`).
"""

from __future__ import annotations

from typing import Final

from timeline import amounts

# Every option once, in the order of docs/configuration.md.
GROUPS: Final = {
    "Where it lies and listens": """
        data create new_epoch host port socket socket_mode metrics_host metrics_port
        backlog tcp_keepalive timeout
    """,
    "Durability": "durability interval_ms fsync",
    "Logs and slow commands": "log_level log_format slowlog_log_slower_than slowlog_max_len",
    "What clients may ask": """
        maxclients blocked channels subscriptions sync_block_ms backup_directory
        page_entries arguments request_bytes argument_bytes inline_bytes
        transaction_bytes reply_bytes entry_bytes entry_fields field_name_bytes
        name_bytes
    """,
    "What clients may cost": "clients_bytes output_bytes output_pause_bytes backlog_bytes busy_ms",
    "Commits and memory": """
        group_bytes unsealed_bytes tails stall_ms clock_ahead_ms segment_cache_bytes
        timeline_cache deleted_names dormant_timelines audience_cache list_cache_bytes
        write_buffer_bytes block_cache_bytes
    """,
    "Segments and background work": """
        segment_bytes segment_entries slice_ms compact_after seal_after_ms
        erase_after_ms retention_check_ms
    """,
    "The commit log": "log_file_bytes log_bytes log_age_ms",
    "Conversations and users": """
        diffusion_limit pulled_limit receipts_limit devices device_idle_ms inbox_age_ms
        inbox_references idempotency_window_ms idempotency_bytes edit_window_ms
        recall_window_ms
    """,
    "Feeds": """
        feed_diffusion_limit feed_backfill following_limit repost_window home_references
        note_window_ms note_references unseen_limit home_cache_bytes
    """,
    "Search": """
        search search_fields search_prefixes search_memory_bytes search_commit_ms
        search_directory
    """,
}


def is_size(name: str) -> bool:
    return name.endswith("_bytes")


def is_time(name: str) -> bool:
    return name.endswith("_ms")


def shown(name: str, value: object) -> str:
    """A value as a person would give it; nothing for one that is empty."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and is_size(name):
        return amounts.size_shown(value)
    if isinstance(value, int) and is_time(name):
        return amounts.time_shown(value)
    return str(value)


def placeholder(name: str, kind: type) -> str:
    """What stands for the value of an option."""
    if kind is bool:
        return "true|false"
    if kind is tuple:
        return "NAMES"
    if kind in (int, float):
        return "SIZE" if is_size(name) else "TIME" if is_time(name) else "NUMBER"
    return "PATH" if name in ("data", "socket") or name.endswith("_directory") else "TEXT"
