//! What an unprivileged domain may use of the daemon.

/// The limits; names and defaults are those of Xen 4.17's C xenstored.
#[derive(Clone, Debug)]
pub struct Quotas {
    /// Nodes that a domain owns.
    pub nodes: u64,
    /// Watches of a domain.
    pub watches: u64,
    /// Transactions of a domain at a time.
    pub transactions: u64,
    /// Requests of a domain whose answers it has not read.
    pub outstanding: u64,
    /// Nodes that one transaction looks at.
    pub transaction_nodes: u64,
    /// Bytes that the daemon keeps for a domain's answers, events and transactions.
    pub memory: u64,
    /// Bytes of a node: its value, access list and names of children.
    pub node_size: u64,
    /// Bytes of a path behind a domain's own directory; holds for everybody.
    pub path_max: u64,
    /// Entries of an access list.
    pub permissions: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Quotas {
            nodes: 1000,
            watches: 128,
            transactions: 10,
            outstanding: 20,
            transaction_nodes: 1024,
            memory: 2 * 1024 * 1024 + 512 * 1024,
            node_size: 2048,
            path_max: 2048,
            permissions: 5,
        }
    }
}

impl Quotas {
    /// Every limit with its name, its value and what it is.
    pub fn list(&self) -> [(&'static str, u64, &'static str); 9] {
        [
            ("nodes", self.nodes, "Nodes per domain"),
            ("watches", self.watches, "Watches per domain"),
            ("transactions", self.transactions, "Transactions per domain"),
            ("outstanding", self.outstanding, "Outstanding requests per domain"),
            (
                "transaction-nodes",
                self.transaction_nodes,
                "Max. number of accessed nodes per transaction",
            ),
            ("memory", self.memory, "Total Xenstore memory per domain (error level)"),
            ("node-size", self.node_size, "Max. size of a node"),
            ("path-max", self.path_max, "Max. length of a node path"),
            ("permissions", self.permissions, "Max. number of permissions per node"),
        ]
    }

    /// Sets the limit of this name; false if there is none.
    pub fn set(&mut self, name: &str, value: u64) -> bool {
        let slot = match name {
            "nodes" => &mut self.nodes,
            "watches" => &mut self.watches,
            "transactions" => &mut self.transactions,
            "outstanding" => &mut self.outstanding,
            "transaction-nodes" => &mut self.transaction_nodes,
            "memory" => &mut self.memory,
            "node-size" => &mut self.node_size,
            "path-max" => &mut self.path_max,
            "permissions" => &mut self.permissions,
            _ => return false,
        };
        *slot = value;
        true
    }
}
