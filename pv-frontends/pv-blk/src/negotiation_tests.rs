use std::collections::BTreeMap;

use super::*;

type Directory = BTreeMap<String, String>;

fn directory(nodes: &[(&str, &str)]) -> Directory {
    let own = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
    nodes.iter().map(own).collect()
}

fn look_up(directory: &Directory) -> impl FnMut(&str) -> Option<String> + '_ {
    |name| directory.get(name).cloned()
}

fn read_connection(directory: &Directory, offer: &Transport) -> Result<Connection, BadNode> {
    Connection::read(&mut look_up(directory), offer)
}

fn connection(queues: u32, ring_order: u32) -> Connection {
    let address = |queue: u32| QueueAddress {
        ring: (0..1 << ring_order)
            .map(|page| GrantRef(100 * queue + page + 8))
            .collect(),
        port: Port(queue + 3),
    };
    Connection {
        persistent: queues.is_multiple_of(2),
        ring_order,
        queues: (0..queues).map(address).collect(),
    }
}

#[test]
fn what_a_frontend_publishes_is_read_back() {
    for queues in [1, 2, 5] {
        for order in 0..=MAX_RING_ORDER {
            let connection = connection(queues, order);
            let nodes: Directory = connection.nodes().into_iter().collect();
            assert_eq!(
                read_connection(&nodes, &Transport::MAX),
                Ok(connection),
                "{queues} {order}"
            );
            // The header forbids the top-level nodes for several queues, and `ring-ref` for several pages.
            assert_eq!(nodes.contains_key("event-channel"), queues == 1);
            assert_eq!(nodes.contains_key("ring-ref"), queues == 1 && order == 0);
        }
    }
}

#[test]
fn stale_nodes_are_all_that_may_be_left() {
    let stale: Vec<String> = Connection::stale_nodes().collect();
    for (queues, order) in [(1, 0), (1, 4), (64, 0), (3, 2)] {
        for (name, _) in connection(queues, order).nodes() {
            let top = name.split('/').next().unwrap();
            let stays = ["protocol", "feature-persistent"].contains(&top);
            assert!(stays || stale.iter().any(|stale| stale == top), "{name}");
        }
    }
}

#[test]
fn more_than_was_offered_is_refused_by_name() {
    let offer = Transport {
        queues: 2,
        ring_order: 1,
        indirect_segments: 32,
    };
    let ring: &[(&str, &str)] = &[
        ("ring-ref", "8"),
        ("ring-ref0", "8"),
        ("ring-ref1", "9"),
        ("event-channel", "4"),
    ];
    for (name, value) in [
        ("ring-page-order", "2"),
        ("ring-page-order", "-1"),
        ("ring-page-order", "4294967297"),
        ("num-ring-pages", "3"),
        ("num-ring-pages", "0"),
        ("num-ring-pages", "4"),
        ("multi-queue-num-queues", "0"),
        ("multi-queue-num-queues", "3"),
        ("multi-queue-num-queues", "many"),
        ("protocol", "x86_32-abi"),
        ("event-channel", ""),
        ("ring-ref", "8 9"),
    ] {
        let mut nodes = directory(ring);
        nodes.insert(name.into(), value.into());
        assert_eq!(read_connection(&nodes, &offer).unwrap_err().name, name, "{value}");
    }
    assert!(read_connection(&directory(ring), &offer).is_ok());
}

#[test]
fn a_missing_ring_is_an_error_and_not_a_default() {
    let missing = |nodes: &[(&str, &str)]| read_connection(&directory(nodes), &Transport::MAX).unwrap_err();
    assert_eq!(missing(&[("event-channel", "3")]).name, "ring-ref");
    assert_eq!(missing(&[("ring-ref", "3")]).name, "event-channel");
    let two = [
        ("multi-queue-num-queues", "2"),
        ("ring-ref", "3"),
        ("event-channel", "3"),
    ];
    assert_eq!(missing(&two).name, "queue-0/ring-ref");
    let order = [("ring-page-order", "1"), ("ring-ref0", "3"), ("event-channel", "3")];
    assert_eq!(missing(&order).name, "ring-ref1");
}

#[test]
fn a_linux_frontend_with_an_explicit_order_of_zero_is_understood() {
    let nodes = directory(&[("ring-page-order", "0"), ("ring-ref0", "9"), ("event-channel", "3")]);
    let connection = read_connection(&nodes, &Transport::MAX).unwrap();
    assert_eq!(connection.queues[0].ring, [GrantRef(9)]);
    let below = directory(&[
        ("multi-queue-num-queues", "1"),
        ("queue-0/ring-ref", "9"),
        ("queue-0/event-channel", "3"),
    ]);
    assert_eq!(read_connection(&below, &Transport::MAX).unwrap().queues.len(), 1);
}

#[test]
fn offers_are_met_in_the_middle() {
    let read = |nodes: &[(&str, &str)]| Transport::read(&mut look_up(&directory(nodes)));
    assert_eq!(read(&[]), Transport::default());
    let huge = read(&[
        ("multi-queue-max-queues", "4294967295"),
        ("max-ring-page-order", "4294967295"),
        ("feature-max-indirect-segments", "4294967295"),
    ]);
    assert_eq!(huge.common(Transport::MAX), Transport::MAX);
    assert_eq!(huge.common(Transport::default()), Transport::default());
    let nonsense = read(&[
        ("multi-queue-max-queues", "0"),
        ("max-ring-page-order", "x"),
        ("feature-max-indirect-segments", "-3"),
    ]);
    assert_eq!(nonsense, Transport::default());
    assert_eq!(read(&[("max-ring-pages", "8")]).ring_order, 3);
    let offered: Directory = Transport::MAX.nodes().into_iter().collect();
    assert_eq!(Transport::read(&mut look_up(&offered)), Transport::MAX);
    let without = Transport::default().nodes();
    assert!(without.iter().all(|(name, _)| name != "feature-max-indirect-segments"));
}

#[test]
fn properties_are_read_as_written() {
    for discard in [
        None,
        Some(Discard {
            granularity: 4096,
            alignment: 512,
            secure: true,
        }),
    ] {
        let properties = Properties {
            sectors: 1 << 40,
            sector_size: 512,
            physical_sector_size: 4096,
            read_only: discard.is_none(),
            cdrom: false,
            removable: true,
            flush: true,
            barrier: false,
            persistent: true,
            discard,
        };
        let nodes: Directory = properties.nodes().into_iter().collect();
        assert_eq!(Properties::read(&mut look_up(&nodes)), Ok(properties));
    }
}

#[test]
fn a_disk_of_no_sensible_size_is_refused() {
    let read = |nodes: &[(&str, &str)]| Properties::read(&mut look_up(&directory(nodes)));
    assert_eq!(read(&[]).unwrap_err().name, "sectors");
    for sectors in ["", "-1", "36028797018963968", "18446744073709551615", "0x10"] {
        assert_eq!(read(&[("sectors", sectors)]).unwrap_err().name, "sectors", "{sectors}");
    }
    for size in ["0", "256", "1000", "8192"] {
        let error = read(&[("sectors", "8"), ("sector-size", size)]).unwrap_err();
        assert_eq!(error.name, "sector-size");
    }
    assert_eq!(read(&[("sectors", "8")]).unwrap().sector_size, 512);
}
