//! How much of the machine the engine may use.

/// Bounds given to the engine when it opens. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the whole engine. Statements beyond it fail with code 241; buffers of answers may overshoot a little.
    pub server_memory_bytes: u64,
    /// Memory of one statement on the public port.
    pub public_query_memory_bytes: u64,
    /// Longest run of one statement on the public port, in seconds.
    pub public_query_seconds: u64,
    /// Statements running at once on the service port; each has a thread of its own.
    pub service_statements: usize,
    /// Statements running at once on the public port.
    pub public_statements: usize,
    /// Threads that merge parts.
    pub merge_threads: u32,
    /// Cache of column marks; half of it again caches primary keys, half of it secondary index marks.
    pub mark_cache_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Measured: 600-1,040 MB under inserts, merges and queries together.
            server_memory_bytes: 2 << 30,
            public_query_memory_bytes: 512 << 20,
            public_query_seconds: 60,
            service_statements: 16,
            public_statements: 8,
            // The engine's default of 16 suits 16 cores; below 4 large merges starve small ones.
            merge_threads: 4,
            // Marks of 20 M rows in 46 columns take about 40 MB.
            mark_cache_bytes: 128 << 20,
        }
    }
}

impl Limits {
    /// The first connection's arguments. Unknown names would be ignored without a word; these are proved by a test.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let half = self.mark_cache_bytes / 2;
        [
            ("max_server_memory_usage", self.server_memory_bytes),
            ("background_pool_size", u64::from(self.merge_threads)),
            ("background_schedule_pool_size", 8),
            ("background_common_pool_size", 2),
            ("background_fetches_pool_size", 1),
            ("background_move_pool_size", 1),
            ("max_thread_pool_size", 400),
            ("mark_cache_size", self.mark_cache_bytes),
            ("primary_index_cache_size", half),
            ("index_mark_cache_size", half),
            ("uncompressed_cache_size", 0),
        ]
        .iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
    }
}
