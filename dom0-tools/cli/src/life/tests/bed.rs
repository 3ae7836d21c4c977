//! What the tests run on: a fake hypervisor, a store, a directory for records, and a kernel that is as small as can be.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use privcmd::{DomId, Mapping};
use tempfile::TempDir;
use xenctrl::fake::Fake;
use xenctrl::{Domains, Memory};
use xenstore_client::{Client, Store};
use xenstored::daemon::Daemon;
use xenstored::host::{Host, Page, State};
use xenstored::quota::Quotas;
use xenstored::server::{Server, listen};
use xl_config::DomainConfig;

use crate::life::create::{Created, Request, create};
use crate::life::record::Records;
use crate::life::{Tools, configuration};

/// Pages of the fake machine: 64 MiB.
const PAGES: usize = 16 << 10;

/// Everything that a test needs.
pub struct Bed {
    /// The hypervisor.
    pub fake: Arc<Fake>,
    /// The store.
    pub store: Client,
    /// The records.
    pub records: Records,
    directory: TempDir,
}

/// What of a machine must be the same before a domain and after it.
#[derive(Debug, PartialEq, Eq)]
pub struct Traces {
    free_pages: usize,
    domains: Vec<DomId>,
    nodes: Vec<String>,
    files: Vec<PathBuf>,
}

impl Bed {
    /// A machine on which nothing has happened yet.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let fake = Arc::new(Fake::new(PAGES, 2));
        let socket = directory.path().join("store");
        let listener = listen(&socket).expect("a socket");
        let host = TestHost {
            fake: Arc::clone(&fake),
        };
        thread::spawn(move || {
            let mut daemon = Daemon::new(Box::new(host), Quotas::default());
            daemon.make_first_nodes();
            Server::new(daemon, listener, None).and_then(|mut server| server.run())
        });
        let mut store = Client::open_socket(&socket).expect("the store");
        store.write("/local/domain/0/name", "Domain-0").expect("written");
        store.make_directory("/local/domain/0/backend").expect("made");
        store.write("/local/domain/0/backend/keep", "").expect("written");
        let records = Records::at(&directory.path().join("state"), &directory.path().join("run"));
        records.prepare().expect("directories");
        fs::create_dir(directory.path().join("state/libxl")).expect("a directory");
        fs::write(directory.path().join("kernel"), kernel()).expect("written");
        fs::write(directory.path().join("disk"), [0; 4096]).expect("written");
        Self {
            fake,
            store,
            records,
            directory,
        }
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Another connection to the store.
    pub fn connect(&self) -> Client {
        Client::open_socket(self.directory.path().join("store")).expect("the store")
    }

    /// Hypervisor and records.
    pub fn tools<'a>(fake: &'a Fake, records: &'a Records) -> Tools<'a> {
        Tools {
            hypervisor: fake,
            records,
            kernels: records.building(),
        }
    }

    /// The configuration of a small guest, with more lines.
    pub fn config(&self, more: &str) -> DomainConfig {
        let file = self.path("guest.cfg");
        fs::write(
            &file,
            format!("name='g'\nkernel='{}'\nmemory=8\n{more}\n", self.path("kernel")),
        )
        .expect("written");
        configuration::load(Some(&file), &[], true)
            .expect("a configuration")
            .config
    }

    /// Makes a guest.
    pub fn create(&mut self, config: DomainConfig) -> anyhow::Result<Created> {
        let request = Request {
            config,
            source: "guest.cfg".into(),
            paused: false,
        };
        create(Self::tools(&self.fake, &self.records), &mut self.store, request)
    }

    /// What there is now.
    pub fn traces(&mut self) -> Traces {
        let mut nodes = Vec::new();
        collect(&mut self.store, "/", &mut nodes);
        let domains = self
            .fake
            .list_domains(0)
            .unwrap_or_default()
            .iter()
            .map(|info| info.domid)
            .collect();
        let mut files = Vec::new();
        for directory in ["state/domains", "run/building"] {
            let entries = fs::read_dir(self.path(directory)).expect("a directory").flatten();
            // Unpacked kernels stay, as they shall.
            files.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| path.extension().is_none_or(|e| e == "json")),
            );
        }
        let notes = fs::read_dir(self.path("state/libxl")).expect("a directory").flatten();
        files.extend(notes.map(|entry| entry.path()));
        Traces {
            free_pages: self.fake.free_pages(),
            domains,
            nodes,
            files,
        }
    }
}

fn collect(store: &mut Client, path: &str, nodes: &mut Vec<String>) {
    for name in store.directory_or_empty(path).expect("a directory") {
        let child = format!("{}/{name}", path.trim_end_matches('/'));
        let value = store.read_text(&child).unwrap_or_default();
        nodes.push(format!("{child}={value}"));
        collect(store, &child, nodes);
    }
}

/// The store's view of the fake.
struct TestHost {
    fake: Arc<Fake>,
}

impl Host for TestHost {
    fn state(&self, domain: u16) -> Option<State> {
        let info = self.fake.domain_info(domain).ok()?;
        Some(State {
            shutdown: info.shutdown.is_some(),
            dying: info.dying,
        })
    }

    fn map_ring(&self, domain: u16, frame: u64) -> io::Result<Page> {
        let page: Mapping = self
            .fake
            .map_foreign(domain, &[frame], true)
            .map_err(io::Error::other)?;
        Ok(Page::new(Box::new(page)))
    }

    fn own_ring(&self) -> io::Result<Option<(Page, u32)>> {
        Ok(None)
    }

    fn bind(&self, _: u16, port: u32) -> io::Result<u32> {
        Ok(port)
    }

    fn unbind(&self, _: u32) {}

    fn notify(&self, _: u32) {}

    fn take_events(&self, _: &mut Vec<u32>) -> io::Result<()> {
        Ok(())
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn exit_port(&self) -> Option<u32> {
        None
    }
}

/// An ELF file with one page of code and the notes of a paravirtual kernel.
fn kernel() -> Vec<u8> {
    const BASE: u64 = 0xffff_ffff_8000_0000;
    const HEADERS: usize = 64 + 2 * 56;
    let mut notes = Vec::new();
    for (kind, value) in [(1u32, BASE + 0x10_0000), (3, BASE)] {
        notes.extend(4u32.to_le_bytes());
        notes.extend(8u32.to_le_bytes());
        notes.extend(kind.to_le_bytes());
        notes.extend(b"Xen\0");
        notes.extend(value.to_le_bytes());
    }
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(2u16.to_le_bytes());
    file.extend(62u16.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend((BASE + 0x10_0000).to_le_bytes());
    file.extend(64u64.to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 2, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let program = |file: &mut Vec<u8>, kind: u32, offset: usize, address: u64, length: usize| {
        file.extend(kind.to_le_bytes());
        file.extend(5u32.to_le_bytes());
        for word in [
            offset as u64,
            BASE + address,
            address,
            length as u64,
            length as u64,
            4096,
        ] {
            file.extend(word.to_le_bytes());
        }
    };
    program(&mut file, 1, 4096, 0x10_0000, 4096);
    program(&mut file, 4, HEADERS, 0, notes.len());
    assert_eq!(file.len(), HEADERS);
    file.extend(notes);
    file.resize(4096, 0);
    file.resize(8192, 0x90);
    file
}

/// The backends that Linux would have: takes up what is announced, until told to stop.
pub fn take_up_devices(mut store: Client) {
    thread::spawn(move || -> xenstore_client::Result<()> {
        store.watch("/local/domain/0/backend", "backends")?;
        loop {
            store.wait_event(None)?;
            for class in ["vbd", "vif", "qdisk"] {
                let root = format!("/local/domain/0/backend/{class}");
                for domain in store.directory_or_empty(&root)? {
                    for number in store.directory_or_empty(&format!("{root}/{domain}"))? {
                        let state = format!("{root}/{domain}/{number}/state");
                        if store.read_optional(&state)?.as_deref() == Some("1") {
                            store.write(&state, "2")?;
                        }
                    }
                }
            }
        }
    });
}

/// Whether there is a file.
pub fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
