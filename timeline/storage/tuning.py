"""How RocksDB is set up: the options of the database and of a column family, and the block cache.

Rule: every opening begins with these options, to write, to read or to salvage. It sets only what
differs.
"""

from __future__ import annotations

import resource
from typing import Final

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options as RocksOptions,
    SliceTransform,
)

from timeline.options import KIB, MIB, Options

_OPEN_TABLES: Final = 512  # files that RocksDB keeps open at most
_DICTIONARY_BYTES: Final = 64 * KIB  # of a table at most
_TRAINING_BYTES: Final = 100 * _DICTIONARY_BYTES  # of a table, that its dictionary is made from
_TABLE_BYTES: Final = 32 * MIB  # of a table with a dictionary, half of RocksDB's default
_WINDOW_BITS: Final = -14  # RocksDB's default, which zstd does not look at
_ZSTD_LEVEL: Final = 3  # zstd's default: 6 would save another twentieth for twice the time


def table_files(limit: int) -> int:
    """How many tables RocksDB keeps open in a process that may have `limit` open files."""
    return _OPEN_TABLES if limit == resource.RLIM_INFINITY else min(_OPEN_TABLES, limit // 4)


def database_options(options: Options, *, salvage: bool) -> RocksOptions:
    rocks = RocksOptions(raw_mode=True)
    rocks.create_if_missing(options.create)
    rocks.create_missing_column_families(True)
    # All families reach the disk together, so that a crash leaves none newer than another.
    rocks.set_atomic_flush(True)
    # Of the WAL that a store of format 1 has: a torn tail is a crash and is cut. Damage before it
    # is no crash, and RocksDB's default would pass it.
    rocks.set_wal_recovery_mode(
        DBRecoveryMode.point_in_time()
        if salvage
        else DBRecoveryMode.tolerate_corrupted_tail_records()
    )
    rocks.set_max_background_jobs(2)
    rocks.set_keep_log_file_num(4)
    rocks.set_max_log_file_size(4 * MIB)
    rocks.set_bytes_per_sync(MIB)
    rocks.set_max_open_files(table_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    rocks.set_stats_dump_period_sec(0)
    rocks.set_stats_persist_period_sec(0)
    return rocks


def family_options(
    options: Options,
    cache: Cache,
    *,
    mostly_missed: bool,
    owner_bytes: int = 0,
    dictionary: bool = False,
) -> RocksOptions:
    """`mostly_missed`: most look-ups of a key find nothing. `owner_bytes` is how many bytes of a
    key say whose it is, 0 where none do: of the tables that hold nothing of an owner, few are read
    to find that. With `dictionary` each table at the bottom has one of what its values have in
    common: blocks are small, and compression begins anew in each.
    """
    rocks = RocksOptions(raw_mode=True)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_format_version(5)
    table.set_block_size(16 * KIB)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    # A filter of a million keys is larger than a shard of the cache, and would be read from the
    # disk at each look-up. So filter and index lie in parts, and the cache keeps those in use.
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_metadata_block_size(16 * KIB)
    table.set_pin_top_level_index_and_filter(True)
    if owner_bytes:
        rocks.set_prefix_extractor(SliceTransform.create_fixed_prefix(owner_bytes))
    if mostly_missed or owner_bytes:
        table.set_bloom_filter(10, False)
        table.set_partition_filters(True)
    rocks.set_block_based_table_factory(table)
    rocks.set_write_buffer_size(options.write_buffer_bytes)
    rocks.set_max_write_buffer_number(4)
    rocks.set_level_compaction_dynamic_level_bytes(True)
    rocks.set_compression_type(DBCompressionType.lz4())
    # Sealing writes over all timelines, so every merge rewrites the bottom: merge seldom.
    rocks.set_level_zero_file_num_compaction_trigger(12)
    rocks.set_bottommost_compression_type(DBCompressionType.zstd())
    if dictionary:
        # Of chats it saves a sixth. A block that is read from the disk takes a fifth longer, while
        # blocks of 64 KiB would save a tenth and take three times as long.
        rocks.set_bottommost_compression_options(
            _WINDOW_BITS, _ZSTD_LEVEL, 0, _DICTIONARY_BYTES, True
        )
        rocks.set_bottommost_zstd_max_train_bytes(_TRAINING_BYTES, True)
        # A table is kept in memory until its dictionary is made, before compression.
        rocks.set_target_file_size_base(_TABLE_BYTES)
    return rocks


_caches: dict[int, Cache] = {}


def block_cache(size: int) -> Cache:
    """One cache for all families, shared by the storages of a process that ask for one size."""
    return _caches.setdefault(size, Cache(size))
