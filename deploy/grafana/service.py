"""The dashboard Service: is it up, is it fast, and if not, where does the time go?"""

from panels import MEMORY, SERVER, WINDOW, Panel, Row, dashboard, mean, quantile, quantiles, rate, total

CALLS = 'method=~"MemoryService/(Query|Update|TrainStep)"'
FAILED = 'code=~"UNAVAILABLE|INTERNAL|UNKNOWN|DATA_LOSS|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED"'

NOW = Row("Now", [
    Panel("Ready", "Servers that answer /readyz with 200: no memory is loading, and they are not draining.", "none",
          [("sum(evoke_ready{%s})" % SERVER, "")], "stat", 3, steps=[(0, "red"), (1, "green")]),
    Panel("Alarms", "Memories whose disk refuses writes, in which damage was found, or that do without their GPU. Each "
          "has an alert.", "none",
          [("sum(evoke_alarm_active{%s})" % MEMORY, "")], "stat", 3, steps=[(1, "red")]),
    Panel("Memories", "Served, loading and failed ones; beyond 100 they are counted as one.", "none",
          [("count(evoke_slots_capacity{%s})" % MEMORY, "")], "stat", 3),
    Panel("Calls", "Calls that ended, whatever became of them.", "reqps",
          [(total("evoke_grpc_requests_total", SERVER), "")], "stat", 3),
    Panel("Failed", "Share of the calls that failed for a reason that lies with the server: not refusals of bad "
          "requests, which are the client's.", "percentunit",
          [("(sum(rate(evoke_grpc_requests_total{%s,%s}%s)) or vector(0)) / %s"
            % (SERVER, FAILED, WINDOW, total("evoke_grpc_requests_total", SERVER)), "")], "stat", 3,
          steps=[(0.001, "orange"), (0.01, "red")]),
    Panel("p99 of all", "99th percentile of Query, Update and TrainStep together.", "s",
          [("histogram_quantile(0.99, sum by (le) (rate(evoke_grpc_request_seconds_bucket{%s,%s}%s)))"
            % (SERVER, CALLS, WINDOW), "")], "stat", 3, steps=[(0.1, "orange"), (0.5, "red")]),
    Panel("Running", "What runs, and with which instructions it computes.", "none",
          [("evoke_build_info{%s}" % SERVER, "{{version}} {{commit}} {{simd}}")], "stat", 6),
])

TRAFFIC = Row("Traffic and errors", [
    Panel("Calls by method", "A stream of train steps counts one for each step.", "reqps",
          [(rate("evoke_grpc_requests_total", "method", SERVER), "{{method}}")], stack=True),
    Panel("Calls that did not end with OK, by code",
          "UNAVAILABLE is normal around a start or stop; FAILED_PRECONDITION with READ_ONLY_DISK means the disk. "
          "Clients retry most of these by themselves.", "reqps",
          [('sum by (code) (rate(evoke_grpc_requests_total{%s,code!="OK"}%s))' % (SERVER, WINDOW), "{{code}}")],
          stack=True),
    Panel("Refused before a turn, by reason",
          "MAILBOX_FULL: more comes in than is served. Without a memory: the name is not known.", "reqps",
          [("sum by (memory, reason) (rate(evoke_rejected_total{%s}%s))" % (SERVER, WINDOW), "{{memory}} {{reason}}")],
          stack=True),
])

LATENCY = Row("Latency", [
    Panel("Median", "From a request's arrival to its reply's departure, for every outcome.", "s",
          [(quantile(0.5, "evoke_grpc_request_seconds", "method", SERVER + "," + CALLS), "{{method}}")], log=True),
    Panel("p99", "Of each method.", "s",
          [(quantile(0.99, "evoke_grpc_request_seconds", "method", SERVER + "," + CALLS), "{{method}}")], log=True),
    Panel("p99.9", "Of each method. What is far above p99 is often a snapshot, a compaction or a slow sync.", "s",
          [(quantile(0.999, "evoke_grpc_request_seconds", "method", SERVER + "," + CALLS), "{{method}}")], log=True),
    Panel("Where a turn's time goes", "Mean time of a turn in each phase. queue: the longest wait of its requests; "
          "propose: the search; commit: until it is durable, beside which the next turn goes on.", "s",
          [(mean("evoke_request_phase_seconds", "phase", SERVER), "{{phase}}")], stack=True, width=8),
    Panel("p99 of the phases", "The phase that rises with the latency is the one to look at.", "s",
          [(quantile(0.99, "evoke_request_phase_seconds", "phase", SERVER), "{{phase}}")], log=True, width=8),
    Panel("Latencies", "How many calls took how long: two bands are two kinds of calls, a band that moves is a change.",
          "s", [("sum by (le) (increase(evoke_grpc_request_seconds_bucket{%s,%s}%s))" % (SERVER, CALLS, WINDOW),
                 "{{le}}")], "heatmap", 8),
])

TURNS = Row("Turns and mailbox", [
    Panel("Turns", "Turns that wrote, which are commits. Many small ones cost more than few big ones.", "ops",
          [("sum by (memory) (rate(evoke_turn{%s}%s))" % (MEMORY, WINDOW), "{{memory}}")]),
    Panel("Rows of a turn", "How much is answered together: it grows with the load, which is how throughput does.",
          "none", [(mean("evoke_turn_rows"), "mean {{memory}}"), (quantile(0.99, "evoke_turn_rows"), "p99 {{memory}}")]),
    Panel("Rows that wait", "Near mailbox-rows (65536 by default) requests are refused.", "none",
          [("sum by (memory) (evoke_mailbox_rows{%s})" % MEMORY, "{{memory}}")]),
    Panel("Second requests to shards", "The first did not ask for enough. They cost a little time each; many of one "
          "kind may be worth asking for more at once.", "ops",
          [(rate("evoke_more_total", "memory, what"), "{{memory}} {{what}}")]),
    Panel("Rows searched twice", "Rows that the index could not prove complete at first: many near-ties.", "ops",
          [(rate("evoke_uncertified_rows_total"), "{{memory}}")]),
    Panel("Retries answered from stored replies", "A few after a lost connection are what they are for; a burst means "
          "that replies do not arrive.", "reqps", [(rate("evoke_retry_duplicates_total"), "{{memory}}")]),
    Panel("Slots of a shard", "A turn waits for its slowest shard: they should hold about as many.", "none",
          [("sum by (memory, shard) (evoke_shard_slots_live{%s})" % MEMORY, "{{memory}} {{shard}}")]),
    Panel("Rows searched by a shard", "Each shard searches all rows of a turn, over its own slots.", "ops",
          [('sum by (memory, shard) (rate(evoke_shard_rows_total{%s,what="searched"}%s))' % (MEMORY, WINDOW),
            "{{memory}} {{shard}}")]),
    Panel("Slots written by a shard", "Where the writes go.", "ops",
          [('sum by (memory, shard) (rate(evoke_shard_rows_total{%s,what="written"}%s))' % (MEMORY, WINDOW),
            "{{memory}} {{shard}}")]),
])

COMMITS = Row("Commit and sync", [
    Panel("Time of a commit", "From a turn's record to its durability: building the batch, the memtable, the log, the sync.", "s",
          quantiles("evoke_commit_seconds"), log=True),
    Panel("Sync of the log", "The disk alone. Commits cannot be faster, with durability FSYNC.", "s",
          quantiles("evoke_wal_sync_seconds"), log=True),
    Panel("Syncs", "A busy memory syncs as often as the disk lets it, several turns at once.", "ops",
          [(rate("evoke_wal_sync_seconds_count"), "{{memory}}")]),
    Panel("Written to logs", "Keys, payloads, records and stored replies of the turns.", "Bps",
          [(rate("evoke_wal_bytes_total"), "{{memory}}")], stack=True),
])

ROCKSDB = Row("RocksDB", [
    Panel("Written to table files", "Flushes of memtables, and compactions, which follow them later.", "Bps",
          [(rate("evoke_rocksdb_written_bytes_total", "memory, job"), "{{memory}} {{job}}")], stack=True),
    Panel("Write amplification", "Bytes that reach the disk for each byte of the log; the log itself is 1.", "none",
          [("1 + sum by (memory) (increase(evoke_rocksdb_written_bytes_total{%s}[1h])) / "
            "sum by (memory) (increase(evoke_wal_bytes_total{%s}[1h]))" % (MEMORY, MEMORY), "{{memory}}")]),
    Panel("Waits for compaction", "Bytes that compactions have yet to rewrite, estimated.", "bytes",
          [("sum by (memory) (evoke_rocksdb_pending_compaction_bytes{%s})" % MEMORY, "{{memory}}")]),
    Panel("Files of level 0", "20 slow commits down, 36 stop them.", "none",
          [("max by (memory) (evoke_rocksdb_level0_files{%s})" % MEMORY, "{{memory}}")]),
    Panel("Stalls, failures and jobs", "Commits slowed down or stopped for compactions, failures behind them, and jobs "
          "under way. Failures should be none.", "none",
          [("sum by (memory, kind) (increase(evoke_rocksdb_write_stalls_total{%s}%s))" % (MEMORY, WINDOW),
            "{{memory}} {{kind}}"),
           ("sum by (memory) (increase(evoke_rocksdb_background_errors_total{%s}%s))" % (MEMORY, WINDOW),
            "{{memory}} failures"),
           ("sum by (memory, job) (evoke_rocksdb_running_jobs{%s})" % MEMORY, "{{memory}} {{job}}")]),
    Panel("Memtables", "Rows that are in the log and in RAM, not in table files yet.", "bytes",
          [("sum by (memory) (evoke_rocksdb_memtable_bytes{%s})" % MEMORY, "{{memory}}")], stack=True),
    Panel("Table files", "What is on disk of a memory, without its log and its snapshots.", "bytes",
          [("sum by (memory) (evoke_rocksdb_table_bytes{%s})" % MEMORY, "{{memory}}")], stack=True),
    Panel("Cache and write buffers in use", "Of block-cache-bytes and of write-buffer-bytes, which all memories share.",
          "percentunit",
          [("evoke_rocksdb_block_cache_bytes{%s} / evoke_rocksdb_block_cache_capacity_bytes" % SERVER, "block cache"),
           ("evoke_rocksdb_write_buffer_bytes{%s} / evoke_rocksdb_write_buffer_capacity_bytes" % SERVER,
            "write buffers")], most=1),
    Panel("Block cache", "Blocks found in it and read from files: payloads, stored replies, audits.", "ops",
          [(total("evoke_rocksdb_block_cache_hits_total", SERVER), "hits"),
           (total("evoke_rocksdb_block_cache_misses_total", SERVER), "misses")]),
])

CARE = Row("Snapshots, audit and recovery", [
    Panel("Age of the latest snapshot", "Of memories that have one, as far as this process knows.", "s",
          [("time() - max by (memory) (evoke_snapshot_last_success_timestamp_seconds{%s})" % MEMORY, "{{memory}}")]),
    Panel("Making snapshots", "How long they took, and those that were not made.", "none",
          [("sum by (memory) (increase(evoke_snapshot_duration_seconds_sum{%s}[1h])) / "
            "sum by (memory) (increase(evoke_snapshot_duration_seconds_count{%s}[1h]))" % (MEMORY, MEMORY),
            "seconds {{memory}}"),
           ("sum by (memory) (increase(evoke_snapshot_failures_total{%s}[1h]))" % MEMORY, "failures {{memory}}")]),
    Panel("Size of the latest snapshot", "It shares files with the memory until compactions rewrite them.", "bytes",
          [("sum by (memory) (evoke_snapshot_bytes{%s})" % MEMORY, "{{memory}}")]),
    Panel("Slots audited", "Compared with index and store in the background.", "ops",
          [(rate("evoke_audit_slots_total"), "{{memory}}")]),
    Panel("Differences found", "Should be none, ever: bits of RAM or disk have changed.", "none",
          [("sum by (memory, what) (increase(evoke_audit_differences_total{%s}[1h]))" % MEMORY, "{{memory}} {{what}}")]),
    Panel("Loaded", "Below 1 while a memory is recovered, 0 when it failed.", "percentunit",
          [("min by (memory) (evoke_memory_loaded_ratio{%s})" % MEMORY, "{{memory}}")], most=1),
])

RESOURCES = Row("Resources", [
    Panel("CPU", "Busy cores, of as many as the machine gives it.", "none", [(rate("process_cpu_seconds_total", "instance", SERVER), "{{instance}}")]),
    Panel("RAM", "Resident, against what the memories take when full and what they may take. The heap has caches, "
          "mailboxes and replies; tables of slots are apart from it.", "bytes",
          [("process_resident_memory_bytes{%s}" % SERVER, "resident"),
           ("process_virtual_memory_bytes{%s}" % SERVER, "virtual"),
           ("evoke_ram_planned_bytes{%s}" % SERVER, "planned"),
           ("evoke_ram_budget_bytes{%s}" % SERVER, "budget"),
           ("evoke_allocator_used_bytes{%s}" % SERVER, "heap used"),
           ("evoke_allocator_held_bytes{%s}" % SERVER, "heap held")]),
    Panel("RAM of memories", "Slots and index, of rows that were ever live.", "bytes",
          [("sum by (memory) (evoke_memory_ram_bytes{%s})" % MEMORY, "{{memory}}")], stack=True),
    Panel("Disk", "Below the reserve writes are refused, until there is more again.", "bytes",
          [("evoke_disk_free_bytes{%s}" % SERVER, "free"), ("evoke_disk_reserve_bytes{%s}" % SERVER, "reserve")]),
    Panel("Disk of memories", "Log and tables, without snapshots; of an ephemeral memory RAM for payloads.", "bytes",
          [("sum by (memory) (evoke_memory_stored_bytes{%s})" % MEMORY, "{{memory}}")], stack=True),
    Panel("GPU memory", "Keys of indexes on a GPU, and what rows and candidates pass through; none with other indexes.", "bytes",
          [("sum by (device) (evoke_gpu_memory_bytes{%s})" % SERVER, "{{device}}")]),
    Panel("Searches on a GPU", "Of a shard, from its rows to its proofs.", "s",
          [(quantile(0.5, "evoke_gpu_search_seconds", "device", SERVER), "median {{device}}"),
           (quantile(0.99, "evoke_gpu_search_seconds", "device", SERVER), "p99 {{device}}")], log=True),
    Panel("Files and threads", "Connections and table files are open files.", "none",
          [("process_open_fds{%s}" % SERVER, "files"), ("process_max_fds{%s}" % SERVER, "most files"),
           ("process_threads{%s}" % SERVER, "threads")], log=True),
])

DASHBOARD = dashboard("evoke-service", "Evoke / Service", __doc__.split(": ")[1].capitalize(),
                      [NOW, TRAFFIC, LATENCY, TURNS, COMMITS, ROCKSDB, CARE, RESOURCES])
