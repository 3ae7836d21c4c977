use proptest::prelude::*;

use crate::{Disk, DomainConfig, Kind, MacAddress, Uuid, Value, Vif, interpret, parse, parse_pair};

/// Writes a value as a careful user would.
fn spell(value: &Value) -> String {
    match &value.kind {
        Kind::Number { text, .. } => text.clone(),
        Kind::Text(text) => {
            let mut quoted = String::from("\"");
            for c in text.chars() {
                match c {
                    '"' | '\\' => quoted.extend(['\\', c]),
                    '\n' => quoted.push_str("\\n"),
                    other => quoted.push(other),
                }
            }
            quoted + "\""
        }
        Kind::List(values) => format!(
            "[\n{} # end\n]",
            values.iter().map(spell).collect::<Vec<_>>().join(",\n")
        ),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::List(a), Kind::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>()
            .prop_filter("i64::MIN has no positive", |n| *n != i64::MIN)
            .prop_map(|value| Value {
                kind: Kind::Number {
                    value,
                    text: value.to_string()
                },
                line: 0
            }),
        any::<String>()
            .prop_map(|text| text.replace('\0', ""))
            .prop_map(|text| Value {
                kind: Kind::Text(text),
                line: 0
            }),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop::collection::vec(inner, 0..5).prop_map(|values| Value {
            kind: Kind::List(values),
            line: 0,
        })
    })
}

/// Text made of what configurations are made of, so that the grammar's corners are reached.
fn fragments() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "name",
        "disk",
        "vif",
        "cpus",
        "memory",
        "=",
        "+=",
        "[",
        "]",
        ",",
        ";",
        "\n",
        "#",
        "'",
        "\"",
        "\\",
        " ",
        "0x",
        "07",
        "9",
        "-1",
        "phy:/dev/a,xvda,w",
        "target=",
        "vdev=",
        "mac=",
        "^",
        "node:",
        "all",
        "é",
        "\r",
        "\t",
        "\0",
        "xvd",
    ]);
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_spelled_is_read_again(value in values(), key in "[a-z_][a-z0-9_]{0,12}") {
        let (document, problems) = parse("t", &format!("{key} = {}", spell(&value)));
        prop_assert_eq!(problems, vec![]);
        prop_assert_eq!(document.settings.len(), 1);
        prop_assert!(same(&document.settings[0].value, &value));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let (document, _) = parse("t", &text);
        let _ = interpret(&document);
        let _ = parse_pair(&text);
    }

    #[test]
    fn no_mixture_of_fragments_makes_it_panic(text in fragments()) {
        let (document, problems) = parse("t", &text);
        let lines = u32::try_from(text.matches('\n').count()).expect("short") + 1;
        for problem in &problems {
            prop_assert!((1..=lines).contains(&problem.place.line), "{}", problem);
        }
        let (config, _) = interpret(&document);
        prop_assert!(problems.is_empty() || config.is_none() || !document.settings.is_empty());
        let _ = parse_pair(&text);
        let _ = text.parse::<Disk>();
        let _ = text.parse::<Vif>();
    }

    #[test]
    fn a_domain_survives_its_record(text in fragments(), memory in 1u32..9999, vcpus in 1u32..64) {
        let base = format!("name='g'\nkernel='/k'\nmemory={memory}\nvcpus={vcpus}\ncpus='all,^3'\n\
            disk=['/a,raw,xvda,w','/b,qcow2,xvdb,r']\nvif=['mac=00:16:3e:01:02:03,rate=1MB/s','ip=10.0.0.1,nat']\n");
        for text in [base.clone(), base + &text] {
            let (document, _) = parse("t", &text);
            if let (Some(config), _) = interpret(&document) {
                let json = serde_json::to_string(&config).expect("a record");
                prop_assert_eq!(serde_json::from_str::<DomainConfig>(&json).expect("a domain"), config);
            }
        }
    }

    #[test]
    fn uuids_and_addresses_read_as_printed(uuid in any::<[u8; 16]>(), mac in any::<[u8; 3]>()) {
        let uuid = Uuid::from_random(uuid);
        prop_assert_eq!(uuid.to_string().parse::<Uuid>(), Ok(uuid));
        let mac = MacAddress::from_random(mac);
        prop_assert_eq!(mac.to_string().parse::<MacAddress>(), Ok(mac));
    }
}
